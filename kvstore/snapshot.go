package kvstore

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"openr/lsdb"
)

// digest returns all keys without their data, for a full synchronization.
func (s snapshot) digest() map[string]lsdb.Value {
	d := make(map[string]lsdb.Value, s.n)
	for it := range s.all() {
		d[it.key] = it.value.WithoutData()
	}
	return d
}

// digestSize returns the size of the digest on the wire, in bytes, about.
func (s snapshot) digestSize() int { return 128 * s.n }

// dump answers at now a dump or the first leg of a full synchronization.
func (s snapshot) dump(now time.Time, f filter, p DumpParams) (map[string]lsdb.Value, []string) {
	var a SyncAnswer
	p.thrift = false
	s.answer(now, f, p, &a)
	return a.KeyVals, a.ToBeUpdated
}

// answer is dump into an answer, in the form that p asks for.
func (s snapshot) answer(now time.Time, f filter, p DumpParams, a *SyncAnswer) {
	send := make([]*item, 0, s.n)
	for it := range s.all() {
		if f.match(it.key, it.value.Originator) {
			send = append(send, it)
		}
	}
	switch {
	case p.digest != nil:
		send, a.ToBeUpdated = difference(send, p.digest)
	case p.Hashes != nil:
		send, a.ToBeUpdated = difference(send, changesOf(p.Hashes))
	}
	a.at, a.decrement, a.noData = now, s.decrement, p.DoNotPublishValue
	a.items = slices.DeleteFunc(send, func(it *item) bool {
		_, ok := outgoing(now, it.value, it.expires, aboutToExpire, s.decrement)
		return !ok
	})
	if p.thrift {
		return
	}
	a.KeyVals = make(map[string]lsdb.Value, len(a.items))
	for _, it := range a.items {
		a.KeyVals[it.key] = a.shown(it)
	}
	a.items = nil
}

// differs reports whether a full synchronization with a store that holds digest would transfer any key that f selects.
func (s snapshot) differs(f filter, digest map[string]lsdb.Value) bool {
	common := 0
	for it := range s.all() {
		if !f.match(it.key, it.value.Originator) {
			continue
		}
		theirs, ok := digest[it.key]
		if !ok || compareValues(it.value, theirs) != tied {
			return true
		}
		common++
	}
	return common < len(digest)
}

// filter decides which keys a dump returns (Open/R kvstore/KvStoreUtil.cpp, KvStoreFilters).
type filter struct {
	keys        *regexp.Regexp // nil: no filter by key
	prefix      string         // of all keys
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

// all reports whether f lets everything through that has its prefix.
func (f filter) all() bool { return f.keys == nil && len(f.originators) == 0 }

func (f filter) match(key, originator string) bool {
	if !strings.HasPrefix(key, f.prefix) {
		return false
	}
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
