package zebra

import (
	"context"
	"net/netip"

	"openr/fib"
	"openr/msg"
)

// readKernel returns the routes of our protocol in our table. The caller holds apply.
func (p *Programmer) readKernel() (map[netip.Prefix]kernelRoute, error) {
	if p.o.kernel == nil {
		return nil, errClosed
	}
	out := map[netip.Prefix]kernelRoute{}
	err := p.o.kernel.routes(p.table, p.kernelProto, func(r kernelRoute) { out[r.prefix] = r })
	return out, err
}

// Dump implements fib.Programmer. It reads the kernel, not zebra's table: that goes on showing routes and next hops as
// installed which the kernel has lost with a link, and cannot be asked over ZAPI but by having every change of it sent
// back. A route that this session has not sent is of an earlier one (or, zebra having been restarted with -K, of an
// earlier zebra): it forwards, but zebra sweeps it unless it is sent again, so it is reported as to be renewed.
func (p *Programmer) Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	p.apply.Lock()
	defer p.apply.Unlock()
	s, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	have, err := p.readKernel()
	if err != nil {
		return nil, err
	}
	out := make(map[netip.Prefix]msg.Route, len(have))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s != s {
		return nil, p.down
	}
	for prefix, k := range have {
		r := s.routes[prefix]
		switch {
		case r == nil && s.others[prefix]:
		case r == nil:
			if !s.looked {
				s.stale[prefix] = k
			}
			out[prefix] = msg.Route{Prefix: prefix, NextHops: s.fromKernel(prefix, k), DoNotInstall: true}
		default:
			out[prefix] = s.compare(prefix, r, k)
		}
	}
	for prefix, r := range s.routes {
		if _, there := have[prefix]; !there && r.fate == fateInstalled {
			r.suspect = true
		}
	}
	s.looked = true
	s.complete()
	s.p.o.Counters.Set(counterStale, int64(len(s.stale)))
	return out, nil
}

// compare returns a route of this session as the kernel has it.
func (s *state) compare(prefix netip.Prefix, r *standing, k kernelRoute) msg.Route {
	want, missing := r.inKernel()
	if !k.hidden && !sameInKernel(kernelHops(want), k.hops) {
		r.suspect = true
		return msg.Route{Prefix: prefix, NextHops: s.fromKernel(prefix, k)}
	}
	r.suspect, r.fate = false, fateInstalled
	if missing != nil {
		return msg.Route{Prefix: prefix, NextHops: s.fromKernel(prefix, k), Backup: r.backup}
	}
	return msg.Route{Prefix: prefix, NextHops: r.hops, Backup: r.backup}
}

func (s *state) fromKernel(prefix netip.Prefix, k kernelRoute) []msg.NextHop {
	var hops []msg.NextHop
	for _, h := range k.hops {
		hops = append(hops, msg.NextHop{Addr: h.addr, IfName: s.name(h.index), Weight: h.weight})
	}
	return fib.Forwarding(msg.Route{Prefix: prefix, NextHops: hops})
}
