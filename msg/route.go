package msg

import (
	"cmp"
	"net/netip"
	"slices"

	"openr/lsdb"
)

// NextHop is one way towards a destination. It is comparable.
type NextHop struct {
	Addr     netip.Addr // gateway, without zone; invalid for a directly attached destination
	IfName   string
	Weight   int32  // share of the traffic relative to the other next hops; 0 and 1 mean the same
	Metric   int32  // distance to the destination over this next hop
	Area     string // informational, not programmed
	Neighbor string // informational, not programmed
}

// Compare orders next hops by what is programmed, then by the rest.
func (n NextHop) Compare(o NextHop) int {
	return cmp.Or(cmp.Compare(n.IfName, o.IfName), n.Addr.Compare(o.Addr), cmp.Compare(n.Weight, o.Weight),
		cmp.Compare(n.Metric, o.Metric), cmp.Compare(n.Area, o.Area), cmp.Compare(n.Neighbor, o.Neighbor))
}

// Route is where packets to a prefix go. No next hops: they are dropped (a blackhole route).
type Route struct {
	Prefix   netip.Prefix
	NextHops []NextHop // sorted by NextHop.Compare, without repeats
	Backup   []NextHop // loop-free alternates (RFC 5286) for when all NextHops are gone, sorted as they are; nil: none are known

	// What follows is not programmed; prefixmanager and the RPCs use it.
	Best            lsdb.PrefixEntry // the advertisement that was chosen
	BestNode        string
	BestArea        string
	IGPCost         int32
	LocalConsidered bool // this node advertises the prefix as well
	DoNotInstall    bool
	CounterID       string // names the counter of this route in hardware that has such (Open/R RouteCounterID); empty: none
}

// SameForwarding reports whether r and o put packets on the same next hops with the same weights, and have the same
// alternates: nothing to program.
func (r Route) SameForwarding(o Route) bool {
	same := func(a, b NextHop) bool {
		return a.Addr == b.Addr && a.IfName == b.IfName && max(a.Weight, 1) == max(b.Weight, 1)
	}
	return r.Prefix == o.Prefix && r.DoNotInstall == o.DoNotInstall &&
		slices.EqualFunc(r.NextHops, o.NextHops, same) && slices.EqualFunc(r.Backup, o.Backup, same)
}

// Equal reports whether r and o agree in everything.
func (r Route) Equal(o Route) bool {
	return r.Prefix == o.Prefix && r.DoNotInstall == o.DoNotInstall && r.BestNode == o.BestNode && r.BestArea == o.BestArea &&
		r.IGPCost == o.IGPCost && r.LocalConsidered == o.LocalConsidered && r.CounterID == o.CounterID && slices.Equal(r.NextHops, o.NextHops) &&
		slices.Equal(r.Backup, o.Backup) && r.Best.Equal(o.Best)
}

// DeleteReason says why a route goes.
type DeleteReason int

// Why a route goes.
const (
	Withdrawn   DeleteReason = iota + 1 // nobody advertises the prefix any more: it may come back elsewhere in a moment
	Unreachable                         // no path to anyone who advertises it: keeping the route could only loop or drop packets
)

// RouteUpdate changes the routing table: a delta, or with Full the complete table, which supersedes everything before.
type RouteUpdate struct {
	Full       bool
	Update     map[netip.Prefix]Route
	Delete     map[netip.Prefix]DeleteReason // always empty when Full
	PerfEvents []lsdb.PerfEvent              // oldest chain of time stamps that led to this update; may be nil
}

// MergeRoutes applies next on top of waiting: a delta on a delta is a delta, a delta on a full table is a full table.
func MergeRoutes(waiting, next RouteUpdate) RouteUpdate {
	if next.Full {
		return next
	}
	waiting.Update, waiting.Delete = merge(waiting.Full, waiting.Update, next.Update, waiting.Delete, next.Delete)
	if waiting.PerfEvents == nil {
		waiting.PerfEvents = next.PerfEvents
	}
	return waiting
}

// merge applies a delta on top of a delta or (full) a complete table. A complete table needs no deletes: what it does not
// hold is gone.
func merge[K comparable, V, D any](full bool, update, nextUpdate map[K]V, del, nextDel map[K]D) (map[K]V, map[K]D) {
	if update == nil {
		update = map[K]V{}
	}
	if del == nil {
		del = map[K]D{}
	}
	for k, why := range nextDel {
		delete(update, k)
		if !full {
			del[k] = why
		}
	}
	for k, v := range nextUpdate {
		delete(del, k)
		update[k] = v
	}
	return update, del
}

// Programmed tells which routes really stand in the forwarding table: a delta, or with Full all of them (FIB-ACK).
type Programmed struct {
	Full   bool
	Update map[netip.Prefix]Route
	Delete map[netip.Prefix]bool
}

// MergeProgrammed applies next on top of waiting.
func MergeProgrammed(waiting, next Programmed) Programmed {
	if next.Full {
		return next
	}
	waiting.Update, waiting.Delete = merge(waiting.Full, waiting.Update, next.Update, waiting.Delete, next.Delete)
	return waiting
}
