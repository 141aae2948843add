package kvstore

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"openr/lsdb"
)

// snapshot is a table as it was at one moment. Taking it is all that a dump or a digest costs the goroutine that owns the
// table; it does not change, so everything else happens on the asker's.
type snapshot struct {
	items     []item
	decrement time.Duration
}

type item struct {
	key     string
	value   lsdb.Value
	expires time.Time // zero: never
}

func (t *table) snapshot() snapshot {
	s := snapshot{items: make([]item, 0, len(t.entries)), decrement: t.decrement}
	for key, e := range t.entries {
		s.items = append(s.items, item{key, e.value, e.expires()})
	}
	return s
}

// digest returns all keys without their data, for a full synchronization.
func (s snapshot) digest() map[string]lsdb.Value {
	d := make(map[string]lsdb.Value, len(s.items))
	for i := range s.items {
		d[s.items[i].key] = s.items[i].value.WithoutData()
	}
	return d
}

// dump answers at now a dump or the first leg of a full synchronization.
func (s snapshot) dump(now time.Time, f filter, p DumpParams) (map[string]lsdb.Value, []string) {
	send := s.items
	if !f.all() {
		send = nil
		for i := range s.items {
			if f.match(s.items[i].key, s.items[i].value.Originator) {
				send = append(send, s.items[i])
			}
		}
	}
	var toBeUpdated []string
	if p.Hashes != nil {
		send, toBeUpdated = difference(send, p.Hashes)
	}
	vals := make(map[string]lsdb.Value, len(send))
	for i := range send {
		v, ok := outgoing(now, send[i].value, send[i].expires, aboutToExpire, s.decrement)
		if !ok {
			continue
		}
		if p.DoNotPublishValue {
			v = v.WithoutData()
		}
		vals[send[i].key] = v
	}
	return vals, toBeUpdated
}

// filter decides which keys a dump returns (Open/R kvstore/KvStoreUtil.cpp, KvStoreFilters).
type filter struct {
	keys        *regexp.Regexp // nil: no filter by key
	originators []string
	and         bool
}

// newFilter compiles the filter of p. As in Open/R, a dump with an invalid expression is not filtered by key; the error
// says which one it was.
func newFilter(p DumpParams) (filter, error) {
	f := filter{originators: p.Originators, and: p.And}
	if len(p.Keys) == 0 {
		return f, nil
	}
	for _, k := range p.Keys {
		if _, err := regexp.Compile(k); err != nil {
			return f, err
		}
	}
	re, err := regexp.Compile("^(?:(?:" + strings.Join(p.Keys, ")|(?:") + "))")
	f.keys = re
	return f, err
}

// all reports whether f lets everything through.
func (f filter) all() bool { return f.keys == nil && len(f.originators) == 0 }

func (f filter) match(key, originator string) bool {
	if f.all() {
		return true
	}
	byKey := f.keys != nil && f.keys.MatchString(key)
	byOriginator := slices.Contains(f.originators, originator)
	if f.and {
		return (f.keys == nil || byKey) && (len(f.originators) == 0 || byOriginator)
	}
	return byKey || byOriginator
}
