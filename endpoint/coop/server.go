package coop

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
	"openr/queue"
	"openr/zmtp"
)

// ServerOptions is what a Server is made from.
type ServerOptions struct {
	Oracle    OracleOptions
	Transport Transport
	Session   string // where the ROUTER socket listens, host:port; required
	Feed      string // where the PUB socket listens; required

	// OnReady is told when the anycast tunnel address is to be announced, and when no longer; OnFault when an endpoint
	// becomes critical or frozen, with status Active when that is over. They are called from the server's goroutine and must
	// not wait.
	OnReady func(ready bool)
	OnFault func(k endpoint.Key, s endpoint.Status)
}

// Server is an oracle on its sockets. Its methods may be called from any goroutine while Run runs; they return ctx's error,
// or that the server has ended.
type Server struct {
	o      ServerOptions
	core   *Oracle
	log    *zap.Logger
	router *zmtp.Router
	pub    *zmtp.Publisher
	roster *roster
	calls  *queue.Calls
	inputs chan func(now time.Time) []Effect
	peers  map[string]*peerSocket // owned by Run
	ctx    context.Context        // Run's
	wg     sync.WaitGroup

	SessionAddr, FeedAddr net.Addr // what was bound
}

// peerSocket is the session that this oracle opens to another.
type peerSocket struct {
	dealer *zmtp.Dealer
	member Member
}

// inputBacklog is how many messages may wait for the core: enough to keep it busy, and few because each peer has a queue of
// its own before.
const inputBacklog = 64

// NewServer binds the sockets. Close or Run ends them.
func NewServer(ctx context.Context, o ServerOptions) (*Server, error) {
	o.Transport.complete()
	if o.Transport.Mode == zmtp.Strict {
		o.Oracle.Members = true
	}
	core, err := NewOracle(o.Oracle)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, core: core, log: core.o.Log, roster: newRoster(&o.Transport), calls: queue.NewCalls(),
		inputs: make(chan func(time.Time) []Effect, inputBacklog), peers: map[string]*peerSocket{}}
	opt := o.Transport.options(identity(RoleOracle, o.Oracle.Node), s.roster.session)
	opt.Log, opt.Counters = s.log, o.Oracle.Counters
	if o.Oracle.Counters == nil {
		opt.Counters = nil
	}
	if s.router, err = zmtp.NewRouter(opt); err != nil {
		return nil, err
	}
	opt.Authorise = s.roster.subscriber
	if s.pub, err = zmtp.NewPublisher(opt); err != nil {
		s.router.Close()
		return nil, err
	}
	if s.SessionAddr, err = s.router.Listen(ctx, o.Session); err == nil {
		s.FeedAddr, err = s.pub.Listen(ctx, o.Feed)
	}
	if err != nil {
		s.router.Close()
		s.pub.Close()
		return nil, err
	}
	return s, nil
}

// Run is the server's goroutine; it returns when ctx ends, with everything closed.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	s.ctx = ctx
	s.wg.Go(func() { s.receive(ctx, s.router.Recv, s.fromRouter) })
	timer := time.NewTimer(0)
	defer func() {
		s.calls.Stop()
		cancel()
		timer.Stop()
		for _, p := range s.peers {
			p.dealer.Close()
		}
		s.router.Close()
		s.pub.Close()
		s.wg.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-s.inputs:
			s.do(f(time.Now()))
			for range inputBacklog { // what waits already, without a look at the timers in between
				select {
				case f := <-s.inputs:
					s.do(f(time.Now()))
					continue
				default:
				}
				break
			}
		case f := <-s.calls.C():
			f()
		case <-timer.C:
			s.do(s.core.Tick(time.Now()))
		}
		timer.Reset(max(0, time.Until(s.core.NextDeadline())))
	}
}

// receive turns what a socket delivers into inputs.
func (s *Server) receive(ctx context.Context, recv func(context.Context) (zmtp.Delivery, error), input func(zmtp.Delivery) func(time.Time) []Effect) {
	for {
		d, err := recv(ctx)
		if err != nil {
			return
		}
		f := input(d)
		if f == nil {
			continue
		}
		select {
		case s.inputs <- f:
		case <-ctx.Done():
			return
		}
	}
}

// fromRouter runs in the goroutine of the socket, so that decoding does not keep the core from its work.
func (s *Server) fromRouter(d zmtp.Delivery) func(time.Time) []Effect {
	role, node, err := parseIdentity(d.Peer.Identity)
	if err != nil {
		return nil
	}
	return s.input(Session{node, role, false}, d)
}

func (s *Server) input(id Session, d zmtp.Delivery) func(time.Time) []Effect {
	switch d.Kind {
	case zmtp.Up:
		return func(now time.Time) []Effect { return s.core.Up(now, id) }
	case zmtp.Down:
		return func(now time.Time) []Effect { return s.core.Down(now, id) }
	}
	m, err := Decode(d.Message)
	if err != nil {
		return func(now time.Time) []Effect { return s.core.Malformed(now, id, m, err) }
	}
	return func(now time.Time) []Effect { return s.core.Receive(now, id, m) }
}

// do carries effects out.
func (s *Server) do(effects []Effect) {
	for i := range effects {
		e := &effects[i]
		switch e.Kind {
		case Send:
			s.send(e)
		case Broadcast:
			if parts, err := Encode(e.Message); err == nil {
				err = s.pub.Send(append(zmtp.Message{[]byte(topic(uint32(e.BD)))}, parts...))
				s.failed(err)
			}
		case Readiness:
			if s.o.OnReady != nil {
				s.o.OnReady(e.Ready)
			}
		case FaultRaised, FaultCleared:
			if s.o.OnFault != nil {
				s.o.OnFault(e.Key, e.Status)
			}
		}
	}
}

// send never waits: a peer without room loses the message, and the protocol repeats what matters.
func (s *Server) send(e *Effect) {
	parts, err := Encode(e.Message)
	if err != nil {
		s.log.Error("message not sent", zap.Stringer("type", e.Message.Body.Type()), zap.Error(err))
		return
	}
	if !e.To.Out {
		s.failed(s.router.Send(identity(e.To.Role, e.To.Node), parts))
	} else if p := s.peers[e.To.Node]; p != nil {
		s.failed(p.dealer.Send(parts))
	}
}

func (s *Server) failed(err error) {
	if err != nil {
		s.o.Oracle.Counters.Count(counterUnsent)
	}
}

// call runs f on the server's goroutine.
func (s *Server) call(ctx context.Context, f func(now time.Time) []Effect) error {
	return s.calls.Do(ctx, func() { s.do(f(time.Now())) })
}

// Do calls f with the oracle, for questions; f must not keep it.
func (s *Server) Do(ctx context.Context, f func(*Oracle)) error {
	return s.calls.Do(ctx, func() { f(s.core) })
}

// SetMember takes what a node says of itself. To other oracles it opens a session.
func (s *Server) SetMember(ctx context.Context, m Member) error {
	if err := m.validate(); err != nil {
		return err
	}
	if err := s.roster.set(&m); err != nil {
		return err
	}
	if s.roster.strict {
		s.expel(&m)
	}
	return s.call(ctx, func(now time.Time) []Effect {
		if m.Role == RoleOracle && m.Node != s.o.Oracle.Node {
			s.dial(m)
		}
		return s.core.SetMember(now, m)
	})
}

// expel closes connections that hold another key than a member has now.
func (s *Server) expel(m *Member) {
	id := identity(m.Role, m.Node)
	s.router.Disconnect(func(p *zmtp.Peer) bool { return p.Identity == id && p.Key.String() != m.Key })
}

// dial opens the session to another oracle, or opens it anew if its address or key changed.
func (s *Server) dial(m Member) {
	old := s.peers[m.Node]
	if old != nil && old.member.Session == m.Session && old.member.Key == m.Key {
		return
	}
	s.hangUp(m.Node)
	if m.Session == "" {
		return
	}
	e, err := s.o.Transport.endpointOf(&m, m.Session)
	if err != nil {
		s.log.Warn("no session with another oracle", zap.String("oracle", m.Node), zap.Error(err))
		return
	}
	opt := s.o.Transport.options(identity(RoleOracle, s.o.Oracle.Node), nil)
	opt.Log = s.log
	dealer, err := zmtp.NewDealer(opt)
	if err == nil {
		err = dealer.Dial(e)
	}
	if err != nil {
		s.log.Warn("no session with another oracle", zap.String("oracle", m.Node), zap.Error(err))
		return
	}
	s.peers[m.Node] = &peerSocket{dealer, m}
	id := Session{m.Node, RoleOracle, true}
	s.wg.Go(func() {
		s.receive(s.ctx, dealer.Recv, func(d zmtp.Delivery) func(time.Time) []Effect { return s.ifCurrent(dealer, id, d) })
	})
}

// ifCurrent is input for a socket that may have been replaced before the core sees it.
func (s *Server) ifCurrent(dealer *zmtp.Dealer, id Session, d zmtp.Delivery) func(time.Time) []Effect {
	f := s.input(id, d)
	return func(now time.Time) []Effect {
		if p := s.peers[id.Node]; p == nil || p.dealer != dealer {
			return nil
		}
		return f(now)
	}
}

func (s *Server) hangUp(node string) {
	if p := s.peers[node]; p != nil {
		delete(s.peers, node)
		s.do(s.core.Down(time.Now(), Session{node, RoleOracle, true}))
		s.wg.Go(func() { p.dealer.Close() })
	}
}

// RemoveMember takes the news that a node is no member any more.
func (s *Server) RemoveMember(ctx context.Context, role Role, node string) error {
	s.roster.remove(role, node)
	if s.roster.strict {
		id := identity(role, node)
		s.router.Disconnect(func(p *zmtp.Peer) bool { return p.Identity == id })
	}
	return s.call(ctx, func(now time.Time) []Effect {
		if role == RoleOracle {
			s.hangUp(node)
		}
		return s.core.RemoveMember(now, role, node)
	})
}

// SetMembersComplete is Oracle.SetMembersComplete.
func (s *Server) SetMembersComplete(ctx context.Context) error {
	return s.call(ctx, s.core.SetMembersComplete)
}

// SetReachable is Oracle.SetReachable.
func (s *Server) SetReachable(ctx context.Context, tep netip.Addr, reachable bool) error {
	return s.call(ctx, func(now time.Time) []Effect { return s.core.SetReachable(now, tep, reachable) })
}

// SetDrained is Oracle.SetDrained.
func (s *Server) SetDrained(ctx context.Context, drained bool) error {
	return s.call(ctx, func(now time.Time) []Effect { return s.core.SetDrained(now, drained) })
}

// Miss is Oracle.Miss.
func (s *Server) Miss(ctx context.Context, bd endpoint.BD, ip netip.Addr) error {
	return s.call(ctx, func(now time.Time) []Effect { return s.core.Miss(now, bd, ip) })
}

// Clear is Oracle.Clear.
func (s *Server) Clear(ctx context.Context, k endpoint.Key) error {
	return s.call(ctx, func(now time.Time) []Effect { return s.core.Clear(now, k) })
}
