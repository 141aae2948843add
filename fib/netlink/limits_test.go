package netlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"openr/config"
	"openr/fib"
	"openr/internal/rtnl"
	"openr/msg"
	"openr/queue"
)

// TestJudge shows what is made of the answers of kernels of any age.
func TestJudge(t *testing.T) {
	refused := rtnl.Error{Errno: unix.EINVAL, Text: "Invalid group id"}
	for name, c := range map[string]struct {
		answers   [3]rtnl.Error
		able      bool
		maxWeight uint32
		buckets   uint16
	}{
		"Linux 6.12":                      {[3]rtnl.Error{refused, refused, refused}, true, wideWeight, wideBuckets},
		"no great weights":                {[3]rtnl.Error{refused, {Errno: unix.EINVAL, Text: "Reserved bits set in nexthop_grp"}, refused}, true, narrowWeight, narrowBuckets},
		"nor resilient groups":            {[3]rtnl.Error{refused, {Errno: unix.EINVAL}, {Errno: unix.EINVAL, Text: "Unknown attribute type"}}, true, narrowWeight, 0},
		"no nexthop objects":              {[3]rtnl.Error{{Errno: unix.EOPNOTSUPP}, {Errno: unix.EOPNOTSUPP}, {Errno: unix.EOPNOTSUPP}}, false, 0, 0},
		"no right to ask":                 {[3]rtnl.Error{{Errno: unix.EPERM}, {Errno: unix.EPERM}, {Errno: unix.EPERM}}, false, 0, 0},
		"somebody has that very id":       {[3]rtnl.Error{{Errno: unix.EEXIST}, {Errno: unix.EEXIST}, {Errno: unix.EEXIST}}, true, wideWeight, wideBuckets},
		"a group that should not be made": {[3]rtnl.Error{{}, {}, {}}, false, 0, 0},
	} {
		able, maxWeight, buckets := judge(c.answers[0], c.answers[1], c.answers[2])
		if able != c.able || maxWeight != c.maxWeight || buckets != c.buckets {
			t.Errorf("%s: %v, weights to %d, %d buckets; want %+v", name, able, maxWeight, buckets, c)
		}
	}
}

// TestNoIdsLeft: when all ids of nexthop objects are in use, those routes fail that need more, with the reason; the rest goes
// in, and they as well when there are ids again.
func TestNoIdsLeft(t *testing.T) {
	w := enter(t)
	standing := route("2001:db8::/64", "fe80::1 eth0")
	w.apply([]msg.Route{standing})
	var others []uint32
	for id := w.p.books.base; id < w.p.books.base+idsPerBase; id++ {
		if !w.p.books.taken[id] {
			w.p.books.taken[id] = true
			others = append(others, id)
		}
	}
	for _, id := range others[:3] {
		delete(w.p.books.taken, id)
	}
	first, second, third := route("2001:db8:1::/64", "fe80::2 eth0"), route("2001:db8:2::/64", "fe80::3 eth0"), route("2001:db8:3::/64", "fe80::4 eth0", "fe80::5 eth0")
	update := []msg.Route{first, second, third, route("2001:db8:4::/64", "fe80::1 eth0")}
	failed, err := w.p.Apply(context.Background(), update, nil)
	must(t, err)
	if len(failed) == 0 || len(failed)+len(w.kernel()) != 5 || failed[prefix("2001:db8:4::/64")] != nil {
		t.Errorf("failed: %v; the kernel has:\n%s", failed, strings.Join(w.kernel(), "\n"))
	}
	for p, err := range failed {
		if !errors.Is(err, unix.ENOSPC) || errors.Is(err, fib.ErrPartial) || !strings.Contains(err.Error(), "nexthop ids are in use") {
			t.Errorf("%v: %v", p, err)
		}
	}
	w.dump() // sees that the ids are free
	w.apply(update)
	if got := w.kernel(); len(got) != 5 {
		t.Errorf("the kernel has:\n%s", strings.Join(got, "\n"))
	}
	all, err := w.p.readObjects()
	must(t, err)
	for id, n := range all {
		if !w.p.books.inRange(id) {
			t.Errorf("object %d is none of our range: %+v", id, n)
		}
	}
}

// shrink leaves a socket so little room that it loses most of what the kernel tells.
func shrink(t *testing.T, fd int) {
	t.Helper()
	must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1))
}

// TestAnswersLost: the kernel's answers do not fit into the socket. That is told, and when they fit again all is mended.
func TestAnswersLost(t *testing.T) {
	w := enter(t)
	must(t, vnl.LinkSetDown(w.link("lo")))
	before, after := many(150, "fe80::1 eth0"), many(150, "fe80::2 eth1")
	w.apply(before[:10])
	var absent []netip.Prefix
	for i := range 1000 {
		absent = append(absent, prefix(fmt.Sprintf("2001:db9:%x::/64", i))) // each is answered: there is no such route
	}
	shrink(t, w.p.conn.FD)
	if failed, err := w.p.Apply(context.Background(), after, absent); !errors.Is(err, rtnl.ErrLost) {
		t.Fatalf("failed %v, error %v", failed, err)
	}
	if n, _ := w.counters.Get(counterAnswersLost + ".count"); n == 0 {
		t.Error("not counted")
	}
	rtnl.SetBuffers(w.p.conn.FD, 0, recvBuffer)
	w.apply(after, absent...)
	w.expect(shownRoutes(after, " dev eth1 via fe80::2")...)
	d := w.dump()
	for _, r := range after {
		if !d[r.Prefix].SameForwarding(msg.Route{Prefix: r.Prefix, NextHops: fib.Forwarding(r)}) {
			t.Fatalf("Dump shows %+v", d[r.Prefix])
		}
	}
	w.expectObjects("eth1 fe80::2", "[eth1 fe80::2 *1]")
}

// TestNotificationsLost: somebody deletes routes, and makes an interface anew, while so much happens that the kernel's notices
// do not fit into the socket. All is as it should be again long before the table would be compared anyway.
func TestNotificationsLost(t *testing.T) {
	w := enter(t)
	routes := append(many(100, "fe80::1 eth0"), many(120, "fe80::1 eth1")[200:]...)
	updates := queue.New(msg.MergeRoutes)
	f := fib.New(fib.Options{Config: &config.Config{}, Routes: updates, Programmer: w.p, Counters: w.counters})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	wanted := map[netip.Prefix]msg.Route{}
	for _, r := range routes {
		wanted[r.Prefix] = r
	}
	updates.Push(msg.RouteUpdate{Full: true, Update: wanted})
	eventually(t, "all routes", func() bool { return len(w.kernel()) == len(routes) })
	want := w.kernel()

	must(t, w.p.watch.raw.Control(func(fd uintptr) { shrink(t, int(fd)) }))
	w.p.watch.mu.Lock() // nobody reads
	for _, r := range routes[:200] {
		must(t, vnl.RouteDel(&vnl.Route{Dst: ipNet(r.Prefix), Protocol: testProtocol, Priority: testMetric, Table: mainTable}))
	}
	must(t, vnl.LinkDel(w.link("eth1")))
	w.addLink(1)
	w.p.watch.mu.Unlock()
	eventually(t, "the routes are back", func() bool { return slices.Equal(w.kernel(), want) })
	if n, _ := w.counters.Get(counterOverruns + ".count"); n == 0 {
		t.Error("no notices were lost: the test has shown nothing")
	}
	cancel()
	must(t, <-ended)
}

// TestKernelFiltersDumps: of a table full of others' routes only ours are told.
func TestKernelFiltersDumps(t *testing.T) {
	w := enter(t)
	other, err := New(Options{Table: mainTable, Protocol: 186, Metric: 20})
	must(t, err)
	defer func() { must(t, other.Close()) }()
	if failed, err := other.Apply(context.Background(), many(500, "fe80::7 eth0"), nil); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	w.apply(many(3, "fe80::1 eth0"))
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		told, filtered := 0, true
		request := func(seq uint32) []byte { return dumpRoutes(seq, fam, mainTable, testProtocol) }
		must(t, w.p.reader.Dump(request, func() { told = 0 }, func(h unix.NlMsghdr, _ []byte) {
			told++
			filtered = filtered && h.Flags&unix.NLM_F_DUMP_FILTERED != 0
		}))
		if told != 3 || !filtered {
			t.Errorf("family %d: %d routes are told, 3 are ours; filtered: %v", fam, told, filtered)
		}
	}
}
