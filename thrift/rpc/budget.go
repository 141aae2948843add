package rpc

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"

	"openr/thrift/rocket"
)

// errBudget ends connections that took too much memory.
var errBudget = fmt.Errorf("requests and answers take more memory than they may: %w", rocket.ErrNoRoom)

const (
	freeShare = 16 << 10 // what each connection may hold outside the budget, between messages too: small requests always find room
	firstRead = 4 << 10  // what is allocated for a message before any of it has come
)

// budget bounds the memory that messages take, over all connections. When it is used up, it is the host that holds most which
// pays: its biggest message is given up, that of a modest one goes on. A server has two: for messages that are received, and
// for those that are worked on or wait for the client to take them.
type budget struct {
	limit int

	mu     sync.Mutex // guards what follows, and the fields of the shares
	used   int
	shares map[*share]bool
}

// share is one connection's part of a budget.
type share struct {
	budget *budget
	host   string
	net    string // that the host is in
	evict  func() // ends the connection, at once and from any goroutine

	held      int  // bytes beyond freeShare
	answers   int  // of them, those of answers
	receiving bool // false while the request is worked on, which nobody else can speed up
	evicted   bool
}

func newBudget(limit int) *budget { return &budget{limit: limit, shares: map[*share]bool{}} }

// inUse returns how many bytes are taken.
func (b *budget) inUse() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(b.used)
}

func (b *budget) open(who *host, evict func()) *share {
	s := &share{budget: b, host: who.name, net: who.network, evict: evict}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shares[s] = true
	return s
}

// hold sets the number of bytes that the connection holds for a message that is being received. It fails if this
// connection has to give way.
func (s *share) hold(n int) error {
	n = max(0, n-freeShare)
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	s.receiving = true
	return s.resize(n)
}

// add adds n bytes to what the connection holds for messages that are worked on or answered; n < 0 gives back, and cannot
// fail. It fails as hold does. A client that does not take its answers has to give way as one that does not finish its
// requests.
func (s *share) add(n int) error {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	return s.addLocked(n)
}

func (s *share) addLocked(n int) error {
	if n < 0 {
		n = max(n, -s.held) // what was evicted is given back already
		s.budget.used += n
		s.held += n
		return nil
	}
	s.receiving = true
	return s.resize(s.held + n)
}

// resize makes the share one of n bytes. The caller holds the budget's mu.
func (s *share) resize(n int) error {
	b := s.budget
	for !s.evicted && n > s.held && b.used+n-s.held > b.limit {
		victim := b.greediest(s, n)
		if victim == s {
			return fmt.Errorf("%w: all together %d bytes (limit %d)", errBudget, b.used+n-s.held, b.limit)
		}
		b.used -= victim.held
		victim.held, victim.answers, victim.evicted = 0, 0, true
		victim.evict()
	}
	if s.evicted {
		return fmt.Errorf("%w: another connection needed the room", errBudget)
	}
	b.used += n - s.held
	s.held = n
	return nil
}

// answersPart is how much of the budget several answers to one network may have; one alone may have all. So who asks for much
// again and again, and takes nothing of it, cannot have all.
const answersPart = 4

// answer is add for n bytes of an answer.
func (s *share) answer(n int) error {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 {
		sum := 0
		for x := range b.shares {
			if x.net == s.net {
				sum += x.answers
			}
		}
		if sum > 0 && sum+n > b.limit/answersPart {
			return fmt.Errorf("%w: %d bytes of several answers to %s (limit %d)", errBudget, sum+n, s.net, b.limit/answersPart)
		}
	}
	if err := s.addLocked(n); err != nil {
		return err
	}
	s.answers = max(0, s.answers+n)
	return nil
}

// wasEvicted reports whether the connection had to give way to another.
func (s *share) wasEvicted() bool {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	return s.evicted
}

// received says that the message is complete: until release nothing can be gained by giving it up.
func (s *share) received() {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	s.receiving = false
}

// release gives back what the connection holds.
func (s *share) release() {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= s.held
	s.held, s.answers, s.receiving = 0, 0, false
}

// close takes the connection out of the budget.
func (s *share) close() {
	s.release()
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	delete(s.budget.shares, s)
}

// greediest returns the share to give up if asking wants n bytes: the biggest of those of the host that holds most. It is
// asking itself if nobody else holds as much.
func (b *budget) greediest(asking *share, n int) *share {
	hosts := map[string]int{}
	for s := range b.shares {
		if s.receiving && s != asking {
			hosts[s.host] += s.held
		}
	}
	hosts[asking.host] += n
	worst := asking.host
	for host, held := range hosts {
		if held > hosts[worst] {
			worst = host
		}
	}
	victim, most := asking, 0
	if worst == asking.host {
		most = n
	}
	for s := range b.shares {
		if s != asking && s.receiving && s.host == worst && s.held > most {
			victim, most = s, s.held
		}
	}
	return victim
}

// inbox is the buffer into which a connection receives one message after another.
type inbox struct {
	share    *share
	data     []byte
	openEnds bool // the end of the message is not known: more may follow than is asked for
}

// reset forgets the last message, and gives back its memory if it is much.
func (in *inbox) reset() {
	if cap(in.data) <= freeShare {
		in.data = in.data[:0]
		return
	}
	in.data = nil
	in.share.release()
}

// read appends the next n bytes of r. Memory grows with what has arrived, not with n.
func (in *inbox) read(r *bufio.Reader, n int) error {
	for n > 0 {
		if len(in.data) == cap(in.data) {
			if err := in.grow(n); err != nil {
				return err
			}
		}
		part := in.data[len(in.data):min(cap(in.data), len(in.data)+n)]
		got, err := io.ReadFull(r, part)
		in.data = in.data[:len(in.data)+got]
		n -= got
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// grow makes room for some of the next n bytes: as much as is there already, but at least firstRead.
func (in *inbox) grow(n int) error {
	step := max(len(in.data), firstRead)
	if !in.openEnds {
		step = min(step, max(n, firstRead))
	}
	size := len(in.data) + step
	if size > freeShare {
		if err := in.share.hold(size); err != nil {
			return err
		}
	}
	grown := make([]byte, len(in.data), size)
	copy(grown, in.data)
	in.data = grown
	return nil
}
