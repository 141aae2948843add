package zmtp

import "sync"

// outbox is what waits to be sent on one connection. Nobody who puts something in ever waits.
type outbox struct {
	maxMessages, maxBytes int
	wake                  chan struct{} // tells the writer
	news                  *news         // told when there is room again, and when all is written

	mu       sync.Mutex // guards what follows
	messages fifo[Message]
	bytes    int // their weight
	pongs    [][]byte
	topics   map[string]bool // subscriptions to make (true) and to cancel
	busy     bool            // the writer has taken what it has not written yet
	hungry   bool            // somebody found the outbox full
	closed   bool
}

// maxPongs is how many answers to PINGs may wait: a peer that sends more without reading needs no more (37/ZMTP, PONG storms).
const maxPongs = 4

func newOutbox(l Limits, n *news) *outbox {
	return &outbox{maxMessages: l.SendMessages, maxBytes: l.SendBytes, wake: make(chan struct{}, 1), news: n}
}

// push puts a message in. The error is ErrFull or ErrUnreachable.
func (o *outbox) push(m Message, weight int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.messages.len()
	switch {
	case o.closed:
		return ErrUnreachable
	case n >= o.maxMessages || n > 0 && o.bytes+weight > o.maxBytes:
		o.hungry = true
		return ErrFull
	}
	o.messages.push(m)
	o.bytes += weight
	if n == 0 {
		poke(o.wake)
	}
	return nil
}

// pong notes the answer to a PING; false if too many wait.
func (o *outbox) pong(context []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.pongs) >= maxPongs {
		return false
	}
	o.pongs = append(o.pongs, appendCommand(nil, cmdPong, context))
	poke(o.wake)
	return true
}

// topic notes a subscription to make or to cancel. One that has not been told to the peer yet is forgotten with its opposite.
func (o *outbox) topic(t string, on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if before, waits := o.topics[t]; waits && before != on {
		delete(o.topics, t)
		return
	}
	if o.topics == nil {
		o.topics = map[string]bool{}
	}
	o.topics[t] = on
	poke(o.wake)
}

// take moves what waits to batch, messages up to a weight of budget or a single one. false: nothing waits.
func (o *outbox) take(b *batch, budget int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	b.pongs, o.pongs = o.pongs, nil
	b.topics, o.topics = o.topics, nil
	b.messages = b.messages[:0]
	for o.messages.len() > 0 {
		w := (*o.messages.front()).weight()
		if len(b.messages) > 0 && w > budget {
			break
		}
		budget -= w
		o.bytes -= w
		b.messages = append(b.messages, o.messages.pop())
	}
	o.busy = len(b.messages) > 0 || b.pongs != nil || b.topics != nil
	if !o.busy || o.hungry && o.messages.len() <= o.maxMessages/2 && o.bytes <= o.maxBytes/2 {
		o.hungry = false
		o.news.tell()
	}
	return o.busy
}

// idle tells whether all is written.
func (o *outbox) idle() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closed || !o.busy && o.messages.len() == 0 && len(o.topics) == 0
}

// close drops what waits, and returns how many messages that were.
func (o *outbox) close() (lost int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lost = o.messages.len()
	o.closed, o.messages, o.pongs, o.topics = true, fifo[Message]{}, nil, nil
	o.news.tell()
	return lost
}

// batch is what a writer has taken from its outbox.
type batch struct {
	messages []Message
	pongs    [][]byte
	topics   map[string]bool
}
