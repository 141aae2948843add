package lab

import (
	"fmt"
	"net/netip"
	"os/exec"
	"reflect"
	"strings"
	"testing"
)

// TestRoutesOnNextHopObjects: routes that point to nexthop objects count with what these stand for, whether the kernel says
// so in the route (nexthop_compat_mode) or not, and alternates count when nothing else is left.
func TestRoutesOnNextHopObjects(t *testing.T) {
	l := newLab(t, Options{Topology: "full:3", Binary: standIn(t, "exec sleep 1000")})
	run := func(command string) {
		t.Helper()
		args := append([]string{"netns", "exec", l.Namespace(0)}, strings.Fields(command)...)
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
	}
	for _, c := range []string{
		"ip nexthop add id 1 via fe80::1 dev to-n1", "ip nexthop add id 2 via fe80::2 dev to-n2", "ip -6 nexthop add id 3 blackhole",
		"ip nexthop add id 11 group 1", "ip nexthop add id 12 group 1/2", "ip nexthop add id 13 group 1,255/2,1",
		"ip route add 192.0.2.0/24 nhid 12 proto 99",
		"ip route add 2001:db8:1::/64 nhid 1 proto 99", "ip route add 2001:db8:11::/64 nhid 11 proto 99",
		"ip route add 2001:db8:12::/64 nhid 12 proto 99", "ip route add 2001:db8:13::/64 nhid 13 proto 99",
		"ip route add 2001:db8:3::/64 nhid 3 proto 99", "ip route add 2001:db8:99::/64 nhid 1 proto 98",
	} {
		run(c)
	}
	one := NextHop{"to-n1", netip.MustParseAddr("fe80::1")}
	two := NextHop{"to-n2", netip.MustParseAddr("fe80::2")}
	p := netip.MustParsePrefix
	want := Routes{
		p("192.0.2.0/24"): {one, two}, p("2001:db8:1::/64"): {one}, p("2001:db8:11::/64"): {one}, p("2001:db8:12::/64"): {one, two},
		p("2001:db8:13::/64"): {one}, p("2001:db8:3::/64"): nil,
	}
	check := func(when string) {
		t.Helper()
		got, err := l.Routes(0)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || !reflect.DeepEqual(got[p("2001:db8:13::/64")], want[p("2001:db8:13::/64")]) {
			t.Errorf("%s: %v, %v; want %v", when, got, err, want)
		}
	}
	check("as it is")
	run("sysctl -qw net.ipv4.nexthop_compat_mode=0")
	check("with the next hops left out of the routes")
	run("ip nexthop del id 1")
	want = Routes{p("192.0.2.0/24"): {two}, p("2001:db8:12::/64"): {two}, p("2001:db8:13::/64"): {two}, p("2001:db8:3::/64"): nil}
	check("after one next hop has gone")
}
