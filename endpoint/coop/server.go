package coop

import (
	"context"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
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
	shell
	o      ServerOptions
	core   *Oracle
	router *zmtp.Router
	pub    *zmtp.Publisher
	roster *roster
	peers  map[string]*peerSocket // owned by Run

	SessionAddr, FeedAddr net.Addr // what was bound
}

// peerSocket is the session that this oracle opens to another.
type peerSocket struct {
	dealer *zmtp.Dealer
	member Member
}

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
	s := &Server{shell: newShell(core.o.Log, core.o.Counters), o: o, core: core, roster: newRoster(&o.Transport), peers: map[string]*peerSocket{}}
	s.timers, s.carry = core, s.carryOut
	opt := s.watched(o.Transport.options(identity(RoleOracle, o.Oracle.Node), s.roster.session))
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
	s.hear(s.router.Recv, 0, nil, func(p *zmtp.Peer) hearer {
		role, node, err := parseIdentity(p.Identity)
		if err != nil {
			return nil
		}
		return oracleSession{s.core, Session{node, role, false}}
	})
	return s.run(ctx, nil, nil, func() {
		cancel()
		for _, p := range s.peers {
			p.dealer.Close()
		}
		s.router.Close()
		s.pub.Close()
	})
}

// oracleSession is a session as an oracle knows it.
type oracleSession struct {
	core *Oracle
	id   Session
}

func (s oracleSession) up(now time.Time) []Effect   { return s.core.Up(now, s.id) }
func (s oracleSession) down(now time.Time) []Effect { return s.core.Down(now, s.id) }

func (s oracleSession) message(now time.Time, m *Message) []Effect {
	return s.core.Receive(now, s.id, m)
}

func (s oracleSession) malformed(now time.Time, m *Message, err error) []Effect {
	return s.core.Malformed(now, s.id, m, err)
}

func (s *Server) carryOut(e *Effect) {
	switch e.Kind {
	case Send:
		if !e.To.Out {
			s.send(e.Message, nil, func(m zmtp.Message) error { return s.router.Send(identity(e.To.Role, e.To.Node), m) })
		} else if p := s.peers[e.To.Node]; p != nil {
			s.send(e.Message, nil, p.dealer.Send)
		}
	case Broadcast:
		if t := topic(e.BD); s.pub.Wanted(t) {
			s.send(e.Message, t, s.pub.Send)
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
	opt := s.watched(s.o.Transport.options(identity(RoleOracle, s.o.Oracle.Node), nil))
	dealer, err := zmtp.NewDealer(opt)
	if err == nil {
		err = dealer.Dial(e)
	}
	if err != nil {
		s.log.Warn("no session with another oracle", zap.String("oracle", m.Node), zap.Error(err))
		return
	}
	p := &peerSocket{dealer, m}
	s.peers[m.Node] = p
	session := oracleSession{s.core, Session{m.Node, RoleOracle, true}}
	s.hear(dealer.Recv, 0, func() bool { return s.peers[m.Node] == p }, func(*zmtp.Peer) hearer { return session })
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
