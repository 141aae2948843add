package linux

import (
	"net/netip"
	"slices"

	"openr/endpoint"
	"openr/monitor"
	"openr/queue"
)

const (
	maxEvents    = 1 << 16 // that wait before they are thinned out
	keepEvents   = 8       // of an endpoint, which stay then: enough for it to be seen to move too often
	keepSighting = 1 << 14 // of addresses; hosts say them again
)

// NewEvents returns the queue through which a Kernel tells what happens. Events stay in their order. Where tens of
// thousands wait, the older ones of each endpoint go: what it did last is told, and enough of what it did before to see
// that it moves too often.
func NewEvents(counters *monitor.Counters) *queue.Queue[[]endpoint.Event] {
	return queue.New(func(waiting, next []endpoint.Event) []endpoint.Event {
		all := append(waiting, next...)
		if len(all) <= maxEvents {
			return all
		}
		kept := thin(all)
		counters.Sum(counterMerged, int64(len(all)-len(kept)))
		return kept
	})
}

// thin drops older events, of which newer ones of the same endpoint or port follow.
func thin(all []endpoint.Event) []endpoint.Event {
	type what struct {
		key  endpoint.Key
		port string
		ip   netip.Addr
	}
	count := map[what]int{}
	sightings := 0
	keep := make([]bool, len(all))
	kept := 0
	for i, e := range slices.Backward(all) {
		w := what{key: e.Key, ip: e.IP}
		if e.Kind == endpoint.PortDown || e.Kind == endpoint.PortUp {
			w.port = e.Port
		}
		if e.IP.IsValid() {
			if sightings == keepSighting {
				continue
			}
			sightings++
		}
		if count[w] == keepEvents {
			continue
		}
		count[w]++
		keep[i] = true
		kept++
	}
	out := make([]endpoint.Event, 0, kept)
	for i, e := range all {
		if keep[i] {
			out = append(out, e)
		}
	}
	return out
}
