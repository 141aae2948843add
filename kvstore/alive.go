package kvstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Alive returns nil when the module's loop has come round, or ctx's error.
func (k *KvStore) Alive(ctx context.Context) error { return k.calls.Do(ctx, func() {}) }

// Waiting is what the stages wait for that the store reaches; empty texts: for nothing, or for other modules only.
type Waiting struct {
	Synced      string    // KVSTORE_SYNCED: peers that have neither been synchronized nor failed
	Adjacencies string    // ADJACENCY_DB_SYNCED: areas without this node's adjacencies
	Bound       time.Time // when the latter is reached at the latest
}

// Waiting says what the stages of the store wait for. Its error is ctx's, or queue.ErrStopped.
func (k *KvStore) Waiting(ctx context.Context) (w Waiting, err error) {
	err = k.calls.Do(ctx, func() { w = k.core.waiting() })
	return w, err
}

// waitingNamed is how many peers are named that something waits for.
const waitingNamed = 5

func (c *core) waiting() (w Waiting) {
	if c.gotPeers && !c.synced {
		var peers []string
		for _, id := range c.order {
			for _, name := range slices.Sorted(maps.Keys(c.areas[id].awaited)) {
				state := PeerIdle
				if p := c.areas[id].peers[name]; p != nil {
					state = p.state
				}
				peers = append(peers, fmt.Sprintf("%s in area %s (%v)", name, id, state))
			}
		}
		if more := len(peers) - waitingNamed; more > 0 {
			peers = append(peers[:waitingNamed], fmt.Sprintf("%d more", more))
		}
		w.Synced = "the stores of " + strings.Join(peers, ", ")
	}
	if c.adjSynced {
		return w
	}
	w.Bound = c.adjDeadline
	var areas []string
	for _, id := range c.order {
		if !c.areas[id].adjAdvertised {
			areas = append(areas, id)
		}
	}
	if c.synced && len(areas) > 0 {
		w.Adjacencies = "this node's adjacencies in area " + strings.Join(areas, ", ")
	}
	return w
}
