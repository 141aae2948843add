package kvstore

import (
	"maps"
	"slices"
	"time"
)

// pending is what waits to be flooded: names of keys, whose values are looked up when they are sent. So it never holds
// more than one name for each key of the store, and what is sent is always the latest.
//
// Peers for which the same waits share one pending, so that one change costs the same however many peers there are, and
// what is sent to them is one Flood. It is split when their ways part.
type pending struct {
	keys  map[string]bool // true: with data; false: only the TTL has changed
	path  []string        // nodes that have seen all of these, this one last; never empty if keys is not
	since time.Time       // when the oldest of them was received; zero if none was
	peers int             // for how many it waits
}

// add notes a key that came along path.
func (q *pending) add(key string, withData bool, path []string, me string) {
	if q.keys == nil {
		q.keys = map[string]bool{}
	}
	if len(q.keys) == 0 {
		q.path = path
	} else if !slices.Equal(q.path, path) {
		q.path = []string{me}
	}
	q.keys[key] = q.keys[key] || withData
}

// addAll notes changes that came along path.
func (q *pending) addAll(updated []change, from origin, path []string, me string) {
	if q.keys == nil {
		q.keys = make(map[string]bool, len(updated))
	}
	for i := range updated {
		q.add(updated[i].key, updated[i].value.HasData(), path, me)
	}
	if !from.at.IsZero() && (q.since.IsZero() || from.at.Before(q.since)) {
		q.since = from.at
	}
}

// droppable reports whether drop would forget the key.
func (q *pending) droppable(key string, withData bool) bool {
	waitsForData, ok := q.keys[key]
	return ok && (withData || !waitsForData)
}

// drop forgets a key that the peer itself has sent. If what the peer sent had no data, data that waits still goes out.
func (q *pending) drop(key string, withData bool) {
	if q.droppable(key, withData) {
		delete(q.keys, key)
	}
}

// clone returns a copy for n of the peers for which q waits.
func (q *pending) clone(n int) *pending {
	q.peers -= n
	return &pending{keys: maps.Clone(q.keys), path: q.path, since: q.since, peers: n}
}

// forget takes the peer off what waits for it.
func (p *peer) forget() {
	if p.pending != nil {
		p.pending.peers--
		p.pending = nil
	}
}

// ownPending returns what waits for this peer, shared with none.
func (p *peer) ownPending() *pending {
	switch {
	case p.pending == nil:
		p.pending = &pending{peers: 1}
	case p.pending.peers > 1:
		p.pending = p.pending.clone(1)
	}
	return p.pending
}

// has takes off what waits for the peer what it has sent itself.
func (p *peer) has(updated []change) {
	for i := range updated {
		if key, withData := updated[i].key, updated[i].value.HasData(); p.pending != nil && p.pending.droppable(key, withData) {
			if p.ownPending().drop(key, withData); len(p.pending.keys) == 0 {
				p.forget()
			}
		}
	}
}

// enqueue notes changed keys for all peers that may not have them. What the sender itself has sent no longer waits for it.
func (a *area) enqueue(updated []change, from origin) {
	if len(a.peers) == 0 {
		return
	}
	path := append(slices.Clone(from.path), a.c.node)
	waiting := map[*pending][]*peer{}
	for name, p := range a.peers {
		switch {
		case name == from.sender || slices.Contains(from.path, name):
			p.has(updated)
		case p.state != PeerIdle: // else the digest will tell
			waiting[p.pending] = append(waiting[p.pending], p)
		}
	}
	for q, peers := range waiting {
		switch {
		case q == nil:
			q = &pending{peers: len(peers)}
		case q.peers > len(peers):
			q = q.clone(len(peers))
		}
		q.addAll(updated, from, path, a.c.node)
		for _, p := range peers {
			p.pending = q
		}
	}
	a.changed = true
}
