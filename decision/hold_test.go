package decision

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// circle is a circle of five nodes, seen from 1, in which every node advertises a prefix of its own; the link between 3 and
// 4 is not there yet. 3 and 4 are both two links away from 1.
func circle(t *testing.T) *bench {
	b := newBench(t)
	for _, l := range [][2]string{{"1", "2"}, {"2", "3"}, {"4", "5"}, {"5", "1"}} {
		b.link("A", l[0], l[1], 0, 10, 10)
	}
	b.link("A", "2", "4", 0, 50, 50) // a long way round, so that there is something to improve
	b.link("A", "1", "3", 0, 50, 50)
	b.publish()
	for i := range 5 {
		b.advertise("A", fmt.Sprint(i+1), fmt.Sprintf("fd00:%d::/64", i+1))
	}
	b.build(epoch)
	return b
}

func (b *bench) wantDeltaAt(when time.Duration, want ...string) {
	b.t.Helper()
	if got := deltaText(b.build(epoch.Add(when))); !slices.Equal(got, want) {
		b.t.Errorf("after %v: delta %q, want %q", when, got, want)
	}
}

// TestBetterRoutesWaitTheirTurn: a shorter path through links that others have brought up is taken after those nearer to
// them have had time to take it (cf. RFC 6976).
func TestBetterRoutesWaitTheirTurn(t *testing.T) {
	b := circle(t)
	b.link("A", "2", "3", 1, 5, 5) // a second, cheaper link between 2 and 3: one hop away
	b.publish()
	if !b.due(epoch) || b.held != epoch.Add(holdStep) {
		t.Fatalf("due %v, held until %v; want a build now, and better routes after %v", b.due(epoch), b.held.Sub(epoch), holdStep)
	}
	b.wantDeltaAt(0, "+fd00:3::/64 15 to-2-0") // the same next hop as before: only the cost is news
	if b.due(epoch.Add(holdStep - 1)) {
		t.Error("due before the wait is over")
	}
	if !b.due(epoch.Add(holdStep)) {
		t.Error("not due after the wait")
	}
	b.build(epoch.Add(holdStep))
	if b.due(epoch.Add(time.Hour)) {
		t.Error("still due after everything was sent")
	}
}

func TestChangedNextHopsWait(t *testing.T) {
	b := circle(t)
	b.link("A", "2", "4", 1, 5, 5) // 4 is now nearer by 2 than by 5
	b.publish()
	b.wantDeltaAt(0)
	b.wantDeltaAt(holdStep, "+fd00:4::/64 15 to-2-0")
}

func TestOwnLinksNeverWait(t *testing.T) {
	b := circle(t)
	b.link("A", "1", "4", 0, 5, 5)
	b.publish()
	b.wantDeltaAt(0, "+fd00:4::/64 5 to-4-0")
}

func TestNewRoutesNeverWait(t *testing.T) {
	b := circle(t)
	b.advertise("A", "6", "fd00:6::/64") // nobody can reach it
	b.wantDeltaAt(0)
	b.link("A", "2", "6", 0, 10, 10)
	b.link("A", "2", "4", 1, 5, 5)
	b.publish()
	b.wantDeltaAt(0, "+fd00:6::/64 20 to-2-0")
	b.wantDeltaAt(holdStep, "+fd00:4::/64 15 to-2-0")
}

func TestFailuresEndTheWait(t *testing.T) {
	b := circle(t)
	b.link("A", "2", "4", 1, 5, 5)
	b.publish()
	b.wantDeltaAt(0)
	b.node("A", "5").Adjacencies = without(b.node("A", "5").Adjacencies, "4")
	b.publish()
	b.wantDeltaAt(time.Millisecond, "+fd00:4::/64 15 to-2-0")
}

// TestWaitGrowsWithDistance: a link ten hops away, and one so far that the bound counts.
func TestWaitGrowsWithDistance(t *testing.T) {
	for far, want := range map[int]time.Duration{2: holdStep, 5: 4 * holdStep, 40: holdMax} {
		b := newBench(t)
		for i := range far {
			b.link("A", fmt.Sprint(i+1), fmt.Sprint(i+2), 0, 10, 10)
		}
		b.publish()
		b.build(epoch)
		b.link("A", fmt.Sprint(far), fmt.Sprint(far+1), 1, 5, 5)
		b.publish()
		if got := b.held.Sub(epoch); got != want {
			t.Errorf("a link %d hops away: better routes wait for %v, want %v", far-1, got, want)
		}
	}
}

// TestWaitIsNotExtended: changes that keep coming do not hold up routes for ever.
func TestWaitIsNotExtended(t *testing.T) {
	b := circle(t)
	for i := range 5 {
		b.link("A", "2", "4", i+1, int32(30-i), int32(30-i))
		b.publish()
		b.build(epoch.Add(time.Duration(i) * time.Millisecond))
	}
	if b.held != epoch.Add(holdStep) {
		t.Errorf("held until %v, want %v", b.held.Sub(epoch), holdStep)
	}
}
