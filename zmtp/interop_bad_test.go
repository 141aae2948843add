package zmtp

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// quick are heartbeats and retries for tests that wait for them in real time.
func quick(o Options) Options {
	o.Heartbeat = Heartbeat{Interval: 50 * time.Millisecond, Timeout: 400 * time.Millisecond}
	o.Backoff = Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond}
	return o
}

// TestLibzmqWrongKeys: with keys that are wrong or not on the list nobody gets in, whichever side is libzmq.
func TestLibzmqWrongKeys(t *testing.T) {
	server, good, bad := keys(t), keys(t), keys(t)
	cause := func(c *tally, wants ...Cause) {
		t.Helper()
		waitFor(t, fmt.Sprint(wants), func() bool {
			for _, want := range wants {
				if c.get(counterErrors+string(want)) > 0 {
					return true
				}
			}
			return false
		})
	}

	for _, mode := range []Mode{Strict, Compatible} {
		var counted tally
		r := newRouter(t, quick(Options{Keys: server, Mode: mode, Authorise: only(good.Public), Counters: &counted}))
		address := r.listen(t)
		p := newLibzmq(t, "DEALER", nil)
		p.curveClient(bad, server.Public)
		p.connect(address)
		cause(&counted, CauseAuthorise)
		p = newLibzmq(t, "DEALER", nil)
		p.curveClient(good, bad.Public)
		p.connect(address)
		cause(&counted, CauseCrypto)
		p = newLibzmq(t, "DEALER", nil)
		p.connect(address) // NULL
		if mode == Strict {
			cause(&counted, CauseMechanism, CauseHungUp) // libzmq may go before it has told its mechanism
		} else {
			waitFor(t, "a second refusal", func() bool { return counted.get(counterErrors+string(CauseAuthorise)) > 1 })
		}
		p = newLibzmq(t, "DEALER", fields{"PLAIN_USERNAME": "a", "PLAIN_PASSWORD": "b"})
		p.connect(address)
		cause(&counted, CauseMechanism, CauseHungUp)
		p = newLibzmq(t, "SUB", nil)
		p.curveClient(good, server.Public)
		p.connect(address)
		cause(&counted, CauseSocketType)
		if peers := r.Peers(); len(peers) > 0 {
			t.Errorf("in came %v", peers)
		}
		p = newLibzmq(t, "DEALER", nil)
		p.curveClient(good, server.Public)
		p.connect(address)
		expect(t, r, Up)
	}

	p := newLibzmq(t, "ROUTER", nil)
	p.do(fields{"do": "authorise", "keys": []string{good.Public.String()}})
	p.curveServer(server)
	address := p.bind()
	var counted tally
	d := newDealer(t, quick(Options{Keys: bad, Counters: &counted}))
	check(t, d.Dial(Endpoint{Address: address, ServerKey: server.Public}))
	cause(&counted, CauseRefused) // libzmq's ERROR 400
	d = newDealer(t, quick(Options{Keys: good}))
	check(t, d.Dial(Endpoint{Address: address, ServerKey: bad.Public}))
	waitFor(t, "two attempts", func() bool { return d.Stats().HandshakesBad > 1 })
	d = newDealer(t, quick(Options{Counters: &counted}))
	check(t, d.Dial(Endpoint{Address: address}))
	cause(&counted, CauseMechanism, CauseHungUp)
	d = newDealer(t, quick(Options{Identity: "good", Keys: good}))
	check(t, d.Dial(Endpoint{Address: address, ServerKey: server.Public}))
	expect(t, d, Up)
	check(t, d.Send(text("hello")))
	if got := p.recv(patience); !reflect.DeepEqual(got, text("good", "hello")) {
		t.Errorf("libzmq received %s", show(got))
	}
}

// TestLibzmqHeartbeats: libzmq's own heartbeats are answered, and ours by it.
func TestLibzmqHeartbeats(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		var wire traffic
		o := s.listening(Options{Heartbeat: Heartbeat{Interval: -1}})
		o.Listen = wire.listen
		r := newRouter(t, o)
		p := newLibzmq(t, "DEALER", fields{"HEARTBEAT_IVL": 20, "HEARTBEAT_TIMEOUT": 2000, "HEARTBEAT_TTL": 5000})
		s.libzmqClient(p, r.listen(t))
		expect(t, r, Up)
		sent := wire.wrote.Load()
		waitFor(t, "20 PONGs", func() bool { return wire.wrote.Load() >= sent+20 })
		if peers := r.Peers(); len(peers) != 1 {
			t.Errorf("%v", peers)
		}

		wire = traffic{}
		o = s.listening(Options{Heartbeat: Heartbeat{Interval: 20 * time.Millisecond, Timeout: 5 * time.Second}})
		o.Listen = wire.listen
		r = newRouter(t, o)
		p = newLibzmq(t, "DEALER", nil)
		s.libzmqClient(p, r.listen(t))
		expect(t, r, Up)
		got := wire.read.Load()
		waitFor(t, "20 PONGs of libzmq", func() bool { return wire.read.Load() >= got+20 })
		if peers := r.Peers(); len(peers) != 1 {
			t.Errorf("%v", peers)
		}
	})
}

// traffic counts the reads and writes of accepted connections.
type traffic struct{ read, wrote atomic.Int64 }

func (w *traffic) listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	return trafficListener{l, w}, err
}

type trafficListener struct {
	net.Listener
	w *traffic
}

func (l trafficListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return trafficConn{c, l.w}, err
}

type trafficConn struct {
	net.Conn
	w *traffic
}

func (c trafficConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.read.Add(1)
	return n, err
}

func (c trafficConn) Write(b []byte) (int, error) {
	c.w.wrote.Add(1)
	return c.Conn.Write(b)
}

// TestLibzmqStops: a process that is stopped keeps its TCP connection, and is noticed nevertheless; going on, it comes back.
// Nobody else notices anything.
func TestLibzmqStops(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		r := newRouter(t, quick(s.listening(Options{})))
		address := r.listen(t)
		stopped := newLibzmq(t, "DEALER", fields{"IDENTITY": "stopped", "HEARTBEAT_IVL": 50, "RECONNECT_IVL": 10})
		s.libzmqClient(stopped, address)
		expect(t, r, Up)
		good := newLibzmq(t, "DEALER", fields{"IDENTITY": "good"})
		s.libzmqClient(good, address)
		expect(t, r, Up)
		stopped.signal(syscall.SIGSTOP)
		for gone := false; !gone; {
			check(t, r.Send("good", text("hello")))
			if got := good.recv(patience); !reflect.DeepEqual(got, text("hello")) {
				t.Fatalf("the good peer received %s", show(got))
			}
			gone = len(r.Peers()) == 1
		}
		if d := expect(t, r, Down); d.Peer.Identity != "stopped" || causeOf(d.Err) != CauseSilent {
			t.Errorf("down: %v, %v", d.Peer, d.Err)
		}
		stopped.signal(syscall.SIGCONT)
		if d := expect(t, r, Up); d.Peer.Identity != "stopped" {
			t.Errorf("up: %v", d.Peer)
		}
		check(t, r.Send("stopped", text("again")))
		if got := stopped.recv(patience); !reflect.DeepEqual(got, text("again")) {
			t.Errorf("received %s", show(got))
		}
	})
}

// TestLibzmqSlowSubscriber: one that is stopped takes neither time nor messages from another, and costs a bounded queue.
func TestLibzmqSlowSubscriber(t *testing.T) {
	pub := newPublisher(t, Options{Heartbeat: Heartbeat{Interval: -1}, Limits: Limits{SendBytes: 1 << 20}})
	address := pub.listen(t)
	slow, good := newLibzmq(t, "SUB", fields{"RCVHWM": 10}), newLibzmq(t, "SUB", fields{"RCVHWM": 0})
	for i, p := range []*libzmq{slow, good} {
		subscribe(p, "")
		p.connect(address)
		waitFor(t, "the subscription", func() bool {
			c := pub.connections()
			return len(c) == i+1 && c[i].subscribed.match(nil)
		})
	}
	queue := pub.connections()[1].out
	slow.signal(syscall.SIGSTOP)
	const many = 2000
	good.ask(fields{"do": "sink", "count": many, "timeout": patience.Milliseconds()})
	body := make([]byte, 20_000)
	for i := range many {
		check(t, pub.Send(Message{[]byte(trimNumber(i)), body}))
		waitFor(t, "the good subscriber's queue to have room", func() bool {
			queue.mu.Lock()
			defer queue.mu.Unlock()
			return queue.bytes < 500_000
		})
	}
	if got := good.answer()["received"]; got != float64(many) {
		t.Errorf("the good subscriber received %v of %d", got, many)
	}
	if s := pub.Stats(); s.MessagesDropped == 0 || s.MessagesDropped > many {
		t.Errorf("%+v", s)
	}
	slow.signal(syscall.SIGCONT)
}

// TestLibzmqRestarts: our side dials again, tells so, and subscribes again.
func TestLibzmqRestarts(t *testing.T) {
	p := newLibzmq(t, "XPUB", nil)
	address := p.bind()
	s := newSubscriber(t, quick(Options{}))
	s.Subscribe("a")
	check(t, s.Dial(Endpoint{Address: address}))
	expect(t, s, Up)
	p.do(fields{"do": "close"})
	expect(t, s, Down)
	p.do(fields{"do": "make", "kind": "XPUB"})
	p.do(fields{"do": "bind_to", "to": address})
	expect(t, s, Up)
	if got := p.recv(patience); !reflect.DeepEqual(got, text("\x01a")) {
		t.Fatalf("libzmq was told %s", show(got))
	}
	p.send(text("a", "b"))
	receive(t, s, text("a", "b"))
}

// TestLibzmqManyMessages: nothing is lost, doubled or out of order, in both directions at once.
func TestLibzmqManyMessages(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		const many = 20_000
		r := newRouter(t, s.listening(Options{}))
		p := newLibzmq(t, "DEALER", fields{"IDENTITY": "leaf-1", "SNDHWM": 0, "RCVHWM": 0})
		s.libzmqClient(p, r.listen(t))
		expect(t, r, Up)
		p.ask(fields{"do": "burst", "count": many, "size": 100})
		var sender sync.WaitGroup
		sender.Go(func() {
			body := bytes.Repeat([]byte("y"), 100)
			for i := range many {
				if err := r.SendWait(t.Context(), "leaf-1", Message{[]byte(trimNumber(i)), body}); err != nil {
					t.Error(err)
					return
				}
			}
		})
		for i := range many {
			if d := next(t, r); d.Kind != Received || string(d.Message[0]) != trimNumber(i) || len(d.Message[1]) != 100 {
				t.Fatalf("delivery %d is %v %s, %v", i, d.Kind, show(d.Message), d.Err)
			}
		}
		sender.Wait()
		p.answer()
		if got := p.do(fields{"do": "sink", "count": many, "timeout": patience.Milliseconds()}); got["received"] != float64(many) {
			t.Errorf("libzmq received %v", got)
		}
	})
}
