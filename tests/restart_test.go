package tests

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/lab"
	"openr/thrift/gen/kvstore"
)

// times are a configuration with the times for which the neighbours of a node wait for it, in seconds: when it is silent,
// and when it has said that it will be back.
func times(hold, restart int) map[string]any {
	return map[string]any{"spark_config": map[string]any{"hold_time_s": hold, "graceful_restart_time_s": restart}}
}

// TestRestartChangesNothing restarts an agent that packets cross, in order and by a crash. Nothing is lost; no key in any
// store gets a new version; no kernel is touched, not even the node's own.
func TestRestartChangesNothing(t *testing.T) {
	const restarted = 1
	for name, areas := range map[string][][]any{
		"OneArea":  {{area("0", ".*")}, {area("0", ".*")}, {area("0", ".*")}, {area("0", ".*")}},
		"TwoAreas": {{area("A", ".*")}, {area("A", "to-n0"), area("B", "to-n2")}, {area("B", ".*")}, {area("B", ".*")}},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, lab.Options{Topology: "line:4", Config: func(i int) map[string]any {
				config := times(30, 30)
				config["areas"] = areas[i]
				config["originated_prefixes"] = []any{
					map[string]any{"prefix": fmt.Sprintf("fd00:3:%d::/64", i), "minimum_supporting_routes": 0},
					map[string]any{"prefix": fmt.Sprintf("fd00:0:0:%d::/64", (i+1)%4), "minimum_supporting_routes": 1},
				}
				return config
			}})
			kernels := n.recordKernels()
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
				before := n.steadyStores()
				kernels.forget()
				probes := append(n.probes(0, 3), n.probes(3, 0)...)
				n.hurry(probes)
				n.watchPackets(probes)

				begin := time.Now()
				n.must(n.Stop(restarted, sig))
				n.must(n.Start(restarted))
				n.initialized(restarted)
				what := fmt.Sprintf("the restart after %v, which took %v", sig, time.Since(begin).Round(time.Millisecond))
				n.quiet()

				n.converges(what)
				for i, k := range kernels {
					if messages := k.take(); len(messages) > 0 {
						t.Errorf("%s: %d messages about routes and nexthop objects from n%d's kernel:\n  %s", what, len(messages), i, excerpt(messages))
					}
				}
				for i := range n.Topology.Nodes {
					if changes := changed(before[i], n.store(i)); len(changes) > 0 {
						t.Errorf("%s: n%d's store has changed:\n  %s", what, i, excerpt(changes))
					}
				}
				n.noneLost(what, probes)
			}
		})
	}
}

// area is an entry of a configuration: the area on some of a node's links, with the node's loopback addresses.
func area(id, interfaces string) any {
	return map[string]any{"area_id": id, "include_interface_regexes": []any{interfaces}, "redistribute_interface_regexes": []any{"lo"}}
}

// TestChangeDuringRestart: while a node is away a link fails that is not its own. The others route round it at once; the node
// does when it is back, and touches only what the failure has changed, and nobody else anything.
func TestChangeDuringRestart(t *testing.T) {
	const restarted = 1
	n := start(t, lab.Options{Topology: "ring:4", Config: always(times(30, 30))})
	n.steadyStores()
	kernels := n.recordKernels()
	expected := func() []lab.Routes {
		facts, err := n.Observe()
		n.must(err)
		facts.Nodes[restarted].Running = true
		return lab.Expected(facts)
	}
	before := n.routes(restarted)

	n.must(n.Stop(restarted, syscall.SIGTERM))
	n.must(n.SetLink(n.link(2, 3), false))
	n.eventually("the others have routed round the failed link", func() bool {
		for i, want := range expected() {
			if i != restarted && lab.Diff(want, n.routes(i)) != "" {
				return false
			}
		}
		return true
	})
	if d := lab.Diff(before, n.routes(restarted)); d != "" {
		t.Errorf("the kernel of the node that is away has changed:\n%s", d)
	}
	n.calm()
	kernels.forget()
	// The news about the failure is known to the failed link's nodes, each on its side of the node that is away.
	store := n.store(3)
	for key, v := range n.store(2) {
		if v.Version > store[key].Version {
			store[key] = v
		}
	}
	// From n0 to n2 there is only the way through the node left.
	probes := append(n.probes(0, 2), n.probes(2, 0)...)
	n.hurry(probes)
	n.watchPackets(probes)

	n.must(n.Start(restarted))
	n.initialized(restarted)
	n.quiet()
	const what = "the return of a node that a change has passed by"
	n.converges(what)
	far6, far4 := lab.Loopbacks(3)
	for i, k := range kernels {
		messages := k.take()
		if i == restarted {
			if len(messages) == 0 {
				t.Errorf("n%d's kernel says nothing of the change", i)
			}
			messages = slices.DeleteFunc(messages, func(m kernelMessage) bool { return m.prefix == far6 || m.prefix == far4 || m.object != 0 })
		}
		if len(messages) > 0 {
			t.Errorf("%s: %d messages about routes and nexthop objects from n%d's kernel:\n  %s", what, len(messages), i, excerpt(messages))
		}
	}
	if changes := changed(store, n.store(3)); len(changes) > 0 {
		t.Errorf("%s: the store has changed:\n  %s", what, excerpt(changes))
	}
	n.noneLost(what, probes)
}

// TestNoReturn: a node announces a restart and does not come back. Its neighbours keep their routes through it for the time
// agreed upon, and then take other ways, without loss as its kernel still forwards.
func TestNoReturn(t *testing.T) {
	const gone, hold, restart = 1, 3, 6
	n := start(t, lab.Options{Topology: "ring:4", Config: always(times(hold, restart))})
	n.steadyStores()
	probes := append(n.probes(0, 2), n.probes(2, 0)...)
	n.hurry(probes)
	n.watchPackets(probes)
	before := n.routes(0)
	begin := time.Now()
	n.must(n.Stop(gone, syscall.SIGTERM))
	var after time.Duration
	n.eventually("the routes change", func() bool {
		after = time.Since(begin)
		return lab.Diff(before, n.routes(0)) != ""
	})
	t.Logf("graceful_restart_time_s is %d; the routes have changed %v after SIGTERM", restart, after.Round(time.Millisecond))
	if after < restart*time.Second {
		t.Errorf("the neighbours waited %v for the node, not the %d s that it may take", after, restart)
	}
	n.converges("the end of the wait")
	n.calm()
	n.noneLost("the departure for good", probes)

	n.must(n.Start(gone))
	n.converges("the return after all")
}

// TestBadStoreFile damages the file that holds the drain state. The agent starts all the same, says so, keeps the bad file,
// goes by what could be read, and writes a good file again.
func TestBadStoreFile(t *testing.T) {
	const node = 1
	n := start(t, lab.Options{Topology: "line:2"})
	path := filepath.Join(filepath.Dir(n.ConfigPath(node)), lab.NodeName(node)+".store")
	operator := n.control(node)
	n.must(operator.SetNodeOverload(t.Context()))
	for i, tc := range []struct {
		name    string
		damage  func(good []byte) []byte
		drained bool // the state can be read
	}{
		{"no damage", func(good []byte) []byte { return good }, true},
		{"truncated", func(good []byte) []byte { return good[:len(good)-3] }, false},
		{"empty", func([]byte) []byte { return nil }, false},
		{"garbage", func([]byte) []byte { return bytes.Repeat([]byte("not a store"), 1000) }, false},
		{"garbage at its end", func(good []byte) []byte { return append(good, "\x00\xff\xff garbage"...) }, true},
	} {
		n.must(n.Stop(node, syscall.SIGTERM))
		good, err := os.ReadFile(path)
		n.must(err)
		bad := tc.damage(bytes.Clone(good))
		n.must(os.WriteFile(path, bad, 0o600))
		logged, err := os.Stat(n.LogPath(node))
		n.must(err)

		n.must(n.Start(node))
		n.initialized(node)
		operator = n.control(node)
		if got := ask(n, operator.GetInterfaces).IsOverloaded; got != tc.drained {
			t.Errorf("%s: drained %t, want %t", tc.name, got, tc.drained)
		}
		if tc.name != "no damage" {
			kept, err := os.ReadFile(fmt.Sprintf("%s.bad-%d", path, i))
			if err != nil || !bytes.Equal(kept, bad) {
				t.Errorf("%s: the bad file is not kept as it was: %q, %v", tc.name, kept, err)
			}
			if got := ask(n, operator.GetCounters)["config_store.bad_file.sum"]; got != 1 {
				t.Errorf("%s: config_store.bad_file is %d", tc.name, got)
			}
			log, err := os.ReadFile(n.LogPath(node))
			n.must(err)
			if words := string(log[logged.Size():]); !strings.Contains(words, "\twarn\tconfigstore\t") || !strings.Contains(words, path) {
				t.Errorf("%s: no warning:\n%s", tc.name, words)
			}
		}
		n.must(operator.UnsetNodeOverload(t.Context())) // something to write
		n.must(operator.SetNodeOverload(t.Context()))
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, good) {
			t.Errorf("%s: the file that is written then is %q, want %q; %v", tc.name, now, good, err)
		}
	}
	n.converges("all damage")
}

// initialized waits until the agent of node i is ready.
func (n *network) initialized(i int) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("n%d is initialized", i), func() bool {
		// A connection may still have been taken by the agent that was killed.
		done, err := n.control(i).InitializationConverged(n.t.Context())
		return err == nil && done
	})
}

// store returns what node i's store holds, by area and key.
func (n *network) store(i int) kvstore.KeyVals {
	n.t.Helper()
	operator, content := n.control(i), kvstore.KeyVals{}
	for _, summary := range ask(n, func(ctx context.Context) ([]*kvstore.KvStoreAreaSummary, error) {
		return operator.GetKvStoreAreaSummary(ctx, nil)
	}) {
		p, err := operator.GetKvStoreKeyValsFilteredArea(n.t.Context(), kvstore.NewKeyDumpParams(), summary.Area)
		n.must(err)
		for key, v := range p.KeyVals {
			content[summary.Area+" "+key] = v
		}
	}
	return content
}

// steadyStores waits until all agents are ready and their stores change no more, and returns what each holds.
func (n *network) steadyStores() []kvstore.KeyVals {
	n.t.Helper()
	content := make([]kvstore.KeyVals, n.Topology.Nodes)
	for i := range content {
		n.initialized(i)
	}
	n.eventually("the stores change no more", func() bool {
		for i := range content {
			content[i] = n.store(i)
		}
		n.calm()
		for i := range content {
			if len(content[i]) == 0 || len(changed(content[i], n.store(i))) > 0 {
				return false
			}
		}
		return true
	})
	return content
}

// changed tells how a store differs from what it was. Refreshes of the time to live are no change.
func changed(before, after kvstore.KeyVals) (changes []string) {
	for _, key := range slices.Sorted(maps.Keys(after)) {
		b, a := before[key], after[key]
		switch {
		case b == nil:
			changes = append(changes, fmt.Sprintf("%s of %s is new, version %d", key, a.OriginatorId, a.Version))
		case b.Version != a.Version || b.OriginatorId != a.OriginatorId || *b.Hash != *a.Hash || !bytes.Equal(b.Value, a.Value):
			changes = append(changes, fmt.Sprintf("%s: from version %d of %s, hash %d, %d bytes, to version %d of %s, hash %d, %d bytes",
				key, b.Version, b.OriginatorId, *b.Hash, len(b.Value), a.Version, a.OriginatorId, *a.Hash, len(a.Value)))
		case a.TtlVersion < b.TtlVersion:
			changes = append(changes, fmt.Sprintf("%s: from TTL version %d back to %d", key, b.TtlVersion, a.TtlVersion))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if after[key] == nil {
			changes = append(changes, key+" is gone")
		}
	}
	return changes
}

// recorder collects what a kernel says about routes, of whatever protocol, and nexthop objects: what `ip monitor route
// nexthop` prints.
type recorder struct {
	t      interface{ Fatal(...any) }
	socket *nl.NetlinkSocket
}

type recorders []*recorder

// recordKernels starts to record the kernels of all nodes. The sockets' buffers keep the messages until they are taken.
func (n *network) recordKernels() (all recorders) {
	n.t.Helper()
	for i := range n.Topology.Nodes {
		ns, err := netns.GetFromName(n.Namespace(i))
		n.must(err)
		s, err := nl.SubscribeAt(ns, netns.None(), unix.NETLINK_ROUTE, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_NEXTHOP)
		ns.Close()
		n.must(err)
		n.t.Cleanup(s.Close)
		n.must(s.SetReceiveBufferSize(4<<20, true))
		n.must(s.SetReceiveTimeout(&unix.Timeval{Usec: 1000}))
		all = append(all, &recorder{n.t, s})
	}
	return all
}

// forget drops what was recorded.
func (all recorders) forget() {
	for _, r := range all {
		r.take()
	}
}

// kernelMessage says which route or nexthop object was added, changed or deleted.
type kernelMessage struct {
	kind   string
	prefix netip.Prefix // of a route
	object uint32       // nexthop object, 0: of a route
}

func (m kernelMessage) String() string {
	if m.object != 0 {
		return fmt.Sprintf("%s %d", m.kind, m.object)
	}
	return fmt.Sprintf("%s %v", m.kind, m.prefix)
}

// take returns what has been recorded since the last call.
func (r *recorder) take() (messages []kernelMessage) {
	for {
		list, _, err := r.socket.Receive()
		if errors.Is(err, unix.EAGAIN) {
			return messages
		}
		if err != nil {
			r.t.Fatal(err)
		}
		for _, m := range list {
			messages = append(messages, readKernelMessage(m))
		}
	}
}

func readKernelMessage(m syscall.NetlinkMessage) kernelMessage {
	kinds := map[uint16]string{
		unix.RTM_NEWROUTE: "new or changed route", unix.RTM_DELROUTE: "deleted route",
		unix.RTM_NEWNEXTHOP: "new or changed nexthop object", unix.RTM_DELNEXTHOP: "deleted nexthop object",
	}
	out := kernelMessage{kind: kinds[m.Header.Type]}
	size := unix.SizeofRtMsg
	isObject := m.Header.Type == unix.RTM_NEWNEXTHOP || m.Header.Type == unix.RTM_DELNEXTHOP
	if isObject {
		size = unix.SizeofNhmsg
	}
	attributes, err := nl.ParseRouteAttr(m.Data[size:])
	if err != nil {
		out.kind += " that cannot be read"
		return out
	}
	for _, a := range attributes {
		switch {
		case isObject && a.Attr.Type == unix.NHA_ID:
			out.object = binary.NativeEndian.Uint32(a.Value)
		case !isObject && a.Attr.Type == unix.RTA_DST:
			address, _ := netip.AddrFromSlice(a.Value)
			out.prefix = netip.PrefixFrom(address, int(m.Data[1]))
		}
	}
	return out
}

// excerpt is the first of many lines.
func excerpt[T any](all []T) string {
	var lines []string
	for _, x := range all[:min(len(all), 8)] {
		lines = append(lines, fmt.Sprint(x))
	}
	return strings.Join(lines, "\n  ")
}

// hurry adds a packet each millisecond to the streams, whatever the load of the machine: what a late wake-up has left out is
// sent at once.
func (n *network) hurry(probes []*probe) {
	for _, p := range probes {
		target := p.to.LocalAddr()
		p.senders.Go(func() {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			begin := time.Now()
			for sent := time.Duration(0); ; sent++ {
				for sent*time.Millisecond > time.Since(begin) {
					select {
					case <-p.done:
						return
					case <-tick.C:
					}
				}
				p.mu.Lock()
				number := p.sent
				p.sent++
				p.mu.Unlock()
				_, _ = p.from.WriteTo(binary.BigEndian.AppendUint64(nil, number), target)
			}
		})
	}
}

// noneLost ends the streams, tells what was lost of them and fails the test if anything was.
func (n *network) noneLost(during string, probes []*probe) {
	n.t.Helper()
	for _, p := range probes {
		sent, lost := p.lost()
		p.to.Close() // its port may be needed again
		n.t.Logf("%s: %d of %d packets lost from %s", during, len(lost), sent, p.name)
		if len(lost) > 0 {
			n.t.Errorf("%s: %d of %d packets from %s were lost, number %d to %d", during, len(lost), sent, p.name, lost[0], lost[len(lost)-1])
		}
	}
}
