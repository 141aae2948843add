package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// TestMain also plays the programs that the tests run in other processes.
func TestMain(m *testing.M) {
	if os.Getenv("LAB_TEST_EXEC") != "" {
		fmt.Fprintln(os.Stderr, Exec(os.Args[1], os.Args[2], os.Args[3:]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// newLab builds a lab that is removed at the end of the test. Its agents are a stand-in that does nothing.
func newLab(t *testing.T, o Options) *Lab {
	t.Helper()
	o.Name = name(t)
	l, err := Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// name returns a lab's name that no other test process uses.
func name(t *testing.T) string {
	return fmt.Sprintf("%s-%d", strings.ToLower(t.Name()[4:min(20, len(t.Name()))]), os.Getpid())
}

// standIn writes a script to be run in place of the agent.
func standIn(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// program puts routes into the kernel of node i, as an agent would.
func program(t *testing.T, l *Lab, i int, routes Routes) {
	t.Helper()
	for prefix, hops := range routes {
		r := netlink.Route{Dst: toIPNet(prefix), Protocol: Protocol, Priority: 10, Table: unix.RT_TABLE_MAIN}
		for _, h := range hops {
			dev, err := l.Netlink(i).LinkByName(h.IfName)
			if err != nil {
				t.Fatal(err)
			}
			way := &netlink.NexthopInfo{LinkIndex: dev.Attrs().Index}
			if prefix.Addr().Is4() && h.Via.Is6() {
				way.Via = &netlink.Via{AddrFamily: unix.AF_INET6, Addr: h.Via.AsSlice()}
			} else {
				way.Gw = h.Via.AsSlice()
			}
			r.MultiPath = append(r.MultiPath, way)
		}
		if err := l.Netlink(i).RouteReplace(&r); err != nil {
			t.Fatalf("%v %v: %v", prefix, hops, err)
		}
	}
}

func TestLabFromUpToDown(t *testing.T) {
	l := newLab(t, Options{
		Topology: "clos:2x2*2", Binary: standIn(t, "echo agent started with $*; exec sleep 1000"), NumberedLinks: true,
		Addresses: func(i int) []netip.Prefix {
			return []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("fd01::%d/128", i))}
		},
		Config: func(i int) map[string]any { return map[string]any{"v4_over_v6_nexthop": i != 0} },
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	facts, err := l.Observe()
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range facts.Nodes {
		if !n.Running || len(n.Prefixes) != 3 || n.NativeV4 != (i == 0) {
			t.Errorf("node %d: %+v", i, n)
		}
	}
	for _, k := range facts.Links {
		if !k.Up || !k.A.V6.IsLinkLocalUnicast() || !k.B.V6.IsLinkLocalUnicast() || !k.A.V4.Is4() || !k.B.V4.Is4() {
			t.Errorf("link %+v", k)
		}
	}

	short, stop := context.WithTimeout(ctx, time.Millisecond)
	_, err = l.WaitConverged(short)
	stop()
	if !errors.Is(err, ErrNotConverged) || !strings.Contains(err.Error(), "fd00:0:0:1::1/128 is missing; expected [via fe80::") {
		t.Errorf("without any routes: %v", err)
	}

	for i, table := range Expected(facts) {
		program(t, l, i, table)
	}
	report, err := l.WaitConverged(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if n := report.Nodes[0]; n.Routes != 9 || n.Neighbors != 2 || !n.Running {
		t.Errorf("report of n0: %+v", n)
	}
	for from, to := range map[string]string{"fd00::1": "fd00:0:0:1::1", "10.255.0.0": "10.255.0.1", "fd01::0": "fd01::3"} {
		if out, err := l.Run(ctx, 0, "ping", "-c", "1", "-W", "5", "-I", from, to); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}

	if err := l.SetLink(0, false); err != nil {
		t.Fatal(err)
	}
	if facts, err = l.Observe(); err != nil || facts.Links[0].Up || !facts.Links[1].Up {
		t.Errorf("after a link went down: %+v, %v", facts.Links, err)
	}
	if wrong, err := l.Wrong(facts); err != nil || !strings.Contains(wrong, "n0:\n") {
		t.Errorf("after a link went down: %q, %v", wrong, err)
	}
	if err := l.DeleteLink(0); err != nil {
		t.Fatal(err)
	}
	if err := l.CreateLink(0); err != nil {
		t.Fatal(err)
	}
	if facts, err = l.Observe(); err != nil || !facts.Links[0].Up {
		t.Errorf("after a link was made again: %+v, %v", facts.Links, err)
	}

	if err := l.Stop(1, syscall.SIGTERM); err != nil || l.Running(1) || l.PID(1) != 0 {
		t.Errorf("stop: %v, running %v", err, l.Running(1))
	}
	if err := l.Start(1); err != nil || !l.Running(1) {
		t.Errorf("start: %v, running %v", err, l.Running(1))
	}
	if err := l.Start(1); err == nil {
		t.Error("a second agent was started in n1")
	}
	if log := l.LogTail(1, 1); !strings.HasSuffix(log, "started with --config "+l.ConfigPath(1)) {
		t.Errorf("log of n1: %q", log)
	}

	again, err := Open(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !again.Running(1) || again.PID(1) != l.PID(1) || len(again.Topology.Links) != 8 {
		t.Errorf("opened: %+v", again)
	}
	labs, err := List()
	if err != nil {
		t.Fatal(err)
	}
	listed := false
	for _, info := range labs {
		listed = listed || info.Name == l.Name && info.Agents == 4 && len(info.Nodes) == 4 && !info.Orphaned && info.Creator == os.Getpid()
	}
	if !listed {
		t.Errorf("not listed right: %+v", labs)
	}

	var out bytes.Buffer
	cmd := exec.Command(os.Args[0], l.Name, "n2", "ip", "-br", "address", "show", "dev", "lo")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "LAB_TEST_EXEC=1"), &out, &out
	if err := cmd.Run(); err != nil || !strings.Contains(out.String(), "fd00:0:0:2::1/128") {
		t.Errorf("exec: %v\n%s", err, out.String())
	}

	pids := []process{l.nodes[0].process(), l.nodes[3].process()}
	for range 2 { // the second has nothing to do
		if err := Down(l.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range pids {
		if p.alive() {
			t.Errorf("process %d survived", p.PID)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(netnsFolder, l.Name+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Open(l.Name); !errors.Is(err, ErrNoLab) {
		t.Errorf("open after down: %v", err)
	}
}

func TestUpRefuses(t *testing.T) {
	existing := newLab(t, Options{Topology: "line:1"})
	inTheWay := name(t) + "x"
	if err := createNamespace(namespaceOf(inTheWay, 1)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := deleteNamespace(namespaceOf(inTheWay, 1)); err != nil {
			t.Error(err)
		}
	}()
	for _, c := range []struct {
		o      Options
		reason string
	}{
		{Options{Name: existing.Name, Topology: "line:1"}, "exists already; remove it with: openr lab down"},
		{Options{Name: "../etc", Topology: "line:1"}, "cannot name a lab"},
		{Options{Name: "", Topology: "line:1"}, "cannot name a lab"},
		{Options{Name: "a", Topology: "tree:4"}, "unknown kind"},
		{Options{Name: "a", Topology: "line:1", Binary: "/nonexistent/openr"}, "binary is missing"},
		{Options{Name: inTheWay, Topology: "line:3"}, "exists already and is not one of a lab"},
	} {
		l, err := Up(t.Context(), c.o)
		if err == nil {
			_ = l.Down()
		}
		if err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%+v: error %v; expected it to say %q", c.o, err, c.reason)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(netnsFolder, inTheWay+"*")); len(left) != 1 {
		t.Errorf("a failed Up should leave nothing of its own and everything else: %v", left)
	}
	if _, err := os.Stat(folder(inTheWay)); err == nil {
		t.Errorf("a failed Up left %s", folder(inTheWay))
	}
}

func TestAgentThatEndsIsReported(t *testing.T) {
	l := newLab(t, Options{Topology: "line:2", Binary: standIn(t, "echo no such thing as a free lunch; exit 3")})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil && (l.Running(0) || l.Running(1)) {
		time.Sleep(time.Millisecond)
	}
	_, err := l.WaitConverged(ctx)
	if !errors.Is(err, ErrNotConverged) || !strings.Contains(err.Error(), "free lunch") {
		t.Errorf("error %v", err)
	}
}

// TestDownAfterCrash: the builder died before it wrote any state, and an agent is deaf to SIGTERM.
func TestDownAfterCrash(t *testing.T) {
	l, err := Up(t.Context(), Options{Name: name(t), Topology: "line:2", Binary: standIn(t, "trap '' TERM; while :; do sleep 1; done")})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	agent := l.nodes[0].process()
	if err := os.Remove(filepath.Join(folder(l.Name), "state.json")); err != nil {
		t.Fatal(err)
	}
	labs, err := List()
	if err != nil {
		t.Fatal(err)
	}
	listed := false
	for _, info := range labs {
		listed = listed || info.Name == l.Name && info.Topology == ""
	}
	if !listed {
		t.Errorf("a broken lab is not listed: %+v", labs)
	}
	if _, err := Open(l.Name); err == nil || !strings.Contains(err.Error(), "is incomplete; remove it with: openr lab down "+l.Name) {
		t.Errorf("opening it: %v", err)
	}
	if err := Down(l.Name); err != nil {
		t.Fatal(err)
	}
	if agent.alive() {
		t.Errorf("process %d survived", agent.PID)
	}
	if left, _ := filepath.Glob(filepath.Join(netnsFolder, l.Name+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCommand(t *testing.T) {
	lab := name(t)
	t.Cleanup(func() {
		if err := Down(lab); err != nil {
			t.Error(err)
		}
	})
	run := func(args ...string) (string, error) {
		cmd := Command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		err := cmd.ExecuteContext(t.Context())
		return out.String(), err
	}
	for _, c := range []struct {
		args []string
		says string // in the output or the error
	}{
		{[]string{"up", "--name", lab, "--topology", "ring:3", "--no-agents"}, "fd00:0:0:2::1 10.255.0.2"},
		{[]string{"up", "--name", lab}, "exists already"},
		{[]string{"list"}, lab},
		{[]string{"exec", lab, "n9", "--", "true"}, "has no node \"n9\"; it has: n0 n1 n2"},
		{[]string{"exec", "nosuch", "n0", "--", "true"}, "no such lab"},
		{[]string{"exec", lab, "n0", "--"}, "which command, and where? usage: openr lab exec"},
		{[]string{"exec", lab, "n0"}, "usage: openr lab exec"},
		{[]string{"exec"}, "usage: openr lab exec"},
		{[]string{"down", lab}, "removed"},
		{[]string{"down", lab}, "was not there"},
		{[]string{"up", "--topology", "tree:3"}, "unknown kind"},
	} {
		out, err := run(c.args...)
		if !strings.Contains(out+fmt.Sprint(err), c.says) {
			t.Errorf("lab %v: error %v, output\n%s\nexpected %q", c.args, err, out, c.says)
		}
	}
}
