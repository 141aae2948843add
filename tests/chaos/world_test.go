package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"openr/lab"
)

// Which nodes are not over a kernel of their own.
const (
	zebraNode  = 2
	switchNode = 3
)

// world is the network, and what was done to it.
type world struct {
	*lab.Lab
	t       *testing.T
	rng     *rand.Rand
	began   time.Time
	nodes   []*node
	links   []*link
	zebra   *zebra
	fabric  *switchAgent
	traffic *traffic
	history *os.File // what has happened, for people
	usage   []usage  // by node
	records []record
}

// node is what was done to a node.
type node struct {
	id        int
	away      bool  // its agent does not run, or does not answer
	fresh     bool  // its agent was started, or what is below it; whether it is ready again is not known yet
	logged    int64 // up to where its log was read
	drained   bool  // hard
	increment int32 // soft: what all its metrics are raised by
	extra     []netip.Prefix
}

// link is what was done to a link.
type link struct {
	lab.Link
	id   int
	ends [2]end
}

type end struct {
	node       int
	port       string
	cut        bool // what it sends is dropped, silently
	overloaded bool
	metric     int32 // set by an operator; 0: not
}

func (l *link) String() string { return fmt.Sprintf("n%d - n%d", l.A, l.B) }

// newWorld builds the network, starts everything and waits until all is right.
func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 0)), began: time.Now()}
	topology := *flagTopo
	if topology == "" {
		topology = []string{"clos:4x7", "grid:3x4", fmt.Sprintf("random:11:4:%d", seed)}[w.rng.IntN(3)]
	}
	zebraDir, folder := newZebraDir(t), t.TempDir() // before the clean-up that reads them
	l, err := lab.Up(t.Context(), lab.Options{
		Name: fmt.Sprintf("chaos%d", os.Getpid()), Topology: topology, Binary: agentBinary,
		Config: func(i int) map[string]any {
			// Longer than the pauses of a busy machine, shorter than anybody wants to wait.
			config := map[string]any{"spark_config": map[string]any{"hold_time_s": 6}}
			switch {
			case i == zebraNode:
				config["enable_netlink_fib_handler"] = false
				config["zebra_fib"] = map[string]any{"enable": true, "socket": filepath.Join(zebraDir, "api"), "stale_time_s": 60}
			case i == switchNode:
				config["enable_netlink_fib_handler"] = false
				config["fib_port"] = 60100
				config["areas"] = []any{map[string]any{
					"area_id": "0", "neighbor_regexes": []any{".*"}, "include_interface_regexes": []any{"fboss.*"}, "redistribute_interface_regexes": []any{"lo"},
				}}
			case i%3 == 1:
				config["netlink_fib"] = map[string]any{"fast_failover": true}
			}
			return config
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Lab = l
	t.Cleanup(w.end)
	if l.Topology.Nodes < 6 {
		t.Fatalf("%s has %d nodes; want at least 6", topology, l.Topology.Nodes)
	}
	if w.history, err = os.Create(filepath.Join(folder, "events")); err != nil {
		t.Fatal(err)
	}
	for i := range l.Topology.Nodes {
		w.nodes, w.usage = append(w.nodes, &node{id: i, fresh: true}), append(w.usage, usage{})
	}
	for k, x := range l.Topology.Links {
		w.links = append(w.links, &link{Link: x, id: k, ends: [2]end{{node: x.A, port: x.IfA}, {node: x.B, port: x.IfB}}})
	}
	w.zebra = newZebra(w, zebraDir)
	w.zebra.start()
	w.fabric = newSwitchAgent(w, folder)
	w.say("seed %d, %s: zebra below n%d, a switch agent below n%d", seed, topology, zebraNode, switchNode)
	w.say("cold start: right after %v", w.settles().Round(time.Millisecond))
	w.traffic = startTraffic(t, l, w.matrix(), *flagRate)
	time.Sleep(time.Second) // neighbours' addresses are resolved, and what the start has left to do is done
	w.traffic.harvest(time.Now(), func(int, int) bool { return true })
	return w
}

// matrix draws who sends to whom: a circle through a few nodes, so that each of them sends and receives. In a fabric these
// are leaves.
func (w *world) matrix() (pairs [][2]int) {
	const many = 6
	var candidates []int
	for i := w.Topology.Nodes - 1; i >= 0 && len(candidates) < many; i-- {
		if i != zebraNode && i != switchNode {
			candidates = append(candidates, i)
		}
	}
	for i, c := range candidates {
		pairs = append(pairs, [2]int{c, candidates[(i+1)%len(candidates)]})
	}
	return pairs
}

// end removes the network. Of a run that has failed the logs stay.
func (w *world) end() {
	if w.traffic != nil {
		w.traffic.end()
	}
	if w.t.Failed() {
		w.keep()
	}
	w.zebra.end()
	w.fabric.end()
	if err := w.Down(); err != nil {
		w.t.Error(err)
	}
}

// keep copies all logs and what has happened to a folder that stays.
func (w *world) keep() {
	folder, err := os.MkdirTemp("", "openr-chaos-failed-")
	if err != nil {
		w.t.Error(err)
		return
	}
	files := []string{w.zebra.logPath(), w.fabric.logPath()}
	for i := range w.nodes {
		files = append(files, w.LogPath(i), w.ConfigPath(i))
	}
	if w.history != nil {
		files = append(files, w.history.Name())
	}
	for _, from := range files {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, filepath.Base(from)), text, 0o644)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			w.t.Error(err)
		}
	}
	w.t.Logf("what has happened, and the logs of all agents: %s", folder)
}

// say writes down what happens, with the time.
func (w *world) say(format string, args ...any) {
	line := fmt.Sprintf("%8.3f  %s", time.Since(w.began).Seconds(), fmt.Sprintf(format, args...))
	w.t.Log(time.Now().UTC().Format("15:04:05.000"), line)
	fmt.Fprintln(w.history, time.Now().UTC().Format("15:04:05.000"), line)
}

// must ends the run if err is not nil.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// eventually waits until the condition holds.
func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// facts reads the network as it is now.
func (w *world) facts() (fact, error) {
	observed, err := w.Observe()
	if err != nil {
		return fact{}, err
	}
	f := fact{Facts: observed}
	if err := w.fabric.amend(&f.Facts); err != nil {
		return fact{}, err
	}
	for i, n := range w.nodes {
		f.Nodes[i].Prefixes = append(f.Nodes[i].Prefixes, n.extra...)
		f.drained = append(f.drained, n.drained)
	}
	for _, l := range w.links {
		usable := true
		var metrics [2]int64
		for side, e := range l.ends {
			usable = usable && !e.cut && !e.overloaded
			metrics[side] = int64(max(e.metric, 1)) + int64(w.nodes[e.node].increment)
		}
		f.usable, f.metrics = append(f.usable, usable), append(f.metrics, metrics)
	}
	return f, nil
}

// table returns what the agent of a node has in its kernel.
func (w *world) table(i int) (lab.Routes, error) {
	if i == zebraNode {
		return w.zebra.routes()
	}
	return w.Routes(i)
}

// wrong tells what is not as it should be; empty: nothing.
func (w *world) wrong() (string, error) {
	for _, n := range w.nodes {
		if !n.fresh || n.away {
			continue
		}
		if why := w.notReady(n.id); why != "" {
			return fmt.Sprintf("n%d is not ready: %s\n", n.id, why), nil
		}
		n.fresh = false
	}
	f, err := w.facts()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for i, want := range expected(f) {
		if want == nil {
			if !w.nodes[i].away {
				fmt.Fprintf(&out, "n%d: its agent has ended by itself; its last words:\n%s\n", i, w.LogTail(i, 15))
			}
			continue
		}
		have, err := w.table(i)
		if err != nil {
			return "", err
		}
		if d := lab.Diff(want, have); d != "" {
			fmt.Fprintf(&out, "n%d:\n%s", i, d)
		}
	}
	return out.String(), nil
}

// leftBehind tells which nexthop objects have been left behind in all kernels that agents program; empty: none.
func (w *world) leftBehind() string {
	var out strings.Builder
	for _, n := range w.nodes {
		if !n.away && n.id != zebraNode && n.id != switchNode {
			left, err := w.leftovers(n.id)
			w.must(err)
			out.WriteString(left)
		}
	}
	return out.String()
}

// calm is how long everything has to stay right to count as settled: longer than the agents' own pauses.
const calm = time.Second

// lingering is how long nexthop objects may be there that nothing is on: less than an agent takes, once a minute, to look at its
// table, by which it would find what it has forgotten.
const lingering = 20 * time.Second

// slow is after how long, each time, what is not right yet is told: it may become right, but people should wonder why not sooner.
const slow = 15 * time.Second

// settles waits until everything is right and stays so, and returns how long it took to become right.
func (w *world) settles() time.Duration {
	w.t.Helper()
	begin := time.Now()
	var since time.Time
	told := begin
	for wrong := ""; ; time.Sleep(50 * time.Millisecond) {
		var err error
		wrong, err = w.wrong()
		w.must(err)
		now := time.Now()
		switch {
		case wrong == "" && since.IsZero():
			since = now
		case wrong == "" && now.Sub(since) >= calm:
			left := w.leftBehind()
			if left == "" {
				return since.Sub(begin)
			}
			if now.Sub(since) > lingering {
				w.t.Errorf("for %v since the routes are right:\n%s", now.Sub(since).Round(time.Second), left)
				return since.Sub(begin)
			}
		case wrong != "":
			since = time.Time{}
			if now.Sub(told) > slow {
				told = now
				w.say("  still wrong after %v:\n%s", now.Sub(begin).Round(time.Second), wrong)
			}
			if now.Sub(begin) > patience {
				w.t.Fatalf("for %v it has not become right:\n%s", patience, wrong)
			}
		}
	}
}

// reachable returns, for the network as it is, whether a node has a way to another.
func (w *world) reachable() map[[2]int]bool {
	f, err := w.facts()
	w.must(err)
	out := map[[2]int]bool{}
	for i, table := range expected(f) {
		for j := range w.nodes {
			if _, ok := table[loopback(j)]; ok {
				out[[2]int{i, j}] = true
			}
		}
	}
	return out
}

// agents returns the nodes whose agents can be asked, in random order.
func (w *world) agents(suits func(*node) bool) (list []*node) {
	for _, i := range w.rng.Perm(len(w.nodes)) {
		if suits == nil || suits(w.nodes[i]) {
			list = append(list, w.nodes[i])
		}
	}
	return list
}

// startAgent starts a node's agent. What clients had it advertise is forgotten.
func (w *world) startAgent(n *node) {
	w.must(w.Start(n.id))
	n.away, n.fresh, n.extra = false, true, nil
}

// stopAgent ends a node's agent.
func (w *world) stopAgent(n *node, sig syscall.Signal) {
	n.away = true
	w.must(w.Stop(n.id, sig))
}
