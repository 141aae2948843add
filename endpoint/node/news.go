package node

import (
	"slices"

	"openr/endpoint"
	"openr/monitor"
	"openr/queue"
)

// maxNews is how many events of the directory wait before older ones of the same endpoint go.
const maxNews = 1 << 16

// newNews returns the queue through which the directory tells a leaf's core what it knows. Of many, the latest of each kind
// about each endpoint stays: a record is complete in itself.
func newNews(counters *monitor.Counters) *queue.Queue[[]endpoint.Event] {
	limit := maxNews
	return queue.New(func(waiting, next []endpoint.Event) []endpoint.Event {
		all := append(waiting, next...)
		if len(all) < limit {
			return all
		}
		kept := latest(all)
		counters.Sum(counterMerged, int64(len(all)-len(kept)))
		limit = max(maxNews, 2*len(kept))
		return kept
	})
}

func latest(all []endpoint.Event) []endpoint.Event {
	type what struct {
		kind endpoint.EventKind
		key  endpoint.Key
		ip   [16]byte
	}
	seen := map[what]bool{}
	kept := make([]endpoint.Event, 0, len(all))
	for _, e := range slices.Backward(all) {
		w := what{kind: e.Kind, key: e.Key}
		if e.IP.IsValid() {
			w.ip = e.IP.As16()
		}
		if !seen[w] {
			seen[w] = true
			kept = append(kept, e)
		}
	}
	slices.Reverse(kept)
	return kept
}
