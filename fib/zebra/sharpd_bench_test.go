package zebra

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"openr/msg"
)

// BenchmarkSharpd brings routes into the kernel and out of it through the same zebra in turn: ours, and with SHARPD (the
// binary of FRR's own test daemon; bench/sharpd.sh makes it) sharpd's, with next hops in each route (plain) and by a nexthop
// group of its own. The kernel judges: what counts is the time from the order to the last of its announcements. The figures
// are medians; add:sharpd and del:sharpd are how many times as fast as the faster of sharpd's two ours are, and with -best the
// same of the best rounds, which a busy machine disturbs less.
func BenchmarkSharpd(b *testing.B) {
	for _, family := range []string{"IPv6", "IPv4"} {
		for _, n := range []int{10000, 100000} {
			b.Run(fmt.Sprintf("%s/%d", family, n), func(b *testing.B) {
				w := enter(b, 1)
				s := sharpRoutes{w: w, n: n, first: netip.MustParseAddr("2001:db8:5::1"), gateway: "fe80::b:0", plain: "2001:db8:9000::2"}
				if family == "IPv4" {
					s.first, s.gateway, s.plain = netip.MustParseAddr("10.100.0.1"), "10.9.0.2", "10.9.0.2"
				}
				p := w.open(func(o *Options) { o.patience = time.Minute }) // zebra may be short of time
				w.dump(p)
				s.prepare(p)
				var peer *sharpd
				if binary := os.Getenv("SHARPD"); binary != "" {
					peer = w.startSharpd(binary, "nexthop-group g\n nexthop "+s.gateway+" za0\n")
				}
				took := map[string][]float64{}
				for b.Loop() {
					s.round(took, "", s.apply(p, s.routes, nil), s.apply(p, nil, s.prefixes), kernelProtocols[DefaultProtocol])
					if peer == nil {
						continue
					}
					for name, hop := range map[string]string{"plain-": "nexthop " + s.plain, "group-": "nexthop-group g"} {
						s.round(took, name, peer.order("sharp install routes %v %s %d", s.first, hop, n),
							peer.order("sharp remove routes %v %d", s.first, n), kernelProtocols["sharp"])
					}
				}
				b.ReportMetric(0, "ns/op")
				median, best := map[string]float64{}, map[string]float64{}
				for name, all := range took {
					slices.Sort(all)
					median[name], best[name] = all[len(all)/2], all[0]
					b.ReportMetric(float64(n)/median[name], name+"s/s")
				}
				for _, step := range []string{"add", "del"} {
					if peer != nil {
						b.ReportMetric(min(median["plain-"+step], median["group-"+step])/median[step], step+":sharpd")
						b.ReportMetric(min(best["plain-"+step], best["group-"+step])/best[step], step+":sharpd-best")
					}
				}
			})
		}
	}
}

// sharpRoutes are routes as sharpd makes them: hosts with addresses one after the other.
type sharpRoutes struct {
	w              *world
	n              int
	first          netip.Addr
	gateway, plain string
	routes         []msg.Route
	prefixes       []netip.Prefix
}

func (s *sharpRoutes) prepare(p *Programmer) {
	r := newRoute("::/0", s.gateway+" za0")
	for a := s.first; len(s.routes) < s.n; a = a.Next() {
		r.Prefix = netip.PrefixFrom(a, a.BitLen())
		s.routes, s.prefixes = append(s.routes, r), append(s.prefixes, r.Prefix)
	}
}

// apply returns an order to our Programmer.
func (s *sharpRoutes) apply(p *Programmer, update []msg.Route, del []netip.Prefix) func() {
	return func() {
		failed, err := p.Apply(context.Background(), update, del)
		if err != nil || len(failed) > 0 {
			s.w.t.Fatal(err, len(failed))
		}
	}
}

// round brings the routes in and takes them out.
func (s *sharpRoutes) round(took map[string][]float64, name string, add, del func(), protocol uint8) {
	for i, order := range []func(){add, del} {
		s.w.quiet()
		fd := s.w.announcements()
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- awaitRoutes(fd, [2]uint16{unix.RTM_NEWROUTE, unix.RTM_DELROUTE}[i], protocol, s.n) }()
		order()
		must(s.w.t, <-done)
		step := name + [2]string{"add", "del"}[i]
		took[step] = append(took[step], time.Since(start).Seconds())
		_ = unix.Close(fd)
		count := 0
		k, err := openKernel()
		must(s.w.t, err)
		must(s.w.t, k.routes(mainTable, protocol, func(kernelRoute) { count++ }))
		_ = k.close()
		if want := s.n * (1 - i); count != want {
			s.w.t.Fatalf("%s: the kernel has %d routes, not %d", step, count, want)
		}
	}
}

// quiet waits until zebra has done what the last order has left it to do: sharpd's orders do not wait for that, ours do.
func (w *world) quiet() {
	w.t.Helper()
	used := func() string { // processor time, fields 14 and 15 of proc_pid_stat(5)
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.zebra.Process.Pid))
		must(w.t, err)
		return strings.Join(strings.Fields(string(text))[13:15], " ")
	}
	for last, same := used(), 0; same < 5; {
		time.Sleep(20 * time.Millisecond)
		if now := used(); now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
}

// announcements opens a socket on which the kernel announces changes of routes.
func (w *world) announcements() int {
	w.t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	must(w.t, err)
	must(w.t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<29))
	must(w.t, unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1)}))
	return fd
}

// awaitRoutes waits for n announcements of a type about routes of a protocol.
func awaitRoutes(fd int, typ uint16, protocol uint8, n int) error {
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for n > 0 {
		size, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("%d routes to go: %w", n, err)
		}
		for m := buf[:size]; len(m) >= unix.SizeofNlMsghdr+unix.SizeofRtMsg; {
			if binary.NativeEndian.Uint16(m[4:]) == typ && m[unix.SizeofNlMsghdr+5] == protocol {
				n--
			}
			m = m[min(len(m), (int(binary.NativeEndian.Uint32(m))+3)&^3):]
		}
	}
	return nil
}

// sharpd is FRR's sharpd.
type sharpd struct {
	w    *world
	conn net.Conn // its shell
}

// startSharpd starts sharpd on the world's zebra.
func (w *world) startSharpd(binary, config string) *sharpd {
	w.t.Helper()
	file := filepath.Join(w.dir, "sharpd.conf")
	must(w.t, os.WriteFile(file, []byte("hostname test\n"+config), 0o644))
	cmd := exec.Command(binary, "-z", w.socket, "--vty_socket", w.dir, "-i", filepath.Join(w.dir, "sharpd.pid"), "-f", file, "-P", "0",
		"--log", "file:"+filepath.Join(w.dir, "sharpd.log"))
	must(w.t, cmd.Start())
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s := &sharpd{w: w}
	eventually(w.t, "sharpd's shell", func() (ok bool) {
		var err error
		s.conn, err = net.Dial("unix", filepath.Join(w.dir, "sharpd.vty"))
		return err == nil
	})
	w.t.Cleanup(func() { _ = s.conn.Close() })
	s.command("enable")
	eventually(w.t, "sharpd speaks with zebra", func() bool { return strings.Contains(w.show("show zebra client summary"), "sharp") })
	return s
}

// order returns a command that is yet to be given.
func (s *sharpd) order(format string, args ...any) func() {
	return func() { s.command(fmt.Sprintf(format, args...)) }
}

// command gives a command. A shell of FRR's daemons takes it with a zero byte behind and ends its answer with three and the
// result (lib/vty.c).
func (s *sharpd) command(c string) {
	s.w.t.Helper()
	_, err := s.conn.Write(append([]byte(c), 0))
	must(s.w.t, err)
	var answer []byte
	for b := make([]byte, 1); len(answer) < 4 || string(answer[len(answer)-4:len(answer)-1]) != "\x00\x00\x00"; answer = append(answer, b[0]) {
		_, err := io.ReadFull(s.conn, b)
		must(s.w.t, err)
	}
	if result := answer[len(answer)-1]; result != 0 {
		s.w.t.Fatalf("sharpd: %s: result %d: %s", c, result, answer)
	}
}
