package netlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/monitor"
	"openr/msg"
)

// Options say where in the kernel the routes go.
type Options struct {
	Table    int               // routing table, 1 .. 2^32-1; 254 is the main table
	Protocol int               // rtm_protocol, by which our routes are known: 5 .. 255, the lower ones being the kernel's and the administrator's
	Metric   int               // priority, 1 .. 2^32-1; lower wins against other protocols
	Log      *zap.Logger       // nil: no log
	Counters *monitor.Counters // nil: not counted
}

// Programmer programs routes in the Linux kernel. Its methods may be called from any goroutine.
type Programmer struct {
	slot     slot
	log      *zap.Logger
	counters *monitor.Counters
	watch    *watcher

	mu        sync.Mutex // guards what follows
	conn      *conn
	closed    bool
	own       map[netip.Prefix]bool     // where a route of ours stands in our slot, as far as we know
	strays    map[netip.Prefix][]uint32 // routes of ours with other metrics, from a run with another configuration
	conflicts map[netip.Prefix]conflict // where another protocol was in the way
}

// conflict remembers whose route was in the way, so that not every try costs a search of the table.
type conflict struct {
	err   conflictError
	until time.Time
}

// conflictTime is how long a conflict is believed without looking.
const conflictTime = 30 * time.Second

var _ fib.Programmer = (*Programmer)(nil)

// New opens the kernel's routing table in the network namespace of the calling thread. The Programmer stays with that
// namespace, wherever it is used.
func New(o Options) (*Programmer, error) {
	switch {
	case o.Table < 1 || int64(o.Table) > 0xffffffff:
		return nil, fmt.Errorf("routing table %d: must be from 1 to 4294967295", o.Table)
	case o.Protocol <= unix.RTPROT_STATIC || o.Protocol > 255:
		return nil, fmt.Errorf("route protocol %d: must be from 5 to 255", o.Protocol)
	case o.Metric < 1 || int64(o.Metric) > 0xffffffff:
		return nil, fmt.Errorf("route metric %d: must be from 1 to 4294967295", o.Metric)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Programmer{
		slot: slot{table: uint32(o.Table), protocol: uint8(o.Protocol), metric: uint32(o.Metric)},
		log:  o.Log, counters: o.Counters,
		own: map[netip.Prefix]bool{}, strays: map[netip.Prefix][]uint32{}, conflicts: map[netip.Prefix]conflict{},
	}
	var err error
	if p.conn, err = dial(); err != nil {
		return nil, err
	}
	if p.watch, err = newWatcher(p.conn.port, p.slot, o.Log, o.Counters); err != nil {
		_ = p.conn.close()
		return nil, err
	}
	return p, nil
}

// Close releases the sockets. The routes stay.
func (p *Programmer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return errors.Join(p.watch.close(), p.conn.close())
}

// Invalidated is ready after an interface came, left, went up or down or was renamed, after another process deleted or
// replaced a route of ours, and after notifications were lost.
func (p *Programmer) Invalidated() <-chan struct{} { return p.watch.changed }

var errClosed = errors.New("the netlink sockets are closed")

// Dump returns the routes of our protocol in our table, IPv4 and IPv6. See fib.Programmer for those that stand with
// another metric.
func (p *Programmer) Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if err := p.watch.refresh(); err != nil {
		return nil, err
	}
	return p.dump(ctx)
}

func (p *Programmer) dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	p.watch.takeForeign() // what it told is in the dump
	routes := map[netip.Prefix]msg.Route{}
	own, strays := map[netip.Prefix]bool{}, map[netip.Prefix][]uint32{}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		restart := func() {
			for prefix := range routes {
				if family(prefix.Addr()) == fam {
					delete(routes, prefix)
					delete(own, prefix)
					delete(strays, prefix)
				}
			}
		}
		err := p.routes(fam, p.slot.protocol, restart, func(r kernelRoute) {
			if r.protocol != p.slot.protocol || r.tos != 0 {
				return
			}
			route := msg.Route{Prefix: r.prefix, NextHops: p.nextHops(r)}
			route.NextHops = fib.Forwarding(route)
			_, twice := routes[r.prefix]
			switch {
			case r.metric != p.slot.metric:
				strays[r.prefix] = append(strays[r.prefix], r.metric)
				route.DoNotInstall = true
			default:
				own[r.prefix] = true
				route.DoNotInstall = twice || r.other
			}
			if twice {
				route.DoNotInstall = true
			}
			routes[r.prefix] = route
		})
		if err != nil {
			return nil, fmt.Errorf("failed to read the routes: %w", err)
		}
	}
	p.own, p.strays = own, strays
	return routes, nil
}

// nextHops returns a route's next hops in the terms of package msg.
func (p *Programmer) nextHops(r kernelRoute) []msg.NextHop {
	if len(r.hops) == 0 {
		return nil
	}
	out := make([]msg.NextHop, len(r.hops))
	for i, h := range r.hops {
		out[i] = msg.NextHop{Addr: h.addr, IfName: p.watch.name(h.index), Weight: h.weight}
	}
	return out
}

// routes calls f for each route of a family in our table, of one protocol or (0) of all.
func (p *Programmer) routes(fam, protocol uint8, restart func(), f func(kernelRoute)) error {
	request := func(seq uint32) []byte { return dumpRoutes(seq, fam, p.slot.table, protocol) }
	err := p.conn.dump(request, restart, func(h unix.NlMsghdr, payload []byte) {
		if h.Type != unix.RTM_NEWROUTE {
			return
		}
		// A kernel that does not filter, or has no such family, answers with more than was asked for.
		if r, ok := parseRoute(payload); ok && family(r.prefix.Addr()) == fam && r.table == p.slot.table {
			f(r)
		}
	})
	switch {
	case errors.Is(err, unix.ENOENT): // there is no such table yet
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT): // there is no such family
		return nil
	}
	return err
}

// Apply implements fib.Programmer. Interfaces are resolved as they are now.
func (p *Programmer) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if err := p.watch.refresh(); err != nil {
		return nil, err
	}
	foreign, lost := p.watch.takeForeign()
	for prefix := range foreign {
		delete(p.own, prefix)
	}
	if lost {
		clear(p.own) // what is in the way of a new route is looked at before it is replaced
	}
	a := apply{p: p, ctx: ctx, failed: map[netip.Prefix]error{}}
	if err := a.run(update, del); err != nil {
		return nil, err
	}
	return a.failed, nil
}
