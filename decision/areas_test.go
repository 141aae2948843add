package decision

import (
	"testing"

	"openr/config"
)

// TestHardDrainCrossesAreas: what a hard-drained node advertises is left out for something better, also when a border tells of it in
// another area; the border is no way around the drain, least of all for the drained node itself.
func TestHardDrainCrossesAreas(t *testing.T) {
	for _, tt := range []struct {
		name    string
		drained string
		borders int32 // what the border, 2, says of the drain
		want    string
	}{
		{"the origin, told by the border", "3", int32(hardDrain), "10 to-3-0"},
		{"the origin, told by a border that knows one drain only", "3", int32(softDrain), "10 to-2-1"},
		{"this node, told by the border", "1", int32(hardDrain), "none"},
		{"nobody", "", 0, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.link("A", "1", "3", 0, 10, 10)
			b.link("B", "1", "2", 1, 10, 10)
			if tt.drained != "" {
				b.node("A", tt.drained).Overloaded = true
			}
			b.publish()
			if tt.drained != "3" {
				b.advertise("A", "1", p4)
			} else {
				b.advertise("A", "3", p4)
			}
			b.advertise("B", "2", p4, areaStack("A"), distance(1), drainMetric(tt.borders))
			b.want("1", p4, tt.want)
		})
	}
}

// TestDrainIsHandedOn: a route says how far its best advertiser is drained, and does not forget what that one was told.
func TestDrainIsHandedOn(t *testing.T) {
	for _, tt := range []struct{ hard, soft, told, want int32 }{{0, 0, 0, 0}, {0, 0, 1, 1}, {0, 1, 0, 1}, {0, 1, 2, 2}, {1, 0, 0, 2}, {1, 1, 1, 2}, {0, 0, 7, 7}} {
		b := newBench(t)
		b.link("A", "1", "2", 0, 10, 10)
		b.node("A", "2").Overloaded, b.node("A", "2").MetricIncrement = tt.hard > 0, tt.soft
		b.publish()
		b.advertise("A", "2", p2, drainMetric(tt.told))
		if r := b.routes("1")[0]; r.Best.Metrics.Drain != tt.want {
			t.Errorf("%+v: %d", tt, r.Best.Metrics.Drain)
		}
	}
}

// TestPerAreaOfTheFewest: distances in each area count among what has crossed the fewest areas.
func TestPerAreaOfTheFewest(t *testing.T) {
	b := newBench(t, func(c *config.Config) { c.RouteSelection = config.PerAreaShortestDistance })
	b.link("A", "1", "2", 0, 10, 10)
	b.link("B", "1", "3", 1, 10, 10)
	b.publish()
	b.advertise("A", "2", p4, distance(5))
	b.want("1", p4, "10 to-2-0")
	b.advertise("B", "3", p4, distance(7))
	b.want("1", p4, "10 to-2-0 to-3-1")
	b.advertise("B", "3", p4, areaStack("A"), distance(6)) // 2's, as a border tells of it
	b.want("1", p4, "10 to-2-0")
	b.advertise("A", "2", p4, areaStack("C"), distance(6))
	b.want("1", p4, "10 to-2-0 to-3-1")
}

// TestThroughAreasThatKnow: to a node lead only the areas in which it is selected. Who is on the way in another has not heard that
// the prefix is there.
func TestThroughAreasThatKnow(t *testing.T) {
	b := newBench(t)
	b.link("A", "1", "2", 0, 1, 1)
	b.link("B", "1", "2", 1, 5, 5)
	b.link("A", "1", "3", 0, 10, 10)
	b.publish()
	b.advertise("B", "2", p4)
	b.want("1", p4, "5 to-2-1")
	b.advertise("A", "3", p4)
	b.want("1", p4, "5 to-2-1")
	b.advertise("A", "2", p4)
	b.want("1", p4, "1 to-2-0")
}
