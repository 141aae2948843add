package zmtp

import (
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"openr/internal/allocs"
)

// badPeers are ways not to take part. Each is told the address to dial and the kind of socket to be.
var badPeers = map[string]struct {
	// goneAfter is how long the peer may live; 0: it may stay.
	goneAfter time.Duration
	be        func(t *testing.T, n *network, kind socketType)
}{
	"never greets": {5 * time.Second, func(t *testing.T, n *network, _ socketType) {
		c := must(n.Dial(t.Context(), "us"))(t)
		t.Cleanup(func() { c.Close() })
	}},
	"greets by half": {5 * time.Second, func(t *testing.T, n *network, _ socketType) {
		c := must(n.Dial(t.Context(), "us"))(t)
		t.Cleanup(func() { c.Close() })
		go io.Copy(io.Discard, c)
		must(c.Write(opening()))(t)
	}},
	"silent": {3 * time.Second, func(t *testing.T, n *network, kind socketType) {
		n.rawDial(t, "us", kind, "bad", true)
	}},
	"half-open": {3 * time.Second, func(t *testing.T, n *network, kind socketType) {
		n.rawDial(t, "us", kind, "bad", false)
	}},
	"stops in a frame": {3 * time.Second, func(t *testing.T, n *network, kind socketType) {
		r := n.rawDial(t, "us", kind, "bad", true)
		must(r.conn.Write(append(appendHeader(nil, 0, 1<<20), "ten octets"...)))(t)
	}},
	"deaf": {31 * time.Second, func(t *testing.T, n *network, kind socketType) {
		r := n.rawDial(t, "us", kind, "bad", false)
		if kind == typeSub {
			r.send(0, []byte{1})
		}
		go func() {
			for ticks := time.Tick(time.Second); ; <-ticks {
				if _, err := r.conn.Write(appendFrame(nil, flagCommand, appendCommand(nil, cmdPong))); err != nil {
					return
				}
			}
		}()
	}},
	"floods": {0, func(t *testing.T, n *network, kind socketType) {
		r := n.rawDial(t, "us", kind, "bad", true)
		go func() {
			for range 5000 {
				if _, err := r.conn.Write(appendFrame(nil, 0, []byte("flood"))); err != nil {
					return
				}
			}
		}()
	}},
}

// TestBadPeersCostOnlyThemselves: whatever one peer does not do, every kind of socket serves the others without delay, and is
// rid of it in time.
func TestBadPeersCostOnlyThemselves(t *testing.T) {
	// Each returns the socket that is tested, and an exchange with the good peer.
	sockets := map[socketType]struct {
		peer socketType
		make func(t *testing.T, n *network) (*socket, func(i int))
	}{
		typeRouter: {typeDealer, func(t *testing.T, n *network) (*socket, func(int)) {
			us, good := newRouter(t, n.in(crampedOptions)), newDealer(t, n.in(Options{Identity: "good"}))
			us.at(t, "us")
			check(t, good.Dial(Endpoint{Address: "us"}))
			return us.socket, func(i int) {
				us.Send("bad", numbered(i)) // there may be room or not
				check(t, good.Send(numbered(i)))
				receiveSoon(t, us, i)
				check(t, us.Send("good", numbered(i)))
				receiveSoon(t, good, i)
			}
		}},
		typeDealer: {typeRouter, func(t *testing.T, n *network) (*socket, func(int)) {
			o := crampedOptions
			o.Identity = "us"
			us, good := newDealer(t, n.in(o)), newRouter(t, n.in(Options{}))
			us.at(t, "us")
			check(t, good.Dial(Endpoint{Address: "us"}))
			return us.socket, func(i int) {
				check(t, good.Send("us", numbered(i)))
				receiveSoon(t, us, i)
				check(t, us.Send(numbered(i))) // to each in turn
				check(t, us.Send(numbered(i)))
				receiveSoon(t, good, i)
			}
		}},
		typePub: {typeSub, func(t *testing.T, n *network) (*socket, func(int)) {
			us, good := newPublisher(t, n.in(crampedOptions)), newSubscriber(t, n.in(Options{}))
			us.at(t, "us")
			good.Subscribe("")
			check(t, good.Dial(Endpoint{Address: "us"}))
			return us.socket, func(i int) {
				check(t, us.Send(numbered(i)))
				receiveSoon(t, good, i)
			}
		}},
		typeSub: {typePub, func(t *testing.T, n *network) (*socket, func(int)) {
			us, good := newSubscriber(t, n.in(crampedOptions)), newPublisher(t, n.in(Options{}))
			us.at(t, "us")
			us.Subscribe("")
			check(t, good.Dial(Endpoint{Address: "us"}))
			return us.socket, func(i int) {
				check(t, good.Send(numbered(i)))
				receiveSoon(t, us, i)
			}
		}},
	}
	for kind, s := range sockets {
		for name, bad := range badPeers {
			t.Run(fmt.Sprintf("%s/%s", kind, name), func(t *testing.T) {
				simulated(t, func(t *testing.T, n *network) {
					us, exchange := s.make(t, n)
					synctest.Wait()
					bad.be(t, n, s.peer)
					synctest.Wait()
					met := time.Now()
					goneAfter := time.Duration(0)
					for i := range 80 {
						began := time.Now()
						exchange(i)
						if took := time.Since(began); took != 0 {
							t.Fatalf("the good peer had to wait for %v", took)
						}
						time.Sleep(500 * time.Millisecond)
						synctest.Wait()
						if goneAfter == 0 && len(us.Peers()) == 1 && us.handshakes() == 0 {
							goneAfter = time.Since(met)
						}
					}
					if goneAfter == 0 && bad.goneAfter != 0 || goneAfter > bad.goneAfter+time.Second && bad.goneAfter != 0 {
						t.Errorf("the bad peer was gone after %v, want %v", goneAfter, bad.goneAfter)
					}
					if peers := us.Peers(); len(peers) == 0 || peers[0].Identity == "bad" {
						t.Errorf("the peers are %v", peers)
					}
				})
			})
		}
	}
}

// crampedOptions make queues fill soon.
var crampedOptions = Options{Limits: Limits{SendMessages: 20, ReceiveMessages: 20}}

func (s *socket) handshakes() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.shaking)
}

func numbered(i int) Message { return text("exchange", fmt.Sprint(i)) }

// receiveSoon receives until the i-th message of an exchange comes: one of another peer may come before, and one of the exchange
// before, but no more.
func receiveSoon(t *testing.T, r receiver, i int) {
	t.Helper()
	synctest.Wait() // until it has come
	others := 0
	for {
		d := next(t, r)
		if d.Kind != Received {
			continue
		}
		if len(d.Message) == 2 && string(d.Message[1]) == fmt.Sprint(i) {
			return
		}
		if others++; others > 2 {
			t.Fatalf("%d messages came before the one expected", others)
		}
	}
}

// TestTenOctets: what ten octets claim costs about as much as ten octets.
func TestTenOctets(t *testing.T) {
	ten := [][]byte{
		append(binary.BigEndian.AppendUint64([]byte{flagLong}, 8<<20), 'x'),
		append(binary.BigEndian.AppendUint64([]byte{flagLong | flagMore}, 8<<20), 'x'),
		append(binary.BigEndian.AppendUint64([]byte{flagLong | flagCommand}, 1<<62), 'x'),
		append([]byte{flagCommand, 255}, "\x05READYx"...)[:9],
	}
	const times = 200
	for _, b := range ten {
		allocs.Bound(t, times*len(b), 0, 128, func() {
			for range times {
				decodeAll(8<<20, b)
			}
		})
		greeting := append(opening(), greeting{minor: 1, mechanism: mechanismNull}.rest()...)
		allocs.Bound(t, times*(len(greeting)+len(b)), 0, 64, func() {
			for range times {
				h := &handshaker{kind: typeRouter, mode: NullOnly}
				h.start()
				if _, err := h.input(greeting); err != nil {
					t.Fatal(err)
				}
				h.input(b)
			}
		})
	}
}

// FuzzParseKey: a key is refused or comes back as it was.
func FuzzParseKey(f *testing.F) {
	f.Add(fuzzKeys(1).Public.String())
	f.Add("JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err == nil && k.String() != s {
			t.Fatalf("%q became %q", s, k)
		}
		if err != nil && !k.IsZero() {
			t.Fatalf("%q is refused (%v) and taken", s, err)
		}
	})
}
