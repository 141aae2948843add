package zmtp

import (
	"bytes"
	"reflect"
	"testing"
)

// secured returns options and endpoints for one of the mechanisms.
type secured struct {
	curve          bool
	server, client KeyPair
}

func mechanisms(t *testing.T, test func(t *testing.T, s secured)) {
	t.Run("NULL", func(t *testing.T) { test(t, secured{}) })
	t.Run("CURVE", func(t *testing.T) { test(t, secured{curve: true, server: keys(t), client: keys(t)}) })
}

func (s secured) listening(o Options) Options {
	if s.curve {
		o.Keys, o.Mode, o.Authorise = s.server, Strict, only(s.client.Public)
	}
	return o
}

func (s secured) dialling(o Options) Options {
	if s.curve {
		o.Keys = s.client
	}
	return o
}

func (s secured) endpoint(address string) Endpoint {
	return Endpoint{Address: address, ServerKey: s.server.Public}
}

func (s secured) libzmqServer(p *libzmq) string {
	if s.curve {
		p.curveServer(s.server)
	}
	return p.bind()
}

func (s secured) libzmqClient(p *libzmq, address string) {
	if s.curve {
		p.curveClient(s.client, s.server.Public)
	}
	p.connect(address)
}

// samples are messages of all shapes.
func samples() []Message {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	return []Message{
		text("one"),
		text(""),
		text("", ""),
		text("three", "", "parts"),
		{bytes.Repeat([]byte{'a'}, 255), bytes.Repeat([]byte{'b'}, 256), bytes.Repeat([]byte{'c'}, 222), bytes.Repeat([]byte{'d'}, 223)},
		{big},
		{[]byte("head"), big, []byte("tail"), big[:70000]},
		{big[:direct-1], big[:direct], big[:direct+1]},
	}
}

func TestDealerToLibzmqRouter(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		p := newLibzmq(t, "ROUTER", nil)
		d := newDealer(t, s.dialling(Options{Identity: "leaf-1"}))
		check(t, d.Dial(s.endpoint(s.libzmqServer(p))))
		up := expect(t, d, Up)
		if up.Peer.SocketType != "ROUTER" || up.Peer.Minor != 1 || up.Peer.Secure() != s.curve {
			t.Errorf("the peer is %v, 3.%d", up.Peer, up.Peer.Minor)
		}
		for _, m := range samples() {
			check(t, d.Send(m))
			if got := p.recv(patience); !reflect.DeepEqual(got, append(text("leaf-1"), m...)) {
				t.Fatalf("libzmq received %s, sent was %s", show(got), show(m))
			}
			p.send(append(text("leaf-1"), m...))
			receive(t, d, m)
		}
	})
}

func TestLibzmqDealerToRouter(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		r := newRouter(t, s.listening(Options{}))
		p := newLibzmq(t, "DEALER", fields{"IDENTITY": "leaf-1"})
		s.libzmqClient(p, r.listen(t))
		up := expect(t, r, Up)
		if up.Peer.Identity != "leaf-1" || up.Peer.SocketType != "DEALER" || up.Peer.Key != s.client.Public {
			t.Errorf("the peer is %v", up.Peer)
		}
		for _, m := range samples() {
			p.send(m)
			receive(t, r, m)
			check(t, r.Send("leaf-1", m))
			if got := p.recv(patience); !reflect.DeepEqual(got, m) {
				t.Fatalf("libzmq received %s, sent was %s", show(got), show(m))
			}
		}
	})
}

// TestRouterDialsLibzmq: the other way round, the ROUTER dials and the DEALER or ROUTER listens.
func TestRouterDialsLibzmq(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		p := newLibzmq(t, "DEALER", fields{"IDENTITY": "leaf-1"})
		r := newRouter(t, s.dialling(Options{Identity: "oracle-1"}))
		check(t, r.Dial(s.endpoint(s.libzmqServer(p))))
		if up := expect(t, r, Up); up.Peer.Identity != "leaf-1" {
			t.Errorf("the peer is %v", up.Peer)
		}
		check(t, r.Send("leaf-1", text("hello")))
		if got := p.recv(patience); !reflect.DeepEqual(got, text("hello")) {
			t.Fatalf("libzmq received %s", show(got))
		}
		p.send(text("hello", "too"))
		receive(t, r, text("hello", "too"))
	})
}

func TestDealerListensToLibzmqRouter(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		d := newDealer(t, s.listening(Options{Identity: "leaf-1"}))
		p := newLibzmq(t, "ROUTER", fields{"ROUTER_MANDATORY": 1, "IDENTITY": "oracle-1"})
		s.libzmqClient(p, d.listen(t))
		expect(t, d, Up)
		check(t, d.Send(text("hello")))
		if got := p.recv(patience); !reflect.DeepEqual(got, text("leaf-1", "hello")) {
			t.Fatalf("libzmq received %s", show(got))
		}
		p.send(text("leaf-1", "hello", "too"))
		receive(t, d, text("hello", "too"))
	})
}

func TestPublisherToLibzmqSub(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		pub := newPublisher(t, s.listening(Options{}))
		p := newLibzmq(t, "SUB", nil)
		subscribe(p, "ep/7")
		s.libzmqClient(p, pub.listen(t))
		subscribed(t, pub, "ep/7", true)
		for _, m := range samples() {
			check(t, pub.Send(append(text("ep/8"), m...)))
			m = append(text("ep/7/x"), m...)
			check(t, pub.Send(m))
			if got := p.recv(patience); !reflect.DeepEqual(got, m) {
				t.Fatalf("libzmq received %s, sent was %s", show(got), show(m))
			}
		}
		subscribe(p, "ep/8")
		subscribed(t, pub, "ep/8", true)
		p.do(fields{"do": "unsubscribe", "topic": hexed(text("ep/7"))[0]})
		subscribed(t, pub, "ep/7", false)
		check(t, pub.Send(text("ep/7", "no")))
		check(t, pub.Send(text("ep/8", "yes")))
		if got := p.recv(patience); !reflect.DeepEqual(got, text("ep/8", "yes")) {
			t.Fatalf("libzmq received %s", show(got))
		}
	})
}

func subscribe(p *libzmq, topic string) {
	p.do(fields{"do": "subscribe", "topic": hexed(text(topic))[0]})
}

// subscribed waits until the only peer's subscription is as it should be.
func subscribed(t testing.TB, pub *Publisher, topic string, on bool) {
	t.Helper()
	waitFor(t, "the subscription to "+topic, func() bool {
		c := pub.connections()
		return len(c) == 1 && c[0].subscribed.match([]byte(topic)) == on
	})
}

func TestLibzmqPubToSubscriber(t *testing.T) {
	for _, kind := range []string{"PUB", "XPUB"} {
		t.Run(kind, func(t *testing.T) {
			mechanisms(t, func(t *testing.T, s secured) {
				p := newLibzmq(t, kind, nil)
				sub := newSubscriber(t, s.dialling(Options{}))
				sub.Subscribe("ep/7")
				check(t, sub.Dial(s.endpoint(s.libzmqServer(p))))
				expect(t, sub, Up)
				// Nothing tells when libzmq has the subscription, so it says hello until it is heard.
				heard := make(chan struct{})
				go func() {
					defer close(heard)
					receive(t, sub, text("ep/7", "hello"))
				}()
				for waiting := true; waiting; {
					p.send(text("ep/7", "hello"))
					select {
					case <-heard:
						waiting = false
					default:
					}
				}
				for _, m := range samples() {
					p.send(append(text("ep/8"), m...))
					m = append(text("ep/7/x"), m...)
					p.send(m)
					for d := next(t, sub); !reflect.DeepEqual(d.Message, m); d = next(t, sub) {
						if !reflect.DeepEqual(d.Message, text("ep/7", "hello")) {
							t.Fatalf("received %v %s, sent was %s", d.Kind, show(d.Message), show(m))
						}
					}
				}
				sub.Cancel("ep/7")
				sub.Subscribe("done")
				heard = make(chan struct{})
				go func() {
					defer close(heard)
					receive(t, sub, text("done"))
				}()
				for waiting := true; waiting; {
					p.send(text("ep/7", "unwanted"))
					p.send(text("done"))
					select {
					case <-heard:
						waiting = false
					default:
					}
				}
			})
		})
	}
}

// TestSubscriberListensToLibzmqPub: the PUB dials.
func TestSubscriberListensToLibzmqPub(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		sub := newSubscriber(t, s.listening(Options{}))
		sub.Subscribe("")
		p := newLibzmq(t, "XPUB", nil)
		s.libzmqClient(p, sub.listen(t))
		if got := p.recv(patience); !reflect.DeepEqual(got, text("\x01")) { // an XPUB is told
			t.Fatalf("libzmq was told %s", show(got))
		}
		p.send(text("a", "b"))
		receive(t, sub, text("a", "b"))
	})
}

func TestPublisherDialsLibzmqSub(t *testing.T) {
	mechanisms(t, func(t *testing.T, s secured) {
		p := newLibzmq(t, "SUB", nil)
		subscribe(p, "a")
		pub := newPublisher(t, s.dialling(Options{}))
		check(t, pub.Dial(s.endpoint(s.libzmqServer(p))))
		waitFor(t, "libzmq's subscription", func() bool {
			p.recv(0) // libzmq notices whom it has accepted when it is asked for something
			c := pub.connections()
			return len(c) == 1 && c[0].subscribed.match([]byte("a"))
		})
		check(t, pub.Send(text("a", "b")))
		if got := p.recv(patience); !reflect.DeepEqual(got, text("a", "b")) {
			t.Fatalf("libzmq received %s", show(got))
		}
	})
}
