package linux

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/rtnl"
)

const (
	batchMessages = 256      // per send
	batchBytes    = 64 << 10 // per send, exceeded by one action's messages at most
)

// batch is a number of messages that are sent at once.
type batch struct {
	buf  []byte
	last int // where the last message begins in buf
	ops  []op
}

// op is what to do about the answer to a message.
type op struct {
	action *endpoint.Action // on whose behalf; nil: an errand
	kind   opKind
	key    endpoint.Key // opDeleteRemote
}

type opKind uint8

const (
	opSet          opKind = iota
	opDelete              // what is not there need not be deleted
	opDeleteRemote        // of both tables: if the bridge has no such entry, the vxlan device has not been asked
)

// applier is one call of Kernel.Apply, or one run of errands. The caller holds the Kernel's mutex.
type applier struct {
	k      *Kernel
	ctx    context.Context
	quiet  bool // failures are not counted: what the errand is about may have gone
	failed []Failure

	again   []op // opDeleteRemote of which the vxlan device's part is still to do
	bounces []bounced
	uses    []endpoint.Key // endpoint.AskUsed
}

// next returns where to append a message, whose answer is dealt with as o says. It is to be completed by added.
func (p *applier) next(o op) (b []byte, seq uint32) {
	f := &p.k.fill
	f.last = len(f.buf)
	f.ops = append(f.ops, o)
	p.k.req.Seq++
	return f.buf, p.k.req.Seq
}

func (p *applier) added(b []byte) error {
	p.k.fill.buf = b
	if len(p.k.fill.ops) < batchMessages && len(b) < batchBytes {
		return nil
	}
	return p.send()
}

// send sends the batch and takes the answers.
func (p *applier) send() error {
	f := &p.k.fill
	if len(f.ops) == 0 {
		return nil
	}
	defer func() {
		clear(f.ops)
		f.buf, f.ops = f.buf[:0], f.ops[:0]
	}()
	if p.ctx != nil && p.ctx.Err() != nil {
		return p.ctx.Err()
	}
	rtnl.RequestAck(f.buf[f.last:])
	n := len(f.ops)
	p.k.counters.Sum(counterMessages, int64(n))
	return p.k.req.Exchange(f.buf, p.k.req.Seq-uint32(n)+1, n, func(i int, why rtnl.Error) { p.refused(&f.ops[i], why) })
}

func (p *applier) refused(o *op, why rtnl.Error) {
	missing := errors.Is(why, unix.ENOENT) || errors.Is(why, unix.ENODEV)
	switch {
	case o.kind == opDeleteRemote && missing:
		p.again = append(p.again, *o)
	case o.kind == opDelete && missing, p.quiet && missing:
	default:
		if a := o.action; a != nil && o.kind == opSet && (a.Kind == endpoint.ProgramLocal || a.Kind == endpoint.FreezeMAC) {
			p.k.learn.forget(a.Key) // whatever stands, it is told as new
		}
		p.fail(o.action, why)
	}
}

func (p *applier) fail(a *endpoint.Action, err error) {
	p.k.counters.Sum(counterErrors, 1)
	f := Failure{Err: err}
	if a != nil {
		f.Action = *a
	}
	p.failed = append(p.failed, f)
}

// flush sends what there is, and then what its answers have brought up.
func (p *applier) flush() error {
	if err := p.send(); err != nil {
		return err
	}
	again := p.again
	p.again = nil
	for _, o := range again {
		if d := p.k.learn.domain(o.key.BD); d != nil && d.joined {
			if err := p.deleteSelf(o.action, o.key, d.vxlan); err != nil {
				return err
			}
		}
	}
	return p.send()
}

// turn is after how many actions the mutex is free for a moment, so that what happens meanwhile is told: a few milliseconds.
const turn = 512

// all carries out actions, but leaves what is asked of bounces to bounce.
func (p *applier) all(actions []endpoint.Action) error {
	for i := range actions {
		if err := p.apply(&actions[i]); err != nil {
			return err
		}
		if i%turn != turn-1 {
			continue
		}
		if err := p.send(); err != nil { // the batch is shared with those who come in between
			return err
		}
		p.k.mu.Unlock()
		p.k.mu.Lock()
		if p.k.closed {
			return errClosed
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	return p.used()
}

var errNoDomain = errors.New("the bridge domain is not configured, or its vxlan device is no port of its bridge")

// apply carries out one action.
func (p *applier) apply(a *endpoint.Action) error {
	k := p.k
	switch a.Kind {
	case endpoint.ProgramLocal, endpoint.ProgramRemote, endpoint.Remove, endpoint.FreezeMAC, endpoint.UnfreezeMAC,
		endpoint.FreezeIP, endpoint.UnfreezeIP, endpoint.LearningOff, endpoint.LearningOn:
		d := k.learn.domain(a.BD)
		if d == nil || !d.joined {
			p.fail(a, errNoDomain)
			return nil
		}
		return p.inDomain(a, d)
	case endpoint.PortDisable, endpoint.PortEnable:
		index := k.learn.portByName(a.BD, a.Port)
		if index == 0 {
			p.fail(a, fmt.Errorf("there is no access port %q", a.Port))
			return nil
		}
		b, seq := p.next(op{action: a})
		return p.added(appendUp(b, seq, index, a.Kind == endpoint.PortEnable))
	case endpoint.BounceOn, endpoint.BounceOff:
		f := Forward{Key: a.Key, TEP: a.TEP, For: a.For}
		switch {
		case k.bounce == nil:
			p.fail(a, errors.New("this leaf has no tunnel address for bounces"))
		case a.Kind == endpoint.BounceOff:
			p.bounces = append(p.bounces, bounced{a, nil})
		default:
			if err := k.bounce.check(&f); err != nil {
				p.fail(a, err)
				return nil
			}
			p.bounces = append(p.bounces, bounced{a, &f})
		}
	case endpoint.Probe, endpoint.Reply: // what was asked for before stands when the answer comes
		if err := p.flush(); err != nil {
			return err
		}
		send := k.probe
		if a.Kind == endpoint.Reply {
			send = k.reply
		}
		if err := send(a); err != nil {
			p.fail(a, err)
		}
	case endpoint.AskUsed:
		p.uses = append(p.uses, a.Key)
	}
	return nil
}

// bounced is an endpoint.BounceOn, or without a Forward an endpoint.BounceOff. They wait for the end of the call, because a
// transaction about one costs nearly as much as one about a thousand, and the other tables do not depend on them.
type bounced struct {
	action *endpoint.Action
	to     *Forward
}

// bounce carries out what has been asked of bounces: of each endpoint the last.
func (p *applier) bounce() {
	if len(p.bounces) == 0 {
		return
	}
	last := map[endpoint.Key]*Forward{}
	for _, b := range p.bounces {
		last[b.action.Key] = b.to
	}
	var on []Forward
	var off []endpoint.Key
	for key, to := range last {
		if to != nil {
			on = append(on, *to)
		} else {
			off = append(off, key)
		}
	}
	if err := p.k.bounce.change(on, off); err != nil {
		for _, b := range p.bounces {
			p.fail(b.action, err)
		}
	}
	p.bounces = nil
}

// inDomain carries out an action about the tables of a domain.
func (p *applier) inDomain(a *endpoint.Action, d *domain) error {
	switch a.Kind {
	case endpoint.ProgramLocal:
		return p.local(a, d, false)
	case endpoint.ProgramRemote:
		return p.remote(a, d, false)
	case endpoint.FreezeMAC:
		if a.Port != "" {
			return p.local(a, d, true)
		}
		return p.remote(a, d, true)
	case endpoint.UnfreezeMAC: // what is sticky stays so if a remote entry takes its place
		return p.remove(a, d)
	case endpoint.Remove:
		if err := p.addresses(a, d, nil); err != nil {
			return err
		}
		return p.remove(a, d)
	case endpoint.FreezeIP:
		p.k.books.frozen[address{a.BD, a.IP}] = a.Key
		if owner, ok := p.k.books.owner[address{a.BD, a.IP}]; ok && owner != a.Key {
			return p.forgetAddress(a, d, a.IP)
		}
	case endpoint.UnfreezeIP:
		delete(p.k.books.frozen, address{a.BD, a.IP})
	case endpoint.LearningOff, endpoint.LearningOn:
		d.learning = a.Kind == endpoint.LearningOn
		for _, index := range p.k.learn.portsOf(d) {
			b, seq := p.next(op{action: a})
			if err := p.added(appendPortFlags(b, seq, index, []portFlag{{unix.IFLA_BRPORT_LEARNING, d.learning}})); err != nil {
				return err
			}
		}
	}
	return nil
}

// local programs an entry behind an access port.
func (p *applier) local(a *endpoint.Action, d *domain, frozen bool) error {
	l := p.k.learn
	index := l.portByName(d.BD, a.Port)
	if index == 0 {
		p.fail(a, fmt.Errorf("domain %d has no access port %q", d.BD, a.Port))
		return nil
	}
	m := l.macs[a.Key]
	if m != nil && !frozen && !m.frozen && m.index != index {
		return nil // it has moved on meanwhile, which is being told
	}
	if err := p.addresses(a, d, nil); err != nil {
		return err
	}
	// It may have been remote. An entry that was keeps NTF_EXT_LEARNED, which hides what it does, unless it goes first.
	var err error
	if known := m != nil; known {
		err = p.deleteSelf(a, a.Key, d.vxlan)
	} else {
		err = p.deleteRemote(a, a.Key, d.vxlan)
	}
	if err != nil {
		return err
	}
	n := neighbour{family: unix.AF_BRIDGE, index: index, mac: a.MAC, flags: unix.NTF_MASTER, state: unix.NUD_NOARP, notify: activityNotify}
	if frozen {
		n.flags, n.state, n.notify = unix.NTF_MASTER|ntfSticky, unix.NUD_NOARP|unix.NUD_REACHABLE, 0
	}
	if now := l.add(a.Key, index); now == nil {
		p.fail(a, fmt.Errorf("domain %d has %d local endpoints, as many as it may have (Domain.Limit)", d.BD, d.count))
		return nil
	} else {
		if !frozen && !now.managed {
			now.echo = index
		}
		now.frozen, now.quiet, now.managed = frozen, false, now.managed && !frozen
	}
	delete(p.k.books.sticky, a.Key)
	return p.set(a, &n)
}

// remote programs an entry behind another leaf, in both tables.
func (p *applier) remote(a *endpoint.Action, d *domain, frozen bool) error {
	if !endpoint.ValidTEP(a.TEP) {
		p.fail(a, fmt.Errorf("tunnel address %v: want a unicast IPv4 or IPv6 address without zone", a.TEP))
		return nil
	}
	if err := p.dropLocal(a, a.Key); err != nil {
		return err
	}
	if p.k.books.sticky[a.Key] && !frozen {
		if err := p.deleteRemote(a, a.Key, d.vxlan); err != nil {
			return err
		}
		delete(p.k.books.sticky, a.Key)
	}
	n := neighbour{family: unix.AF_BRIDGE, index: d.vxlan, mac: a.MAC, dst: a.TEP}
	n.state, n.flags = unix.NUD_REACHABLE, unix.NTF_SELF|unix.NTF_MASTER|unix.NTF_EXT_LEARNED
	if frozen {
		n.state, n.flags = unix.NUD_NOARP|unix.NUD_REACHABLE, unix.NTF_SELF|unix.NTF_MASTER|ntfSticky
		p.k.books.sticky[a.Key] = true
	}
	if err := p.set(a, &n); err != nil {
		return err
	}
	return p.addresses(a, d, a.IPs)
}

// remove takes an entry out of both tables, wherever it is.
func (p *applier) remove(a *endpoint.Action, d *domain) error {
	delete(p.k.books.sticky, a.Key)
	if p.k.learn.macs[a.Key] == nil {
		return p.deleteRemote(a, a.Key, d.vxlan)
	}
	if err := p.dropLocal(a, a.Key); err != nil {
		return err
	}
	return p.deleteSelf(a, a.Key, d.vxlan)
}

// dropLocal takes an entry out that is behind an access port.
func (p *applier) dropLocal(a *endpoint.Action, key endpoint.Key) error {
	m := p.k.learn.macs[key]
	if m == nil {
		return nil
	}
	p.k.learn.forget(key)
	return p.deletePort(a, key, m.index)
}

func (p *applier) deleteLocal(key endpoint.Key, index uint32) error {
	return p.deletePort(nil, key, index)
}

func (p *applier) deletePort(a *endpoint.Action, key endpoint.Key, index uint32) error {
	return p.del(op{action: a, kind: opDelete}, &neighbour{family: unix.AF_BRIDGE, index: index, mac: key.MAC, flags: unix.NTF_MASTER})
}

// deleteSelf takes an entry out of the vxlan device's table, whatever its destinations.
func (p *applier) deleteSelf(a *endpoint.Action, key endpoint.Key, vxlan uint32) error {
	return p.del(op{action: a, kind: opDelete}, &neighbour{family: unix.AF_BRIDGE, index: vxlan, mac: key.MAC, flags: unix.NTF_SELF})
}

// deleteRemote takes an entry out of the vxlan device's table, and out of the bridge's if it leads there.
func (p *applier) deleteRemote(a *endpoint.Action, key endpoint.Key, vxlan uint32) error {
	return p.del(op{action: a, kind: opDeleteRemote, key: key},
		&neighbour{family: unix.AF_BRIDGE, index: vxlan, mac: key.MAC, flags: unix.NTF_SELF | unix.NTF_MASTER})
}

func (p *applier) del(o op, n *neighbour) error {
	b, seq := p.next(o)
	return p.added(appendNeighbour(b, unix.RTM_DELNEIGH, 0, seq, n))
}

func (p *applier) set(a *endpoint.Action, n *neighbour) error {
	b, seq := p.next(op{action: a})
	return p.added(appendNeighbour(b, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, seq, n))
}

// address is an IP address in a bridge domain.
type address struct {
	bd endpoint.BD
	ip netip.Addr
}

// books are what has been programmed and cannot be asked for one by one.
type books struct {
	ips    map[endpoint.Key][]netip.Addr // for suppressed ARP and neighbour discovery
	owner  map[address]endpoint.Key      // the same, the other way round
	frozen map[address]endpoint.Key      // endpoint.FreezeIP
	sticky map[endpoint.Key]bool         // remote entries that do not move
}

func newBooks() books {
	return books{
		ips: map[endpoint.Key][]netip.Addr{}, owner: map[address]endpoint.Key{},
		frozen: map[address]endpoint.Key{}, sticky: map[endpoint.Key]bool{},
	}
}

// addresses has ARP and neighbour solicitations for an endpoint answered here: for ips, and for no others.
func (p *applier) addresses(a *endpoint.Action, d *domain, ips []netip.Addr) error {
	if !d.Suppress {
		return nil
	}
	books := &p.k.books
	old := books.ips[a.Key]
	var now []netip.Addr
	for _, ip := range ips {
		at := address{d.BD, ip}
		if ip.Is6() && !d.ipv6 {
			continue
		}
		if pinned, ok := books.frozen[at]; ok && pinned != a.Key {
			continue
		}
		now = append(now, ip)
		books.owner[at] = a.Key
		if err := p.set(a, neighbourOf(d, ip, a.MAC)); err != nil {
			return err
		}
	}
	if len(now) == 0 {
		delete(books.ips, a.Key)
	} else {
		books.ips[a.Key] = now
	}
	for _, ip := range old {
		if books.owner[address{d.BD, ip}] != a.Key || contains(now, ip) {
			continue
		}
		if err := p.forgetAddress(a, d, ip); err != nil {
			return err
		}
	}
	return nil
}

func contains(list []netip.Addr, ip netip.Addr) bool {
	for _, other := range list {
		if other == ip {
			return true
		}
	}
	return false
}

// forgetAddress has ARP and neighbour solicitations for an address sent on again.
func (p *applier) forgetAddress(a *endpoint.Action, d *domain, ip netip.Addr) error {
	delete(p.k.books.owner, address{d.BD, ip})
	return p.del(op{action: a, kind: opDelete}, neighbourOf(d, ip, endpoint.MAC{}))
}

func neighbourOf(d *domain, ip netip.Addr, mac endpoint.MAC) *neighbour {
	n := &neighbour{family: unix.AF_INET, index: d.bridge, mac: mac, dst: ip, state: unix.NUD_NOARP, flags: unix.NTF_EXT_LEARNED}
	if ip.Is6() {
		n.family = unix.AF_INET6
	}
	return n
}
