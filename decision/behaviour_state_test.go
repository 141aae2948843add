package decision

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// TestUsabilityFlips is LinkTest and LinkStateTest, linkUsable and setLinkUsability: a link to a node that initializes is up from
// that node's point of view only; that it becomes usable, or ceases to be, is a change for the others and none for it.
func TestUsabilityFlips(t *testing.T) {
	for _, tt := range []struct {
		me     string
		change bool
		routes [2]string // to 3's prefix while 2 initializes, and afterwards
	}{
		{"1", true, [2]string{"none", "20 to-2-0"}},
		{"2", false, [2]string{"10 to-3-0", "10 to-3-0"}},
		{"3", true, [2]string{"none", "none"}}, // it is here
	} {
		w := newScene(t)
		w.link("A", "1", "2", 0, 10, 10)
		w.link("A", "2", "3", 0, 10, 10)
		w.says("A", "3", p3)
		flags := func(on bool) {
			w.adj("A", "1", "2", 0).OnlyUsedByOther = on
			w.adj("A", "3", "2", 0).OnlyUsedByOther = on
		}
		flags(true)
		w.want(tt.me, p3, tt.routes[0])
		c := w.core(tt.me)
		c.build(epoch)
		for _, on := range []bool{false, true, true} {
			was := w.adj("A", "1", "2", 0).OnlyUsedByOther
			flags(on)
			c.apply(w.store(), epoch)
			if got, want := c.pending.full, tt.change && on != was; got != want {
				t.Errorf("%s, initializing %v -> %v: a change %v, want %v", tt.me, was, on, got, want)
			}
			c.build(epoch)
			if !on {
				w.want(tt.me, p3, tt.routes[1])
			}
		}
	}
}

// TestInitializingFromBothSides: a link is usable if both of its ends' flags allow.
func TestInitializingFromBothSides(t *testing.T) {
	w := newScene(t)
	w.link("A", "1", "2", 0, 10, 10)
	w.says("A", "2", p2)
	w.says("A", "1", p1)
	w.adj("A", "1", "2", 0).OnlyUsedByOther = true
	w.adj("A", "2", "1", 0).OnlyUsedByOther = true
	w.want("1", p2, "none") // 2 initializes, and may not be used by this node
	w.want("2", p1, "none")
}

// TestReceivedFilters is PrefixStateTest.ReceivedRoutes: the combinations of what may be asked for.
func TestReceivedFilters(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 10, 10)
	b.link("B", "1", "2", 1, 10, 10)
	b.publish()
	for _, at := range []struct{ area, node, prefix string }{{"A", "1", p1}, {"A", "2", p1}, {"B", "2", p1}, {"A", "2", p2}, {"B", "2", p3}, {"B", "3", p3}} {
		b.advertise(at.area, at.node, at.prefix)
	}
	for _, tt := range []struct {
		prefixes   []string // nil: all
		node, area string
		want       string
	}{
		{nil, "", "", p1 + " 1/A 2/A 2/B, " + p2 + " 2/A, " + p3 + " 2/B 3/B"},
		{nil, "2", "", p1 + " 2/A 2/B, " + p2 + " 2/A, " + p3 + " 2/B"},
		{nil, "", "B", p1 + " 2/B, " + p3 + " 2/B 3/B"},
		{nil, "2", "A", p1 + " 2/A, " + p2 + " 2/A"},
		{nil, "3", "A", ""},
		{nil, "nobody", "", ""},
		{nil, "", "nowhere", ""},
		{[]string{}, "", "", ""},
		{[]string{}, "2", "A", ""},
		{[]string{p3, p1, p3}, "2", "", p1 + " 2/A 2/B, " + p3 + " 2/B"},
		{[]string{p2}, "", "B", ""},
		{[]string{p2}, "2", "A", p2 + " 2/A"},
		{[]string{p4}, "", "", ""},
	} {
		var prefixes []netip.Prefix
		if tt.prefixes != nil {
			prefixes = make([]netip.Prefix, 0)
		}
		for _, p := range tt.prefixes {
			prefixes = append(prefixes, prefix(p))
		}
		var got []string
		for _, r := range b.received(prefixes, tt.node, tt.area) {
			line := r.Prefix.String()
			for _, a := range r.Advertisements {
				line += fmt.Sprint(" ", a.Node, "/", a.Area)
			}
			got = append(got, line)
		}
		if text := strings.Join(got, ", "); text != tt.want {
			t.Errorf("%q of %q in %q: %s\nwant %s", tt.prefixes, tt.node, tt.area, text, tt.want)
		}
	}
	b.withdraw("A", "2", p2)
	b.withdraw("A", "2", p2)
	if got := b.received([]netip.Prefix{prefix(p2)}, "", ""); len(got) != 0 {
		t.Errorf("withdrawn: %+v", got)
	}
}

// TestUnknownAreas: what somebody advertises where nothing is known of the area is reachable as far as one knows, and leads nowhere
// (SpfSolverUnitTest.GetReachablePrefixEntriesTest).
func TestUnknownAreas(t *testing.T) {
	w := newScene(t)
	w.link("A", "1", "2", 0, 10, 10)
	w.says("C", "2", p2)
	w.says("A", "3", p3) // of A something is known, and that 3 is not there
	w.want("1", p2, "none")
	w.want("1", p3, "none")
	c := w.core("1")
	c.build(epoch)
	selected := func(p string) (nodes []NodeArea) {
		for _, r := range c.received([]netip.Prefix{prefix(p)}, "", "") {
			nodes = r.Selected
		}
		return nodes
	}
	if got := selected(p2); !slices.Equal(got, []NodeArea{{"2", "C"}}) {
		t.Errorf("selected in an unknown area: %v", got)
	}
	if got := selected(p3); got != nil {
		t.Errorf("selected although unreachable: %v", got)
	}
	if r, ok := w.table("2")[prefix(p2)]; ok {
		t.Errorf("%+v: it is here, in whatever area", r)
	}
}
