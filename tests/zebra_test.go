package tests

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openr/lab"
)

// startUnjudged is start for a network in which not every node programs its own kernel; it waits for nothing.
func startUnjudged(t *testing.T, o lab.Options) *network {
	t.Helper()
	o.Name = fmt.Sprintf("test%d-%s", os.Getpid(), strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(t.Name(), "Test"), "/", "-")))
	o.Name = o.Name[:min(40, len(o.Name))]
	o.Binary = agent
	l, err := lab.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{l, t}
	t.Cleanup(func() {
		for i := range l.Topology.Nodes {
			text, err := os.ReadFile(l.LogPath(i))
			if err != nil {
				t.Error(err)
			}
			for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
				if _, after, found := strings.Cut(string(text), bad); found {
					t.Errorf("n%d: %s%s", i, bad, after[:min(len(after), 4000)])
				}
			}
			if t.Failed() {
				t.Logf("the last lines of n%d's log:\n%s", i, l.LogTail(i, 25))
			}
		}
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// convergesTo waits until every node has the routes that it should by facts, as read by routes.
func (n *network) convergesTo(after string, observe func() lab.Facts, routes func(i int) (lab.Routes, error)) {
	n.t.Helper()
	begin, wrong := time.Now(), ""
	for ; ; time.Sleep(10 * time.Millisecond) {
		wrong = ""
		for i, want := range lab.Expected(observe()) {
			if want == nil {
				continue
			}
			got, err := routes(i)
			if err != nil {
				wrong += fmt.Sprintf("n%d: %v\n", i, err)
			} else if d := lab.Diff(want, got); d != "" {
				wrong += fmt.Sprintf("n%d:\n%s", i, d)
			}
		}
		if wrong == "" {
			n.t.Logf("after %s: right within %v", after, time.Since(begin).Round(time.Millisecond))
			return
		}
		if time.Since(begin) > patience {
			n.t.Fatalf("after %s, for %v:\n%s", after, patience, wrong)
		}
	}
}

// facts is Observe.
func (n *network) facts() lab.Facts {
	n.t.Helper()
	f, err := n.Observe()
	n.must(err)
	return f
}

// breeze runs breeze in node i and returns what it prints.
func (n *network) breeze(i int, args ...string) (string, error) {
	out, err := n.Run(n.t.Context(), i, append([]string{breeze}, args...)...)
	return string(out), err
}

// counters returns the counters of node i's agent; none if it does not answer.
func (n *network) counters(i int) (all map[string]int64) {
	if out, err := n.breeze(i, "monitor", "counters", "--json"); err == nil {
		_ = json.Unmarshal([]byte(out), &all)
	}
	return all
}

// stream is a packet every millisecond from one node's loopback address to another's.
type stream struct {
	n        *network
	from, to *net.UDPConn
	done     chan struct{}
	sender   sync.WaitGroup
	mu       sync.Mutex
	received []bool
	count    int
}

// streams sends IPv6 and IPv4 packets from node a to node b, and waits until some have been.
func (n *network) streams(a, b int) []*stream {
	n.t.Helper()
	a6, a4 := lab.Loopbacks(a)
	b6, b4 := lab.Loopbacks(b)
	out := []*stream{n.stream(a, b, a6.Addr(), b6.Addr()), n.stream(a, b, a4.Addr(), b4.Addr())}
	n.eventually("the streams flow", func() bool {
		return !slices.ContainsFunc(out, func(s *stream) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.count < 50
		})
	})
	return out
}

func (n *network) stream(a, b int, source, target netip.Addr) *stream {
	n.t.Helper()
	s := &stream{n: n, done: make(chan struct{})}
	n.must(n.Do(b, func() (err error) {
		s.to, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(target, 0)))
		return err
	}))
	n.must(s.to.SetReadBuffer(4 << 20))
	n.must(n.Do(a, func() (err error) {
		s.from, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0)))
		return err
	}))
	n.t.Cleanup(func() { s.from.Close(); s.to.Close() })
	go func() {
		var b [8]byte
		for {
			if _, err := s.to.Read(b[:]); err != nil {
				return
			}
			s.mu.Lock()
			s.received[binary.BigEndian.Uint64(b[:])] = true
			s.count++
			s.mu.Unlock()
		}
	}()
	s.sender.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		to := s.to.LocalAddr().(*net.UDPAddr).AddrPort()
		for {
			select {
			case <-s.done:
				return
			case <-tick.C:
			}
			s.mu.Lock()
			number := uint64(len(s.received))
			s.received = append(s.received, false)
			s.mu.Unlock()
			// An error (no route, say) is a packet that does not arrive.
			_, _ = s.from.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, number), to)
		}
	})
	return s
}

// lost ends the streams and returns how many packets did not arrive.
func (n *network) lost(during string, streams []*stream) (lost int) {
	n.t.Helper()
	sent := 0
	for _, s := range streams {
		close(s.done)
		s.sender.Wait()
		s.mu.Lock()
		for last, quiet := s.count, 0; quiet < 50 && s.count < len(s.received); quiet++ { // on their way
			s.mu.Unlock()
			time.Sleep(10 * time.Millisecond)
			s.mu.Lock()
			if s.count > last {
				last, quiet = s.count, 0
			}
		}
		sent += len(s.received)
		lost += len(s.received) - s.count
		s.mu.Unlock()
	}
	n.t.Logf("during %s: %d of %d packets lost", during, lost, sent)
	return lost
}

// zebra is FRR's zebra in a node, as Debian has it.
type zebra struct {
	n       *network
	node    int
	dir     string
	daemons map[string]*exec.Cmd
}

const frrDaemons = "/usr/lib/frr"

// zebraDir makes a folder for FRR's daemons, which give up root for FRR's user.
func zebraDir(t *testing.T) string {
	t.Helper()
	dir, err := lab.FRRFolder()
	if err != nil {
		t.Fatalf("this test runs FRR's zebra: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// start starts a daemon and waits until its shell answers.
func (z *zebra) start(name string, options ...string) {
	z.n.t.Helper()
	config := filepath.Join(z.dir, name+".conf")
	z.n.must(os.WriteFile(config, []byte("hostname "+name+"\n"), 0o644))
	cmd := exec.Command(filepath.Join(frrDaemons, name), append([]string{"-z", filepath.Join(z.dir, "api"), "--vty_socket", z.dir, "-P", "0",
		"-i", filepath.Join(z.dir, name+".pid"), "-f", config, "--log", "file:" + filepath.Join(z.dir, name+".log")}, options...)...)
	z.n.must(z.n.Do(z.node, cmd.Start))
	z.daemons[name] = cmd
	z.n.t.Cleanup(func() { // harmless if it has ended
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	z.n.eventually(name+" answers", func() bool {
		_, err := exec.Command("vtysh", "--vty_socket", z.dir, "-d", name, "-c", "show version").Output()
		return err == nil
	})
}

// end ends zebra.
func (z *zebra) end(sig os.Signal) {
	z.n.t.Helper()
	z.n.must(z.daemons["zebra"].Process.Signal(sig))
	_ = z.daemons["zebra"].Wait()
	_ = os.Remove(filepath.Join(z.dir, "zebra.vty"))
}

func (z *zebra) vtysh(commands ...string) []byte {
	z.n.t.Helper()
	args := []string{"--vty_socket", z.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.Command("vtysh", args...).Output()
	if err != nil {
		z.n.t.Fatalf("vtysh %s: %v\n%s", strings.Join(commands, "; "), err, out)
	}
	return out
}

// shown returns the agent's routes as zebra shows them: those that it has selected and takes for installed. Next hops that it
// calls active count: after a change of their group zebra 8.4 no longer calls them "fib", though they are in the kernel.
func (z *zebra) shown() lab.Routes {
	z.n.t.Helper()
	out := lab.Routes{}
	for _, family := range []string{"ip", "ipv6"} {
		var all map[netip.Prefix][]struct {
			Protocol            string
			Selected, Installed bool
			NextHops            []struct {
				Active        bool
				IP            netip.Addr
				InterfaceName string
			} `json:"nexthops"`
		}
		z.n.must(json.Unmarshal(z.vtysh("show "+family+" route json"), &all))
		for p, routes := range all {
			for _, r := range routes {
				if r.Protocol != "openfabric" || !r.Selected || !r.Installed {
					continue
				}
				for _, h := range r.NextHops {
					if h.Active {
						out[p] = append(out[p], lab.NextHop{IfName: h.InterfaceName, Via: h.IP})
					}
				}
				slices.SortFunc(out[p], compareHops)
			}
		}
	}
	return out
}

func compareHops(a, b lab.NextHop) int {
	return strings.Compare(a.IfName+" "+a.Via.String(), b.IfName+" "+b.Via.String())
}

// routes returns the routes that zebra has put into the kernel for the agent.
func (z *zebra) routes() (lab.Routes, error) { return z.n.RoutesOf(z.node, lab.ZebraProtocol) }

// converges waits until all nodes have the right routes, this one through zebra.
func (z *zebra) converges(after string, advertised ...netip.Prefix) {
	z.n.t.Helper()
	z.n.convergesTo(after, func() lab.Facts {
		f := z.n.facts()
		f.Nodes[z.node].Prefixes = append(f.Nodes[z.node].Prefixes, advertised...)
		return f
	}, func(i int) (lab.Routes, error) {
		if i == z.node {
			return z.routes()
		}
		return z.n.Routes(i)
	})
}

// agrees waits until zebra shows what the kernel has.
func (z *zebra) agrees() {
	z.n.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		kernel, err := z.routes()
		z.n.must(err)
		d := lab.Diff(kernel, z.shown())
		if d == "" {
			return
		}
		if time.Now().After(deadline) {
			z.n.t.Fatalf("zebra does not show what the kernel has:\n%s%s", d, z.vtysh("show ipv6 route json", "show nexthop-group rib"))
		}
	}
}

// renewed waits until the agent has sent everything in its count'th session with zebra, and owes nothing.
func (z *zebra) renewed(count int64) {
	z.n.t.Helper()
	z.n.eventually(fmt.Sprintf("session %d with zebra has everything", count), func() bool {
		c := z.n.counters(z.node)
		return c["fib.zebra.sessions.count"] == count && c["fib.zebra.connected"] == 1 && c["fib.zebra.routes_stale"] == 0 && c["fib.synced"] == 1
	})
}

// TestZebra runs the agent in the middle of three over FRR's zebra, and lets go wrong what can.
//
// zebra is run as operators should, with -K (what it finds in the kernel when it starts stays for so many seconds, in which
// the agent sends it again), -r (routes stay in the kernel when it is stopped) and --v6-rr-semantics (an IPv6 route is
// changed by one message, not deleted and added). At the end it is run without, and what that costs is told.
func TestZebra(t *testing.T) {
	const node = 1
	good := []string{"-K", "60", "-r", "--v6-rr-semantics"}
	dir := zebraDir(t)
	n := startUnjudged(t, lab.Options{Topology: "line:3*2", Config: func(i int) map[string]any {
		if i != node {
			return nil
		}
		return map[string]any{"enable_netlink_fib_handler": false, "zebra_fib": map[string]any{
			"enable": true, "socket": filepath.Join(dir, "api"), "redistribute": []any{"static"}, "stale_time_s": 60,
		}}
	}})
	z := &zebra{n: n, node: node, dir: dir, daemons: map[string]*exec.Cmd{}}
	z.start("zebra", good...) // the agent has tried before
	z.start("staticd")
	z.converges("cold start")
	z.agrees()

	static := netip.MustParsePrefix("2001:db8:5::/48")
	z.vtysh("configure terminal", fmt.Sprintf("ipv6 route %v blackhole", static))
	z.converges("a static route of zebra's", static)

	streams := n.streams(0, 2)
	link := n.link(1, 2)
	n.must(n.SetLink(link, false))
	z.converges("a link of two down", static)
	n.lost("the loss of a link", streams)
	streams = n.streams(0, 2)
	n.must(n.SetLink(link, true))
	z.converges("the link up", static)
	z.agrees()
	if lost := n.lost("the return of the link", streams); lost > 0 {
		t.Errorf("%d packets were lost while a link came back", lost)
	}

	streams = n.streams(0, 2)
	n.must(n.Stop(node, syscall.SIGTERM))
	n.must(n.Start(node))
	z.renewed(1)
	z.converges("a restart of the agent", static)
	if lost := n.lost("a restart of the agent", streams); lost > 0 {
		t.Errorf("%d packets were lost while the agent restarted", lost)
	}
	z.agrees()
	z.vtysh("configure terminal", fmt.Sprintf("no ipv6 route %v blackhole", static))
	z.converges("the static route gone")

	n.must(z.daemons["staticd"].Process.Kill())
	for i, c := range []struct {
		signal  syscall.Signal
		options []string // of the zebra that follows
	}{{syscall.SIGKILL, good}, {syscall.SIGTERM, good}, {syscall.SIGKILL, nil}, {syscall.SIGTERM, nil}} {
		how := fmt.Sprintf("%v and a start of zebra %q", c.signal, c.options)
		streams := n.streams(0, 2)
		z.end(c.signal)
		z.start("zebra", c.options...)
		z.renewed(int64(i + 2))
		z.converges(how)
		z.agrees()
		if lost := n.lost(how, streams); lost > 0 && c.options != nil {
			t.Errorf("%d packets were lost", lost)
		}
	}
}
