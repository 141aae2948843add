package zebra

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"openr/internal/crash"
	"openr/msg"
)

// state is what is known in one session with zebra. It belongs to the Programmer's mutex.
type state struct {
	p        *Programmer
	peer     *peer
	typ      uint8
	ready    bool // zebra has answered everything that the session began with
	links    map[uint32]link
	addrs    map[uint32]map[netip.Prefix]bool // by interface
	index    map[string]uint32
	routerID [2]netip.Prefix // IPv4, IPv6

	routes   map[netip.Prefix]*standing // what this session has told zebra
	removing map[netip.Prefix]*batch    // deletes that zebra has not answered
	groups   groups
	factors  map[string]uint64 // by set of next hops; see multiply
	// Routes that stood in the kernel when the session first looked, of an earlier session or (others) of another daemon.
	stale     map[netip.Prefix]kernelRoute
	others    map[netip.Prefix]bool
	looked    bool // stale is known
	completed bool // zebra has been told that nothing more comes of the earlier session

	offers map[RedistributedKey]RedistributedRoute // until ready
}

// run keeps a session until ctx ends.
func (p *Programmer) run(ctx context.Context) {
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.s, p.down = nil, errClosed
		p.firstTry()
		close(p.ended)
	}()
	wait := minReconnect
	for ctx.Err() == nil {
		ready, err := p.session(ctx)
		p.mu.Lock()
		p.s, p.down = nil, err
		p.firstTry()
		p.mu.Unlock()
		p.o.Counters.Set(counterConnected, 0)
		if ctx.Err() != nil {
			return
		}
		if ready {
			p.o.Counters.Count(counterLost)
			p.o.Log.Warn("lost the session with zebra; connecting again", zap.Error(err))
			wait = minReconnect
			signal(p.invalidated)
		} else {
			p.o.Counters.Count(counterConnectErrors)
			p.o.Log.Warn("no session with zebra; trying again", zap.String("socket", p.o.Socket), zap.Error(err), zap.Duration("in", wait))
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, maxReconnect)
	}
}

// firstTry lets those go on who wait for the first session. The caller holds mu.
func (p *Programmer) firstTry() {
	if !p.tries {
		p.tries = true
		close(p.attempt)
	}
}

// session connects and reads until the connection ends, which it reports with a reason. ready says whether the session
// was of use.
func (p *Programmer) session(ctx context.Context) (ready bool, err error) {
	conn, err := p.o.dial(ctx)
	if err != nil {
		return false, fmt.Errorf("failed to connect: %w", err)
	}
	peer := newPeer(conn)
	peer.wait = p.o.probing
	peer.sent = func(n int) { p.o.Counters.Sum(counterSent, int64(n)) }
	defer context.AfterFunc(ctx, func() { defer crash.Guard(); peer.stop(errClosed) })()
	defer func() { peer.stop(err) }()
	if err := peer.greet(p.identity(), p.rel); err != nil {
		return false, err
	}
	s := &state{
		p: p, peer: peer, links: map[uint32]link{}, addrs: map[uint32]map[netip.Prefix]bool{}, index: map[string]uint32{}, routes: map[netip.Prefix]*standing{},
		removing: map[netip.Prefix]*batch{}, factors: map[string]uint64{}, stale: map[netip.Prefix]kernelRoute{}, others: map[netip.Prefix]bool{},
		offers: map[RedistributedKey]RedistributedRoute{},
	}
	s.typ, _ = peer.rel.routeType(p.o.Protocol)
	s.groups.init(peer.rel, s.typ)
	if err := s.begin(); err != nil {
		return false, err
	}
	peer.start()
	return s.read()
}

// begin asks for everything the session needs and ends with a command that zebra answers when it has answered the rest.
func (s *state) begin() error {
	p, rel := s.p, s.peer.rel
	var errs []error
	do := func(c command, fill func(b []byte) []byte) {
		errs = append(errs, s.peer.send(c, func(b []byte) ([]byte, error) {
			if fill != nil {
				b = fill(b)
			}
			return b, nil
		}))
	}
	if rel.hello == helloNoWish {
		do(cmdRouteNotifyRequest, func(b []byte) []byte { return append(b, 1) })
	}
	switch _, can := rel.number(cmdClientCapabilities); {
	case can && p.o.StaleTime > 0:
		seconds := uint32(max(1, p.o.StaleTime.Round(time.Second)/time.Second))
		do(cmdClientCapabilities, func(b []byte) []byte { return appendRestart(b, capRestart, seconds) })
		for _, afi := range []uint8{afi4, afi6} {
			do(cmdClientCapabilities, func(b []byte) []byte { return appendResync(b, capPending, afi) })
		}
	case can:
		do(cmdClientCapabilities, func(b []byte) []byte { return appendRestart(b, capNoRestart, 0) })
	case p.o.StaleTime > 0:
		p.o.Log.Warn("zebra of this release cannot keep routes while the agent restarts", zap.Stringer("release", rel))
	}
	do(cmdInterfaceAdd, nil)
	for _, afi := range []uint8{afi4, afi6} {
		if afi == afi4 || rel.routerIDAfi {
			do(cmdRouterIDAdd, func(b []byte) []byte { return rel.appendRouterIDAdd(b, afi) })
		}
	}
	for _, name := range p.o.Redistribute {
		typ, ok := rel.routeType(name)
		if !ok {
			return fmt.Errorf("FRR release %s has no route type %q to redistribute", rel, name)
		}
		for _, afi := range []uint8{afi4, afi6} {
			do(cmdRedistributeAdd, func(b []byte) []byte { return appendRedistribute(b, afi, typ, 0) })
		}
	}
	errs = append(errs, s.peer.sendNumber(unknownCommand, nil))
	return errors.Join(append(errs, s.peer.flush())...)
}

// settleTime is how long a zebra that does not answer unknown commands (before 7.3) has to be quiet until it is taken to
// have told all its interfaces.
const settleTime = 300 * time.Millisecond

// read takes in messages until the connection ends.
func (s *state) read() (ready bool, err error) {
	rel := s.peer.rel
	fence, answers := rel.number(cmdError)
	for {
		if !s.ready {
			wait := probePatience * 10 // a busy zebra
			if !answers {
				wait = settleTime
			}
			_ = s.peer.conn.SetReadDeadline(time.Now().Add(wait))
		}
		h, body, err := s.peer.next()
		switch {
		case timeout(err) && !s.ready && !answers:
			s.begun()
			continue
		case timeout(err):
			return s.ready, fmt.Errorf("zebra does not answer; is it of FRR release %s?", rel)
		case err != nil:
			if why := s.peer.why(); why != nil {
				err = why
			}
			return s.ready, lost(err)
		}
		s.p.o.Counters.Sum(counterReceived, 1)
		if !s.ready && refusal(body) {
			if !answers || h.command != fence {
				return false, wrongRelease(rel, int(h.command), len(body))
			}
			s.begun()
			continue
		}
		c, known := rel.command(h.command)
		if !known || h.vrf != 0 {
			continue
		}
		if err = s.takeLocked(c, body); err != nil {
			s.p.o.Counters.Count(counterUnreadable)
			s.p.o.Log.Debug("cannot read a message from zebra", zap.Stringer("command", c), zap.Error(err), zap.Stringer("release", rel))
		}
	}
}

// takeLocked is take for those who do not hold mu.
func (s *state) takeLocked(c command, body []byte) error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return s.take(c, body)
}

// begun makes the session the current one.
func (s *state) begun() {
	p := s.p
	_ = s.peer.conn.SetReadDeadline(time.Time{})
	p.mu.Lock()
	defer p.mu.Unlock()
	s.ready = true
	p.s, p.down = s, nil
	p.firstTry()
	for a := range p.tracks {
		s.track(cmdNexthopRegister, a)
	}
	if p.o.Redistributed != nil && len(p.o.Redistribute) > 0 {
		p.o.Redistributed.Push(Redistribution{Full: true, Update: s.offers})
	}
	s.offers = nil
	p.o.Counters.Count(counterSessions)
	p.o.Counters.Set(counterConnected, 1)
	p.o.Log.Info("session with zebra", zap.Stringer("release", s.peer.rel), zap.String("protocol", p.o.Protocol),
		zap.Uint16("instance", p.o.Instance), zap.Int("interfaces", len(s.links)))
	signal(p.invalidated)
}

// track sends NEXTHOP_REGISTER or NEXTHOP_UNREGISTER.
func (s *state) track(c command, a netip.Addr) {
	_ = s.peer.send(c, func(b []byte) ([]byte, error) { return s.peer.rel.appendTrack(b, a), nil })
}

// take takes in a message. The caller holds mu.
func (s *state) take(c command, body []byte) error {
	rel := s.peer.rel
	switch c {
	case cmdInterfaceAdd, cmdInterfaceUp, cmdInterfaceDown, cmdInterfaceDelete:
		l, err := rel.readLink(body)
		if err != nil {
			return err
		}
		s.setLink(l, c != cmdInterfaceDelete)
	case cmdInterfaceAddressAdd, cmdInterfaceAddressDelete:
		a, err := readAddress(body)
		if err != nil {
			return err
		}
		if c == cmdInterfaceAddressAdd {
			s.addrs[a.index] = put(s.addrs[a.index], a.prefix, true)
		} else {
			delete(s.addrs[a.index], a.prefix)
		}
	case cmdVRFAdd:
		v, err := rel.readVRF(body)
		if err != nil {
			return err
		}
		s.p.o.Log.Debug("zebra has a VRF", zap.String("name", v.name), zap.Uint32("table", v.table), zap.String("namespace", v.namespace))
	case cmdRouteNotifyOwner:
		n, err := rel.readRouteNote(body)
		if err != nil {
			return err
		}
		if n.table == s.p.table {
			s.routeNote(n)
		}
	case cmdNHGNotifyOwner:
		n, id, err := readGroupNote(body)
		if err != nil {
			return err
		}
		s.groupNote(n, id)
	case cmdRouterIDUpdate:
		id, err := readRouterID(body)
		if err != nil {
			return err
		}
		s.routerID[afi(id.Addr())-1] = id
	case cmdRedistributeRouteAdd, cmdRedistributeRouteDel:
		r, err := rel.readRoute(body)
		if err != nil {
			return err
		}
		s.offer(r, c == cmdRedistributeRouteAdd)
	case cmdNexthopUpdate:
		t, err := rel.readTracked(body)
		if err != nil {
			return err
		}
		s.reach(t)
	case cmdError:
		s.p.o.Counters.Count(counterRefused)
	}
	return nil
}

// name returns the name of an interface.
func (s *state) name(index uint32) string {
	if l, ok := s.links[index]; ok {
		return l.name
	}
	if index == 0 {
		return ""
	}
	return fmt.Sprintf("interface/%d", index)
}

func (s *state) hops(hops []nextHop) (out []msg.NextHop) {
	for _, h := range hops {
		if h.typ != hopBlackhole {
			out = append(out, msg.NextHop{Addr: h.addr, IfName: s.name(h.index), Weight: int32(min(h.weight, maxWeight))})
		}
	}
	return out
}

// offer passes on a redistributed route.
func (s *state) offer(r route, there bool) {
	key := RedistributedKey{Type: s.peer.rel.typeName(r.typ), Instance: r.instance, Prefix: r.prefix}
	x := RedistributedRoute{Distance: r.distance, Metric: r.metric, Tag: r.tag, NextHops: s.hops(r.hops)}
	switch {
	case s.p.o.Redistributed == nil || r.source.IsValid() && r.source.Bits() > 0:
	case s.offers != nil && there:
		s.offers[key] = x
	case s.offers != nil:
		delete(s.offers, key)
	case there:
		s.p.o.Redistributed.Push(Redistribution{Update: map[RedistributedKey]RedistributedRoute{key: x}})
	default:
		s.p.o.Redistributed.Push(Redistribution{Delete: map[RedistributedKey]bool{key: true}})
	}
}

// reach passes on how zebra reaches a tracked address.
func (s *state) reach(t tracked) {
	a := t.match.Addr()
	if s.p.o.Tracked == nil || !s.p.tracks[a] {
		return
	}
	r := Reach{Reachable: len(t.hops) > 0}
	if r.Reachable {
		r.By, r.Type, r.Metric, r.NextHops = t.by, s.peer.rel.typeName(t.typ), t.metric, s.hops(t.hops)
	}
	s.p.o.Tracked.Push(Tracked{a: r})
}
