package zmtp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// simulated runs a test in virtual time.
func simulated(t *testing.T, test func(t *testing.T, n *network)) {
	synctest.Test(t, func(t *testing.T) { test(t, &network{}) })
}

func (s *socket) at(t testing.TB, address string) {
	t.Helper()
	must(s.Listen(t.Context(), address))(t)
}

// TestSilentPeer: a peer that has shaken hands and then shows no life is gone after three seconds, and has been asked each
// second.
func TestSilentPeer(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		r := newRouter(t, n.in(Options{Counters: &counted}))
		r.at(t, "oracle")
		peer := n.rawDial(t, "oracle", typeDealer, "leaf-1", true)
		expect(t, r, Up)
		began := time.Now()
		down := expect(t, r, Down)
		if took := time.Since(began); took != 3*time.Second || causeOf(down.Err) != CauseSilent {
			t.Errorf("gone after %v: %v", took, down.Err)
		}
		synctest.Wait()
		if pings := peer.commands(cmdPing); pings < 2 || pings > 3 {
			t.Errorf("%d PINGs in 3 s", pings)
		}
		if counted.get(counterErrors+string(CauseSilent)) != 1 {
			t.Errorf("counted %v", counted.n)
		}
		if err := r.Send("leaf-1", text("x")); !errors.Is(err, ErrUnreachable) {
			t.Errorf("sending to who has gone: %v", err)
		}
	})
}

// TestAnyFrameIsLife: a peer need not answer PINGs as long as it sends anything, even a frame that takes long.
func TestAnyFrameIsLife(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{}))
		r.at(t, "oracle")
		peer := n.rawDial(t, "oracle", typeDealer, "leaf-1", true)
		expect(t, r, Up)
		for range 5 {
			time.Sleep(2900 * time.Millisecond)
			peer.send(0, []byte("still here"))
			receive(t, r, text("still here"))
		}
		slow := appendFrame(nil, 0, []byte("slow"))
		for _, octet := range slow {
			time.Sleep(2900 * time.Millisecond)
			must(peer.conn.Write([]byte{octet}))(t)
		}
		receive(t, r, text("slow"))
		time.Sleep(2900 * time.Millisecond)
		peer.send(flagCommand, appendCommand(nil, "UNKNOWN"))
		time.Sleep(2900 * time.Millisecond)
		if len(r.Peers()) != 1 {
			t.Error("the peer is gone")
		}
		expect(t, r, Down)
	})
}

// TestTimeToLive: a peer that says in its PING how long it may be silent is held to that, until it sends something else.
func TestTimeToLive(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{Heartbeat: Heartbeat{Interval: -1}}))
		r.at(t, "oracle")
		peer := n.rawDial(t, "oracle", typeDealer, "leaf-1", true)
		expect(t, r, Up)
		time.Sleep(time.Hour) // without heartbeats of our own, for ever
		peer.send(flagCommand, append(appendPing(nil, 700*time.Millisecond), "context"...))
		synctest.Wait()
		if f := <-peer.got; string(f.body) != "\x04PONGcontext" || f.flags != flagCommand {
			t.Errorf("the answer is %q with flags %d", f.body, f.flags)
		}
		peer.send(0, []byte("x"))
		receive(t, r, text("x"))
		time.Sleep(time.Hour)
		peer.send(flagCommand, appendPing(nil, 700*time.Millisecond))
		began := time.Now()
		if down := expect(t, r, Down); time.Since(began) != 700*time.Millisecond || causeOf(down.Err) != CauseSilent {
			t.Errorf("gone after %v: %v", time.Since(began), down.Err)
		}
	})
}

// TestHeartbeatsKeepAnIdleConnection, and cost little; a busy one needs none.
func TestHeartbeatsKeepAnIdleConnection(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r, d := newRouter(t, n.in(Options{})), newDealer(t, n.in(Options{Identity: "leaf-1"}))
		r.at(t, "oracle")
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		expect(t, d, Up)
		before := d.Stats().BytesSent
		time.Sleep(100 * time.Second)
		if len(r.Peers()) != 1 || len(d.Peers()) != 1 {
			t.Fatal("an idle connection is gone")
		}
		if sent := d.Stats().BytesSent - before; sent > 100*(9+7) {
			t.Errorf("an idle connection costs %d octets in 100 s", sent)
		}
		before = d.Stats().BytesSent
		for range 1000 {
			time.Sleep(100 * time.Millisecond)
			check(t, d.Send(text("x")))
			receive(t, r, text("x"))
			check(t, r.Send("leaf-1", text("y")))
			receive(t, d, text("y"))
		}
		if sent := d.Stats().BytesSent - before; sent > 1000*3+5*16 {
			t.Errorf("a busy connection costs %d octets in 100 s, 3000 of them messages", sent)
		}
	})
}

// TestPeerThatNeverGreets: it costs a handshake's time, and keeps nobody out, however many of them come.
func TestPeerThatNeverGreets(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		r := newRouter(t, n.in(Options{Counters: &counted, Limits: Limits{Handshakes: 10}}))
		r.at(t, "oracle")
		for range 100 {
			c := must(n.Dial(t.Context(), "oracle"))(t)
			defer c.Close()
			go io.Copy(io.Discard, c)
		}
		synctest.Wait()
		if gone := counted.get(counterErrors + string(CauseHandshake)); gone != 90 {
			t.Errorf("%d of 100 gave way, want 90", gone)
		}
		began := time.Now()
		d := newDealer(t, n.in(Options{}))
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		expect(t, d, Up)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("a good peer had to wait for %v", waited)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if gone := counted.get(counterErrors + string(CauseHandshake)); gone != 100 {
			t.Errorf("%d of 100 are gone after 5 s", gone)
		}
		if len(r.Peers()) != 1 {
			t.Error("the good peer is gone")
		}
	})
}

// TestHandshakeDribble: octets that come slowly do not stretch the time for a handshake.
func TestHandshakeDribble(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{}))
		r.at(t, "oracle")
		c := must(n.Dial(t.Context(), "oracle"))(t)
		defer c.Close()
		go io.Copy(io.Discard, c)
		began := time.Now()
		for {
			if _, err := c.Write([]byte{0xff}[:1]); err != nil {
				break
			}
			for _, octet := range opening()[1:] {
				time.Sleep(time.Second)
				if _, err := c.Write([]byte{octet}); err != nil {
					break
				}
			}
		}
		if took := time.Since(began); took < 5*time.Second || took > 20*time.Second || r.Stats().HandshakesBad != 1 {
			t.Errorf("it lasted %v", took)
		}
	})
}

// TestPeerThatStopsReading: its queue fills, sends to it are refused, everybody else is served, and it is gone when it has
// taken nothing for the write timeout, although it goes on sending.
func TestPeerThatStopsReading(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{Limits: Limits{SendMessages: 50}}))
		r.at(t, "oracle")
		deaf := n.rawDial(t, "oracle", typeDealer, "deaf", false)
		d := newDealer(t, n.in(Options{Identity: "good"}))
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		expect(t, d, Up)
		go func() { // it sends
			for ticks := time.Tick(time.Second); ; {
				if _, err := deaf.conn.Write(appendFrame(nil, 0, []byte("hi"))); err != nil {
					return
				}
				select {
				case <-ticks:
				case <-t.Context().Done():
					return
				}
			}
		}()
		began := time.Now()
		expect(t, r, Up)
		expect(t, r, Up)
		check(t, r.Send("deaf", text("this is being written")))
		synctest.Wait()
		queued := 0
		for err := r.Send("deaf", text("x")); !errors.Is(err, ErrFull); err = r.Send("deaf", text("x")) {
			check(t, err)
			queued++
			if queued > 200 {
				t.Fatal("the queue has no bound")
			}
		}
		go func() {
			for { // keeps the lanes empty
				if _, err := r.Recv(context.Background()); err != nil {
					return
				}
			}
		}()
		for i := range 1000 {
			check(t, r.Send("good", text("to", "good")))
			receive(t, d, text("to", "good"))
			if i%100 == 0 {
				if err := r.Send("deaf", text("x")); !errors.Is(err, ErrFull) {
					t.Fatalf("the deaf peer takes something: %v", err)
				}
			}
		}
		if time.Since(began) != 0 {
			t.Errorf("the good peer had to wait for %v", time.Since(began))
		}
		for len(r.Peers()) == 2 && time.Since(began) < time.Minute {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("the deaf peer is gone after %v", took)
		}
		if s := r.Stats(); s.MessagesRefused == 0 || s.MessagesLost == 0 {
			t.Errorf("%+v", s)
		}
		r.Close()
	})
}

// TestDropFull: the other policy.
func TestDropFull(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		r := newRouter(t, n.in(Options{DropFull: true, Counters: &counted, Limits: Limits{SendBytes: 1000}}))
		r.at(t, "oracle")
		n.rawDial(t, "oracle", typeDealer, "deaf", false)
		expect(t, r, Up)
		for range 100 {
			check(t, r.Send("deaf", Message{make([]byte, 100)}))
			synctest.Wait()
		}
		if s := r.Stats(); s.MessagesDropped < 80 || s.MessagesDropped > 95 || counted.get(counterDropped) != int64(s.MessagesDropped) {
			t.Errorf("%+v, counted %v", s, counted.n)
		}
		check(t, r.Send("deaf", Message{make([]byte, 900)})) // dropped, too
	})
}

// TestFlooder: who sends faster than anybody receives fills its own share, and the others' messages come in turn.
func TestFlooder(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{Limits: Limits{ReceiveMessages: 100}}))
		r.at(t, "oracle")
		flooder := n.rawDial(t, "oracle", typeDealer, "flooder", true)
		expect(t, r, Up)
		go func() {
			for {
				if _, err := flooder.conn.Write(appendFrame(nil, 0, []byte("flood"))); err != nil {
					return
				}
			}
		}()
		synctest.Wait() // until it is stopped
		if s := r.Stats(); s.MessagesReceived > 102 {
			t.Fatalf("%d messages were taken from the flooder", s.MessagesReceived)
		}
		d := newDealer(t, n.in(Options{Identity: "good"}))
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		expect(t, d, Up)
		check(t, d.Send(text("1")))
		check(t, d.Send(text("2")))
		synctest.Wait()
		order := ""
		for range 6 {
			if d := next(t, r); d.Peer.Identity == "flooder" {
				order += "f"
			} else {
				order += "g"
			}
		}
		if order != "fgfgfg" {
			t.Errorf("received from: %s", order)
		}
		time.Sleep(10 * time.Second)
		if len(r.Peers()) != 2 {
			t.Error("who is not read from was taken for dead")
		}
		r.Close()
	})
}

// TestPongStorm: PINGs of a peer that reads no answers cost next to nothing.
func TestPongStorm(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		r := newRouter(t, n.in(Options{Counters: &counted}))
		r.at(t, "oracle")
		peer := n.rawDial(t, "oracle", typeDealer, "", false)
		for range 1000 {
			peer.send(flagCommand, append(appendPing(nil, 0), bytes.Repeat([]byte("x"), maxPingContext)...))
		}
		synctest.Wait()
		if n := counted.get(counterPongs); n < 900 {
			t.Errorf("%d of 1000 PONGs were suppressed", n)
		}
	})
}

// TestWriteTimeoutOff: negative values switch the timeouts off.
func TestWriteTimeoutOff(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{WriteTimeout: -1, Heartbeat: Heartbeat{Interval: -1, TTL: -1}}))
		r.at(t, "oracle")
		peer := n.rawDial(t, "oracle", typeDealer, "deaf", false)
		expect(t, r, Up)
		check(t, r.Send("deaf", text("x")))
		time.Sleep(24 * time.Hour)
		go peer.read()
		synctest.Wait()
		if f := <-peer.got; string(f.body) != "x" {
			t.Errorf("after a day came %q", f.body)
		}
	})
}

// TestDialBackoff: who is not there is tried more and more rarely, and found when it comes.
func TestDialBackoff(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		d := newDealer(t, n.in(Options{Identity: "leaf-1"}))
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		time.Sleep(time.Minute)
		if n.dialled() < 12 || n.dialled() > 25 {
			t.Errorf("%d attempts in a minute", n.dialled())
		}
		if err := d.Send(text("x")); !errors.Is(err, ErrUnreachable) {
			t.Errorf("sending to nobody: %v", err)
		}
		for range 3 {
			r := newRouter(t, n.in(Options{}))
			r.at(t, "oracle")
			up := expect(t, d, Up)
			if up.Peer.Dialled != "oracle" || up.Peer.SocketType != "ROUTER" {
				t.Errorf("the peer is %v", up.Peer)
			}
			check(t, d.Send(text("hello")))
			receive(t, r, text("hello"))
			r.Close()
			if down := expect(t, d, Down); down.Peer != up.Peer || !errors.Is(down.Err, io.EOF) && !errors.Is(down.Err, io.ErrClosedPipe) {
				t.Errorf("down: %v, %v", down.Peer, down.Err)
			}
		}
		d.HangUp("oracle")
		dials := n.dialled()
		time.Sleep(time.Minute)
		if n.dialled() > dials+1 {
			t.Errorf("%d attempts after HangUp", n.dialled()-dials)
		}
	})
}

// TestRefusedForGood: after ERROR the dialling side waits for the longest time.
func TestRefusedForGood(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		var allowed atomic.Bool
		r := newRouter(t, n.in(Options{Authorise: func(context.Context, *Peer) error {
			if allowed.Load() {
				return nil
			}
			return errors.New("not yet")
		}}))
		r.at(t, "oracle")
		d := newDealer(t, n.in(Options{Counters: &counted, Backoff: Backoff{Min: time.Millisecond, Max: 20 * time.Second}}))
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		time.Sleep(time.Minute)
		if refused := counted.get(counterErrors + string(CauseRefused)); refused < 3 || refused > 5 || n.dialled() != int(refused) {
			t.Errorf("%d refusals, %d attempts in a minute", refused, n.dialled())
		}
		allowed.Store(true)
		expect(t, d, Up)
	})
}

// TestSlowAuthoriser: the handshake's time bounds the callback, too.
func TestSlowAuthoriser(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		r := newRouter(t, n.in(Options{Authorise: func(ctx context.Context, _ *Peer) error {
			<-ctx.Done()
			return ctx.Err()
		}}))
		r.at(t, "oracle")
		d := newDealer(t, n.in(Options{HandshakeTimeout: time.Hour}))
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		time.Sleep(6 * time.Second)
		if s := r.Stats(); s.HandshakesBad != 1 || s.Peers != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestAcceptFails: failures to accept are retried.
func TestAcceptFails(t *testing.T) {
	simulated(t, func(t *testing.T, n *network) {
		var counted tally
		o := n.in(Options{Counters: &counted})
		o.Listen = func(ctx context.Context, address string) (net.Listener, error) {
			l, err := n.Listen(ctx, address)
			return &failingListener{Listener: l, failures: 10}, err
		}
		r := newRouter(t, o)
		r.at(t, "oracle")
		d := newDealer(t, n.in(Options{}))
		check(t, d.Dial(Endpoint{Address: "oracle"}))
		expect(t, d, Up)
		if counted.get(counterAccept) != 10 {
			t.Errorf("counted %v", counted.n)
		}
	})
}

type failingListener struct {
	net.Listener
	failures int
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures > 0 {
		l.failures--
		return nil, errors.New("too many open files")
	}
	return l.Listener.Accept()
}
