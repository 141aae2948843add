package netlink

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/internal/rtnl"
	"openr/monitor"
	"openr/msg"
)

const (
	testProtocol = 99
	testMetric   = 10
	mainTable    = unix.RT_TABLE_MAIN
)

// world is a network namespace with two links, and a Programmer in it.
type world struct {
	t        testing.TB
	p        *Programmer
	counters *monitor.Counters
	events   *rtnl.Conn // route notifications, everybody's
	before   [2]int64
	leave    func() // goes back to the namespace that the test came from, and takes the new one down; done at the end anyway
}

// enter moves the test's goroutine into a new network namespace with the links eth0 and eth1. Both are up and have
// 10.0.<i>.1/24 and fd00:<i>::1/64.
func enter(t testing.TB) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test programs routes in a network namespace and must run as root")
	}
	runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
	before, err := netns.Get()
	must(t, err)
	ns, err := netns.New()
	must(t, err)
	w := &world{t: t, counters: monitor.NewCounters()}
	w.leave = sync.OnceFunc(func() {
		if w.p != nil {
			must(t, w.p.Close())
		}
		_ = netns.Set(before)
		_ = ns.Close()
		_ = before.Close()
	})
	t.Cleanup(w.leave)
	lo, err := vnl.LinkByName("lo")
	must(t, err)
	must(t, vnl.LinkSetUp(lo))
	w.addLink(0)
	w.addLink(1)
	w.p = w.open(testMetric)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a Programmer in the namespace.
func (w *world) open(metric int) *Programmer {
	w.t.Helper()
	p, err := New(Options{Table: mainTable, Protocol: testProtocol, Metric: metric, Counters: w.counters})
	must(w.t, err)
	w.t.Cleanup(func() { must(w.t, p.Close()) })
	return p
}

// addLink makes the link eth<i>.
func (w *world) addLink(i int) vnl.Link {
	w.t.Helper()
	name := fmt.Sprintf("eth%d", i)
	attrs := vnl.NewLinkAttrs()
	attrs.Name = name
	must(w.t, vnl.LinkAdd(&vnl.Veth{LinkAttrs: attrs, PeerName: fmt.Sprintf("peer%d", i)}))
	for _, n := range []string{fmt.Sprintf("peer%d", i), name} {
		must(w.t, vnl.LinkSetUp(w.link(n)))
	}
	for _, n := range []string{fmt.Sprintf("peer%d", i), name} { // lest it be told of later
		eventually(w.t, n+" runs", func() bool { return w.link(n).Attrs().RawFlags&unix.IFF_RUNNING != 0 })
	}
	for _, a := range []string{fmt.Sprintf("10.0.%d.1/24", i), fmt.Sprintf("fd00:%d::1/64", i)} {
		addr, err := vnl.ParseAddr(a)
		must(w.t, err)
		addr.Flags = unix.IFA_F_NODAD
		must(w.t, vnl.AddrAdd(w.link(name), addr))
	}
	return w.link(name)
}

func (w *world) link(name string) vnl.Link {
	w.t.Helper()
	l, err := vnl.LinkByName(name)
	must(w.t, err)
	return l
}

// apply programs and expects no failure.
func (w *world) apply(update []msg.Route, del ...netip.Prefix) {
	w.t.Helper()
	failed, err := w.p.Apply(context.Background(), update, del)
	must(w.t, err)
	for _, err := range failed {
		w.t.Fatal(err)
	}
}

// dump returns what the Programmer sees.
func (w *world) dump() map[netip.Prefix]msg.Route {
	w.t.Helper()
	d, err := w.p.Dump(context.Background())
	must(w.t, err)
	return d
}

// kernel returns all routes of all protocols but the kernel's own in the main table, read by another library, one line
// each, sorted.
func (w *world) kernel() []string {
	w.t.Helper()
	var out []string
	for _, fam := range []int{unix.AF_INET, unix.AF_INET6} {
		routes, err := vnl.RouteListFiltered(fam, &vnl.Route{Table: mainTable}, vnl.RT_FILTER_TABLE)
		must(w.t, err)
		for _, r := range routes {
			if r.Protocol == unix.RTPROT_KERNEL || r.Protocol == unix.RTPROT_RA {
				continue
			}
			out = append(out, w.line(r))
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
	s := fmt.Sprintf("%s proto %d metric %d", dst, r.Protocol, r.Priority)
	if r.Type == unix.RTN_BLACKHOLE {
		return s + " blackhole"
	}
	name := func(i int) string {
		l, err := vnl.LinkByIndex(i)
		if err != nil {
			return fmt.Sprint(i)
		}
		return l.Attrs().Name
	}
	hops := r.MultiPath
	if len(hops) == 0 {
		hops = []*vnl.NexthopInfo{{Gw: r.Gw, Via: r.Via, LinkIndex: r.LinkIndex}}
	}
	var all []string
	for _, h := range hops {
		x := " dev " + name(h.LinkIndex)
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

// expect compares kernel with lines.
func (w *world) expect(lines ...string) {
	w.t.Helper()
	slices.Sort(lines)
	if got := w.kernel(); !slices.Equal(got, lines) {
		w.t.Fatalf("kernel has:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

// listen begins to record route notifications; heard returns them, without those of the kernel's own routes.
func (w *world) listen() {
	w.t.Helper()
	c, err := dial()
	must(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	for _, g := range []int{unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
		must(w.t, unix.SetsockoptInt(c.FD, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g))
	}
	w.events = c
}

func (w *world) heard() []string {
	w.t.Helper()
	var out []string
	buf := make([]byte, rtnl.ReadBuffer)
	for {
		n, _, err := unix.Recvfrom(w.events.FD, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return out
		}
		must(w.t, err)
		rtnl.EachMessage(buf[:n], func(h unix.NlMsghdr, payload []byte) bool {
			r, ok := parseRoute(payload)
			if !ok || r.protocol != testProtocol {
				return true
			}
			what := "new"
			if h.Type == unix.RTM_DELROUTE {
				what = "del"
			}
			out = append(out, fmt.Sprintf("%s %v %d hops", what, r.prefix, len(r.hops())))
			return true
		})
	}
}

// foreign adds a route of another protocol over eth0.
func (w *world) foreign(prefix string, protocol, metric int, gateway string) {
	w.t.Helper()
	dst := netip.MustParsePrefix(prefix)
	must(w.t, vnl.RouteAdd(&vnl.Route{
		Dst: ipNet(dst), Protocol: vnl.RouteProtocol(protocol), Priority: metric, Gw: netip.MustParseAddr(gateway).AsSlice(),
		LinkIndex: w.link("eth0").Attrs().Index, Table: mainTable,
	}))
}

// eventually polls until ok holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// route makes a route from next hops written "address interface" or "address interface weight"; - is no address.
func route(p string, hops ...string) msg.Route {
	r := msg.Route{Prefix: prefix(p)}
	for _, h := range hops {
		var addr string
		n := msg.NextHop{}
		_, err := fmt.Sscan(h+" 0", &addr, &n.IfName, &n.Weight)
		if err != nil {
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

var _ fib.Programmer = (*Programmer)(nil)
