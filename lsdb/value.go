package lsdb

import (
	"bytes"
	"math"
)

// TTLInfinite is the TTL of a value that never expires (Open/R Constants::kTtlInfinity, INT32_MIN).
const TTLInfinite int64 = math.MinInt32

// Value is one version of a key's content in KvStore, with its time to live. Values are immutable once they have been
// handed to a queue or a store: Data is shared, never changed.
type Value struct {
	Version    int64  // at least 1; the highest version wins
	Originator string // node that wrote it; breaks ties between equal versions
	Data       []byte // nil: a TTL update, which carries no content
	TTL        int64  // milliseconds left, or TTLInfinite
	TTLVersion int64  // raised by each TTL refresh of the same Version
	Hash       int64  // Hash(Version, Originator, Data) as the writer's Boost computes it; meaningful if HasHash
	HasHash    bool
}

// HasData reports whether v carries content, even empty content; a value without is a TTL update.
func (v Value) HasData() bool { return v.Data != nil }

// SameContent reports whether two values agree in version, originator and bytes, whatever their TTLs.
func (v Value) SameContent(w Value) bool {
	return v.Version == w.Version && v.Originator == w.Originator && v.HasData() == w.HasData() && bytes.Equal(v.Data, w.Data)
}

// WithoutData returns v as a TTL update or a digest for comparing stores.
func (v Value) WithoutData() Value {
	v.Data = nil
	return v
}
