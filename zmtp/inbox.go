package zmtp

import (
	"context"
	"sync"
)

// Kind is what a Delivery tells.
type Kind uint8

// The kinds. For each peer they come in order: one Up, what it sent, one Down.
const (
	Received Kind = iota // a message
	Up                   // a peer has connected: from now on it can be sent to
	Down                 // it has gone, with what was not sent yet; Err says why
)

// String names the kind.
func (k Kind) String() string { return [...]string{"message", "up", "down"}[k] }

// Delivery is what Recv returns.
type Delivery struct {
	Kind    Kind
	Peer    *Peer
	Message Message // of Received
	Err     error   // of Down: io.EOF if the peer closed the connection, a *ProtocolError, or what the network said
}

// inbox is what waits for Recv: a lane for each peer, from which Recv takes in turn.
type inbox struct {
	maxMessages, maxBytes int
	wake                  chan struct{}

	mu      sync.Mutex // guards what follows
	ready   fifo[*lane]
	lanes   map[string]*lane // those with a name
	orphans int              // lanes without an owner, in which something waits
}

// lane is what waits of one peer. A peer that comes back continues its lane, so that its Down stays before its next Up.
type lane struct {
	name    string // "": never continued
	room    chan struct{}
	waiting fifo[Delivery]
	bytes   int
	owner   *conn // nil: the peer is gone
}

func newInbox(l Limits) *inbox {
	return &inbox{maxMessages: l.ReceiveMessages, maxBytes: l.ReceiveBytes, wake: make(chan struct{}, 1), lanes: map[string]*lane{}}
}

// crowded tells whether the lane of this name is full of what the peer sent before.
func (b *inbox) crowded(name string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[name]
	return l != nil && b.full(l)
}

// attach gives c a lane and delivers its Up.
func (b *inbox) attach(name string, c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[name]
	if l == nil {
		l = &lane{name: name, room: make(chan struct{}, 1)}
		if name != "" {
			b.lanes[name] = l
		}
	}
	if l.owner == nil && l.waiting.len() > 0 {
		b.orphans--
	}
	l.owner, c.lane = c, l
	b.add(l, Delivery{Kind: Up, Peer: c.peer})
}

// detach delivers c's Down, unless that has been done.
func (b *inbox) detach(c *conn, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.lane == nil || c.lane.owner != c {
		return
	}
	c.lane.owner = nil
	b.orphans++
	b.add(c.lane, Delivery{Kind: Down, Peer: c.peer, Err: err})
}

// put delivers a message of c. It waits while c's lane is full; false: c has been given up.
func (b *inbox) put(c *conn, m Message) bool {
	for {
		b.mu.Lock()
		if c.lane.owner != c {
			b.mu.Unlock()
			return false
		}
		if !b.full(c.lane) {
			b.add(c.lane, Delivery{Peer: c.peer, Message: m})
			b.mu.Unlock()
			return true
		}
		b.mu.Unlock()
		select {
		case <-c.lane.room:
		case <-c.stop:
			return false
		}
	}
}

func (b *inbox) full(l *lane) bool {
	return l.waiting.len() >= b.maxMessages || l.waiting.len() > 0 && l.bytes >= b.maxBytes
}

// add appends to a lane; b.mu is held.
func (b *inbox) add(l *lane, d Delivery) {
	if l.waiting.len() == 0 {
		b.ready.push(l)
		poke(b.wake)
	}
	l.waiting.push(d)
	l.bytes += d.Message.weight()
}

// get takes the next delivery, one of each peer in turn.
func (b *inbox) get(ctx context.Context, closed <-chan struct{}) (Delivery, error) {
	for {
		select {
		case <-closed:
			return Delivery{}, ErrClosed
		default:
		}
		if d, ok := b.tryGet(); ok {
			return d, nil
		}
		select {
		case <-b.wake:
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		case <-closed:
		}
	}
}

func (b *inbox) tryGet() (d Delivery, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready.len() == 0 {
		return d, false
	}
	l := b.ready.pop()
	d = l.waiting.pop()
	l.bytes -= d.Message.weight()
	if l.waiting.len() > 0 {
		b.ready.push(l)
	} else if l.owner == nil {
		b.orphans--
		delete(b.lanes, l.name)
	}
	if b.ready.len() > 0 {
		poke(b.wake) // others may call Recv, too
	}
	if l.waiting.len() <= b.maxMessages/2 && l.bytes <= b.maxBytes/2 {
		poke(l.room)
	}
	return d, true
}

// abandoned returns how many peers have gone whose Down has not been received yet.
func (b *inbox) abandoned() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.orphans
}
