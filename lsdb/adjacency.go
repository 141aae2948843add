package lsdb

import (
	"net/netip"

	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

// Adjacency is one direction of a link, as the node at its near end advertises it (Open/R Types.thrift, Adjacency).
type Adjacency struct {
	Node            string     // neighbour at the far end
	IfName          string     // interface at the near end
	OtherIfName     string     // interface at the far end
	NextHopV6       netip.Addr // the neighbour's link-local address
	NextHopV4       netip.Addr // the neighbour's address on the link; invalid if it has none
	Metric          int32
	Overloaded      bool  // link hard-drained: carries no transit traffic in either direction
	RTT             int32 // microseconds; 0 when the metric does not come from it
	Timestamp       int64 // seconds since the epoch at which the adjacency came up
	Weight          int64
	OnlyUsedByOther bool  // the neighbour is still initializing: only it may route over this link
	MetricIncrement int32 // soft drain of the link; informational, Metric already includes it
}

// AdjacencyDatabase is the content of key adj:<node>: all adjacencies of one node in one area.
type AdjacencyDatabase struct {
	Node            string
	Area            string
	Overloaded      bool // node hard-drained: reachable, but carries no transit traffic
	MetricIncrement int32
	Adjacencies     []Adjacency
	PerfEvents      []PerfEvent
}

// PerfEvent is a time stamp that travels with an update, to measure how long each stage of convergence took.
type PerfEvent struct {
	Node        string
	Description string
	UnixMillis  int64
}

// Marshal returns the compact Thrift form that is stored in KvStore.
func (db AdjacencyDatabase) Marshal() []byte {
	return compact.Marshal(db.Thrift())
}

// ParseAdjacencyDatabase decodes the content of an adj: key. Area is what the sender wrote; the area of the
// publication counts (Open/R decision/Decision.cpp).
func ParseAdjacencyDatabase(b []byte) (AdjacencyDatabase, error) {
	d := decoders.Get().(*Decoder)
	defer decoders.Put(d)
	return d.AdjacencyDatabase(b)
}

// Thrift returns db as the generated struct, for RPC answers.
func (db AdjacencyDatabase) Thrift() *types.AdjacencyDatabase {
	t := types.NewAdjacencyDatabase()
	t.ThisNodeName, t.Area = db.Node, db.Area
	t.IsOverloaded, t.NodeMetricIncrementVal = db.Overloaded, db.MetricIncrement
	t.PerfEvents = perfEventsThrift(db.PerfEvents)
	t.Adjacencies = make([]*types.Adjacency, len(db.Adjacencies))
	for i, a := range db.Adjacencies {
		x := types.NewAdjacency()
		x.OtherNodeName, x.IfName, x.OtherIfName = a.Node, a.IfName, a.OtherIfName
		x.NextHopV6, x.NextHopV4 = Address(a.NextHopV6), Address(a.NextHopV4)
		if !a.NextHopV4.IsValid() {
			x.NextHopV4 = Address(netip.IPv4Unspecified())
		}
		x.Metric, x.IsOverloaded, x.Rtt = a.Metric, a.Overloaded, a.RTT
		x.Timestamp, x.Weight = a.Timestamp, a.Weight
		x.AdjOnlyUsedByOtherNode, x.LinkMetricIncrementVal = a.OnlyUsedByOther, a.MetricIncrement
		t.Adjacencies[i] = x
	}
	return t
}

func perfEventsThrift(events []PerfEvent) *types.PerfEvents {
	if events == nil {
		return nil
	}
	t := &types.PerfEvents{Events: make([]*types.PerfEvent, len(events))}
	for i, e := range events {
		t.Events[i] = &types.PerfEvent{NodeName: e.Node, EventDescr: e.Description, UnixTs: e.UnixMillis}
	}
	return t
}

func perfEventsFromThrift(t *types.PerfEvents) []PerfEvent {
	if t == nil {
		return nil
	}
	events := make([]PerfEvent, len(t.Events))
	for i, e := range t.Events {
		events[i] = PerfEvent{Node: e.NodeName, Description: e.EventDescr, UnixMillis: e.UnixTs}
	}
	return events
}
