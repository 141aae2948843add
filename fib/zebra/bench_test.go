package zebra

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"openr/msg"
)

// BenchmarkProgram20k adds, changes and deletes 20,000 IPv6 routes through zebra, until zebra says that the kernel has
// them, and in the same run lets others do the first of it:
//
//	blind   a client that only sends messages encoded before and counts the answers: as fast as zebra takes them
//	ripngd  FRR's own daemon, told of the routes by a neighbour; from the first to the last in the kernel (one next hop only)
//
// It reports routes per second of each step, and how many times faster than the others the first is.
func BenchmarkProgram20k(b *testing.B) {
	const n = 20000
	for _, hops := range []int{1, 4} {
		b.Run(fmt.Sprintf("%dhop", hops), func(b *testing.B) {
			w := enter(b, 4)
			p := w.open(nil)
			w.dump(p)
			one, two, prefixes := manyRoutes(n, hops, "fe80::1"), manyRoutes(n, hops, "fe80::2"), make([]netip.Prefix, n)
			half := manyRoutes(n, hops, "fe80::3")[:n/2] // so that groups cannot move as a whole
			for i := range prefixes {
				prefixes[i] = one[i].Prefix
			}
			var took [4]time.Duration
			var blind, rip time.Duration
			for b.Loop() {
				for i, step := range []func() (map[netip.Prefix]error, error){
					func() (map[netip.Prefix]error, error) { return p.Apply(context.Background(), one, nil) },
					func() (map[netip.Prefix]error, error) { return p.Apply(context.Background(), two, nil) },
					func() (map[netip.Prefix]error, error) { return p.Apply(context.Background(), half, nil) },
					func() (map[netip.Prefix]error, error) { return p.Apply(context.Background(), nil, prefixes) },
				} {
					start := time.Now()
					failed, err := step()
					took[i] += time.Since(start)
					if err != nil || len(failed) > 0 {
						b.Fatal(err, len(failed))
					}
				}
				blind += blindly(b, w, one)
				if hops == 1 {
					rip += ripngd(b, w, one)
				}
			}
			b.ReportMetric(0, "ns/op")
			for i, step := range []string{"adds/s", "moves/s", "changes/s", "dels/s"} {
				routes := float64(n * b.N)
				if i == 2 {
					routes /= 2
				}
				b.ReportMetric(routes/took[i].Seconds(), step)
			}
			b.ReportMetric(blind.Seconds()/took[0].Seconds(), "add:blind")
			if hops == 1 {
				b.ReportMetric(rip.Seconds()/took[0].Seconds(), "add:ripngd")
			}
		})
	}
}

func manyRoutes(n, hops int, gateway string) []msg.Route {
	var h []string
	for i := range hops {
		h = append(h, fmt.Sprintf("%s za%d", gateway, i))
	}
	r := newRoute("::/0", h...)
	out := make([]msg.Route, n)
	for i := range out {
		r.Prefix = prefix(fmt.Sprintf("2001:db8:%x:%x::/64", i>>8, i&0xff))
		out[i] = r
	}
	return out
}

// blindly sends encoded messages and returns how long it took until zebra has answered all.
func blindly(b testing.TB, w *world, routes []msg.Route) time.Duration {
	rel, err := findRelease("8.4")
	must(b, err)
	conn, err := dial(context.Background(), w.socket)
	must(b, err)
	peer := newPeer(conn)
	must(b, peer.greet(identity{protocol: "sharp"}, rel))
	typ, _ := rel.routeType("sharp")
	var hops []nextHop
	for _, h := range routes[0].NextHops {
		x := nextHop{typ: hopIPv6Index, addr: h.Addr, index: uint32(w.link(h.IfName).Attrs().Index)}
		if len(routes[0].NextHops) > 1 {
			x.weight = 1
		}
		hops = append(hops, x)
	}
	for _, r := range routes {
		must(b, peer.send(cmdRouteAdd, func(b []byte) ([]byte, error) {
			return rel.appendRoute(b, route{typ: typ, prefix: r.Prefix, hops: hops})
		}))
	}
	start := time.Now()
	wrote := make(chan error, 1)
	go func() { wrote <- peer.flush() }()
	notify, _ := rel.number(cmdRouteNotifyOwner)
	for left := len(routes); left > 0; {
		h, _, err := peer.next()
		must(b, err)
		if h.command == notify {
			left--
		}
	}
	took := time.Since(start)
	must(b, <-wrote)
	_ = conn.Close()
	eventually(b, "zebra sweeps", func() bool { return len(w.kernelOf("sharp")) == 0 })
	return took
}

func (w *world) kernelOf(protocol string) map[netip.Prefix]kernelRoute {
	w.t.Helper()
	k, err := openKernel()
	must(w.t, err)
	defer func() { _ = k.close() }()
	out := map[netip.Prefix]kernelRoute{}
	must(w.t, k.routes(mainTable, kernelProtocols[protocol], func(r kernelRoute) { out[r.prefix] = r }))
	return out
}

// ripngd lets FRR's RIPng daemon hear of the routes (RFC 2080) and returns how long it took from the first to the last in
// the kernel.
func ripngd(b testing.TB, w *world, routes []msg.Route) time.Duration {
	config := filepath.Join(w.dir, "ripngd.conf")
	must(b, os.WriteFile(config, []byte("hostname test\nrouter ripng\n network za0\n"), 0o644))
	cmd := exec.Command(filepath.Join(filepath.Dir(zebraPath), "ripngd"), "-z", w.socket, "--vty_socket", w.dir, "-i", filepath.Join(w.dir, "ripngd.pid"),
		"-f", config, "-P", "0", "--log", "file:"+filepath.Join(w.dir, "ripngd.log"))
	must(b, cmd.Start())
	b.Cleanup(func() { _ = cmd.Process.Kill() })
	share := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) { // the port, with ripngd
		failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
		return errors.Join(failed, err)
	}}
	conn, err := share.ListenPacket(context.Background(), "udp6", "[fe80::b:0%zb0]:521")
	must(b, err)
	must(b, ipv6.NewPacketConn(conn).SetMulticastHopLimit(255))
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[ff02::9%zb0]:521"))
	send := func(routes []msg.Route, pause time.Duration) {
		for len(routes) > 0 {
			p := []byte{2, 1, 0, 0} // response, version 1
			for _, r := range routes[:min(len(routes), 72)] {
				p = append(appendAddr(p, r.Prefix.Addr()), 0, 0, uint8(r.Prefix.Bits()), 1)
			}
			routes = routes[min(len(routes), 72):]
			_, err := conn.WriteTo(p, to)
			must(b, err)
			time.Sleep(pause)
		}
	}
	extra := newRoute("2001:db8:ffff::/64")
	eventually(b, "ripngd hears", func() bool {
		send([]msg.Route{extra}, 20*time.Millisecond)
		return len(w.kernelOf("ripng")) == 1
	})
	start := time.Now()
	send(routes, 100*time.Microsecond) // without a pause its socket overflows
	sent := time.Now()
	eventually(b, "ripngd's routes", func() bool {
		have := len(w.kernelOf("ripng"))
		if have <= len(routes) && time.Since(sent) > 2*time.Second { // some were lost
			send(routes, time.Millisecond)
			sent = time.Now()
		}
		time.Sleep(5 * time.Millisecond)
		return have > len(routes)
	})
	took := time.Since(start)
	must(b, cmd.Process.Kill())
	_ = cmd.Wait()
	_ = conn.Close()
	eventually(b, "zebra sweeps", func() bool { return len(w.kernelOf("ripng")) == 0 })
	return took
}
