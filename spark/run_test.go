package spark

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"openr/config"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire joins fakeIOs: what one sends the others receive, a millisecond later.
type wire struct {
	mu  sync.Mutex
	ios []*fakeIO
}

// fakeIO is a PacketIO with one interface, of index 1.
type fakeIO struct {
	wire    *wire
	in      chan fakePacket
	closed  chan struct{}
	mu      sync.Mutex // guards what follows
	calls   []string
	joinErr error
	sendErr error
	recvErr error
}

type fakePacket struct {
	Received
	data []byte
}

func (w *wire) attach() *fakeIO {
	f := &fakeIO{wire: w, in: make(chan fakePacket, 10*maxWaiting), closed: make(chan struct{})}
	w.ios = append(w.ios, f)
	return f
}

func (f *fakeIO) Receive(buf []byte) (Received, error) {
	f.mu.Lock()
	err := f.recvErr
	f.recvErr = nil
	f.mu.Unlock()
	if err != nil {
		return Received{}, err
	}
	select {
	case p := <-f.in:
		p.Size = copy(buf, p.data)
		p.Truncated = p.Size < len(p.data)
		return p.Received, nil
	case <-f.closed:
		return Received{}, net.ErrClosed
	}
}

func (f *fakeIO) Send(_ int, src netip.Addr, data []byte) error {
	f.mu.Lock()
	err := f.sendErr
	f.mu.Unlock()
	if err != nil {
		return err
	}
	f.wire.mu.Lock()
	defer f.wire.mu.Unlock()
	for _, to := range f.wire.ios {
		if to != f {
			to.in <- fakePacket{Received{Index: 1, Source: src, HopLimit: 255, At: time.Now()}, data}
		}
	}
	return nil
}

func (f *fakeIO) note(call string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, call)
	return f.joinErr
}

func (f *fakeIO) take() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := strings.Join(f.calls, " ")
	f.calls = nil
	return out
}

func (f *fakeIO) Join(index int) error  { return f.note("join" + string(rune('0'+index))) }
func (f *fakeIO) Leave(index int) error { f.note("leave" + string(rune('0'+index))); return nil }
func (f *fakeIO) Close() error          { close(f.closed); return nil }

// agent is a running Spark with its queues.
type agent struct {
	*Spark
	ifs      *queue.Queue[msg.Interfaces]
	out      *queue.Queue[msg.NeighborUpdate]
	init     *monitor.Initialization
	counters *monitor.Counters
	cancel   context.CancelFunc
	done     chan error
}

func startAgent(t *testing.T, name string, io PacketIO, f func(*config.Config)) *agent {
	t.Helper()
	cfg := testConfig(name)
	if f != nil {
		f(cfg)
	}
	counters := monitor.NewCounters()
	a := &agent{ifs: queue.Latest[msg.Interfaces](), out: queue.New(msg.MergeNeighbors), init: monitor.NewInitialization(nil, nil), counters: counters, done: make(chan error, 1)}
	s, err := New(Options{Config: cfg, Counters: counters, Init: a.init, Interfaces: a.ifs, Neighbors: a.out, IO: io})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.Spark, a.cancel = s, cancel
	go func() { a.done <- s.Run(ctx) }()
	return a
}

func (a *agent) stop(t *testing.T) {
	t.Helper()
	a.cancel()
	if err := <-a.done; err != nil {
		t.Error(err)
	}
}

func eth(index int, addr string) msg.Interfaces {
	return msg.Interfaces{"e0": {Name: "e0", Index: index, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix(addr)}}}
}

func (a *agent) count(name string) int64 {
	v, _ := a.counters.Get(name)
	return v
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		a, b := startAgent(t, "a", w.attach(), nil), startAgent(t, "b", w.attach(), nil)
		a.ifs.Push(eth(1, "fe80::a/64"))
		time.Sleep(time.Second)
		b.ifs.Push(eth(1, "fe80::b/64"))
		synctest.Wait()
		update, ok := a.out.Take()
		if !ok || len(update.Events) != 1 || update.Events[0].Type != msg.NeighborUp || update.Events[0].Node != "b" || update.Discovered {
			t.Fatalf("%+v", update)
		}
		if w.ios[0].take() != "join1" {
			t.Error("group not joined")
		}
		all, err := b.Neighbors(t.Context())
		if err != nil || len(all) != 1 || all[0].Node != "a" || all[0].State != Established {
			t.Errorf("%+v, %v", all, err)
		}
		for name, want := range map[string]int64{gaugeInterfaces: 1, gaugeNeighbors: 1, gaugeAdjacent: 1, gaugeDiff: 0} {
			if got := a.count(name); got != want {
				t.Errorf("%s is %d, want %d", name, got, want)
			}
		}
		if a.count(gaugeSeqNum) < 2 || a.count(gaugeTimers) < 3 {
			t.Errorf("seq %d, timers %d", a.count(gaugeSeqNum), a.count(gaugeTimers))
		}

		// Discovery ends after the minimal time.
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if update, _ = a.out.Take(); !update.Discovered {
			t.Error("discovery does not end")
		}
		select {
		case <-a.init.Done(monitor.NeighborDiscovered):
		default:
			t.Error("NEIGHBOR_DISCOVERED not reached")
		}

		// A node that is initialized says so.
		before := a.count(cntHeartbeatSent + ".sum")
		a.init.Reached(monitor.PrefixDBSynced)
		synctest.Wait()
		select {
		case <-a.init.Done(monitor.Initialized):
		default:
			t.Error("INITIALIZED not reached")
		}
		if a.count(cntHeartbeatSent+".sum") != before+1 {
			t.Error("no heartbeat at once")
		}

		// Restarting by order, and by the end of the program.
		if err := a.FloodRestarting(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		update, _ = b.out.Take()
		if n := len(update.Events); n == 0 || update.Events[n-1].Type != msg.NeighborRestarting {
			t.Errorf("%+v", update)
		}
		a.stop(t)
		if _, err := a.Neighbors(t.Context()); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("asking a stopped module: %v", err)
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		update, _ = b.out.Take()
		if n := len(update.Events); n == 0 || update.Events[n-1].Type != msg.NeighborDown {
			t.Errorf("%+v", update)
		}
		b.stop(t)
	})
}

func TestStopAnnouncesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		io, ear := w.attach(), w.attach()
		a := startAgent(t, "a", io, nil)
		a.ifs.Push(eth(1, "fe80::a/64"))
		synctest.Wait()
		<-ear.in
		a.stop(t)
		for range 3 {
			p, err := decode((<-ear.in).data)
			if err != nil || !p.hello.restarting {
				t.Fatalf("%+v, %v", p.hello, err)
			}
		}
		if len(ear.in) != 0 {
			t.Errorf("%d packets more", len(ear.in))
		}
	})
}

// What fails on one interface is counted and tried again; nothing stops.
func TestFailingInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		io := w.attach()
		io.joinErr, io.sendErr, io.recvErr = unix.ENODEV, unix.ENETUNREACH, unix.ENETDOWN
		a := startAgent(t, "a", io, nil)
		a.ifs.Push(eth(1, "fe80::a/64"))
		time.Sleep(10 * time.Second) // longer than the fast phase
		if a.count(cntJoinError+".sum") < 2 || a.count(cntSendError+".sum") < 2 || a.count(cntRecvError+".sum") != 1 {
			t.Errorf("join %d, send %d, receive %d", a.count(cntJoinError+".sum"), a.count(cntSendError+".sum"), a.count(cntRecvError+".sum"))
		}
		io.mu.Lock()
		io.joinErr, io.sendErr = nil, nil
		io.mu.Unlock()
		time.Sleep(650 * ms)
		synctest.Wait()
		if a.count(cntHelloSent+".sum") == 0 || len(a.failing) != 0 {
			t.Error("sending is not tried again soon")
		}
		io.take()
		time.Sleep(time.Minute)
		if calls := io.take(); calls != "" {
			t.Errorf("after joining: %s", calls)
		}
		a.ifs.Push(eth(2, "fe80::a/64")) // re-created
		synctest.Wait()
		if calls := io.take(); calls != "leave1 join2" {
			t.Errorf("re-created: %s", calls)
		}
		a.ifs.Push(msg.Interfaces{})
		synctest.Wait()
		if calls := io.take(); calls != "leave2" {
			t.Errorf("removed: %s", calls)
		}
		a.stop(t)
	})
}

func TestOversizedAndOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		io := w.attach()
		a := startAgent(t, "a", io, nil)
		a.ifs.Push(eth(1, "fe80::a/64"))
		synctest.Wait()
		io.in <- fakePacket{Received{Index: 1, HopLimit: 255}, make([]byte, maxPacketSize+1)}
		synctest.Wait()
		if a.count(cntOversized+".sum") != 1 {
			t.Error("oversized packet not counted")
		}
		// Run is kept busy while packets come in.
		hold, held := make(chan struct{}), make(chan struct{})
		go func() { a.calls.Do(t.Context(), func() { close(held); <-hold }) }()
		<-held
		for range maxWaiting + 10 {
			io.in <- fakePacket{Received{Index: 7, HopLimit: 255}, []byte{0}}
		}
		synctest.Wait()
		if n := len(io.in); n != 10-1 { // and one in the reader's hands
			t.Errorf("%d packets left where they are", n)
		}
		close(hold)
		synctest.Wait()
		if n := a.count(cntUnknownInterface + ".sum"); n != maxWaiting+10 {
			t.Errorf("%d packets processed", n)
		}
		a.stop(t)
	})
}

// A heartbeat that has come in before the hold timer ran out counts, even if Run was late for both.
func TestLateRunTakesPacketsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		io, ear := w.attach(), w.attach()
		a := startAgent(t, "me", io, nil)
		a.ifs.Push(eth(1, "fe80::a/64"))
		synctest.Wait()
		send := func(b []byte) {
			io.in <- fakePacket{Received{Index: 1, Source: peerAddr, HopLimit: 255, At: time.Now()}, b}
		}
		seeds := seedPackets()
		for _, p := range seeds[3:7] { // neighbour e: two hellos, handshake, heartbeat
			send(p)
		}
		synctest.Wait()
		if all, _ := a.Neighbors(t.Context()); len(all) != 1 || all[0].State != Established {
			t.Fatalf("%+v", all)
		}
		for range 50 {
			hold, held := make(chan struct{}), make(chan struct{})
			go func() { a.calls.Do(t.Context(), func() { close(held); <-hold }) }()
			<-held
			time.Sleep(3500 * ms) // the hold time is 3 s
			send(seeds[6])
			time.Sleep(ms)
			close(hold)
			synctest.Wait()
		}
		update, _ := a.out.Take()
		if slices.ContainsFunc(update.Events, func(e msg.NeighborEvent) bool { return e.Type == msg.NeighborDown }) {
			t.Error("neighbour lost")
		}
		a.stop(t)
		for len(ear.in) > 0 {
			<-ear.in
		}
	})
}

func TestNilOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Options{Config: testConfig("a"), IO: (&wire{}).attach()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
