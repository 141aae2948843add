package kvstore

import (
	"bytes"
	"cmp"
	"strings"

	"openr/lsdb"
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

// difference compares the keys of a table that the filter lets through with the asker's digest. It returns the keys to send
// to the asker, and those to ask from it; a key of which nobody can tell who has the better value is in both (Open/R
// kvstore/KvStoreUtil.cpp, dumpDifference). toBeUpdated is never nil.
func difference(mine map[string]*entry, f filter, digest map[string]lsdb.Value) (send map[string]*entry, toBeUpdated []string) {
	send, toBeUpdated = map[string]*entry{}, []string{}
	for key, e := range mine {
		if !f.match(key, e.value.Originator) {
			continue
		}
		theirs, ok := digest[key]
		if !ok {
			send[key] = e
			continue
		}
		c := compareValues(e.value, theirs)
		if c == first || c == unknown {
			send[key] = e
		}
		if c == second || c == unknown {
			toBeUpdated = append(toBeUpdated, key)
		}
	}
	for key := range digest {
		if e := mine[key]; e == nil || !f.match(key, e.value.Originator) {
			toBeUpdated = append(toBeUpdated, key)
		}
	}
	return send, toBeUpdated
}
