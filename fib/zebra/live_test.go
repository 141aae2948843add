package zebra

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/lab"
	"openr/monitor"
	"openr/msg"
)

// zebraPath is where Debian's package frr has it.
const zebraPath = "/usr/lib/frr/zebra"

// world is a network namespace with links and FRR's zebra in it.
type world struct {
	t        testing.TB
	dir      string
	socket   string
	zebra    *exec.Cmd
	counters *monitor.Counters
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// enter moves the test's goroutine into a new network namespace with the links za0 to za<n-1>, which have fe80::a:<i>,
// 10.9.<i>.1/24 and 2001:db8:900<i>::1/64, and at their other ends fe80::b:<i>, and starts zebra there with the given
// options.
func enter(t testing.TB, n int, options ...string) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test runs FRR's zebra in a network namespace and must run as root")
	}
	if _, err := os.Stat(zebraPath); err != nil {
		t.Fatalf("this test needs FRR's zebra (Debian package frr): %v", err)
	}
	runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
	before, err := netns.Get()
	must(t, err)
	ns, err := netns.New()
	must(t, err)
	t.Cleanup(func() {
		_ = netns.Set(before)
		_ = ns.Close()
		_ = before.Close()
	})
	lo, err := vnl.LinkByName("lo")
	must(t, err)
	must(t, vnl.LinkSetUp(lo))
	dir, err := lab.FRRFolder()
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	w := &world{t: t, dir: dir, socket: filepath.Join(dir, "zserv.api"), counters: monitor.NewCounters()}
	for i := range n {
		w.addLink(i)
	}
	must(t, os.WriteFile(filepath.Join(dir, "zebra.conf"), []byte("hostname test\n"), 0o644))
	w.startZebra(options...)
	return w
}

func (w *world) link(name string) vnl.Link {
	w.t.Helper()
	l, err := vnl.LinkByName(name)
	must(w.t, err)
	return l
}

func (w *world) addLink(i int) {
	w.t.Helper()
	attrs := vnl.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("za%d", i)
	must(w.t, vnl.LinkAdd(&vnl.Veth{LinkAttrs: attrs, PeerName: fmt.Sprintf("zb%d", i)}))
	peer := fmt.Sprintf("zb%d", i)
	must(w.t, vnl.LinkSetUp(w.link(peer)))
	w.setUp(i)
	w.addAddr(peer, fmt.Sprintf("fe80::b:%d/64", i))
	for _, a := range []string{fmt.Sprintf("10.9.%d.1/24", i), fmt.Sprintf("fe80::a:%d/64", i), fmt.Sprintf("2001:db8:900%d::1/64", i)} {
		w.addAddr(attrs.Name, a)
	}
}

func (w *world) addAddr(name, a string) {
	w.t.Helper()
	addr, err := vnl.ParseAddr(a)
	must(w.t, err)
	addr.Flags = unix.IFA_F_NODAD
	must(w.t, vnl.AddrAdd(w.link(name), addr))
}

func (w *world) setUp(i int)   { must(w.t, vnl.LinkSetUp(w.link(fmt.Sprintf("za%d", i)))) }
func (w *world) setDown(i int) { must(w.t, vnl.LinkSetDown(w.link(fmt.Sprintf("za%d", i)))) }

// startZebra starts zebra and waits until its shell answers.
func (w *world) startZebra(options ...string) {
	w.t.Helper()
	args := append([]string{"-z", w.socket, "--vty_socket", w.dir, "-i", filepath.Join(w.dir, "pid"),
		"-f", filepath.Join(w.dir, "zebra.conf"), "-P", "0", "--log", "file:" + filepath.Join(w.dir, "log")}, options...)
	w.zebra = exec.Command(zebraPath, args...)
	must(w.t, w.zebra.Start())
	cmd := w.zebra
	var once sync.Once
	w.t.Cleanup(func() { once.Do(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) })
	eventually(w.t, "zebra answers", func() bool {
		_, err := w.tryShow("show zebra")
		return err == nil
	})
}

// endZebra ends zebra with a signal and waits for its end.
func (w *world) endZebra(sig os.Signal) {
	w.t.Helper()
	must(w.t, w.zebra.Process.Signal(sig))
	_ = w.zebra.Wait()
	_ = os.Remove(filepath.Join(w.dir, "zebra.vty"))
}

func (w *world) tryShow(command string) (string, error) {
	out, err := exec.Command("vtysh", "--vty_socket", w.dir, "-c", command).Output()
	return string(out), err
}

// show runs a command in zebra's shell.
func (w *world) show(command string) string {
	w.t.Helper()
	out, err := w.tryShow(command)
	if err != nil {
		w.t.Fatalf("vtysh -c %q: %v: %s", command, err, out)
	}
	return out
}

// zebraRoute is a route as zebra shows it.
type zebraRoute struct {
	Protocol  string `json:"protocol"`
	Selected  bool   `json:"selected"`
	Installed bool   `json:"installed"`
	Distance  int    `json:"distance"`
	Metric    int    `json:"metric"`
	Tag       int    `json:"tag"`
	Table     int    `json:"table"`
	Nexthops  []struct {
		FIB           bool   `json:"fib"`
		IP            string `json:"ip"`
		InterfaceName string `json:"interfaceName"`
		Weight        int    `json:"weight"`
		Blackhole     bool   `json:"blackhole"`
	} `json:"nexthops"`
}

// zebraRoutes returns zebra's routes to a prefix.
func (w *world) zebraRoutes(prefix, extra string) []zebraRoute {
	w.t.Helper()
	ip := "ipv6"
	if netip.MustParsePrefix(prefix).Addr().Is4() {
		ip = "ip"
	}
	var out map[string][]zebraRoute
	must(w.t, json.Unmarshal([]byte(w.show("show "+ip+" route "+extra+prefix+" json")), &out))
	return out[prefix]
}

// open opens a Programmer and waits for its session.
func (w *world) open(change func(o *Options)) *Programmer {
	w.t.Helper()
	o := Options{Socket: w.socket, Counters: w.counters}
	if testing.Verbose() && os.Getenv("ZEBRA_LOG") != "" {
		o.Log, _ = zap.NewDevelopment()
	}
	if change != nil {
		change(&o)
	}
	p, err := New(o)
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, p.Close()) })
	w.ready(p)
	return p
}

func (w *world) ready(p *Programmer) {
	w.t.Helper()
	eventually(w.t, "a session with zebra", func() bool { return p.Status().Connected })
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

// apply programs and expects no failure.
func (w *world) apply(p *Programmer, update []msg.Route, del ...netip.Prefix) {
	w.t.Helper()
	failed, err := p.Apply(context.Background(), update, del)
	must(w.t, err)
	for _, err := range failed {
		w.t.Fatal(err)
	}
}

func (w *world) dump(p *Programmer) map[netip.Prefix]msg.Route {
	w.t.Helper()
	d, err := p.Dump(context.Background())
	must(w.t, err)
	return d
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// newRoute makes a route from next hops written "address interface" or "address interface weight"; - is no address.
func newRoute(p string, hops ...string) msg.Route {
	r := msg.Route{Prefix: prefix(p)}
	for _, h := range hops {
		var addr string
		n := msg.NextHop{}
		if _, err := fmt.Sscan(h+" 0", &addr, &n.IfName, &n.Weight); err != nil {
			panic(err)
		}
		if addr != "-" {
			n.Addr = netip.MustParseAddr(addr)
		}
		r.NextHops = append(r.NextHops, n)
	}
	slices.SortFunc(r.NextHops, msg.NextHop.Compare)
	return r
}

// kernel returns the routes of zebra's clients in a table, read by another library, one line each, sorted.
func (w *world) kernel(table int) []string {
	w.t.Helper()
	var out []string
	for _, fam := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := vnl.RouteListFiltered(fam, &vnl.Route{Table: table}, vnl.RT_FILTER_TABLE)
		must(w.t, err)
		for _, r := range routes {
			if r.Protocol >= 186 || r.Protocol == 42 {
				out = append(out, w.line(r))
			}
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) line(r vnl.Route) string {
	dst := "default"
	if r.Dst != nil {
		dst = r.Dst.String()
	}
	s := fmt.Sprintf("%s proto %d", dst, r.Protocol)
	switch r.Type {
	case unix.RTN_BLACKHOLE:
		return s + " blackhole"
	case unix.RTN_UNREACHABLE:
		return s + " unreachable"
	}
	hops := r.MultiPath
	if len(hops) == 0 {
		hops = []*vnl.NexthopInfo{{Gw: r.Gw, Via: r.Via, LinkIndex: r.LinkIndex}}
	}
	var all []string
	for _, h := range hops {
		x := fmt.Sprint(" dev ", h.LinkIndex)
		if l, err := vnl.LinkByIndex(h.LinkIndex); err == nil {
			x = " dev " + l.Attrs().Name
		}
		if h.Gw != nil {
			x += " via " + h.Gw.String()
		}
		if via, ok := h.Via.(*vnl.Via); ok {
			x += " via " + via.Addr.String()
		}
		if h.Hops > 0 {
			x += fmt.Sprintf(" weight %d", h.Hops+1)
		}
		all = append(all, x)
	}
	slices.Sort(all)
	return s + strings.Join(all, "")
}

// expect compares the kernel's main table with lines.
func (w *world) expect(lines ...string) {
	w.t.Helper()
	lines = slices.Sorted(slices.Values(lines))
	if got := w.kernel(mainTable); !slices.Equal(got, lines) {
		w.t.Fatalf("kernel has:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

// eventuallyExpect is expect with patience.
func (w *world) eventuallyExpect(lines ...string) {
	w.t.Helper()
	lines = slices.Sorted(slices.Values(lines))
	var got []string
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if got = w.kernel(mainTable); slices.Equal(got, lines) {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("kernel has:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
		}
	}
}

var _ fib.Programmer = (*Programmer)(nil)

// listen records from now on what happens to routes of zebra's clients in the kernel; the function that it returns tells
// and forgets.
func (w *world) listen() func() []string {
	w.t.Helper()
	updates, done := make(chan vnl.RouteUpdate, 1<<16), make(chan struct{})
	must(w.t, vnl.RouteSubscribeWithOptions(updates, done, vnl.RouteSubscribeOptions{}))
	w.t.Cleanup(func() { close(done) })
	return func() (out []string) {
		w.t.Helper()
		// A route that everybody hears of marks the end of what has happened so far.
		mark := &vnl.Route{Dst: mustNet("203.0.113.0/24"), Type: unix.RTN_BLACKHOLE, Protocol: 250}
		must(w.t, vnl.RouteAdd(mark))
		must(w.t, vnl.RouteDel(mark))
		for u := range updates {
			if u.Protocol == 250 && u.Type == unix.RTM_DELROUTE {
				break
			}
			if u.Protocol >= 186 && u.Protocol < 250 {
				out = append(out, map[uint16]string{unix.RTM_NEWROUTE: "new ", unix.RTM_DELROUTE: "del "}[u.Type]+u.Dst.String())
			}
		}
		slices.Sort(out)
		return out
	}
}

func mustNet(s string) *net.IPNet {
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	return n
}

// other is another client of zebra, of the protocol sharp, which only adds and deletes routes.
type other struct {
	w    *world
	peer *peer
	typ  uint8
}

func (w *world) other(who identity) *other {
	w.t.Helper()
	rel, err := findRelease("8.4")
	must(w.t, err)
	conn, err := dial(context.Background(), w.socket)
	must(w.t, err)
	p := newPeer(conn)
	w.t.Cleanup(func() { p.stop(errClosed) })
	must(w.t, p.greet(who, rel))
	typ, _ := rel.routeType(who.protocol)
	return &other{w, p, typ}
}

// do sends a route and waits for zebra's word about it.
func (o *other) do(c command, r route) note {
	o.w.t.Helper()
	r.typ = o.typ
	must(o.w.t, o.peer.send(c, func(b []byte) ([]byte, error) { return o.peer.rel.appendRoute(b, r) }))
	must(o.w.t, o.peer.flush())
	n, _ := o.peer.rel.number(cmdRouteNotifyOwner)
	for {
		h, body, err := o.peer.next()
		must(o.w.t, err)
		if h.command == n {
			note, err := o.peer.rel.readRouteNote(body)
			must(o.w.t, err)
			return note.note
		}
	}
}
