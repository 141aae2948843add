package msg_test

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"openr/lsdb"
	"openr/msg"
)

var (
	p1 = netip.MustParsePrefix("2001:db8:1::/64")
	p2 = netip.MustParsePrefix("2001:db8:2::/64")
)

func TestMergeNeighbors(t *testing.T) {
	event := func(kind msg.NeighborEventType, node string) msg.NeighborEvent {
		return msg.NeighborEvent{Type: kind, Node: node, IfName: "eth0"}
	}
	inB := func(e msg.NeighborEvent) msg.NeighborEvent { e.Area = "B"; return e }
	up, down, rtt := msg.NeighborUp, msg.NeighborDown, msg.NeighborRTTChange
	for _, tt := range []struct {
		name          string
		waiting, next []msg.NeighborEvent
		want          []msg.NeighborEvent
	}{
		{"different neighbours keep their order", []msg.NeighborEvent{event(up, "a")}, []msg.NeighborEvent{event(up, "b")}, []msg.NeighborEvent{event(up, "a"), event(up, "b")}},
		{"a down makes an earlier up irrelevant", []msg.NeighborEvent{event(up, "a")}, []msg.NeighborEvent{event(down, "a")}, []msg.NeighborEvent{event(down, "a")}},
		{"a down and a later up both count", []msg.NeighborEvent{event(down, "a")}, []msg.NeighborEvent{event(up, "a")}, []msg.NeighborEvent{event(down, "a"), event(up, "a")}},
		{"a neighbour that moves to another area leaves the first", []msg.NeighborEvent{event(down, "a"), inB(event(up, "a"))}, []msg.NeighborEvent{inB(event(down, "a"))}, []msg.NeighborEvent{event(down, "a"), inB(event(down, "a"))}},
		{"only the last round-trip time counts", []msg.NeighborEvent{event(up, "a"), event(rtt, "a")}, []msg.NeighborEvent{event(rtt, "a")}, []msg.NeighborEvent{event(up, "a"), event(rtt, "a")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := msg.MergeNeighbors(msg.NeighborUpdate{Events: tt.waiting}, msg.NeighborUpdate{Events: tt.next})
			if !slices.Equal(got.Events, tt.want) {
				t.Errorf("got %v, want %v", got.Events, tt.want)
			}
		})
	}
	if !msg.MergeNeighbors(msg.NeighborUpdate{Discovered: true}, msg.NeighborUpdate{}).Discovered {
		t.Error("Discovered was forgotten")
	}
}

// TestMergeOntoNothing: an empty message that waits takes in the next one.
func TestMergeOntoNothing(t *testing.T) {
	if got := msg.MergeKeyRequests(nil, msg.KeyRequests{{Key: "adj:a"}: {Op: msg.KeyPersist}}); len(got) != 1 {
		t.Errorf("key requests: %v", got)
	}
	if got := msg.MergePrefixes(nil, msg.PrefixUpdate{lsdb.PrefixLoopback: nil}); len(got) != 1 {
		t.Errorf("prefixes: %v", got)
	}
}

func TestMergePublications(t *testing.T) {
	k := msg.AreaKey{Area: "0", Key: "adj:a"}
	full := func(version int64) lsdb.Value { return lsdb.Value{Version: version, Data: []byte{byte(version)}} }
	refresh := lsdb.Value{Version: 1, TTLVersion: 7}
	keyVals := func(v lsdb.Value) msg.Publication {
		return msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{k: v}}
	}
	expired := func() msg.Publication { return msg.Publication{Expired: map[msg.AreaKey]bool{k: true}} }

	if got := msg.MergePublications(keyVals(full(1)), keyVals(full(2))); got.KeyVals[k].Version != 2 {
		t.Errorf("two versions: %v waits, want the later", got.KeyVals[k])
	}
	if got := msg.MergePublications(keyVals(full(1)), keyVals(refresh)); !got.KeyVals[k].HasData() {
		t.Error("a TTL refresh hid content that nobody had read")
	}
	if got := msg.MergePublications(keyVals(full(1)), expired()); len(got.KeyVals) != 0 || !got.Expired[k] {
		t.Errorf("value then expiry: %+v, want only the expiry", got)
	}
	if got := msg.MergePublications(expired(), keyVals(full(1))); len(got.KeyVals) != 1 || got.Expired[k] {
		t.Errorf("expiry then value: %+v, want only the value", got)
	}
	if got := msg.MergePublications(expired(), keyVals(refresh)); len(got.KeyVals) != 0 || !got.Expired[k] {
		t.Errorf("expiry then refresh: %+v, want only the expiry", got)
	}
	if !msg.MergePublications(msg.Publication{Synced: true}, expired()).Synced {
		t.Error("Synced was forgotten")
	}
}

// apply is what a consumer of route updates does with one.
func apply(table map[netip.Prefix]int32, u msg.RouteUpdate) {
	if u.Full {
		clear(table)
	}
	for p := range u.Delete {
		delete(table, p)
	}
	for p, r := range u.Update {
		table[p] = r.IGPCost
	}
}

func drawUpdate(t *rapid.T) msg.RouteUpdate {
	u := msg.RouteUpdate{Full: rapid.Bool().Draw(t, "full"), Update: map[netip.Prefix]msg.Route{}, Delete: map[netip.Prefix]msg.DeleteReason{}}
	for i := range 5 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i)}), 16)
		switch rapid.IntRange(0, 2).Draw(t, "what") {
		case 1:
			u.Update[p] = msg.Route{Prefix: p, IGPCost: rapid.Int32Range(1, 9).Draw(t, "cost")}
		case 2:
			if !u.Full {
				u.Delete[p] = msg.Withdrawn
			}
		}
	}
	return u
}

// TestMergeRoutesKeepsTheOutcome: a consumer that was too slow to see each update ends with the same table, and an update
// never turns from a delta into a complete table by being merged.
func TestMergeRoutesKeepsTheOutcome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		oneByOne, merged := map[netip.Prefix]int32{}, map[netip.Prefix]int32{}
		start := drawUpdate(t)
		apply(oneByOne, start)
		apply(merged, start)
		first := drawUpdate(t)
		apply(oneByOne, first)
		waiting, full := first, first.Full
		for range rapid.IntRange(1, 5).Draw(t, "more") {
			next := drawUpdate(t)
			apply(oneByOne, next)
			full = full || next.Full
			waiting = msg.MergeRoutes(waiting, next)
		}
		apply(merged, waiting)
		if !maps.Equal(oneByOne, merged) {
			t.Fatalf("one by one %v, merged %v", oneByOne, merged)
		}
		if waiting.Full != full {
			t.Fatalf("merged update has Full %v, want %v", waiting.Full, full)
		}
		if waiting.Full && len(waiting.Delete) > 0 {
			t.Fatalf("a complete table carries deletes: %v", waiting.Delete)
		}
	})
}

func TestMergePeers(t *testing.T) {
	a := msg.AreaNode{Area: "0", Node: "a"}
	add := msg.PeerUpdate{Add: map[msg.AreaNode]msg.Peer{a: {Node: "a", Port: 1}}}
	del := msg.PeerUpdate{Del: map[msg.AreaNode]bool{a: true}}
	got := msg.MergePeers(msg.PeerUpdate{Initial: true, Add: maps.Clone(add.Add)}, del)
	if len(got.Add) != 0 || !got.Del[a] || !got.Initial {
		t.Errorf("add then delete = %+v, want a delete that is still initial", got)
	}
	got = msg.MergePeers(msg.PeerUpdate{Del: map[msg.AreaNode]bool{a: true}}, add)
	if len(got.Add) != 1 || got.Del[a] {
		t.Errorf("delete then add = %+v, want an add", got)
	}
}

func TestRouteComparison(t *testing.T) {
	hop := msg.NextHop{Addr: netip.MustParseAddr("fe80::1"), IfName: "eth0", Metric: 10}
	r := msg.Route{Prefix: p1, NextHops: []msg.NextHop{hop}}
	costlier := r
	costlier.NextHops = []msg.NextHop{{Addr: hop.Addr, IfName: hop.IfName, Metric: 20, Weight: 1}}
	if !r.SameForwarding(costlier) || r.Equal(costlier) {
		t.Error("a change of cost alone: want the same forwarding, but not equal")
	}
	for name, o := range map[string]msg.Route{
		"other prefix":    {Prefix: p2, NextHops: r.NextHops},
		"no next hop":     {Prefix: p1},
		"other interface": {Prefix: p1, NextHops: []msg.NextHop{{Addr: hop.Addr, IfName: "eth1"}}},
		"other weight":    {Prefix: p1, NextHops: []msg.NextHop{{Addr: hop.Addr, IfName: "eth0", Weight: 2}}},
	} {
		if r.SameForwarding(o) {
			t.Errorf("%s: taken for the same forwarding", name)
		}
	}
}
