package msg_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"openr/lsdb"
	"openr/msg"
)

// routeUpdate makes an update of text: "full", "+prefix cost" and "-prefix" separated by commas.
func routeUpdate(t *testing.T, text string) msg.RouteUpdate {
	t.Helper()
	u := msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{}, Delete: map[netip.Prefix]msg.DeleteReason{}}
	for _, item := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		item = strings.TrimSpace(item)
		var name string
		var cost int32
		switch n, _ := fmt.Sscanf(item, "+%s %d", &name, &cost); {
		case n == 2:
			p := netip.MustParsePrefix(name)
			u.Update[p] = msg.Route{Prefix: p, IGPCost: cost}
		case item == "full":
			u.Full = true
		default:
			u.Delete[netip.MustParsePrefix(strings.TrimPrefix(item, "-"))] = msg.Withdrawn
		}
	}
	return u
}

func updateText(u msg.RouteUpdate) string {
	var out []string
	for p, r := range u.Update {
		out = append(out, fmt.Sprint("+", p, " ", r.IGPCost))
	}
	for p := range u.Delete {
		out = append(out, fmt.Sprint("-", p))
	}
	slices.Sort(out)
	if u.Full {
		out = slices.Insert(out, 0, "full")
	}
	return strings.Join(out, ", ")
}

// TestMergeRoutes are the behaviours that Open/R's RouteUpdateTest asserts.
func TestMergeRoutes(t *testing.T) {
	const a, b, c = "fd00:a::/64", "fd00:b::/64", "fd00:c::/64"
	for _, tt := range []struct{ name, waiting, next, want string }{
		{"the latest wins", "+" + a + " 1, +" + b + " 1", "+" + a + " 2", "+" + a + " 2, +" + b + " 1"},
		{"what comes on top is added", "+" + a + " 1", "+" + b + " 1, -" + c, "+" + a + " 1, +" + b + " 1, -" + c},
		{"a delete takes back what waits", "+" + a + " 1", "-" + a, "-" + a},
		{"an update takes back a delete", "-" + a, "+" + a + " 1", "+" + a + " 1"},
		{"there and back again", "-" + a + ", +" + b + " 1", "+" + a + " 2, -" + b, "+" + a + " 2, -" + b},
		{"a complete table stays complete", "full, +" + a + " 1", "+" + b + " 1", "full, +" + a + " 1, +" + b + " 1"},
		{"a complete table lacks what is deleted", "full, +" + a + " 1, +" + b + " 1", "-" + a + ", -" + c, "full, +" + b + " 1"},
		{"a complete table replaces what waits", "+" + a + " 1, -" + b, "full, +" + c + " 1", "full, +" + c + " 1"},
		{"also a complete one", "full, +" + a + " 1", "full, +" + c + " 1", "full, +" + c + " 1"},
		{"also if it is empty", "full, +" + a + " 1", "full", "full"},
		{"nothing on top", "full, +" + a + " 1", "", "full, +" + a + " 1"},
		{"nothing below", "", "+" + a + " 1, -" + b, "+" + a + " 1, -" + b},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := updateText(msg.MergeRoutes(routeUpdate(t, tt.waiting), routeUpdate(t, tt.next))); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestMergeRoutesOntoNothing: an update without maps is one that changes nothing.
func TestMergeRoutesOntoNothing(t *testing.T) {
	got := msg.MergeRoutes(msg.RouteUpdate{}, routeUpdate(t, "+fd00:a::/64 1, -fd00:b::/64"))
	if text := updateText(got); text != "+fd00:a::/64 1, -fd00:b::/64" {
		t.Error(text)
	}
	if got := updateText(msg.MergeRoutes(routeUpdate(t, "-fd00:b::/64"), msg.RouteUpdate{})); got != "-fd00:b::/64" {
		t.Error(got)
	}
}

// TestMergeRoutesKeepsTheOldestChain: how long it took is told of the change that has waited longest. (Open/R lets the latest chain
// replace it, which hides what a slow consumer costs.)
func TestMergeRoutesKeepsTheOldestChain(t *testing.T) {
	chain := func(ms int64) []lsdb.PerfEvent { return []lsdb.PerfEvent{{Node: "n", UnixMillis: ms}} }
	for _, tt := range []struct{ waiting, next, want []lsdb.PerfEvent }{
		{chain(1), chain(2), chain(1)}, {chain(1), nil, chain(1)}, {nil, chain(2), chain(2)}, {nil, nil, nil},
	} {
		got := msg.MergeRoutes(msg.RouteUpdate{PerfEvents: tt.waiting}, msg.RouteUpdate{PerfEvents: tt.next})
		if !slices.Equal(got.PerfEvents, tt.want) {
			t.Errorf("%v and %v: %v", tt.waiting, tt.next, got.PerfEvents)
		}
	}
}
