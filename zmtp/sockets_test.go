package zmtp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestHandover: with it the newer connection has the identity at once, and Recv tells of the older one's end before the newer
// one's beginning; without, the newer one waits until the older one is gone.
func TestHandover(t *testing.T) {
	for _, handover := range []bool{true, false} {
		simulated(t, func(t *testing.T, n *network) {
			var counted tally
			r := newRouter(t, n.in(Options{Handover: handover, Counters: &counted}))
			r.at(t, "oracle")
			old := n.rawDial(t, "oracle", typeDealer, "leaf-1", true)
			old.send(0, []byte("from the old one"))
			synctest.Wait()
			began := time.Now()
			d := newDealer(t, n.in(Options{Identity: "leaf-1"}))
			check(t, d.Dial(Endpoint{Address: "oracle"}))
			expect(t, d, Up)
			check(t, d.Send(text("from the new one")))
			if waited := time.Since(began); handover != (waited == 0) || waited > 10*time.Second {
				t.Errorf("handover %v: the newer one waited for %v", handover, waited)
			}
			order := ""
			for range 5 {
				d := next(t, r)
				order += fmt.Sprintf("%v %s;", d.Kind, show(d.Message))
			}
			if want := `up ;message [16: "from the old one"];down ;up ;message [16: "from the new one"];`; order != want {
				t.Errorf("received %s", order)
			}
			cause := CauseIdentity
			if handover {
				cause = CauseHandover
			}
			synctest.Wait()
			if counted.get(counterErrors+string(cause)) == 0 {
				t.Errorf("counted %v", counted.n)
			}
			check(t, r.Send("leaf-1", text("hello")))
			receive(t, d, text("hello"))
		})
	}
}

// TestHandoverNeedsTheKey: what one key has proved to be, nobody else takes over.
func TestHandoverNeedsTheKey(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		server, one, other := keys(t), keys(t), keys(t)
		var counted tally
		r := newRouter(t, n.in(Options{Handover: true, Counters: &counted, Keys: server, Mode: Compatible}))
		r.at(t, "oracle")
		connect := func(o Options) *Dealer {
			o.Identity = "leaf-1"
			d := newDealer(t, n.in(o))
			e := Endpoint{Address: "oracle"}
			if !o.Keys.Secret.IsZero() {
				e.ServerKey = server.Public
			}
			check(t, d.Dial(e))
			synctest.Wait()
			return d
		}
		key := func() Key { return r.Peers()[0].Key }
		connect(Options{})
		if len(r.Peers()) != 1 || key() != (Key{}) {
			t.Fatal("nobody is there")
		}
		first := connect(Options{Keys: one}) // a key beats none
		if key() != one.Public {
			t.Errorf("the identity belongs to %v", key())
		}
		connect(Options{}).Close()
		connect(Options{Keys: other}).Close()
		if key() != one.Public || counted.get(counterErrors+string(CauseIdentity)) < 2 {
			t.Errorf("the identity belongs to %v; counted %v", key(), counted.n)
		}
		connect(Options{Keys: one}) // the same key may
		if peers := r.Peers(); len(peers) != 1 || key() != one.Public {
			t.Errorf("%v", peers)
		}
		if len(first.Peers()) != 0 {
			t.Error("the older connection lives")
		}
	})
}

// TestReconnectsNobodyReceives: a peer that comes and goes while nobody calls Recv costs a bounded amount of memory.
func TestReconnectsNobodyReceives(t *testing.T) {
	for _, identity := range []string{"leaf-1", ""} {
		simulated(t, func(t *testing.T, n *network) {
			r := newRouter(t, n.in(Options{Handover: true, Limits: Limits{ReceiveMessages: 10, Connections: 20}}))
			r.at(t, "oracle")
			for range 100 {
				d := newDealer(t, n.in(Options{Identity: identity}))
				check(t, d.Dial(Endpoint{Address: "oracle"}))
				synctest.Wait()
				d.Send(text("x"))
				synctest.Wait()
				d.Close()
			}
			synctest.Wait()
			waiting := 0
			r.in.mu.Lock()
			for r.in.ready.len() > 0 {
				waiting += r.in.ready.pop().waiting.len()
			}
			r.in.mu.Unlock()
			if waiting > 3*20 {
				t.Errorf("identity %q: %d deliveries wait", identity, waiting)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		caused := func(c Cause) int64 { synctest.Wait(); return counted.get(counterErrors + string(c)) }
		r := newRouter(t, n.in(Options{Counters: &counted, Limits: Limits{Message: 1000, Parts: 3, Connections: 2}}))
		r.at(t, "oracle")

		peer := n.rawDial(t, "oracle", typeDealer, "a", true)
		peer.send(flagMore, make([]byte, 500))
		peer.send(0, make([]byte, 500))
		expect(t, r, Received)
		peer.send(flagMore, make([]byte, 500))
		peer.send(0, make([]byte, 501))
		if expect(t, r, Down); caused(CauseSize) != 1 {
			t.Errorf("two parts of 1001 octets: counted %v", counted.n)
		}
		peer = n.rawDial(t, "oracle", typeDealer, "a", true)
		peer.conn.Write([]byte{flagLong, 0, 0, 0, 0, 0, 0, 3, 0xe9}) // the size alone is enough
		if expect(t, r, Down); caused(CauseSize) != 2 {
			t.Errorf("a frame of 1001 octets: counted %v", counted.n)
		}
		peer = n.rawDial(t, "oracle", typeDealer, "a", true)
		for range 3 {
			peer.send(flagMore, nil)
		}
		peer.send(0, nil)
		if expect(t, r, Down); caused(CauseSize) != 3 {
			t.Errorf("four parts: counted %v", counted.n)
		}
		peer = n.rawDial(t, "oracle", typeDealer, "a", true)
		peer.send(0x10, nil)
		if expect(t, r, Down); caused(CauseFrame) != 1 {
			t.Errorf("a reserved flag: counted %v", counted.n)
		}

		a, b, c := newDealer(t, n.in(Options{Identity: "a"})), newDealer(t, n.in(Options{})), newDealer(t, n.in(Options{}))
		for _, d := range []*Dealer{a, b, c} {
			check(t, d.Dial(Endpoint{Address: "oracle"}))
			synctest.Wait()
		}
		if len(r.Peers()) != 2 || len(c.Peers()) != 0 || caused(CauseConnections) == 0 {
			t.Errorf("the limit of 2 connections: %v; counted %v", r.Peers(), counted.n)
		}
		for _, m := range []Message{nil, {}, make(Message, 4), {make([]byte, 1001)}} {
			if err := r.Send("a", m); !errors.Is(err, ErrTooLarge) {
				t.Errorf("a message of %d parts: %v", len(m), err)
			}
		}
		b.Close() // its place is free again once that has been received
		time.Sleep(20 * time.Second)
		if len(c.Peers()) != 0 {
			t.Error("a place was free before its Down was received")
		}
		for range 4 {
			next(t, r)
		}
		time.Sleep(20 * time.Second)
		if len(c.Peers()) != 1 {
			t.Error("no place became free")
		}
	})
	simulated(t, func(t *testing.T, n *network) {
		server, client := keys(t), keys(t)
		r := newRouter(t, n.in(Options{Keys: server, Authorise: anybody, Limits: Limits{PerPeer: 3}}))
		r.at(t, "oracle")
		for range 5 {
			check(t, newDealer(t, n.in(Options{Keys: client})).Dial(Endpoint{Address: "oracle", ServerKey: server.Public}))
		}
		synctest.Wait()
		if len(r.Peers()) != 3 {
			t.Errorf("%d connections with one key, 3 are allowed", len(r.Peers()))
		}
		other := newDealer(t, n.in(Options{Keys: keys(t)}))
		check(t, other.Dial(Endpoint{Address: "oracle", ServerKey: server.Public}))
		expect(t, other, Up)
	})
}

// TestModes: who gets in where, by sockets.
func TestModes(t *testing.T) {
	server, good, bad := keys(t), keys(t), keys(t)
	for _, tt := range []struct {
		name   string
		mode   Mode
		client KeyPair
		to     Key
		in     bool
		cause  Cause
	}{
		{"strict, on the list", Strict, good, server.Public, true, ""},
		{"strict, not on the list", Strict, bad, server.Public, false, CauseAuthorise},
		{"strict, wrong server key", Strict, good, bad.Public, false, CauseCrypto},
		{"strict, NULL", Strict, KeyPair{}, Key{}, false, CauseMechanism},
		{"compatible, on the list", Compatible, good, server.Public, true, ""},
		{"compatible, not on the list", Compatible, bad, server.Public, false, CauseAuthorise},
		{"compatible, NULL", Compatible, KeyPair{}, Key{}, true, ""},
		{"NULL, NULL", NullOnly, KeyPair{}, Key{}, true, ""},
		{"NULL, CURVE", NullOnly, good, server.Public, false, CauseMechanism},
	} {
		t.Run(tt.name, func(t *testing.T) {
			simulated(t, func(t *testing.T, n *network) {
				var counted tally
				r := newRouter(t, n.in(Options{Keys: server, Mode: tt.mode, Counters: &counted, Authorise: only(good.Public, Key{})}))
				r.at(t, "oracle")
				d := newDealer(t, n.in(Options{Identity: "leaf-1", Keys: tt.client}))
				check(t, d.Dial(Endpoint{Address: "oracle", ServerKey: tt.to}))
				synctest.Wait()
				if in := len(r.Peers()) == 1 && len(d.Peers()) == 1; in != tt.in {
					t.Fatalf("in: %v, counted %v", in, counted.n)
				}
				if !tt.in {
					if counted.get(counterErrors+string(tt.cause)) == 0 {
						t.Errorf("counted %v", counted.n)
					}
					return
				}
				check(t, d.Send(text("a", "b")))
				if got := receive(t, r, text("a", "b")); got.Peer.Key != tt.client.Public || got.Peer.Secure() == tt.to.IsZero() {
					t.Errorf("from %v", got.Peer)
				}
			})
		})
	}
}

// TestDealerTakesTurns over its peers, and passes over those without room.
func TestDealerTakesTurns(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		d := newDealer(t, n.in(Options{Limits: Limits{SendMessages: 10}}))
		var routers []*Router
		for _, name := range []string{"a", "b", "c"} {
			r := newRouter(t, n.in(Options{Limits: Limits{ReceiveMessages: 20}}))
			r.at(t, name)
			check(t, d.Dial(Endpoint{Address: name}))
			routers = append(routers, r)
		}
		synctest.Wait()
		for range 9 {
			check(t, d.Send(text("x")))
			synctest.Wait()
		}
		for i, r := range routers {
			if got := r.Stats().MessagesReceived; got != 3 {
				t.Errorf("peer %d has received %d of 9", i, got)
			}
		}
		// Peer 0 alone receives; the others' queues fill, and it gets all that is sent from then on.
		sent := 0
		for ; sent < 1000; sent++ {
			if err := d.Send(text("x")); err != nil {
				t.Fatalf("message %d: %v", sent, err)
			}
			synctest.Wait()
			for range routers[0].in.ready.len() {
				next(t, routers[0])
			}
		}
		if err := d.Send(text("x")); err != nil {
			t.Error(err)
		}
	})
}

// TestSendWait waits for a peer, and for room; Flush until all is written.
func TestSendWait(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		d := newDealer(t, n.in(Options{Identity: "leaf-1", Limits: Limits{SendMessages: 10}}))
		r := newRouter(t, n.in(Options{Limits: Limits{SendMessages: 10, ReceiveMessages: 5}}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.SendWait(ctx, text("x")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody is there: %v", err)
		}
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		const many = 500
		var senders sync.WaitGroup
		senders.Go(func() {
			for range many {
				if err := d.SendWait(t.Context(), text("x")); err != nil {
					t.Error(err)
				}
			}
			if err := d.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Minute)
		r.at(t, "oracle")
		expect(t, r, Up)
		for range many {
			receive(t, r, text("x"))
		}
		senders.Wait()
		if s := d.Stats(); s.MessagesSent != many || s.MessagesLost+s.MessagesDropped+s.MessagesRefused > 0 {
			t.Errorf("%+v", s)
		}
		if err := r.SendWait(t.Context(), "leaf-2", text("x")); !errors.Is(err, ErrUnreachable) {
			t.Errorf("nobody has that name: %v", err)
		}
		expect(t, d, Up)
		senders.Go(func() {
			for range many {
				if err := r.SendWait(t.Context(), "leaf-1", text("y")); err != nil {
					t.Error(err)
				}
			}
		})
		for range many {
			receive(t, d, text("y"))
		}
		senders.Wait()
	})
}

// TestFlushThenClose: what was flushed arrives.
func TestFlushThenClose(t *testing.T) {
	r := newRouter(t, Options{})
	address := r.listen(t)
	for range 20 {
		d := newDealer(t, Options{})
		check(t, d.Dial(Endpoint{Address: address}))
		expect(t, d, Up)
		for range 100 {
			check(t, d.Send(Message{make([]byte, 10_000)}))
		}
		check(t, d.Flush(t.Context()))
		d.Close()
		for i := range 100 {
			if d := next(t, r); d.Kind == Up {
				next(t, r)
			} else if d.Kind == Down {
				t.Fatalf("gone after %d messages: %v", i, d.Err)
			}
		}
		expect(t, r, Down)
	}
}

// TestPublish: each subscriber gets what it wants, in order; a slow one loses messages and nobody else does.
func TestPublish(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		p := newPublisher(t, n.in(Options{Counters: &counted, Limits: Limits{SendMessages: 10}}))
		p.at(t, "oracle")
		a, b := newSubscriber(t, n.in(Options{})), newSubscriber(t, n.in(Options{}))
		slow := n.rawDial(t, "oracle", typeSub, "", false)
		slow.send(0, []byte("\x01ep/1")) // 3.0 style
		a.Subscribe("ep/1")
		check(t, a.Dial(Endpoint{Address: "oracle"}))
		check(t, b.Dial(Endpoint{Address: "oracle"}))
		b.Subscribe("ep/")
		b.Subscribe("ep/")
		synctest.Wait()
		for topic, wanted := range map[string]bool{"ep/1": true, "ep/2": true, "ep/": true, "ep": false, "": false, "other": false} {
			if got := p.Wanted([]byte(topic)); got != wanted {
				t.Errorf("somebody wants %q: %v", topic, got)
			}
		}
		for i := range 100 {
			check(t, p.Send(text("ep/1", fmt.Sprint(i))))
			check(t, p.Send(text("ep/2", fmt.Sprint(i))))
			synctest.Wait()
		}
		for i := range 100 {
			receive(t, a, text("ep/1", fmt.Sprint(i)))
			receive(t, b, text("ep/1", fmt.Sprint(i)))
			receive(t, b, text("ep/2", fmt.Sprint(i)))
		}
		if s := p.Stats(); s.MessagesDropped < 80 || s.MessagesDropped > 90 || counted.get(counterDropped) != int64(s.MessagesDropped) {
			t.Errorf("%+v, counted %v", s, counted.n)
		}
		b.Cancel("ep/") // it was made twice
		synctest.Wait()
		check(t, p.Send(text("ep/3")))
		receive(t, b, text("ep/3"))
		b.Cancel("ep/")
		b.Cancel("never made")
		synctest.Wait()
		check(t, p.Send(text("ep/4")))
		b.Subscribe("ep/5")
		b.Subscribe("ep/6")
		b.Cancel("ep/6")
		synctest.Wait()
		check(t, p.Send(text("ep/6")))
		check(t, p.Send(text("ep/5")))
		receive(t, b, text("ep/5"))
		// A publisher that restarts hears of the subscriptions again.
		p.Close()
		expect(t, b, Down)
		p = newPublisher(t, n.in(Options{}))
		p.at(t, "oracle")
		expect(t, b, Up)
		synctest.Wait()
		check(t, p.Send(text("ep/4")))
		check(t, p.Send(text("ep/5", "again")))
		receive(t, b, text("ep/5", "again"))
	})
}

// TestSubscriptionLimit: who subscribes to too much is disconnected, in either style.
func TestSubscriptionLimit(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		p := newPublisher(t, n.in(Options{Counters: &counted, Limits: Limits{Subscriptions: 100}}))
		p.at(t, "oracle")
		for _, command := range []bool{true, false} {
			peer := n.rawDial(t, "oracle", typeSub, "", true)
			for i := range 100 {
				topic := []byte(fmt.Sprint("topic", i))
				for range 3 {
					if command {
						peer.send(flagCommand, appendCommand(nil, cmdSubscribe, topic))
					} else {
						peer.send(0, append([]byte{1}, topic...))
					}
				}
			}
			synctest.Wait()
			if len(p.Peers()) != 1 {
				t.Fatal("100 subscriptions are too many")
			}
			peer.send(flagCommand, appendCommand(nil, cmdCancel, []byte("never made")))
			peer.send(flagCommand, appendCommand(nil, cmdSubscribe, []byte("one more")))
			synctest.Wait()
			if len(p.Peers()) != 0 {
				t.Error("101 subscriptions are not too many")
			}
		}
		if counted.get(counterErrors+string(CauseSubscribe)) != 2 {
			t.Errorf("counted %v", counted.n)
		}
	})
}

// TestUnwanted: a publisher that sends what nobody asked for is not listened to.
func TestUnwanted(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		s := newSubscriber(t, n.in(Options{}))
		s.at(t, "leaf")
		s.Subscribe("a")
		peer := n.rawDial(t, "leaf", typePub, "", true)
		peer.send(0, []byte("b"))
		peer.send(0, []byte("a"))
		receive(t, s, text("a"))
		if s.Stats().MessagesUnwanted != 1 {
			t.Errorf("%+v", s.Stats())
		}
	})
}

func TestDisconnect(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{}))
		r.at(t, "oracle")
		for _, name := range []string{"a", "b", "c"} {
			check(t, newDealer(t, n.in(Options{Identity: name})).Dial(Endpoint{Address: "oracle"}))
		}
		synctest.Wait()
		if got := r.Disconnect(func(p *Peer) bool { return p.Identity != "b" }); got != 2 {
			t.Errorf("%d were disconnected", got)
		}
		synctest.Wait()
		if peers := r.Peers(); len(peers) != 1 || !strings.Contains(peers[0].String(), `DEALER "b"`) {
			t.Errorf("left are %v", peers)
		}
		time.Sleep(time.Minute)
		if len(r.Peers()) != 3 {
			t.Error("they did not come back")
		}
	})
}

// TestClose: it ends whatever goes on, from any state, and leaves nothing behind.
func TestClose(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{Limits: Limits{SendMessages: 1}}))
		r.at(t, "oracle")
		must(n.Dial(t.Context(), "oracle"))(t) // in the handshake
		n.rawDial(t, "oracle", typeDealer, "deaf", false)
		check(t, r.Dial(Endpoint{Address: "nowhere"}))
		check(t, r.Dial(Endpoint{Address: "oracle"})) // itself
		if err := r.Dial(Endpoint{Address: "nowhere"}); err == nil {
			t.Error("the same address was dialled twice")
		}
		var calls sync.WaitGroup
		ended := func(err error) {
			if !errors.Is(err, ErrClosed) && !errors.Is(err, ErrUnreachable) {
				t.Errorf("a call ended with %v", err)
			}
		}
		for range 3 {
			calls.Go(func() {
				for {
					if _, err := r.Recv(context.Background()); err != nil {
						ended(err)
						return
					}
				}
			})
		}
		synctest.Wait()
		calls.Go(func() {
			for {
				if err := r.SendWait(context.Background(), "deaf", text("x")); err != nil {
					ended(err)
					return
				}
			}
		})
		synctest.Wait()
		calls.Go(func() { ended(r.Flush(context.Background())) })
		synctest.Wait()
		for range 2 {
			check(t, r.Close())
		}
		calls.Wait()
		if _, err := r.Listen(t.Context(), "elsewhere"); !errors.Is(err, ErrClosed) {
			t.Errorf("Listen after Close: %v", err)
		}
		ended(r.Dial(Endpoint{Address: "elsewhere"}))
		ended(r.Send("deaf", text("x")))
		if len(n.listeners) != 0 {
			t.Error("a listener is left")
		}
	})
}

// TestNewPeersWhileSending: calls from everywhere at once; the race detector watches.
func TestNewPeersWhileSending(t *testing.T) {
	r := newRouter(t, Options{Handover: true})
	p := newPublisher(t, Options{})
	to, topics := r.listen(t), p.listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		for {
			d, err := r.Recv(ctx)
			if err != nil {
				return
			}
			if d.Kind == Received {
				r.Send(d.Peer.Identity, d.Message)
			}
			p.Send(text("any", "thing"))
			r.Peers()
			r.Stats()
		}
	})
	for i := range 4 {
		all.Go(func() {
			for range 10 {
				d, s := newDealer(t, Options{Identity: fmt.Sprint("leaf-", i%2)}), newSubscriber(t, Options{})
				check(t, d.Dial(Endpoint{Address: to}))
				check(t, s.Dial(Endpoint{Address: topics}))
				for j := range 50 {
					d.Send(text("x"))
					s.Subscribe(fmt.Sprint(j % 7))
					s.Cancel(fmt.Sprint(j % 5))
					if j%10 == 0 {
						short, stop := context.WithTimeout(ctx, time.Millisecond)
						d.Recv(short)
						stop()
					}
				}
				d.Close()
				s.Close()
			}
		})
	}
	waitFor(t, "some messages", func() bool { return r.Stats().MessagesReceived > 100 || r.Stats().ConnectionsAccepted >= 30 })
	cancel()
	all.Wait()
}
