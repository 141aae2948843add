package msg

import (
	"net/netip"
	"slices"
	"time"
)

// Interface is one network interface as the kernel shows it, after flap damping.
type Interface struct {
	Name  string
	Index int            // kernel ifindex; changes when an interface is re-created
	Up    bool           // running, and not held down by flap damping
	Addrs []netip.Prefix // every usable address with its prefix length (not masked), link-local ones included, sorted
}

// Interfaces is the complete set of interfaces on which neighbours are to be discovered, by name. The latest replaces
// what waits.
type Interfaces map[string]Interface

// NeighborEventType says what happened to a neighbour (Open/R Types.h, NeighborEventType).
type NeighborEventType int

// The events of a neighbour's life.
const (
	NeighborUp         NeighborEventType = iota + 1 // adjacency established
	NeighborDown                                    // adjacency lost
	NeighborRestarting                              // graceful restart announced: keep the adjacency, drop the KvStore session
	NeighborRestarted                               // back from a graceful restart, possibly with other attributes
	NeighborRTTChange                               // the smoothed round-trip time took a step
	NeighborAdjSynced                               // the neighbour has finished initializing: others may use the link now
)

var neighborEventNames = [...]string{"?", "NEIGHBOR_UP", "NEIGHBOR_DOWN", "NEIGHBOR_RESTARTING", "NEIGHBOR_RESTARTED", "NEIGHBOR_RTT_CHANGE", "NEIGHBOR_ADJ_SYNCED"}

func (t NeighborEventType) String() string {
	if t < 1 || int(t) >= len(neighborEventNames) {
		return neighborEventNames[0]
	}
	return neighborEventNames[t]
}

// NeighborEvent tells linkmonitor of a change of one neighbour on one interface.
type NeighborEvent struct {
	Type            NeighborEventType
	Node            string
	Area            string
	IfName          string        // mine
	OtherIfName     string        // the neighbour's
	V6              netip.Addr    // the neighbour's link-local address, without zone
	V4              netip.Addr    // the neighbour's IPv4 address; invalid if none
	CtrlPort        int           // TCP port of the neighbour's KvStore
	RTT             time.Duration // 0: not measured yet
	OnlyUsedByOther bool          // the neighbour is still initializing
}

// NeighborUpdate is a batch of events in the order in which they happened. Discovered is sticky: true once spark has seen
// all neighbours it expects at start (NEIGHBOR_DISCOVERED).
type NeighborUpdate struct {
	Events     []NeighborEvent
	Discovered bool
}

// MergeNeighbors appends, and forgets what a later event of the same neighbour has made irrelevant, so that a batch
// never holds more than a few events for each neighbour: nothing before a DOWN matters, and of several RTT changes only
// the last does.
func MergeNeighbors(waiting, next NeighborUpdate) NeighborUpdate {
	for _, e := range next.Events {
		waiting.Events = slices.DeleteFunc(waiting.Events, func(w NeighborEvent) bool {
			same := w.Node == e.Node && w.IfName == e.IfName && w.Area == e.Area
			return same && (e.Type == NeighborDown || e.Type == NeighborRTTChange && w.Type == e.Type)
		})
		waiting.Events = append(waiting.Events, e)
	}
	waiting.Discovered = waiting.Discovered || next.Discovered
	return waiting
}

// Peer is where a neighbour's KvStore listens.
type Peer struct {
	Node string
	Addr string // host for dialling: link-local address with zone, fe80::1%eth0
	Port int
}

// PeerUpdate changes the set of KvStore peers. Adding a known peer restarts its session. Initial marks the first update,
// which holds all peers found during start-up (possibly none); nothing is synchronised before it.
type PeerUpdate struct {
	Initial bool
	Add     map[AreaNode]Peer
	Del     map[AreaNode]bool
}

// AreaNode names a node within an area.
type AreaNode struct{ Area, Node string }

// MergePeers applies next on top of waiting.
func MergePeers(waiting, next PeerUpdate) PeerUpdate {
	waiting.Add, waiting.Del = merge(false, waiting.Add, next.Add, waiting.Del, next.Del)
	waiting.Initial = waiting.Initial || next.Initial
	return waiting
}
