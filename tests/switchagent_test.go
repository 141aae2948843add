package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"openr/lab"
)

// switchAgent is `openr lab agent` in a node: a FibService, and an interface fboss<vlan> in place of each port.
type switchAgent struct {
	n     *network
	node  int
	vlans map[string]int // by port
	ctl   *http.Client
	cmd   *exec.Cmd
}

// startSwitchAgent starts the switch agent of a node on all its links.
func (n *network) startSwitchAgent(node int) *switchAgent {
	n.t.Helper()
	dir := n.t.TempDir()
	socket := filepath.Join(dir, "control")
	s := &switchAgent{n: n, node: node, vlans: map[string]int{}}
	args := []string{"lab", "agent", "--control", socket}
	for _, l := range n.Topology.Links {
		for _, end := range []struct {
			node int
			port string
		}{{l.A, l.IfA}, {l.B, l.IfB}} {
			if end.node == node {
				s.vlans[end.port] = 2001 + len(s.vlans)
				args = append(args, "--vlan", fmt.Sprintf("%d=%s", s.vlans[end.port], end.port))
			}
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	n.must(err)
	s.cmd = exec.Command(agent, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	n.must(n.Do(node, s.cmd.Start))
	n.t.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		_ = s.cmd.Wait()
		log.Close()
		text, _ := os.ReadFile(log.Name())
		if strings.Contains(string(text), "DATA RACE") || strings.Contains(string(text), "panic:") {
			n.t.Errorf("the switch agent:\n%s", text)
		}
	})
	s.ctl = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	n.eventually("the switch agent listens", func() bool {
		r, err := s.ctl.Get("http://agent/")
		if err == nil {
			r.Body.Close()
		}
		return err == nil
	})
	return s
}

// tell tells the switch agent what to do next.
func (s *switchAgent) tell(path string, values url.Values) {
	s.n.t.Helper()
	r, err := s.ctl.PostForm("http://agent/"+path, values)
	s.n.must(err)
	text, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if r.StatusCode != http.StatusOK {
		s.n.t.Fatalf("%s: %s: %s", path, r.Status, text)
	}
}

// switchState is what the switch agent says of itself, as far as it matters here.
type switchState struct {
	Routes map[int]int    `json:"routes"` // by client
	Calls  map[string]int `json:"calls"`
}

func (s *switchAgent) state() (x switchState) {
	s.n.t.Helper()
	r, err := s.ctl.Get("http://agent/")
	s.n.must(err)
	defer r.Body.Close()
	s.n.must(json.NewDecoder(r.Body).Decode(&x))
	return x
}

// facts is the network with the node's VLAN interfaces in place of its ports.
func (s *switchAgent) facts() lab.Facts {
	s.n.t.Helper()
	f := s.n.facts()
	for k := range f.Links {
		for _, end := range []*lab.LinkEnd{&f.Links[k].A, &f.Links[k].B} {
			vlan, ok := s.vlans[end.IfName]
			if end.Node != s.node || !ok {
				continue
			}
			end.IfName, end.V6 = fmt.Sprintf("fboss%d", vlan), netip.Addr{}
			link, err := s.n.Netlink(s.node).LinkByName(end.IfName)
			if err != nil {
				f.Links[k].Up = false
				continue
			}
			addrs, err := s.n.Netlink(s.node).AddrList(link, syscall.AF_INET6)
			s.n.must(err)
			for _, a := range addrs {
				if x, _ := netip.AddrFromSlice(a.IP); x.IsLinkLocalUnicast() {
					end.V6 = x
				}
			}
		}
	}
	return f
}

func (s *switchAgent) converges(after string) {
	s.n.t.Helper()
	s.n.convergesTo(after, s.facts, s.n.Routes)
}

// TestSwitchAgent runs the agent in the middle of three over a switch agent, on the interfaces that this makes.
func TestSwitchAgent(t *testing.T) {
	const node, client = 1, 786
	n := startUnjudged(t, lab.Options{Topology: "line:3*2", Config: func(i int) map[string]any {
		if i != node {
			return nil
		}
		return map[string]any{
			"enable_netlink_fib_handler": false, "fib_port": 60100,
			"areas": []any{map[string]any{
				"area_id": "0", "neighbor_regexes": []any{".*"}, "include_interface_regexes": []any{"fboss.*"}, "redistribute_interface_regexes": []any{"lo"},
			}},
		}
	}})
	s := n.startSwitchAgent(node) // the agent has waited for it
	s.converges("cold start")
	if routes := s.state().Routes[client]; routes != 4 {
		t.Errorf("the switch agent has %d routes", routes)
	}
	streams := n.streams(0, 2)
	n.must(n.SetLink(n.link(1, 2), false))
	s.converges("a link of two down")
	n.lost("the loss of a link", streams)
	n.must(n.SetLink(n.link(1, 2), true))
	s.converges("the link up")

	syncs := s.state().Calls["syncFib"]
	streams = n.streams(0, 2)
	s.tell("restart", url.Values{"down": {"300ms"}})
	n.eventually("the agent hands the whole table over again", func() bool { return s.state().Calls["syncFib"] > syncs })
	s.converges("a restart of the switch agent")
	n.lost("a restart of the switch agent, which takes its interfaces and routes along", streams)

	t.Run("Failures", func(t *testing.T) {
		v6, v4 := lab.Loopbacks(2)
		s.tell("fail", url.Values{"prefix": {v6.String()}})
		s.tell("restart", nil)
		n.convergesTo("a restart, with a route that fails", s.facts, func(i int) (lab.Routes, error) {
			r, err := n.Routes(i)
			if _, there := r[v6]; i == node && err == nil {
				if there {
					return nil, fmt.Errorf("%v is there", v6)
				}
				if r[v4] != nil {
					r[v6] = r[v4] // what it would be
				}
			}
			return r, err
		})
		n.eventually("the agent says which route fails, and why", func() bool {
			out, err := n.breeze(node, "fib", "routes")
			_, failed, found := strings.Cut(out, "Failed, and tried again:")
			return err == nil && found && strings.Contains(failed, v6.String()) && !strings.Contains(failed, v4.String()) &&
				strings.Contains(failed, "switch agent") && n.counters(node)["fib.num_dirty_routes"] == 1
		})
		out, _ := n.breeze(node, "fib", "routes", v6.String())
		t.Logf("breeze fib routes:\n%s", out)
		s.tell("fail", nil)
		s.converges("it fails no longer")
		n.eventually("nothing is missing", func() bool {
			out, err := n.breeze(node, "fib", "routes")
			return err == nil && !strings.Contains(out, "Failed") && n.counters(node)["fib.num_dirty_routes"] == 0
		})
	})
	t.Run("Hangs", func(t *testing.T) {
		s.tell("hang", url.Values{"on": {"true"}})
		news := netip.MustParsePrefix("fd00:77::1/128")
		n.must(n.AddAddress(0, "lo", news))
		// The agent goes on: the news crosses it, its neighbours keep it, and it answers.
		n.convergesTo("an address added while the switch agent hangs", s.facts, func(i int) (lab.Routes, error) {
			r, err := n.Routes(i)
			if i == node && err == nil {
				if _, there := r[news]; there {
					return nil, fmt.Errorf("%v is there", news)
				}
				v6, _ := lab.Loopbacks(0)
				r[news] = r[v6]
			}
			return r, err
		})
		for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) { // more than the hold time
			if n.counters(0)["spark.num_adjacent_neighbors"] != 2 {
				t.Fatal("a neighbour has lost the agent whose switch agent hangs")
			}
		}
		s.tell("hang", nil)
		s.converges("the switch agent answers again")
	})
	s.tell("forget", nil)
	s.tell("restart", url.Values{"warm": {"true"}})
	s.converges("a warm restart without routes")
}
