package coop

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
	"unique"

	"openr/endpoint"
)

// entry is one record of the directory and its places in the table's lists.
type entry struct {
	rec endpoint.Record // Status is Active or Tombstone: what was stated
	pub *publisher
	dom *domain
	// positions in the lists of the bucket, the domain and the publisher
	inBucket, inDomain, inPublisher int32

	id       entryID
	mark     uint32 // the publisher's resync in which it was last told
	queued   bool   // in Oracle.changed
	counted  bool   // part of the hashes
	buriedAt int64  // of a tombstone: nanoseconds since table.base
	hash     uint64
}

// entryID stands for an entry where there are so many that pointers would keep the garbage collector busy; 0: none.
type entryID uint32

// bucket is one of the parts that oracles compare.
type bucket struct {
	hash    uint64
	entries []*entry
}

// domain is one bridge domain: its endpoints and its stream of changes.
type domain struct {
	bd      endpoint.BD
	n       uint64
	entries []*entry
}

// publisher is a leaf: who writes records.
type publisher struct {
	name    string
	teps    []netip.Addr
	epoch   uint64
	session *session
	entries []*entry
	live    int    // records that are not withdrawn
	hash    uint64 // of these
	newest  int64  // largest time stamp it has published here

	gen     uint32 // of the last resync asked for; marks entries
	resync  bool   // going on
	resyncs uint32
	differs int // HELLOs in a row that showed a difference

	vouched   time.Time // until when another oracle's word counts that it has a session
	vouchedBy string
	stale     bool
	lostAt    time.Time
	expired   bool
	drained   bool // as it says of itself
}

// ipKey is an address of a routing table, in the form that is hashed fastest.
type ipKey struct {
	vrf  endpoint.VRF
	addr [16]byte
}

func ipKeyOf(vrf endpoint.VRF, a netip.Addr) ipKey { return ipKey{vrf, a.As16()} }

// maxClaims is how many endpoints that claim one address are kept in mind. More are either a mistake or an attack, and each
// would make the next one dearer.
const maxClaims = 64

type buried struct {
	key endpoint.Key
	at  int64
}

// table is the directory's storage. It knows of no protocol.
type table struct {
	base    time.Time
	entries map[endpoint.Key]*entry
	buckets [Buckets]bucket
	domains map[endpoint.BD]*domain
	ips     map[ipKey]entryID
	byID    []*entry // the first stands for none
	freeIDs []entryID
	shared  map[ipKey][]*entry // addresses that several endpoints claim, all of these
	graves  []buried           // tombstones, the oldest first
	live    int
	floor   uint64 // the largest position of a domain that is no more
}

func newTable() table {
	return table{entries: map[endpoint.Key]*entry{}, domains: map[endpoint.BD]*domain{}, ips: map[ipKey]entryID{}, byID: make([]*entry, 1), shared: map[ipKey][]*entry{}}
}

func (t *table) domain(bd endpoint.BD) *domain {
	d := t.domains[bd]
	if d == nil {
		d = &domain{bd: bd, n: t.floor}
		t.domains[bd] = d
	}
	return d
}

// put stores a statement of pub, in place of the one that is there. rec belongs to the table from now on.
func (t *table) put(rec *endpoint.Record, pub *publisher, now time.Time) *entry {
	rec.Publisher = pub.name
	rec.Port = unique.Make(rec.Port).Value()
	e := t.entries[rec.Key]
	if e == nil {
		b, d := &t.buckets[bucketOf(rec.Key)], t.domain(rec.BD)
		e = &entry{dom: d, inBucket: int32(len(b.entries)), inDomain: int32(len(d.entries))}
		b.entries, d.entries = append(b.entries, e), append(d.entries, e)
		t.entries[rec.Key] = e
		t.name(e)
	} else {
		t.uncount(e)
		t.unindex(e)
		if e.pub != pub {
			e.pub.forget(e)
		}
	}
	if e.pub != pub {
		e.pub, e.inPublisher = pub, int32(len(pub.entries))
		pub.entries = append(pub.entries, e)
		e.mark = 0
	}
	e.rec = *rec
	if rec.Status == endpoint.Tombstone {
		if t.base.IsZero() {
			t.base = now
		}
		e.buriedAt = int64(now.Sub(t.base))
		t.graves = append(t.graves, buried{rec.Key, e.buriedAt})
	}
	t.count(e)
	t.index(e)
	return e
}

func (t *table) name(e *entry) {
	if n := len(t.freeIDs); n > 0 {
		e.id, t.freeIDs = t.freeIDs[n-1], t.freeIDs[:n-1]
		t.byID[e.id] = e
		return
	}
	e.id = entryID(len(t.byID))
	t.byID = append(t.byID, e)
}

// count takes the entry into the hashes if it is to be there: not withdrawn, and its publisher not given up.
func (t *table) count(e *entry) {
	if e.counted || e.rec.Status == endpoint.Tombstone || e.pub.expired {
		return
	}
	e.counted, e.hash = true, statementHash(&e.rec)
	t.buckets[bucketOf(e.rec.Key)].hash ^= e.hash
	e.pub.hash ^= e.hash
	e.pub.live++
	t.live++
}

func (t *table) uncount(e *entry) {
	if !e.counted {
		return
	}
	e.counted = false
	t.buckets[bucketOf(e.rec.Key)].hash ^= e.hash
	e.pub.hash ^= e.hash
	e.pub.live--
	t.live--
}

// remove forgets an entry.
func (t *table) remove(e *entry) {
	t.uncount(e)
	t.unindex(e)
	e.pub.forget(e)
	b := &t.buckets[bucketOf(e.rec.Key)]
	b.entries = drop(b.entries, e.inBucket, func(m *entry) { m.inBucket = e.inBucket })
	e.dom.entries = drop(e.dom.entries, e.inDomain, func(m *entry) { m.inDomain = e.inDomain })
	delete(t.entries, e.rec.Key)
	t.byID[e.id], t.freeIDs = nil, append(t.freeIDs, e.id)
	if len(e.dom.entries) == 0 {
		t.floor = max(t.floor, e.dom.n)
		delete(t.domains, e.dom.bd)
	}
}

func (p *publisher) forget(e *entry) {
	p.entries = drop(p.entries, e.inPublisher, func(m *entry) { m.inPublisher = e.inPublisher })
}

// drop takes list[i] out and moves the last element there, which it tells.
func drop(list []*entry, i int32, moved func(*entry)) []*entry {
	last := len(list) - 1
	if int(i) != last {
		list[i] = list[last]
		moved(list[i])
	}
	list[last] = nil
	return list[:last]
}

// index enters the addresses of a record that is in use.
func (t *table) index(e *entry) {
	if e.rec.Status == endpoint.Tombstone || e.pub.expired {
		return
	}
	for i := range e.rec.IPs {
		a := e.rec.IPs[i].Addr
		k := ipKeyOf(e.rec.VRF, a)
		switch other := t.ips[k]; {
		case other == 0:
			t.ips[k] = e.id
		case other != e.id:
			all := t.shared[k]
			if all == nil {
				all = []*entry{t.byID[other]}
			}
			if len(all) >= maxClaims || slices.Contains(all, e) {
				continue
			}
			all = append(all, e)
			t.shared[k], t.ips[k] = all, newestClaim(all, a).id
		}
	}
}

// holder returns who has an address; nil: nobody.
func (t *table) holder(vrf endpoint.VRF, a netip.Addr) *entry { return t.byID[t.ips[ipKeyOf(vrf, a)]] }

func (t *table) unindex(e *entry) {
	for i := range e.rec.IPs {
		a := e.rec.IPs[i].Addr
		k := ipKeyOf(e.rec.VRF, a)
		if all := t.shared[k]; all != nil {
			if j := slices.Index(all, e); j >= 0 {
				all = slices.Delete(all, j, j+1)
				t.ips[k] = newestClaim(all, a).id
				t.shared[k] = all
			}
			if len(all) == 1 {
				delete(t.shared, k)
			}
		} else if t.ips[k] == e.id {
			delete(t.ips, k)
		}
	}
}

// newestClaim returns who learned the address last, whatever the order of claims.
func newestClaim(all []*entry, a netip.Addr) *entry {
	return slices.MaxFunc(all, func(x, y *entry) int {
		return cmp.Or(cmp.Compare(claimedAt(x, a), claimedAt(y, a)), x.rec.Key.Compare(y.rec.Key))
	})
}

func claimedAt(e *entry, a netip.Addr) int64 {
	i := slices.IndexFunc(e.rec.IPs, func(ip endpoint.IP) bool { return ip.Addr == a })
	return e.rec.IPs[i].TS
}

// setExpired takes all records of a publisher out of use, or back into it, and calls f with each that this concerns.
func (t *table) setExpired(p *publisher, expired bool, f func(*entry)) {
	p.expired = expired
	for _, e := range p.entries {
		if e.rec.Status == endpoint.Tombstone {
			continue
		}
		if expired {
			t.uncount(e)
			t.unindex(e)
		} else {
			t.count(e)
			t.index(e)
		}
		f(e)
	}
}
