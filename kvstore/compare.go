package kvstore

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"math"
	"math/bits"
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

// difference compares my values with the asker's digest. It returns what to send to the asker, in place of mine, and the
// keys to ask from it; a key of which nobody can tell who has the better value is in both (Open/R kvstore/KvStoreUtil.cpp,
// dumpDifference). toBeUpdated is never nil.
func difference(mine []*item, digest []change) (send []*item, toBeUpdated []string) {
	toBeUpdated = []string{}
	theirs := newIndex(digest)
	common := make([]bool, len(digest))
	send = mine[:0]
	for _, it := range mine {
		at := theirs.find(it.key)
		if at < 0 {
			send = append(send, it)
			continue
		}
		common[at] = true
		c := compareValues(it.value, digest[at].value)
		if c == first || c == unknown {
			send = append(send, it)
		}
		if c == second || c == unknown {
			toBeUpdated = append(toBeUpdated, it.key)
		}
	}
	for at := range digest {
		if !common[at] && theirs.find(digest[at].key) == at {
			toBeUpdated = append(toBeUpdated, digest[at].key)
		}
	}
	return send, toBeUpdated
}

// index finds values of a list by key; of several with the same key the last. Making one costs a fraction of making a map,
// and it holds no pointers.
type index struct {
	list  []change
	seed  maphash.Seed
	slots []uint64 // open addressing: upper half of the key's hash, and place in the list, from 1; 0 is free
}

func newIndex(list []change) index {
	x := index{list: list, seed: maphash.MakeSeed(), slots: make([]uint64, 1<<bits.Len(uint(2*len(list))))}
	for at := range list {
		slot, _ := x.lookup(list[at].key)
		x.slots[slot] = x.hash(list[at].key)&^math.MaxUint32 | uint64(at+1)
	}
	return x
}

func (x *index) hash(key string) uint64 { return maphash.String(x.seed, key) }

// lookup returns the slot of a key, or the one to put it into, and its place in the list, -1 if it is not there.
func (x *index) lookup(key string) (slot, at int) {
	h, mask := x.hash(key), len(x.slots)-1
	for slot = int(h) & mask; x.slots[slot] != 0; slot = (slot + 1) & mask {
		s := x.slots[slot]
		if at := int(s&math.MaxUint32) - 1; s>>32 == h>>32 && x.list[at].key == key {
			return slot, at
		}
	}
	return slot, -1
}

// find returns the place of a key in the list, -1 if it is not there.
func (x *index) find(key string) int {
	_, at := x.lookup(key)
	return at
}
