package kvstore

import (
	"math"
	"time"

	"openr/lsdb"
	wire "openr/thrift/gen/kvstore"
)

// ValueToThrift returns v as the generated struct. Data is shared.
func ValueToThrift(v lsdb.Value) *wire.Value {
	t := wire.NewValue()
	t.Version, t.OriginatorId, t.Value = v.Version, v.Originator, v.Data
	t.TTL, t.TtlVersion = v.TTL, v.TTLVersion
	if v.HasHash {
		t.Hash = &v.Hash
	}
	return t
}

// ValueFromThrift is the inverse of ValueToThrift; nil gives the zero Value, which no store accepts.
func ValueFromThrift(t *wire.Value) lsdb.Value {
	if t == nil {
		return lsdb.Value{}
	}
	v := lsdb.Value{Version: t.Version, Originator: t.OriginatorId, Data: t.Value, TTL: t.TTL, TTLVersion: t.TtlVersion}
	if t.Hash != nil {
		v.Hash, v.HasHash = *t.Hash, true
	}
	return v
}

// slab makes generated values in one piece. What it makes lives as long as any of it.
type slab struct {
	values []wire.Value
	hashes []int64
}

func newSlab(n int) slab { return slab{make([]wire.Value, 0, n), make([]int64, 0, n)} }

// value returns v as the generated struct; the slab must have room.
func (s *slab) value(v *lsdb.Value) *wire.Value {
	s.values = append(s.values, wire.Value{Version: v.Version, OriginatorId: v.Originator, Value: v.Data, TTL: v.TTL, TtlVersion: v.TTLVersion})
	t := &s.values[len(s.values)-1]
	if v.HasHash {
		s.hashes = append(s.hashes, v.Hash)
		t.Hash = &s.hashes[len(s.hashes)-1]
	}
	return t
}

// KeyValsToThrift converts a map of values. The result is never nil.
func KeyValsToThrift(vals map[string]lsdb.Value) wire.KeyVals {
	t, s := make(wire.KeyVals, len(vals)), newSlab(len(vals))
	for key, v := range vals {
		t[key] = s.value(&v)
	}
	return t
}

// KeyValsFromThrift converts a map of values; entries that are nil are left out. The result is nil only if t is.
func KeyValsFromThrift(t wire.KeyVals) map[string]lsdb.Value {
	if t == nil {
		return nil
	}
	vals := make(map[string]lsdb.Value, len(t))
	for key, v := range t {
		if v != nil {
			vals[key] = ValueFromThrift(v)
		}
	}
	return vals
}

// KeySetToThrift converts a set of values. An empty list of nodes is left out: C++ Open/R takes the last element of a list
// that is there without looking.
func KeySetToThrift(s KeySet) *wire.KeySetParams {
	t := wire.NewKeySetParams()
	t.KeyVals = KeyValsToThrift(s.KeyVals)
	if len(s.NodeIDs) > 0 {
		t.NodeIds = s.NodeIDs
	}
	if s.SenderID != "" {
		t.SenderId = &s.SenderID
	}
	if !s.Timestamp.IsZero() {
		ms := s.Timestamp.UnixMilli()
		t.TimestampMs = &ms
	}
	return t
}

// KeySetFromThrift is the inverse of KeySetToThrift; nil gives an empty set.
func KeySetFromThrift(t *wire.KeySetParams) KeySet {
	if t == nil {
		return KeySet{}
	}
	s := KeySet{KeyVals: KeyValsFromThrift(t.KeyVals), NodeIDs: t.NodeIds}
	if t.SenderId != nil {
		s.SenderID = *t.SenderId
	}
	if t.TimestampMs != nil {
		s.Timestamp = time.UnixMilli(*t.TimestampMs)
	}
	return s
}

// DumpParamsToThrift converts the parameters of a dump.
func DumpParamsToThrift(p DumpParams) *wire.KeyDumpParams {
	t := wire.NewKeyDumpParams()
	if p.Hashes != nil {
		t.KeyValHashes = KeyValsToThrift(p.Hashes)
	}
	t.OriginatorIds = append([]string{}, p.Originators...)
	t.Keys = append([]string{}, p.Keys...)
	if p.And {
		t.Oper = new(wire.FilterOperator_AND)
	}
	t.IgnoreTtl, t.DoNotPublishValue = p.IgnoreTTL, p.DoNotPublishValue
	if p.SenderID != "" {
		t.SenderId = &p.SenderID
	}
	return t
}

// DumpParamsFromThrift is the inverse of DumpParamsToThrift; nil gives parameters that select everything. The hashes are
// not in Hashes; an answer to a dump with these parameters is for PublicationToThrift alone.
func DumpParamsFromThrift(t *wire.KeyDumpParams) DumpParams {
	if t == nil {
		return DumpParams{thrift: true}
	}
	p := DumpParams{
		Keys: t.Keys, Originators: t.OriginatorIds, And: t.Oper != nil && *t.Oper == wire.FilterOperator_AND,
		thrift: true, IgnoreTTL: t.IgnoreTtl, DoNotPublishValue: t.DoNotPublishValue,
	}
	if t.KeyValHashes != nil {
		p.digest = make([]change, 0, len(t.KeyValHashes))
		for key, v := range t.KeyValHashes {
			p.digest = append(p.digest, change{key, ValueFromThrift(v)})
		}
	}
	if t.SenderId != nil {
		p.SenderID = *t.SenderId
	}
	return p
}

// PublicationToThrift returns an answer as the generated struct.
func PublicationToThrift(a SyncAnswer) *wire.Publication {
	t := wire.NewPublication()
	t.KeyVals = KeyValsToThrift(a.KeyVals)
	made := newSlab(len(a.items))
	for _, it := range a.items {
		v := a.shown(it)
		t.KeyVals[it.key] = made.value(&v)
	}
	t.ExpiredKeys = []string{}
	t.TobeUpdatedKeys = a.ToBeUpdated
	t.Area = a.Area
	return t
}

// UpdateToThrift returns an update of a subscription as the generated struct.
func UpdateToThrift(u Update) *wire.Publication {
	t := wire.NewPublication()
	t.KeyVals = KeyValsToThrift(u.KeyVals)
	t.ExpiredKeys = append([]string{}, u.Expired...)
	t.NodeIds = u.NodeIDs
	t.Area = u.Area
	if !u.Timestamp.IsZero() {
		t.TimestampMs = new(u.Timestamp.UnixMilli())
	}
	return t
}

// PublicationFromThrift is the inverse of PublicationToThrift; nil gives an empty answer.
func PublicationFromThrift(t *wire.Publication) SyncAnswer {
	if t == nil {
		return SyncAnswer{}
	}
	return SyncAnswer{Area: t.Area, KeyVals: KeyValsFromThrift(t.KeyVals), ToBeUpdated: t.TobeUpdatedKeys}
}

// NoMergeReasonsToThrift converts the answer of Set.
func NoMergeReasonsToThrift(reasons map[string]NoMergeReason) *wire.SetKeyValsResult_ {
	t := wire.NewSetKeyValsResult_()
	t.NoMergeReasons = make(wire.NoMergeMap, len(reasons))
	for key, r := range reasons {
		t.NoMergeReasons[key] = wire.KvStoreNoMergeReason(r)
	}
	return t
}

// PeerStatusToThrift returns what is known about a peer as the generated struct.
func PeerStatusToThrift(s PeerStatus) *wire.PeerSpec {
	t := wire.NewPeerSpec()
	t.PeerAddr, t.CtrlPort, t.State = s.Addr, int32(s.Port), wire.KvStorePeerState(s.State)
	t.StateEpochTimeMs = new(s.Since.UnixMilli())
	t.StateElapsedTimeMs = new(s.For.Milliseconds())
	t.Flaps = new(int32(s.Flaps))
	return t
}

// PeersToThrift converts a map of peers.
func PeersToThrift(peers map[string]PeerStatus) wire.PeersMap {
	t := make(wire.PeersMap, len(peers))
	for name, s := range peers {
		t[name] = PeerStatusToThrift(s)
	}
	return t
}

// AreaSummaryToThrift converts the summary of an area.
func AreaSummaryToThrift(s AreaSummary) *wire.KvStoreAreaSummary {
	t := wire.NewKvStoreAreaSummary()
	t.Area, t.PeersMap = s.Area, PeersToThrift(s.Peers)
	t.KeyValsCount = int32(min(s.Keys, math.MaxInt32))
	t.KeyValsBytes = int32(min(s.Bytes, math.MaxInt32))
	return t
}
