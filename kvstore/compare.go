package kvstore

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"openr/lsdb"
	wire "openr/thrift/gen/kvstore"
)

// comparison is the outcome of comparing two stores' values of one key.
type comparison int

const (
	tied    comparison = iota
	first              // the first is better
	second             // the second is better
	unknown            // cannot be told without the data of both
)

// compareValues tells which of two values of a key is the better one, even if one of them comes without its data (Open/R
// kvstore/KvStoreUtil.cpp, compareValues).
func compareValues(a, b lsdb.Value) comparison {
	if c := cmp.Or(cmp.Compare(a.Version, b.Version), strings.Compare(a.Originator, b.Originator)); c != 0 {
		return betterOf(c)
	}
	if a.HasHash && b.HasHash && a.Hash == b.Hash {
		return betterOf(cmp.Compare(a.TTLVersion, b.TTLVersion))
	}
	if a.HasData() && b.HasData() {
		return betterOf(cmp.Or(bytes.Compare(a.Data, b.Data), cmp.Compare(a.TTLVersion, b.TTLVersion)))
	}
	return unknown
}

func betterOf(c int) comparison {
	switch {
	case c > 0:
		return first
	case c < 0:
		return second
	}
	return tied
}

// compareWithThrift is compareValues with a generated value, which may be nil.
func compareWithThrift(mine lsdb.Value, theirs *wire.Value) comparison {
	return compareValues(mine, ValueFromThrift(theirs))
}

// difference compares my values with the asker's digest. It returns what to send to the asker, and the keys to ask from
// it; a key of which nobody can tell who has the better value is in both (Open/R kvstore/KvStoreUtil.cpp,
// dumpDifference). toBeUpdated is never nil.
func difference[V any](mine []*item, digest map[string]V, compare func(mine lsdb.Value, theirs V) comparison) (send []*item, toBeUpdated []string) {
	toBeUpdated = []string{}
	common := 0
	for _, it := range mine {
		theirs, ok := digest[it.key]
		if !ok {
			send = append(send, it)
			continue
		}
		common++
		c := compare(it.value, theirs)
		if c == first || c == unknown {
			send = append(send, it)
		}
		if c == second || c == unknown {
			toBeUpdated = append(toBeUpdated, it.key)
		}
	}
	if common == len(digest) {
		return send, toBeUpdated // the asker has no key that I do not have
	}
	if common == 0 {
		return send, slices.AppendSeq(slices.Grow(toBeUpdated, len(digest)), maps.Keys(digest))
	}
	known := make(map[string]bool, common)
	for _, it := range mine {
		if _, ok := digest[it.key]; ok {
			known[it.key] = true
		}
	}
	for key := range digest {
		if !known[key] {
			toBeUpdated = append(toBeUpdated, key)
		}
	}
	return send, toBeUpdated
}
