package platform

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	vnl "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"openr/config"
	"openr/fib"
	"openr/fib/netlink"
	"openr/fib/switchagent"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	"openr/thrift/gen/network"
	gen "openr/thrift/gen/platform"
	"openr/thrift/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// kernel is a network namespace with the interfaces eth0 and eth1, seen through another netlink library.
type kernel struct {
	t  testing.TB
	ns netns.NsHandle
	h  *vnl.Handle
}

func newKernel(t testing.TB) *kernel {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test programs routes in a network namespace and must run as root")
	}
	k := &kernel{t: t}
	must(t, onThread(func() (err error) {
		if k.ns, err = netns.New(); err == nil {
			k.h, err = vnl.NewHandle(unix.NETLINK_ROUTE)
		}
		return err
	}))
	t.Cleanup(func() { k.h.Close(); must(t, k.ns.Close()) })
	for i := range 2 {
		link := k.add(fmt.Sprintf("eth%d", i))
		addr, err := vnl.ParseAddr(fmt.Sprintf("192.0.2.%d/30", 4*i+2))
		must(t, err)
		must(t, k.h.AddrAdd(link, addr))
	}
	return k
}

// add makes an interface and brings it up.
func (k *kernel) add(name string) vnl.Link {
	k.t.Helper()
	attrs := vnl.NewLinkAttrs()
	attrs.Name = name
	must(k.t, k.h.LinkAdd(&vnl.Veth{LinkAttrs: attrs, PeerName: name + "-peer"}))
	for _, n := range []string{name + "-peer", name} {
		link, err := k.h.LinkByName(n)
		must(k.t, err)
		must(k.t, k.h.LinkSetUp(link))
	}
	link, err := k.h.LinkByName(name)
	must(k.t, err)
	return link
}

// onThread runs f on a thread that is thrown away.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// open opens a client's table, as the Open of Options.
func (k *kernel) open(c Client) (p fib.Programmer, err error) {
	err = onThread(func() (err error) {
		if err := netns.Set(k.ns); err != nil {
			return err
		}
		p, err = netlink.New(netlink.Options{Table: unix.RT_TABLE_MAIN, Protocol: c.Protocol, Metric: c.Metric})
		return err
	})
	return p, err
}

// routes returns the routes of a protocol, one line each, sorted.
func (k *kernel) routes(protocol int) []string {
	k.t.Helper()
	out := []string{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := k.h.RouteListFiltered(family, &vnl.Route{Protocol: vnl.RouteProtocol(protocol)}, vnl.RT_FILTER_PROTOCOL)
		must(k.t, err)
		for _, r := range list {
			s := fmt.Sprintf("%v metric %d", r.Dst, r.Priority)
			if r.Type == unix.RTN_BLACKHOLE {
				s += " blackhole"
			} else {
				s += fmt.Sprintf(" %d ways", max(1, len(r.MultiPath)))
			}
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

func (k *kernel) expect(protocol int, lines ...string) {
	k.t.Helper()
	slices.Sort(lines)
	if got := k.routes(protocol); !slices.Equal(got, lines) {
		k.t.Errorf("the kernel has\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
	}
}

// serve serves a Platform on a port of its own.
func serve(t testing.TB, o Options) (*Platform, string) {
	t.Helper()
	p := New(o)
	l, err := rpc.Listen(t.Context(), "[::1]:0", 0)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	server := &rpc.Server{Service: p.Service(), Counters: o.Counters}
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		must(t, p.Close())
	})
	return p, l.Addr().String()
}

func connect(t testing.TB, addr string, o rpc.DialOptions) *gen.FibServiceClient {
	t.Helper()
	o.RequestTimeout = time.Minute
	c, err := rpc.Dial(t.Context(), addr, o)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return gen.NewFibServiceClient(c.Client())
}

// unicast makes a route from next hops written "address interface".
func unicast(p string, hops ...string) *network.UnicastRoute {
	r := msg.Route{Prefix: prefix(p)}
	for _, h := range hops {
		a, name, _ := strings.Cut(h, " ")
		r.NextHops = append(r.NextHops, msg.NextHop{Addr: netip.MustParseAddr(a), IfName: name})
	}
	return switchagent.RouteThrift(r)
}

func thriftPrefixes(list ...string) (out []*network.IpPrefix) {
	for _, s := range list {
		out = append(out, lsdb.Prefix(prefix(s)))
	}
	return out
}

// refused checks for a PlatformError that says something.
func refused(t testing.TB, err error, text string) {
	t.Helper()
	var e *gen.PlatformError
	if !errors.As(err, &e) || !strings.Contains(e.Message, text) {
		t.Errorf("error %v, want a PlatformError with %q", err, text)
	}
}

// TestFibService makes every call about routes, in every dialect: Rocket compact as C++ Open/R does, Rocket binary as breeze,
// and those of older programs.
func TestFibService(t *testing.T) {
	for name, o := range map[string]rpc.DialOptions{
		"Rocket compact": {}, "Rocket binary": {Binary: true}, "THeader": {Dialect: rpc.THeader}, "framed binary": {Dialect: rpc.Framed, Binary: true},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKernel(t)
			_, addr := serve(t, Options{Open: k.open, Counters: monitor.NewCounters(), Version: "1"})
			c, ctx := connect(t, addr, o), t.Context()
			state, err := c.GetSwitchRunState(ctx)
			if err != nil || state != gen.SwitchRunState_CONFIGURED {
				t.Errorf("state %v, %v", state, err)
			}
			must(t, c.AddUnicastRoute(ctx, 786, unicast("fd00:1::/64", "fe80::1 eth0")))
			must(t, c.AddUnicastRoutes(ctx, 786, []*network.UnicastRoute{
				unicast("fd00:2::/64", "fe80::1 eth0", "fe80::2 eth1"), unicast("10.1.0.0/16", "192.0.2.1 eth0"), unicast("10.2.0.0/16", "fe80::1 eth0"), unicast("10.3.0.0/16"),
			}))
			must(t, c.AddUnicastRoute(ctx, 0, unicast("10.1.0.0/16", "192.0.2.5 eth1")))
			k.expect(99, "fd00:1::/64 metric 10 1 ways", "fd00:2::/64 metric 10 2 ways", "10.1.0.0/16 metric 10 1 ways",
				"10.2.0.0/16 metric 10 1 ways", "10.3.0.0/16 metric 10 blackhole")
			k.expect(253, "10.1.0.0/16 metric 20 1 ways")

			must(t, c.DeleteUnicastRoute(ctx, 786, thriftPrefixes("10.3.0.0/16")[0]))
			must(t, c.DeleteUnicastRoutes(ctx, 786, thriftPrefixes("10.2.0.0/16", "10.99.0.0/16")))
			list, err := c.GetRouteTableByClient(ctx, 786)
			must(t, err)
			var got []string
			for _, r := range list {
				x, err := switchagent.RouteFromThrift(r)
				must(t, err)
				got = append(got, fmt.Sprint(x.Prefix, len(x.NextHops)))
			}
			if want := []string{"10.1.0.0/16 1", "fd00:1::/64 1", "fd00:2::/64 2"}; !slices.Equal(got, want) {
				t.Errorf("table %q, want %q", got, want)
			}

			must(t, c.SyncFib(ctx, 786, []*network.UnicastRoute{unicast("fd00:2::/64", "fe80::1 eth0"), unicast("fd00:3::/64", "fe80::1 eth0")}))
			k.expect(99, "fd00:2::/64 metric 10 1 ways", "fd00:3::/64 metric 10 1 ways")
			k.expect(253, "10.1.0.0/16 metric 20 1 ways")

			err = c.AddUnicastRoutes(ctx, 786, []*network.UnicastRoute{unicast("fd00:4::/64", "fe80::1 eth0"), unicast("fd00:5::/64", "fe80::1 eth7")})
			var partial *gen.PlatformFibUpdateError
			if !errors.As(err, &partial) || len(partial.Vrf2failedAddUpdatePrefixes[0]) != 1 || len(partial.Vrf2failedDeletePrefixes) != 0 {
				t.Errorf("a route over an interface that is not there: %v", err)
			} else if p, _ := lsdb.PrefixFromThrift(partial.Vrf2failedAddUpdatePrefixes[0][0]); p != prefix("fd00:5::/64") {
				t.Errorf("failed is %v", p)
			}
			why, err := c.GetExportedValue(ctx, "fib.failed_route.fd00:5::/64")
			if err != nil || !strings.Contains(why, "there is no interface eth7") {
				t.Errorf("why: %q, %v", why, err)
			}
			must(t, c.SyncFib(ctx, 786, nil))
			k.expect(99)
			if all, err := c.GetExportedValues(ctx); err != nil || len(all) != 0 {
				t.Errorf("still failed: %v, %v", all, err)
			}
		})
	}
}

// TestRefusals checks what is not offered, and bad input: nothing of it is programmed.
func TestRefusals(t *testing.T) {
	table := fib.DryRun()
	p, addr := serve(t, Options{Open: func(Client) (fib.Programmer, error) { return table, nil }})
	c, ctx := connect(t, addr, rpc.DialOptions{}), t.Context()
	labels := unicast("10.1.0.0/16", "fe80::1 eth0")
	labels.NextHops[0].MplsAction = network.NewMplsAction()
	good := unicast("10.2.0.0/16", "fe80::1 eth0")
	bad := &network.UnicastRoute{Dest: &network.IpPrefix{PrefixAddress: &network.BinaryAddress{Addr: []byte{1}}}}
	_, mpls := c.GetMplsRouteTableByClient(ctx, 786)
	_, batched := c.BatchedSyncFib(ctx, gen.NewBatchedSyncFibRequest())
	_, register := c.RegisterNextHops(ctx, gen.NewNextHopRegistrationRequest())
	_, deregister := c.DeregisterNextHops(ctx, gen.NewNextHopDeregistrationRequest())
	_, connected := c.UpdateConnectedNextHopStatus(ctx, gen.NewConnectedNextHopStatusRequest())
	_, cached := c.GetFibCachedState(ctx, gen.NewFibCachedStateRequest())
	for _, x := range []struct {
		err  error
		text string
	}{
		{c.AddUnicastRoute(ctx, 3, good), "client id 3 has no protocol here; known are 786 (protocol 99), 0 (protocol 253)"},
		{c.AddUnicastRoutes(ctx, 786, []*network.UnicastRoute{good, labels}), "routes[1]: route to 10.1.0.0/16: nextHops[0]: MPLS"},
		{c.SyncFib(ctx, 786, []*network.UnicastRoute{bad}), "routes[0]: dest: prefix of 1 address bytes"},
		{c.DeleteUnicastRoutes(ctx, 786, []*network.IpPrefix{bad.Dest}), "prefixes[0]"},
		{c.AddMplsRoutes(ctx, 786, []*network.MplsRoute{network.NewMplsRoute()}), "MPLS"},
		{c.SyncMplsFib(ctx, 786, []*network.MplsRoute{network.NewMplsRoute()}), "MPLS"},
		{c.DeleteMplsRoutes(ctx, 786, []int32{100}), "MPLS"},
		{mpls, "MPLS"},
		{batched, "use syncFib"},
		{register, "registerNextHops"},
		{deregister, "deregisterNextHops"},
		{connected, "updateConnectedNextHopStatus"},
		{cached, "use getRouteTableByClient"},
		{c.SendNeighborDownInfo(ctx, []string{"fe80::1"}), "sendNeighborDownInfo"},
	} {
		refused(t, x.err, x.text)
	}
	must(t, c.SyncMplsFib(ctx, 786, nil)) // of one who has none
	if len(table.Table()) != 0 {
		t.Errorf("programmed: %v", table.Table())
	}
	must(t, p.Close())
	refused(t, c.AddUnicastRoute(ctx, 786, good), "stopping")
}

// broken is a table that fails as a whole, or to delete.
type broken struct {
	*fib.Memory
	dump, apply, del error
}

func (b *broken) Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	if b.dump != nil {
		return nil, b.dump
	}
	return b.Memory.Dump(ctx)
}

func (b *broken) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	if b.apply != nil {
		return nil, b.apply
	}
	failed := map[netip.Prefix]error{}
	for _, p := range del {
		if b.del != nil {
			failed[p] = fmt.Errorf("delete %v: %w", p, b.del)
		}
	}
	if len(failed) > 0 {
		return failed, nil
	}
	return b.Memory.Apply(ctx, update, del)
}

func TestFailures(t *testing.T) {
	table := &broken{Memory: fib.DryRun()}
	var opening error
	p := New(Options{Open: func(Client) (fib.Programmer, error) { return table, opening }})
	c, ctx := p, t.Context()
	routes := []*network.UnicastRoute{unicast("10.1.0.0/16", "fe80::1 eth0"), unicast("10.2.0.0/16", "fe80::1 eth0")}
	opening = errors.New("no such table")
	refused(t, c.SyncFib(ctx, 786, routes), "cannot open the forwarding table: no such table")
	opening = nil
	table.dump = errors.New("interrupted")
	refused(t, c.SyncFib(ctx, 786, routes), "failed to read the routes: interrupted")
	_, err := c.GetRouteTableByClient(ctx, 786)
	refused(t, err, "failed to read the routes: interrupted")
	table.dump, table.apply = nil, errors.New("no buffer space")
	refused(t, c.SyncFib(ctx, 786, routes), "failed to program routes: no buffer space")
	table.apply = nil
	must(t, c.SyncFib(ctx, 786, routes))
	table.del = errors.New("busy")
	refused(t, c.DeleteUnicastRoutes(ctx, 786, thriftPrefixes("10.1.0.0/16")), "failed to delete routes: delete 10.1.0.0/16: busy")
	err = c.SyncFib(ctx, 786, routes[1:])
	var partial *gen.PlatformFibUpdateError
	if !errors.As(err, &partial) || len(partial.Vrf2failedDeletePrefixes[0]) != 1 || len(partial.Vrf2failedAddUpdatePrefixes) != 0 {
		t.Errorf("syncFib that cannot delete: %v", err)
	}
}

// TestBase calls the methods of fb303.
func TestBase(t *testing.T) {
	counters := monitor.NewCounters()
	_, addr := serve(t, Options{Open: func(Client) (fib.Programmer, error) { return fib.DryRun(), nil }, Counters: counters, Version: "1.2"})
	c, ctx := connect(t, addr, rpc.DialOptions{Binary: true}), t.Context()
	must(t, c.AddUnicastRoute(ctx, 786, unicast("10.1.0.0/16")))
	since, err := c.AliveSince(ctx)
	if now := time.Now().Unix(); err != nil || since > now || since < now-600 {
		t.Errorf("alive since %d, %v", since, err)
	}
	name, err := c.GetName(ctx)
	must(t, err)
	version, err := c.GetVersion(ctx)
	if err != nil || name != "openr platform" || version != "1.2" {
		t.Errorf("%q %q %v", name, version, err)
	}
	all, err := c.GetRegexCounters(ctx, "platform\\.calls\\.count")
	if err != nil || all["platform.calls.count"] != 1 || len(all) != 1 {
		t.Errorf("counters %v, %v", all, err)
	}
	if some, err := c.GetSelectedCounters(ctx, []string{"platform.calls.count", "nothing"}); err != nil || len(some) != 1 {
		t.Errorf("counters %v, %v", some, err)
	}
	var x thrift.TApplicationException
	if _, err := c.GetCounter(ctx, "nothing"); !errors.As(err, &x) || !strings.Contains(err.Error(), `no counter "nothing"`) {
		t.Error(err)
	}
	must(t, c.SetOption(ctx, "a", "b"))
	if v, err := c.GetOption(ctx, "a"); err != nil || v != "b" {
		t.Errorf("option %q, %v", v, err)
	}
}

// TestAgentThroughPlatform runs package fib over the switch agent's client, over this service, over the kernel.
func TestAgentThroughPlatform(t *testing.T) {
	k := newKernel(t)
	_, addr := serve(t, Options{Open: k.open})
	programmer, err := switchagent.New(switchagent.Options{Addr: addr, PollInterval: 20 * time.Millisecond, ConnectTimeout: time.Minute})
	must(t, err)
	t.Cleanup(func() { must(t, programmer.Close()) })
	must(t, programmer.Wait(t.Context(), nil))
	updates := queue.New(msg.MergeRoutes)
	f := fib.New(fib.Options{Config: config.Default("n"), Routes: updates, Programmer: programmer})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })

	want := msg.RouteUpdate{Full: true, Update: map[netip.Prefix]msg.Route{}}
	add := func(p string, hops ...msg.NextHop) {
		want.Update[prefix(p)] = msg.Route{Prefix: prefix(p), NextHops: hops}
	}
	eth0 := msg.NextHop{Addr: netip.MustParseAddr("fe80::1"), IfName: "eth0"}
	eth1 := msg.NextHop{Addr: netip.MustParseAddr("fe80::2"), IfName: "eth1", Weight: 3}
	add("fd00:1::/64", eth0)
	add("fd00:2::/64", eth0, eth1)
	add("10.1.0.0/16", eth0, eth1)
	add("10.2.0.0/16")
	add("10.3.0.0/16", msg.NextHop{Addr: netip.MustParseAddr("fe80::1"), IfName: "later"})
	updates.Push(want)
	standing := []string{"10.1.0.0/16 metric 10 2 ways", "10.2.0.0/16 metric 10 blackhole", "fd00:1::/64 metric 10 1 ways", "fd00:2::/64 metric 10 2 ways"}
	eventually(t, "what can be programmed stands", func() bool { return slices.Equal(k.routes(99), standing) })

	k.add("later")
	standing = slices.Insert(standing, 2, "10.3.0.0/16 metric 10 1 ways")
	eventually(t, "the rest stands when it can", func() bool { return slices.Equal(k.routes(99), standing) })

	updates.Push(msg.RouteUpdate{Delete: map[netip.Prefix]msg.DeleteReason{prefix("fd00:1::/64"): msg.Unreachable}})
	standing = slices.DeleteFunc(standing, func(s string) bool { return strings.HasPrefix(s, "fd00:1::") })
	eventually(t, "a route goes", func() bool { return slices.Equal(k.routes(99), standing) })
}

// BenchmarkSyncFib gives routes to the kernel over loopback, all new, and takes them out again.
func BenchmarkSyncFib(b *testing.B) {
	const n = 20000
	k := newKernel(b)
	_, addr := serve(b, Options{Open: k.open})
	c := connect(b, addr, rpc.DialOptions{})
	routes := make([]*network.UnicastRoute, n)
	for i := range routes {
		routes[i] = unicast(fmt.Sprintf("fd00:%x::/64", i), "fe80::1 eth0")
	}
	var adding, removing time.Duration
	for b.Loop() {
		start := time.Now()
		must(b, c.SyncFib(b.Context(), 786, routes))
		middle := time.Now()
		must(b, c.SyncFib(b.Context(), 786, nil))
		adding, removing = adding+middle.Sub(start), removing+time.Since(middle)
	}
	b.ReportMetric(float64(n*b.N)/adding.Seconds(), "adds/s")
	b.ReportMetric(float64(n*b.N)/removing.Seconds(), "deletes/s")
}
