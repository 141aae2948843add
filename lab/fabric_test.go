package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseFabric(t *testing.T) {
	for _, c := range []struct {
		spec  string
		hosts int
		want  string // the topology, or part of the error
	}{
		{"2x3", 4, "clos:2x3"},
		{"1x1", 0, "clos:1x1"},
		{"2", 1, "want SPINESxLEAVES"},
		{"2x", 1, "want SPINESxLEAVES"},
		{"0x3", 1, "want SPINESxLEAVES"},
		{"2x-3", 1, "want SPINESxLEAVES"},
		{"2x3x4", 1, "want SPINESxLEAVES"},
		{"2x3", 251, "a fabric takes 0 to 250"},
		{"2x3", -1, "a fabric takes 0 to 250"},
	} {
		f, err := ParseFabric(c.spec, c.hosts)
		if got := fmt.Sprint(err); err != nil && !strings.Contains(got, c.want) || err == nil && f.topology() != c.want {
			t.Errorf("%s with %d hosts: %+v, %v; expected %q", c.spec, c.hosts, f, err, c.want)
		}
	}
}

// TestFabricConfiguration: leaves have the domain, spines the directory; and all expect the spines' anycast addresses.
func TestFabricConfiguration(t *testing.T) {
	f := &Fabric{Spines: 2, Leaves: 3, Endpoint: func(i int) map[string]any { return map[string]any{"port": 3000 + i} }}
	for i := range 5 {
		text, err := json.Marshal(overlay(DefaultConfig(i), f.config(i)))
		if err != nil {
			t.Fatal(err)
		}
		c, err := readConfig(text)
		if err != nil {
			t.Fatal(err)
		}
		leaf := i >= 2
		if originates := fmt.Sprint(c.originated) == "[10.255.255.1/32 fd00:0:0:ffff::1/128]"; originates == leaf {
			t.Errorf("node %d advertises %v", i, c.originated)
		}
		section := f.config(i)["endpoint"].(map[string]any)
		if _, has := section["bridge_domains"]; has != leaf || section["leaf"] != leaf || section["oracle"] != !leaf || section["port"] != 3000+i {
			t.Errorf("node %d: %v", i, section)
		}
	}
	f.Flood = true
	if c := f.config(0); c != nil {
		t.Errorf("without the directory: %v", c)
	}
}

func TestChecksum(t *testing.T) {
	if got := checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != ^uint16(0xddf2) { // the example of RFC 1071
		t.Errorf("%#x", got)
	}
}

// TestFabricFromUpToDown builds a fabric that floods, without agents: what carries packets there, carries them too when a
// directory says where to. Then a host moves.
func TestFabricFromUpToDown(t *testing.T) {
	l := newLab(t, Options{Fabric: &Fabric{Spines: 2, Leaves: 3, Hosts: 4, Flood: true}, Binary: standIn(t, "exec sleep 1000")})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	facts, err := l.Observe()
	if err != nil {
		t.Fatal(err)
	}
	for i, table := range Expected(facts) {
		program(t, l, i, table)
	}
	pings := func(from, to Host) {
		t.Helper()
		for _, way := range [][]string{
			{to.V4.Addr().String()}, {to.V6.Addr().String()},
			{"-M", "do", "-s", "1472", to.V4.Addr().String()}, // a full packet fits into the fabric
		} {
			out, err := runIn(ctx, from.Namespace, append([]string{"ping", "-c", "1", "-w", "30"}, way...)...)
			if err != nil {
				t.Errorf("%s to %s: %v\n%s", from.Name, to.Name, err, out)
			}
		}
	}
	hosts := l.Hosts()
	if len(hosts) != 4 || hosts[0].Leaf != 2 || hosts[3].Leaf != 2 || hosts[2].Leaf != 4 {
		t.Fatalf("hosts: %+v", hosts)
	}
	for _, to := range hosts[1:] {
		pings(hosts[0], to)
	}

	if _, err := l.MoveHost("h1", 4, true); err != nil {
		t.Fatal(err)
	}
	pings(hosts[0], hosts[1]) // the announcement has drawn its traffic there
	pings(hosts[1], hosts[2])
	if out, err := l.Run(ctx, 4, "ip", "-br", "link", "show", "master", fabricBridge); err != nil || !strings.Contains(string(out), "h1@") {
		t.Errorf("ports of n4: %s, %v", out, err)
	}
	for _, c := range []struct {
		host   string
		leaf   int
		reason string
	}{
		{"h1", 4, "behind n4 already"}, {"h1", 1, "n1 is no leaf"}, {"h1", 5, "n5 is no leaf"}, {"h9", 3, "it has: [h0 h1 h2 h3]"},
	} {
		if _, err := l.MoveHost(c.host, c.leaf, false); err == nil || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("move %s to %d: %v; expected %q", c.host, c.leaf, err, c.reason)
		}
	}
	again, err := Open(l.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.Fabric == nil || again.Fabric.Spines != 2 || again.Hosts()[1].Leaf != 4 || again.Hosts()[1].V6 != hosts[1].V6 {
		t.Errorf("opened: %+v, %+v", again.Fabric, again.Hosts())
	}

	// Its address at two ports of one bridge: the bridge believes the latest.
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	if sent, err := l.LoopHost(short, "h0", "h3", 100); err != nil || sent < 2 {
		t.Errorf("loop: %d, %v", sent, err)
	}
	if _, err := l.LoopHost(ctx, "h0", "h0", 1); err == nil {
		t.Error("a loop of one port")
	}

	if err := l.Down(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(netnsFolder, l.Name+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// runIn is Lab.Run in a namespace by its name.
func runIn(ctx context.Context, namespace string, argv ...string) ([]byte, error) {
	l := &Lab{nodes: []*node{{Name: namespace, Namespace: namespace}}}
	return l.Run(ctx, 0, argv...)
}

func TestFabricCommand(t *testing.T) {
	lab := name(t)
	plain := lab + "p"
	t.Cleanup(func() {
		for _, name := range []string{lab, plain} {
			if err := Down(name); err != nil {
				t.Error(err)
			}
		}
	})
	run := func(args ...string) string {
		cmd := Command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(args)
		err := cmd.ExecuteContext(t.Context())
		return out.String() + fmt.Sprint(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"up", "--name", lab, "--fabric", "1x2", "--hosts", "3", "--no-agents"}, "h2     n1     02:00:00:00:01:03   192.168.100.3 fd00:100::3"},
		{[]string{"up", "--name", plain, "--topology", "line:2", "--no-agents"}, "lab "},
		{[]string{"up", "--fabric", "2x2", "--topology", "line:2"}, "a lab is one or the other"},
		{[]string{"up", "--fabric", "2"}, "want SPINESxLEAVES"},
		{[]string{"up", "--hosts", "3"}, "are for a --fabric"},
		{[]string{"host", "list", "--name", lab}, "h1     n2     02:00:00:00:01:02"},
		{[]string{"host", "move", "--name", lab, "h1", "n1"}, "h1 is behind n1 now"},
		{[]string{"host", "list", "--name", lab}, "h1     n1     02:00:00:00:01:02"},
		{[]string{"host", "move", "--name", lab, "--silent", "h1", "n2"}, "h1 is behind n2 now"},
		{[]string{"host", "move", "--name", lab, "h1", "n0"}, "its leaves are n1 to n2"},
		{[]string{"host", "move", "--name", lab, "h1", "leaf1"}, "its leaves are n1 to n2"},
		{[]string{"host", "move", "--name", plain, "h1", "n1"}, "is no fabric"},
		{[]string{"host", "list", "--name", plain}, "has no hosts"},
		{[]string{"host", "list", "--name", "nosuch"}, "no such lab"},
		{[]string{"host", "loop", "--name", lab, "h0", "h1", "--for", "100ms", "--rate", "0"}, "frames with the MAC address of h0 sent"},
		{[]string{"exec", lab, "h9", "--", "true"}, `has no node "h9"; it has: n0 n1 n2 h0 h1 h2`},
		{[]string{"down", lab}, "removed"},
	} {
		if out := run(c.args...); !strings.Contains(out, c.says) {
			t.Errorf("lab %v: %s\nexpected %q", c.args, out, c.says)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(netnsFolder, lab+"-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(folder(lab)); err == nil {
		t.Error("the folder is left behind")
	}
}
