package zmtp

import (
	"encoding/binary"
	"net"
	"slices"
)

// join makes a connection known, and tells the peer that it may begin. An error says why it may not.
func (s *socket) join(c *conn, h *handshaker) error {
	c.out = newOutbox(s.o.Limits, &s.news)
	if s.kind == typePub {
		c.subscribed = &topics{}
	}
	var ready []byte
	if h.status == authorise {
		var err error
		if ready, err = h.admit(); err != nil {
			return err
		}
	}
	c.sealer, c.opener = h.mech.traffic()
	if err := s.register(c); err != nil {
		return err
	}
	c.send(ready)
	return nil
}

// register enters a connection in the books.
func (s *socket) register(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	accepted := c.peer.Dialled == ""
	lane := ""
	if !accepted {
		lane = "to " + c.peer.Dialled
	}
	var old *conn
	if s.kind == typeRouter {
		if c.peer.Identity == "" {
			s.serial++
			c.peer.Identity = string(binary.BigEndian.AppendUint64([]byte{0}, s.serial))
		} else {
			lane = "of " + c.peer.Identity
		}
		if old = s.byIdentity[c.peer.Identity]; old != nil {
			if err := s.mayReplace(old.peer, c.peer); err != nil {
				return err
			}
		}
	}
	if accepted {
		l := &s.o.Limits
		orphans := 0
		if s.in != nil {
			orphans = s.in.abandoned()
		}
		if old == nil && s.accepted+orphans >= l.Connections {
			return fault(CauseConnections, "there are %d connections already (Limits.Connections)", l.Connections)
		}
		if s.perPeer[c.peer.origin()] >= l.PerPeer && (old == nil || old.peer.origin() != c.peer.origin()) {
			return fault(CauseConnections, "there are %d connections of %s already (Limits.PerPeer)", l.PerPeer, c.peer.origin())
		}
	}
	if s.in != nil && s.in.crowded(lane) {
		return fault(CauseConnections, "what the peer sent before has not been received yet")
	}
	if old != nil {
		old.fail(fault(CauseHandover, "a newer connection, from %v, took the identity over", c.peer.Address))
		s.forget(old, old.err)
	}
	if s.in != nil {
		s.in.attach(lane, c)
	}
	if s.kind == typeSub {
		for _, topic := range s.wanted.all() {
			c.out.topic(topic, true)
		}
	}
	if accepted {
		s.accepted++
		s.perPeer[c.peer.origin()]++
	}
	if s.kind == typeRouter {
		s.byIdentity[c.peer.Identity] = c
	}
	s.conns = append(s.conns, c)
	s.news.tell()
	return nil
}

// mayReplace tells whether a newer connection may have the identity of an older one that still lives. What one key has
// proved to be, neither another key nor somebody without one takes over.
func (s *socket) mayReplace(old, new *Peer) error {
	switch {
	case !s.o.Handover:
		return fault(CauseIdentity, "a connection from %v has the identity %q already", old.Address, new.Identity)
	case old.Secure() && old.Key != new.Key:
		return fault(CauseIdentity, "the identity %q belongs to the key %v", new.Identity, old.Key)
	}
	return nil
}

// origin is what connections are counted by: the key, or where they come from.
func (p *Peer) origin() string {
	if p.Secure() {
		return p.Key.String()
	}
	if host, _, err := net.SplitHostPort(p.Address.String()); err == nil {
		return host
	}
	return p.Address.String()
}

// leave takes a connection out of the books.
func (s *socket) leave(c *conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(c, err)
}

// forget takes a connection out of the books, once; s.mu is held.
func (s *socket) forget(c *conn, err error) {
	i := slices.Index(s.conns, c)
	if i < 0 {
		return
	}
	s.conns = slices.Delete(s.conns, i, i+1)
	if s.byIdentity[c.peer.Identity] == c {
		delete(s.byIdentity, c.peer.Identity)
	}
	if c.peer.Dialled == "" {
		s.accepted--
		if s.perPeer[c.peer.origin()]--; s.perPeer[c.peer.origin()] == 0 {
			delete(s.perPeer, c.peer.origin())
		}
	}
	s.lose(c.out.close())
	if s.in != nil {
		s.in.detach(c, err)
	}
}

// lose counts messages that went with their peer.
func (s *socket) lose(n int) {
	if n > 0 {
		s.stats.lost.Add(uint64(n))
		s.o.Counters.Sum(counterLost, int64(n))
	}
}
