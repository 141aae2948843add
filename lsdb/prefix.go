package lsdb

import (
	"maps"
	"net/netip"
	"slices"

	"openr/thrift/compact"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/types"
)

// PrefixType says where a prefix came from (Open/R Network.thrift, PrefixType). Among equally good entries of one node the
// lowest wins.
type PrefixType = network.PrefixType

// The prefix types that this agent originates.
const (
	PrefixLoopback = network.PrefixType_LOOPBACK // address of an interface
	PrefixDefault  = network.PrefixType_DEFAULT  // redistributed from another routing protocol
	PrefixBreeze   = network.PrefixType_BREEZE   // injected by an operator
	PrefixRIB      = network.PrefixType_RIB      // redistributed from another area
	PrefixConfig   = network.PrefixType_CONFIG   // originated_prefixes of the configuration
)

// PrefixMetrics rank the advertisements of one prefix; fields are compared in this order.
type PrefixMetrics struct {
	Drain            int32 // lower is better
	PathPreference   int32 // higher is better
	SourcePreference int32 // higher is better
	Distance         int32 // lower is better
}

// PrefixEntry is one node's advertisement of one prefix (Open/R Types.thrift, PrefixEntry).
type PrefixEntry struct {
	Prefix     netip.Prefix // masked
	Type       PrefixType
	Metrics    PrefixMetrics
	Tags       []string // sorted, without repeats
	AreaStack  []string // areas crossed so far, nearest to the origin first
	MinNexthop int64    // install the route only with at least so many next hops; 0: no condition
	Weight     int64    // carried on; 0: none

	// Carried on without effect: today's Open/R routes IP over SP_ECMP only.
	ForwardingType      openrconfig.PrefixForwardingType
	ForwardingAlgorithm openrconfig.PrefixForwardingAlgorithm
}

// Equal reports whether two entries say the same.
func (e PrefixEntry) Equal(o PrefixEntry) bool {
	return e.Prefix == o.Prefix && e.Type == o.Type && e.Metrics == o.Metrics && e.MinNexthop == o.MinNexthop &&
		e.Weight == o.Weight && e.ForwardingType == o.ForwardingType && e.ForwardingAlgorithm == o.ForwardingAlgorithm &&
		slices.Equal(e.Tags, o.Tags) && slices.Equal(e.AreaStack, o.AreaStack)
}

// PrefixDatabase is the content of key prefix:<node>:[<prefix>]: one entry, or with Delete the notice of its withdrawal.
type PrefixDatabase struct {
	Node       string
	Entry      PrefixEntry
	Delete     bool
	PerfEvents []PerfEvent
}

// Marshal returns the compact Thrift form that is stored in KvStore.
func (db PrefixDatabase) Marshal() []byte {
	t := types.NewPrefixDatabase()
	t.ThisNodeName, t.DeletePrefix = db.Node, db.Delete
	t.PrefixEntries = []*types.PrefixEntry{db.Entry.Thrift()}
	t.PerfEvents = perfEventsThrift(db.PerfEvents)
	return compact.Marshal(t)
}

// ParsePrefixDatabase decodes the content of a prefix: key. It is an error if it does not hold exactly one valid entry.
func ParsePrefixDatabase(b []byte) (PrefixDatabase, error) {
	d := decoders.Get().(*Decoder)
	defer decoders.Put(d)
	return d.PrefixDatabase(b)
}

// Thrift returns e as the generated struct.
func (e PrefixEntry) Thrift() *types.PrefixEntry {
	t := types.NewPrefixEntry()
	t.Prefix, t.Type = Prefix(e.Prefix), e.Type
	t.ForwardingType, t.ForwardingAlgorithm = e.ForwardingType, e.ForwardingAlgorithm
	t.Metrics = &types.PrefixMetrics{
		Version: 1, DrainMetric: e.Metrics.Drain, PathPreference: e.Metrics.PathPreference,
		SourcePreference: e.Metrics.SourcePreference, Distance: e.Metrics.Distance,
	}
	t.Tags = append([]string{}, e.Tags...)
	t.AreaStack = append([]string{}, e.AreaStack...)
	if e.MinNexthop != 0 {
		t.MinNexthop = &e.MinNexthop
	}
	if e.Weight != 0 {
		t.Weight = &e.Weight
	}
	return t
}

// PrefixEntryFromThrift is the inverse of PrefixEntry.Thrift. It returns an error if the prefix is not valid.
func PrefixEntryFromThrift(t *types.PrefixEntry) (PrefixEntry, error) {
	p, err := PrefixFromThrift(t.Prefix)
	if err != nil {
		return PrefixEntry{}, err
	}
	e := PrefixEntry{
		Prefix: p, Type: t.Type, AreaStack: t.AreaStack, MinNexthop: t.GetMinNexthop(), Weight: t.GetWeight(),
		ForwardingType: t.ForwardingType, ForwardingAlgorithm: t.ForwardingAlgorithm,
	}
	if m := t.Metrics; m != nil {
		e.Metrics = PrefixMetrics{Drain: m.DrainMetric, PathPreference: m.PathPreference, SourcePreference: m.SourcePreference, Distance: m.Distance}
	}
	set := map[string]bool{}
	for _, tag := range t.Tags {
		set[tag] = true
	}
	e.Tags = slices.Sorted(maps.Keys(set))
	return e, nil
}
