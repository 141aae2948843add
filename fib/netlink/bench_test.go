package netlink

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
	"openr/msg"
)

// A load is many routes to bring in, in the words of each program that is measured.
type load struct {
	family, count int
	gateways      [2][]string // ways of the first and the second set: "address interface"
	prefixes      []netip.Prefix
}

func newLoad(family, count, hops int) *load {
	l := &load{family: family, count: count}
	for s := range l.gateways {
		for h := range hops {
			l.gateways[s] = append(l.gateways[s], fmt.Sprintf("fe80::%d eth%d", 10*s+h/2+1, h%2))
		}
	}
	for i := range count {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
		p := netip.PrefixFrom(netip.AddrFrom16(b), 64)
		if family == 4 {
			p = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(16 + i>>16), byte(i >> 8), byte(i)}), 24)
		}
		l.prefixes = append(l.prefixes, p)
	}
	return l
}

// routes returns the load as msg.Routes on one of the sets.
func (l *load) routes(set int) []msg.Route {
	out := make([]msg.Route, l.count)
	for i, p := range l.prefixes {
		out[i] = route(p.String(), l.gateways[set]...)
	}
	return out
}

// batch writes a file for ip -batch.
func (l *load) batch(b *testing.B, verb string, set int) string {
	var out strings.Builder
	var hops string
	for _, g := range l.gateways[set] {
		addr, dev, _ := strings.Cut(g, " ")
		via := " via "
		if l.family == 4 {
			via = " via inet6 "
		}
		if len(l.gateways[set]) > 1 {
			hops += " nexthop"
		}
		hops += via + addr + " dev " + dev
	}
	if verb == "del" {
		hops = ""
	}
	for _, p := range l.prefixes {
		fmt.Fprintf(&out, "route %s %v proto 99 metric 10%s\n", verb, p, hops)
	}
	file := filepath.Join(b.TempDir(), verb)
	must(b, os.WriteFile(file, []byte(out.String()), 0o600))
	return file
}

// best keeps the shortest time of each step: what disturbs one run of one program is not to count.
type best [3]time.Duration

func (b *best) take(i int, d time.Duration) {
	if b[i] == 0 || d < b[i] {
		b[i] = d
	}
}

// timed returns how long f takes.
func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

func run(b *testing.B, name string, args ...string) string {
	b.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// BenchmarkProgram adds, replaces and deletes routes, and has ip -batch do the same in the same run, and a C program that
// only sends what it has encoded before (bench/routes.c), with next hops in each route and on nexthop objects. Of several runs
// the best of each counts. It reports routes per second of each step, and how many times as fast as each of the others that
// is.
func BenchmarkProgram(b *testing.B) {
	tool := filepath.Join(b.TempDir(), "routes")
	run(b, "cc", "-O2", "-o", tool, "../../bench/routes.c")
	for _, c := range []struct{ family, count, hops int }{{6, 20000, 1}, {6, 20000, 4}, {4, 20000, 1}, {4, 20000, 4}, {6, 200000, 1}, {6, 200000, 4}} {
		b.Run(fmt.Sprintf("v%d/%d/%dhop", c.family, c.count, c.hops), func(b *testing.B) {
			w := enter(b)
			l := newLoad(c.family, c.count, c.hops)
			steps := []string{"add", "replace", "del"}
			first, second := l.routes(0), l.routes(1)
			for i := range second { // to two places, lest their group move whole
				if i%2 == 0 {
					second[i] = route(l.prefixes[i].String(), append(slices.Clone(l.gateways[1][1:]), "fe80::99 eth0")...)
				}
			}
			apply := func(update []msg.Route, del []netip.Prefix) func() {
				return func() {
					failed, err := w.p.Apply(context.Background(), update, del)
					if err != nil || len(failed) > 0 {
						b.Fatal(err, len(failed))
					}
				}
			}
			ours := []func(){apply(first, nil), apply(second, nil), apply(nil, l.prefixes)}
			ip := []string{l.batch(b, "add", 0), l.batch(b, "replace", 1), l.batch(b, "del", 0)}
			var ids [2]string
			for s, list := range l.gateways {
				var members []string
				for h, g := range list {
					addr, dev, _ := strings.Cut(g, " ")
					id := strconv.Itoa(100*(s+1) + h)
					run(b, "ip", "nexthop", "add", "id", id, "via", addr, "dev", dev)
					members = append(members, id)
				}
				ids[s] = strconv.Itoa(1000 + s)
				run(b, "ip", "nexthop", "add", "id", ids[s], "group", strings.Join(members, "/"))
			}
			encoded := func(step int, args ...string) time.Duration {
				args = append([]string{strconv.Itoa(c.family), strconv.Itoa(c.count), steps[step], "99", "10"}, args...)
				s, err := strconv.ParseFloat(run(b, tool, args...), 64)
				must(b, err)
				return time.Duration(s * float64(time.Second))
			}
			gateways := func(set int) (out []string) {
				for _, g := range l.gateways[set] {
					out = append(out, strings.Replace(g, " ", "@", 1))
				}
				return out
			}
			var mine, batch, plain, onObject best
			for b.Loop() {
				for i := range steps {
					mine.take(i, timed(ours[i]))
				}
				for i := range steps {
					onObject.take(i, encoded(i, "nhid", ids[min(i, 1)]))
				}
				for i := range steps {
					plain.take(i, encoded(i, gateways(min(i, 1))...))
				}
				for i := range steps {
					batch.take(i, timed(func() { run(b, "ip", "-"+strconv.Itoa(c.family), "-batch", ip[i]) }))
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, step := range steps {
				b.ReportMetric(float64(c.count)/mine[i].Seconds(), step+"s/s")
				b.ReportMetric(batch[i].Seconds()/mine[i].Seconds(), step+":ip")
				b.ReportMetric(plain[i].Seconds()/mine[i].Seconds(), step+":C")
				b.ReportMetric(onObject[i].Seconds()/mine[i].Seconds(), step+":C-on-objects")
			}
		})
	}
}

// BenchmarkMove gives all of many routes, which have one set of next hops, another set: by one message. Of that it measures
// how long the message takes, for the caller and until the first and the last route are seen to lead elsewhere. With the
// sysctl nexthop_compat_mode, which is on unless somebody turns it off, the kernel tells everybody who listens of each route
// afterwards; the routes have moved by then.
func BenchmarkMove(b *testing.B) {
	for _, family := range []int{6, 4} {
		for _, compat := range []string{"0", "1"} {
			for _, count := range []int{1, 20000, 200000} {
				b.Run(fmt.Sprintf("v%d/compat=%s/%d", family, compat, count), func(b *testing.B) {
					w := enter(b)
					must(b, os.WriteFile("/proc/sys/net/ipv4/nexthop_compat_mode", []byte(compat), 0))
					l := newLoad(family, count, 1)
					sets := [2][]msg.NextHop{route("::/0", "fe80::1 eth0").NextHops, route("::/0", "fe80::1 eth1").NextHops}
					var updates [2][]msg.Route
					for i := range updates {
						for _, p := range l.prefixes {
							updates[i] = append(updates[i], msg.Route{Prefix: p, NextHops: sets[i]})
						}
					}
					w.apply(updates[0])
					w.p.mu.Lock()
					var g *group
					for _, g = range w.p.books.groups {
					}
					other := &object{id: w.p.books.newID(), way: way{addr: sets[1][0].Addr, index: uint32(w.link("eth1").Attrs().Index), family: unix.AF_INET6}}
					must(b, w.p.newObjects(context.Background(), []*object{other}))
					w.p.mu.Unlock()
					members := [2][]share{{{other.id, 1}}, shares(g.members)}
					conn, err := dial()
					must(b, err)
					defer func() { must(b, conn.Close()) }()
					look := &lookout{conn: conn, to: []netip.Addr{l.prefixes[count-1].Addr().Next(), l.prefixes[0].Addr().Next()}}
					indexes := [2]uint32{uint32(w.link("eth1").Attrs().Index), uint32(w.link("eth0").Attrs().Index)}
					var message, seen, whole best
					for n := 0; b.Loop(); n++ {
						start, ready := time.Now(), make(chan time.Duration)
						go func() {
							must(b, w.p.transact(context.Background(), 1, func(buf []byte, seq uint32, _ int) []byte {
								return appendNewGroup(buf, unix.NLM_F_REPLACE, seq, testProtocol, g.id, members[n%2], 0)
							}, func(_ int, refused *rtnl.Error) error {
								if refused != nil {
									return *refused
								}
								return nil
							}))
							ready <- time.Since(start)
						}()
						seen.take(0, look.moved(b, indexes[n%2]).Sub(start))
						message.take(0, <-ready)
					}
					for n := range 3 { // the same by Apply, which has to find out that all routes go
						whole.take(0, timed(func() { w.apply(updates[(n+1)%2]) }))
					}
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(message[0].Seconds()*1e3, "ms-message")
					b.ReportMetric(seen[0].Seconds()*1e3, "ms-moved")
					b.ReportMetric(whole[0].Seconds()*1e3, "ms-Apply")
				})
			}
		}
	}
}
