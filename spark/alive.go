package spark

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Alive returns nil when the module's loop has come round, or ctx's error.
func (s *Spark) Alive(ctx context.Context) error { return s.calls.Do(ctx, func() {}) }

// Waiting says what NEIGHBOR_DISCOVERED waits for, empty if for nothing or for the interfaces, and when it is reached at the
// latest; zero before there are interfaces.
func (s *Spark) Waiting(ctx context.Context) (what string, bound time.Time, err error) {
	err = s.calls.Do(ctx, func() { what, bound = s.core.waiting(time.Now()) })
	return what, bound, err
}

// waitingNamed is how many neighbours or interfaces are named that something waits for.
const waitingNamed = 5

func (c *core) waiting(now time.Time) (what string, bound time.Time) {
	if !c.started || c.discovered {
		return "", time.Time{}
	}
	var coming, silent []string
	for _, name := range c.interfaceNames() {
		i := c.ifs[name]
		if len(i.neighbors) == 0 {
			silent = append(silent, name)
		}
		for _, node := range i.neighborNames() {
			if n := i.neighbors[node]; !n.active() {
				coming = append(coming, fmt.Sprintf("%s on %s (%v)", node, name, n.state))
			}
		}
	}
	switch {
	case len(coming) > 0:
		what = "neighbors on the way: " + several(coming)
	case len(c.ifs) == 0:
		what = "an interface with a link-local address"
	case len(silent) == len(c.ifs):
		what = "a neighbor on " + several(silent)
	case now.Before(c.minAt):
		what = "neighbors that may still show up"
	}
	return what, c.maxAt
}

// several is a list for people, cut short.
func several(names []string) string {
	if more := len(names) - waitingNamed; more > 0 {
		names = append(slices.Clone(names[:waitingNamed]), fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
