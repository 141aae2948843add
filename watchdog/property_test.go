package watchdog

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestOnlyTheSilent: whatever the order of checks and answers, an agent ends only for a module that has left a question
// unanswered for longer than its deadline, in two checks in a row; and it does end then.
func TestOnlyTheSilent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const deadline = 10 * time.Second
		c, now := newCore(time.Hour, 0), time.Unix(1000, 0)
		names := []string{"a", "b", "c"}
		owes, late := map[string]time.Time{}, map[string]int{} // since when, and in how many checks in a row for too long
		for _, n := range names {
			c.watch(n, deadline, now)
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 8000).Draw(t, "ms")) * time.Millisecond)
			if n := rapid.SampledFrom(append(names, "check")).Draw(t, "event"); n != "check" {
				if m := c.modules[n]; m.open {
					alive := rapid.Bool().Draw(t, "alive")
					if m.answer(alive, now); alive {
						delete(owes, n)
					}
				}
				continue
			}
			var expected bool
			for _, n := range names {
				if since, owing := owes[n]; owing && now.Sub(since) > deadline {
					late[n]++
				} else {
					late[n] = 0
				}
				expected = expected || late[n] >= 2
			}
			e := c.check(now, 1<<40)
			if (e != nil) != expected {
				t.Fatalf("ending %v with %v, late %v", e, owes, late)
			}
			if e != nil {
				if late[e.Module] < 2 {
					t.Fatalf("%s is blamed: %v", e.Module, late)
				}
				return
			}
			for _, n := range c.ask(now) {
				if _, owing := owes[n]; !owing {
					owes[n] = now
				}
			}
		}
	})
}
