package linkmonitor

import (
	"maps"
	"slices"

	"openr/msg"
)

// peers is which KvStores to synchronise with: one for each neighbour in each area, however many links lead to it.
type peers struct {
	known   map[msg.AreaNode]*peer
	started bool // the initial update is due or sent
	changes msg.PeerUpdate
}

// peer is a neighbour's KvStore.
type peer struct {
	used adjKey              // the adjacency over which it is reached
	via  map[adjKey]msg.Peer // all over which it could be
}

func newPeers() *peers { return &peers{known: map[msg.AreaNode]*peer{}} }

// add notes that the neighbour can be reached over adjacency k. The session starts over the first and stays there.
func (p *peers) add(id msg.AreaNode, k adjKey, spec msg.Peer) {
	x := p.known[id]
	if x == nil {
		x = &peer{used: k, via: map[adjKey]msg.Peer{}}
		p.known[id] = x
	}
	old := x.via[k]
	x.via[k] = spec
	if x.used == k && old != spec {
		p.change(msg.PeerUpdate{Add: map[msg.AreaNode]msg.Peer{id: spec}})
	}
}

// remove notes that the neighbour can no longer be reached over adjacency k.
func (p *peers) remove(id msg.AreaNode, k adjKey) {
	x := p.known[id]
	if x == nil {
		return
	}
	delete(x.via, k)
	switch {
	case len(x.via) == 0:
		delete(p.known, id)
		p.change(msg.PeerUpdate{Del: map[msg.AreaNode]bool{id: true}})
	case x.used == k:
		x.used = slices.MinFunc(slices.Collect(maps.Keys(x.via)), compareAdjKeys)
		p.change(msg.PeerUpdate{Add: map[msg.AreaNode]msg.Peer{id: x.via[x.used]}})
	}
}

func (p *peers) change(u msg.PeerUpdate) {
	if p.started {
		p.changes = msg.MergePeers(p.changes, u)
	}
}

// start makes the initial update due. Until then peers are only collected.
func (p *peers) start() {
	if p.started {
		return
	}
	p.started = true
	p.changes = msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{}, Del: map[msg.AreaNode]bool{}}
	for id, x := range p.known {
		p.changes.Add[id] = x.via[x.used]
	}
}

func (p *peers) flush(out *effects) {
	if u := p.changes; u.Initial || len(u.Add)+len(u.Del) > 0 {
		out.peers = &u
		p.changes = msg.PeerUpdate{}
	}
}
