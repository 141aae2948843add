package zebra

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"openr/fib"
	"openr/monitor"
	"openr/msg"
)

// fake is a zebra of any release, and the kernel under it. It knows two links, and does what zebra does as far as a
// Programmer can see, as quickly as it can.
type fake struct {
	t      testing.TB
	rel    *release
	socket string

	mu      sync.Mutex
	conns   []net.Conn
	kernel  map[netip.Prefix]kernelRoute
	groups  map[uint32][]nextHop
	silent  map[netip.Prefix]bool // routes it keeps to itself
	kept    map[netip.Prefix]kernelRoute
	refuses map[netip.Prefix]bool // routes its kernel does not take
	lies    map[netip.Prefix]bool // routes that it says are installed, and are not
	awake   chan struct{}         // closed: it does not hang
	hello   []session
	told    []string // CLIENT_CAPABILITIES
	routes  int      // ROUTE_ADDs
	raw     []byte   // answers every message with this
	closes  bool     // ends a session at its first message
	end     func()   // ends it
}

func newFake(t testing.TB, version string) *fake {
	t.Helper()
	rel, err := findRelease(version)
	must(t, err)
	f := &fake{t: t, rel: rel, socket: filepath.Join(t.TempDir(), "api"), kernel: map[netip.Prefix]kernelRoute{},
		groups: map[uint32][]nextHop{}, silent: map[netip.Prefix]bool{}, kept: map[netip.Prefix]kernelRoute{},
		refuses: map[netip.Prefix]bool{}, lies: map[netip.Prefix]bool{}, awake: make(chan struct{})}
	close(f.awake)
	l, err := net.Listen("unix", f.socket)
	must(t, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, c)
			f.mu.Unlock()
			all.Go(func() { f.serve(c) })
		}
	})
	f.end = sync.OnceFunc(func() { f.hang(false); _ = l.Close(); f.drop(); all.Wait() })
	t.Cleanup(f.end)
	return f
}

// drop ends all sessions.
func (f *fake) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.conns = nil
	clear(f.kept)
}

// hang lets it take in no more, or go on.
func (f *fake) hang(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.awake:
		if on {
			f.awake = make(chan struct{})
		}
	default:
		if !on {
			close(f.awake)
		}
	}
}

func (f *fake) serve(c net.Conn) {
	p := newPeer(c)
	p.rel = f.rel
	p.start()
	defer p.stop(errClosed)
	for {
		h, body, err := p.next()
		if err != nil {
			return
		}
		f.mu.Lock()
		awake := f.awake
		f.mu.Unlock()
		<-awake
		f.mu.Lock()
		if f.closes {
			f.mu.Unlock()
			return
		}
		if f.raw != nil {
			_, _ = c.Write(f.raw)
		} else if cmd, known := f.rel.command(h.command); !known || !f.take(p, cmd, body) {
			if _, has := f.rel.number(cmdError); has {
				f.send(p, cmdError, func(b []byte) []byte { return appendHost32(b, uint32(errUnknownType)) })
			}
		}
		f.mu.Unlock()
	}
}

func (f *fake) send(p *peer, c command, fill func(b []byte) []byte) {
	_ = p.send(c, func(b []byte) ([]byte, error) { return fill(b), nil })
}

// take does what a message asks for; false: zebra takes no such message from clients.
func (f *fake) take(p *peer, c command, body []byte) bool {
	switch c {
	case cmdHello:
		s, err := f.rel.readHello(body)
		if err != nil {
			return true
		}
		f.hello = append(f.hello, s)
		f.send(p, cmdCapabilities, func(b []byte) []byte {
			b = append(b, make([]byte, f.rel.capabilitiesLength())...)
			b[len(b)-f.rel.capabilitiesLength()+f.rel.vrfBackend+3] = 1 // 256 next hops
			return b
		})
	case cmdInterfaceAdd:
		for i := range uint32(2) {
			f.send(p, cmdInterfaceAdd, func(b []byte) []byte {
				return f.rel.appendLink(b, link{name: fmt.Sprint("za", i), index: i + 1, flags: iffUp | iffRunning})
			})
		}
	case cmdNexthopRegister:
		f.send(p, cmdNexthopUpdate, func(b []byte) []byte { return f.rel.appendUnreachable(b, netip.MustParseAddr("192.0.2.254")) })
	case cmdClientCapabilities:
		if len(body) >= 4 {
			f.told = append(f.told, fmt.Sprint(binary.BigEndian.Uint32(body)))
		}
	case cmdNHGAdd:
		_, id, hops, err := f.rel.readGroup(body)
		if err != nil {
			f.t.Error(err)
		}
		f.groups[id] = hops
		for p, r := range f.kernel {
			if r.group == id {
				f.kernel[p] = kernelRoute{prefix: p, hops: kernelHops(hops), group: id}
			}
		}
		f.send(p, cmdNHGNotifyOwner, func(b []byte) []byte { return appendGroupNote(b, groupInstalled, id) })
	case cmdRouteAdd, cmdRouteDelete:
		r, err := f.rel.readRoute(body)
		if err != nil {
			f.t.Error(err)
		}
		f.route(p, r, c == cmdRouteAdd)
	case cmdNexthopUnregister, cmdNHGDel, cmdRouterIDAdd, cmdRouteNotifyRequest, cmdRedistributeAdd, cmdTcFilterDelete:
	default:
		return false
	}
	return true
}

func (f *fake) route(p *peer, r route, add bool) {
	n := routeNote{note: noteInstalled, prefix: r.prefix, table: mainTable}
	_, there := f.kernel[r.prefix]
	hops := r.hops
	if r.group != 0 {
		hops = f.groups[r.group]
	}
	k := kernelRoute{prefix: r.prefix, hops: kernelHops(hops), group: r.group}
	delete(f.kept, r.prefix)
	switch {
	case add && f.silent[r.prefix]:
		f.kept[r.prefix] = k
		return
	case !add && !there:
		return
	case add && f.refuses[r.prefix]:
		n.note = noteFailed
	case add && f.lies[r.prefix]:
	case add:
		f.routes++
		f.kernel[r.prefix] = k
	default:
		n.note = noteRemoved
		delete(f.kernel, r.prefix)
	}
	f.send(p, cmdRouteNotifyOwner, func(b []byte) []byte { return f.rel.appendRouteNote(b, n) })
}

// appendUnreachable is a NEXTHOP_UPDATE without next hops.
func (l *layout) appendUnreachable(b []byte, a netip.Addr) []byte {
	if l.updateBits {
		b = appendU32(b, 0)
	}
	if l.updateSafi {
		b = appendU16(b, safiUnicast)
	}
	b = appendAddr(append(appendU16(b, uint16(family(a))), uint8(a.BitLen())), a)
	if l.updateMatch {
		b = append(appendU16(b, afInet), 0, 0, 0, 0, 0)
	}
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	if l.updateNum16 {
		b = append(b, 0)
	}
	return b
}

// fakeKernel is the kernel under a fake.
type fakeKernel struct{ f *fake }

func (k fakeKernel) routes(table uint32, _ uint8, g func(kernelRoute)) error {
	if table != mainTable {
		return errors.New("no such table")
	}
	k.f.mu.Lock()
	defer k.f.mu.Unlock()
	for _, r := range k.f.kernel {
		g(r)
	}
	return nil
}

func (k fakeKernel) close() error { return nil }

func (f *fake) open(change func(o *Options)) *Programmer {
	f.t.Helper()
	o := Options{Socket: f.socket, kernel: fakeKernel{f}, patience: time.Minute, probing: time.Minute, Counters: monitor.NewCounters()}
	if f.rel.column <= column("7.2") {
		o.probing = time.Second // it does not answer what it does not know
		o.Protocol = "babel"
	}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	must(f.t, err)
	f.t.Cleanup(func() { _ = p.Close() })
	return p
}

// TestEveryRelease opens a session with a zebra of each release, found out and configured, and programs through it.
func TestEveryRelease(t *testing.T) {
	for _, version := range Releases() {
		for _, configured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", version, configured), func(t *testing.T) {
				t.Parallel()
				f := newFake(t, version)
				p := f.open(func(o *Options) {
					if configured {
						o.Release = version
					}
				})
				_, err := p.Dump(context.Background())
				if !configured && (version == "10.0" || version == "10.1") {
					if err == nil || !strings.Contains(err.Error(), "zebra may be of FRR release 10.0 or 10.1, which differ") {
						t.Error(err)
					}
					return
				}
				must(t, err)
				r := newRoute("2001:db8::/32", "fe80::1 za0 3", "fe80::2 za1")
				if f.rel.hop != hopFlags {
					r = newRoute("2001:db8::/32", "fe80::1 za0", "fe80::2 za1")
				}
				var failed map[netip.Prefix]error
				eventually(t, "the routes", func() bool { // a zebra that cannot be asked may still have interfaces to tell
					failed, err = p.Apply(context.Background(), []msg.Route{r, newRoute("192.0.2.0/24")}, nil)
					return err == nil && len(failed) == 0
				})
				d, err := p.Dump(context.Background())
				if err != nil || len(d) != 2 || !d[r.Prefix].SameForwarding(r) {
					t.Fatalf("%+v, %v", d, err)
				}
				f.mu.Lock()
				k := f.kernel[r.Prefix]
				if (k.group != 0) != f.rel.groups {
					t.Errorf("%+v", k)
				}
				typ, _ := f.rel.routeType(p.o.Protocol)
				if s := f.hello[len(f.hello)-1]; s.protocol != typ || s.notify == (f.rel.hello == helloNoWish) {
					t.Errorf("%+v", s)
				}
				want := ""
				if _, can := f.rel.number(cmdClientCapabilities); can {
					want = "1 3 3 2 2"
				}
				f.mu.Unlock()
				eventually(t, "capabilities "+want, func() bool {
					f.mu.Lock()
					defer f.mu.Unlock()
					return strings.Join(f.told, " ") == want
				})
				if failed, err = p.Apply(context.Background(), nil, []netip.Prefix{r.Prefix, prefix("2001:db8:1::/48")}); err != nil || len(failed) > 0 {
					t.Fatal(failed, err)
				}
				if d, err = p.Dump(context.Background()); err != nil || len(d) != 1 {
					t.Fatalf("%+v, %v", d, err)
				}
			})
		}
	}
}

// TestNoSession shows what is said when there is none.
func TestNoSession(t *testing.T) {
	for name, c := range map[string]struct {
		zebra  string
		change func(f *fake, o *Options)
		want   string
	}{
		"another release":         {"10.3", func(_ *fake, o *Options) { o.Release = "8.4" }, "zebra is not of FRR release 8.4: it answers with command 120"},
		"another release, older":  {"7.5", func(_ *fake, o *Options) { o.Release = "8.4" }, "zebra is not of FRR release 8.4: it answers with command 112"},
		"no such socket":          {"8.4", func(_ *fake, o *Options) { o.Socket = "/nonexistent" }, "failed to connect"},
		"no such protocol":        {"6.0", func(_ *fake, o *Options) { o.Protocol = "openfabric" }, `has no route type "openfabric"; set another protocol`},
		"unknown version":         {"8.4", func(f *fake, _ *Options) { f.raw = []byte{0, 10, 254, 7, 1, 2, 3, 4, 5, 6} }, "ZAPI version 7 with marker 254 is unknown; known are 0"},
		"another version":         {"8.4", func(f *fake, _ *Options) { f.raw = []byte{0, 10, 254, 5, 0, 0, 0, 0, 0, 1} }, "zebra speaks ZAPI version 5 (FRR 4.0 to 5.0)"},
		"unknown version, in all": {"8.4", func(f *fake, _ *Options) { f.raw = []byte{0, 10, 254, 99} }, "version 99"},
		"older zebra":             {"8.4", func(f *fake, _ *Options) { f.closes = true }, "zebra closed the connection, as it does with clients of another ZAPI version than its own"},
		"nothing to redistribute": {"8.4", func(_ *fake, o *Options) { o.Redistribute = []string{"rip2"} }, `has no route type "rip2" to redistribute`},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, c.zebra)
			f.mu.Lock()
			o := func(o *Options) { c.change(f, o) }
			f.mu.Unlock()
			p := f.open(o)
			_, err := p.Dump(context.Background())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %s", err, c.want)
			}
			if _, err := p.Apply(context.Background(), nil, nil); err == nil {
				t.Error("Apply works")
			}
		})
	}
	for _, o := range []Options{{Protocol: "openr"}, {SessionID: 3}, {Release: "5.0"}, {Release: "11"}, {Release: "6.0"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

// TestSilence: zebra says nothing about a route that loses from the start. It fails in time, is not waited for again, and
// the news that it has won is passed on.
func TestSilence(t *testing.T) {
	f := newFake(t, "8.4")
	p := f.open(nil)
	_, err := p.Dump(context.Background())
	must(t, err)
	loser, other := newRoute("2001:db8:1::/48", "fe80::1 za0"), newRoute("2001:db8:2::/48", "fe80::1 za0")
	f.mu.Lock()
	f.silent[loser.Prefix] = true
	f.mu.Unlock()
	p.o.patience = time.Second
	failed, err := p.Apply(context.Background(), []msg.Route{loser, other}, nil)
	if err != nil || len(failed) != 1 || !strings.Contains(failed[loser.Prefix].Error(), "zebra took it and says nothing") {
		t.Fatal(failed, err)
	}
	p.o.patience = time.Hour
	for range 3 {
		if failed, err = p.Apply(context.Background(), []msg.Route{loser, other}, nil); err != nil || len(failed) != 1 {
			t.Fatal(failed, err)
		}
	}
	select {
	case <-p.Invalidated():
	default:
	}
	f.mu.Lock()
	f.kernel[loser.Prefix] = kernelRoute{prefix: loser.Prefix, hops: []kernelHop{{1, netip.MustParseAddr("fe80::1"), 1}}}
	q := newPeer(f.conns[0])
	q.rel = f.rel
	f.send(q, cmdRouteNotifyOwner, func(b []byte) []byte {
		return f.rel.appendRouteNote(b, routeNote{note: noteInstalled, prefix: loser.Prefix, table: mainTable})
	})
	must(t, q.flush())
	f.mu.Unlock()
	<-p.Invalidated()
	d, err := p.Dump(context.Background())
	if err != nil || !d[loser.Prefix].SameForwarding(loser) {
		t.Fatal(d, err)
	}
	if failed, err = p.Apply(context.Background(), []msg.Route{loser}, nil); err != nil || len(failed) != 0 {
		t.Fatal(failed, err)
	}
}

// TestRefusals: what the kernel refuses is told route by route, and the rest goes in.
func TestRefusals(t *testing.T) {
	f := newFake(t, "8.4")
	p := f.open(nil)
	f.refuses[prefix("2001:db8:1::/48")] = true
	failed, err := p.Apply(context.Background(), []msg.Route{
		newRoute("2001:db8:1::/48", "fe80::1 za0"),
		newRoute("2001:db8:2::/48", "fe80::1 za0"),
		newRoute("2001:db8:3::/48", "fe80::1 za9"),
		newRoute("2001:db8:4::/48", "fe80::1 za0", "fe80::1 za9"),
		newRoute("2001:db8:5::/48", "10.0.0.1 za0"),
		{Prefix: netip.MustParsePrefix("2001:db8::1/64")},
		{},
	}, []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")})
	must(t, err)
	for p, want := range map[string]string{
		"2001:db8:1::/48": "zebra could not install it in the kernel",
		"2001:db8:3::/48": "interface za9 is not known to zebra",
		"2001:db8:4::/48": "interface za9 is not known to zebra; 1 of 2 next hops cannot be programmed",
		"2001:db8:5::/48": "an IPv6 route cannot have the IPv4 next hop 10.0.0.1",
		"2001:db8::1/64":  "must be without host bits",
		"10.0.0.1/8":      "must be without host bits",
	} {
		if err := failed[netip.MustParsePrefix(p)]; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", p, err, want)
		}
	}
	for p, err := range failed {
		if stands := p == prefix("2001:db8:4::/48"); errors.Is(err, fib.ErrPartial) != stands {
			t.Errorf("%v: %v; stands in part: %v", p, err, stands)
		}
	}
	f.mu.Lock()
	f.refuses[prefix("2001:db8:6::/48")] = true
	f.mu.Unlock()
	if again, err := p.Apply(context.Background(), []msg.Route{newRoute("2001:db8:6::/48", "fe80::1 za0", "fe80::1 za9")}, nil); err != nil ||
		len(again) != 1 || errors.Is(again[prefix("2001:db8:6::/48")], fib.ErrPartial) {
		t.Errorf("what was left of it was refused: %v, %v", again, err)
	}
	if len(failed) != 7 || len(f.kernel) != 2 {
		t.Error(failed, f.kernel)
	}
}

// TestConnectsAgain: a lost session is made again, and in the new one every route counts as to be renewed.
func TestConnectsAgain(t *testing.T) {
	f := newFake(t, "8.4")
	p := f.open(nil)
	r := newRoute("2001:db8:1::/48", "fe80::1 za0")
	for i := range 3 {
		var d map[netip.Prefix]msg.Route
		eventually(t, "a session", func() bool {
			var err error
			d, err = p.Dump(context.Background())
			return err == nil
		})
		if i > 0 && (len(d) != 1 || !d[r.Prefix].DoNotInstall) {
			t.Errorf("session %d: %+v", i, d)
		}
		f.mu.Lock()
		before := f.kernel[r.Prefix].group
		f.mu.Unlock()
		if failed, err := p.Apply(context.Background(), []msg.Route{r}, nil); err != nil || len(failed) > 0 {
			t.Fatal(failed, err)
		}
		f.mu.Lock()
		if i > 0 && f.kernel[r.Prefix].group != before {
			t.Error("the route has changed its group")
		}
		f.mu.Unlock()
		eventually(t, "the route is sent", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.routes == i+1
		})
		f.drop()
		eventually(t, "the end of the session", func() bool { return !p.Status().Connected })
	}
	must(t, p.Close())
	if _, err := p.Dump(context.Background()); !errors.Is(err, errClosed) {
		t.Error(err)
	}
	if n, _ := p.o.Counters.Get(counterSessions + ".count"); n < 3 {
		t.Errorf("%d sessions counted", n)
	}
}

// TestBackPressure: however much is to be programmed, only little is queued for zebra.
func TestBackPressure(t *testing.T) {
	f := newFake(t, "8.4")
	p := f.open(nil)
	_, err := p.Dump(context.Background())
	must(t, err)
	stop, most := make(chan struct{}), 0
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			p.mu.Lock()
			s := p.s
			p.mu.Unlock()
			s.peer.mu.Lock()
			most = max(most, len(s.peer.out))
			s.peer.mu.Unlock()
			time.Sleep(100 * time.Microsecond)
		}
	})
	failed, err := p.Apply(context.Background(), manyRoutes(50000, 2, "fe80::1"), nil)
	close(stop)
	watch.Wait()
	if err != nil || len(failed) > 0 || len(f.kernel) != 50000 {
		t.Fatal(len(failed), err)
	}
	if most > highWater+atOnce*100 {
		t.Errorf("%d bytes were queued", most)
	}
}

func TestMerging(t *testing.T) {
	key := func(p string) RedistributedKey { return RedistributedKey{Type: "static", Prefix: prefix(p)} }
	a, b := key("10.0.0.0/8"), key("10.1.0.0/16")
	m := MergeRedistribution(Redistribution{Full: true, Update: map[RedistributedKey]RedistributedRoute{a: {}}},
		Redistribution{Delete: map[RedistributedKey]bool{a: true}, Update: map[RedistributedKey]RedistributedRoute{b: {Metric: 2}}})
	if !m.Full || len(m.Update) != 1 || m.Update[b].Metric != 2 || len(m.Delete) != 0 {
		t.Errorf("%+v", m)
	}
	m = MergeRedistribution(Redistribution{Update: map[RedistributedKey]RedistributedRoute{a: {}}}, Redistribution{Delete: map[RedistributedKey]bool{a: true}})
	if m.Full || len(m.Update) != 0 || !m.Delete[a] {
		t.Errorf("%+v", m)
	}
	x, y := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	if tr := MergeTracked(Tracked{x: {Metric: 1}, y: {}}, Tracked{x: {Metric: 2}}); len(tr) != 2 || tr[x].Metric != 2 {
		t.Errorf("%+v", tr)
	}
}

func TestSameInKernel(t *testing.T) {
	hops := func(weights ...int32) (out []kernelHop) {
		for i, w := range weights {
			out = append(out, kernelHop{index: uint32(i), weight: w})
		}
		return out
	}
	for _, c := range []struct {
		want, have []kernelHop
		same       bool
	}{
		{hops(3, 1), hops(3, 1), true},
		{hops(3, 1), hops(254, 84), true}, // zebra 10.3
		{hops(1, 1), hops(2, 2), true},
		{hops(3, 1), hops(1, 1), false},
		{hops(3, 1), hops(1, 3), false},
		{hops(1, 1), hops(1), false},
		{hops(1), hops(1), true},
		{nil, nil, true},
	} {
		if got := sameInKernel(c.want, c.have); got != c.same {
			t.Errorf("%v and %v: %v", c.want, c.have, got)
		}
	}
	if !slices.IsSortedFunc(kernelHops([]nextHop{{index: 2}, {index: 1}}), compareKernelHops) {
		t.Error("not sorted")
	}
}
