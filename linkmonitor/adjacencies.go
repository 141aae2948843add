package linkmonitor

import (
	"bytes"
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// adjacencies is the table of neighbours and what each area has been told of them.
type adjacencies struct {
	cfg   *config.Config
	drain *drainState
	table map[adjKey]*adjacency
	areas map[string]*areaState

	holdEnd time.Time // until then nothing is advertised
	held    bool

	withdrawn bool // see LinkMonitor.Withdraw
}

// adjKey names an adjacency. Spark has at most one neighbour of a name on an interface.
type adjKey struct{ node, ifName string }

func compareAdjKeys(a, b adjKey) int {
	return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.ifName, b.ifName))
}

type adjacency struct {
	area string
	last msg.NeighborEvent // with the newest round-trip time
	up   time.Time
}

// areaState is what was advertised to an area, and when to look again.
type areaState struct {
	due       time.Time // zero: nothing has changed
	sentAt    time.Time
	sent      lsdb.AdjacencyDatabase
	sentBytes []byte // sent without perf events; nil: never sent

	earlier *lsdb.AdjacencyDatabase // of an earlier life of this node; nil: none known, or superseded
}

func newAdjacencies(cfg *config.Config, drain *drainState, holdEnd time.Time) *adjacencies {
	a := &adjacencies{cfg: cfg, drain: drain, table: map[adjKey]*adjacency{}, areas: map[string]*areaState{}, holdEnd: holdEnd, held: true}
	for _, id := range cfg.AreaIDs() {
		a.areas[id] = &areaState{}
	}
	return a
}

// refuse returns why an event cannot be used, or "".
func (a *adjacencies) refuse(e msg.NeighborEvent) (cause string) {
	_, known := a.table[adjKey{e.Node, e.IfName}]
	switch e.Type {
	case msg.NeighborUp, msg.NeighborRestarted:
		switch {
		case e.Node == "" || e.IfName == "":
			return causeName
		case e.Node == a.cfg.NodeName:
			return causeSelf
		case a.areas[e.Area] == nil:
			return causeArea
		case !e.V6.Is6():
			return causeAddress
		}
		return ""
	case msg.NeighborDown, msg.NeighborRestarting, msg.NeighborRTTChange, msg.NeighborAdjSynced:
		if !known {
			return causeUnknown
		}
		return ""
	}
	return causeUnknownType
}

// apply takes in an event that refuse has let pass.
func (a *adjacencies) apply(e msg.NeighborEvent, now time.Time, out *effects, peers *peers) {
	k := adjKey{e.Node, e.IfName}
	x := a.table[k]
	switch e.Type {
	case msg.NeighborUp, msg.NeighborRestarted:
		out.sum(counterNeighborUp)
		a.bringUp(k, e, now, peers)
		x = a.table[k]
	case msg.NeighborDown:
		out.sum(counterNeighborDown)
		peers.remove(msg.AreaNode{Area: x.area, Node: e.Node}, k)
		delete(a.table, k)
		a.change(x.area, now)
	case msg.NeighborRestarting:
		out.sum(counterNeighborRestart)
		peers.remove(msg.AreaNode{Area: x.area, Node: e.Node}, k)
	case msg.NeighborAdjSynced:
		x.last.OnlyUsedByOther = false
		a.change(x.area, now)
	case msg.NeighborRTTChange:
		if _, static := staticMetric(a.cfg.LinkMonitor, e.IfName); a.cfg.LinkMonitor.UseRTTMetric && !static {
			x.last.RTT = e.RTT
			a.change(x.area, latest(now, a.areas[x.area].sentAt.Add(rttInterval)))
		}
	}
	a.count(e.Node, out)
	out.event(e.Type.String(), map[string]string{
		"neighbor": e.Node, "interface": e.IfName, "remote_interface": x.last.OtherIfName, "area": x.area,
	}, map[string]int64{"rtt_us": e.RTT.Microseconds()})
}

// bringUp adds an adjacency or renews it. One whose link is the same as before keeps its time stamp, so that a neighbour
// that restarts gracefully leaves the database as it was.
func (a *adjacencies) bringUp(k adjKey, e msg.NeighborEvent, now time.Time, peers *peers) {
	e.V6, e.V4 = e.V6.WithZone(""), e.V4.Unmap()
	if !e.V4.Is4() || e.V4.IsUnspecified() {
		e.V4 = netip.Addr{}
	}
	if e.Type == msg.NeighborRestarted {
		e.OnlyUsedByOther = false
	}
	x := &adjacency{area: e.Area, last: e, up: now}
	if old := a.table[k]; old != nil {
		if old.area == x.area && old.last.OtherIfName == e.OtherIfName && old.last.V6 == e.V6 && old.last.V4 == e.V4 {
			x.up = old.up
		}
		if old.area != x.area {
			peers.remove(msg.AreaNode{Area: old.area, Node: k.node}, k)
			a.change(old.area, now)
		}
	}
	a.table[k] = x
	peers.add(msg.AreaNode{Area: x.area, Node: k.node}, k, msg.Peer{
		Node: k.node, Addr: e.V6.WithZone(k.ifName).String(), Port: e.CtrlPort,
	})
	a.change(x.area, latest(now, a.areas[x.area].sentAt.Add(upInterval)))
}

// change has the area's database advertised at t, or when it is due already if that is earlier.
func (a *adjacencies) change(area string, t time.Time) {
	a.areas[area].due = earliest(a.areas[area].due, t)
}

// release ends the hold: all areas are advertised, even those without adjacencies.
func (a *adjacencies) release(now time.Time) {
	if !a.held {
		return
	}
	a.held = false
	for id := range a.areas {
		a.change(id, now)
	}
}

// flush advertises each area whose time has come and whose database has changed.
func (a *adjacencies) flush(now time.Time, out *effects) {
	if a.held && !now.Before(a.holdEnd) {
		a.release(now)
	}
	if a.held {
		return
	}
	for _, id := range a.cfg.AreaIDs() {
		s := a.areas[id]
		if s.due.IsZero() || now.Before(s.due) {
			continue
		}
		s.due = time.Time{}
		earlier := a.inherit(id, now)
		db := a.database(id)
		data := db.Marshal()
		if s.sentBytes != nil && bytes.Equal(data, s.sentBytes) {
			continue
		}
		s.sentAt, s.sentBytes = now, data
		if a.cfg.LinkMonitor.PerfMeasurement {
			db.PerfEvents = []lsdb.PerfEvent{{Node: a.cfg.NodeName, Description: "ADJ_DB_UPDATED", UnixMillis: now.UnixMilli()}}
			if updated := earlier.PerfEvents; len(updated) > 0 {
				if earlier.PerfEvents = nil; bytes.Equal(data, earlier.Marshal()) {
					db.PerfEvents = updated // then, not now
				}
			}
			data = db.Marshal()
		}
		s.sent = db
		if out.keys == nil {
			out.keys = msg.KeyRequests{}
		}
		out.keys[msg.AreaKey{Area: id, Key: lsdb.AdjKey(a.cfg.NodeName)}] = msg.KeyRequest{Op: msg.KeyPersist, Data: data}
		out.sum(counterAdvertiseAdj)
	}
}

// recall takes in what has changed in the store: until an area is told anything, what it still knows of an earlier life of
// this node.
func (a *adjacencies) recall(pub msg.Publication) {
	key := lsdb.AdjKey(a.cfg.NodeName)
	for id, s := range a.areas {
		v, ok := pub.KeyVals[msg.AreaKey{Area: id, Key: key}]
		if !ok || !v.HasData() || v.Originator != a.cfg.NodeName || s.sentBytes != nil {
			continue
		}
		if db, err := lsdb.ParseAdjacencyDatabase(v.Data); err == nil {
			s.earlier = &db
		}
	}
}

// inherit gives the adjacencies of an area that stood in an earlier life, over the same link, their time stamps, and returns
// the database of that life. The neighbours have kept them meanwhile, and a node that restarts leaves its database as it was.
func (a *adjacencies) inherit(area string, now time.Time) (earlier lsdb.AdjacencyDatabase) {
	s := a.areas[area]
	if s.earlier == nil {
		return earlier
	}
	earlier, s.earlier = *s.earlier, nil
	for _, was := range earlier.Adjacencies {
		x := a.table[adjKey{was.Node, was.IfName}]
		up := time.Unix(was.Timestamp, 0)
		if x != nil && x.area == area && x.last.OtherIfName == was.OtherIfName && x.last.V6 == was.NextHopV6 && x.last.V4 == was.NextHopV4 &&
			was.Timestamp > 0 && !up.After(now) {
			x.up = up
		}
	}
	return earlier
}

// next returns when flush has something to do; zero: not before an event.
func (a *adjacencies) next() time.Time {
	if a.held {
		return a.holdEnd
	}
	var t time.Time
	for _, s := range a.areas {
		t = earliest(t, s.due)
	}
	return t
}

// database builds the adjacency database of an area, without perf events. The same adjacencies give the same bytes.
func (a *adjacencies) database(area string) lsdb.AdjacencyDatabase {
	db := lsdb.AdjacencyDatabase{
		Node: a.cfg.NodeName, Area: area, Overloaded: a.drain.Overloaded || a.withdrawn, MetricIncrement: a.drain.MetricIncrement,
		Adjacencies: []lsdb.Adjacency{},
	}
	for _, k := range slices.SortedFunc(maps.Keys(a.table), compareAdjKeys) {
		x := a.table[k]
		if x.area != area {
			continue
		}
		adj := lsdb.Adjacency{
			Node: k.node, IfName: k.ifName, OtherIfName: x.last.OtherIfName, NextHopV6: x.last.V6, NextHopV4: x.last.V4,
			Metric: a.metric(k, x), Timestamp: x.up.Unix(), Weight: 1, OnlyUsedByOther: x.last.OnlyUsedByOther,
			Overloaded: a.drain.overloaded[k.ifName], MetricIncrement: a.drain.increments[k.ifName],
		}
		if a.cfg.LinkMonitor.UseRTTMetric {
			adj.RTT = microseconds(x.last.RTT)
		}
		db.Adjacencies = append(db.Adjacencies, adj)
	}
	return db
}

func (a *adjacencies) metric(k adjKey, x *adjacency) int32 {
	return metric(a.cfg.LinkMonitor, k, x.last.RTT, a.drain)
}

// setDrain puts what operators have set in force: it is advertised at once.
func (a *adjacencies) setDrain(s *drainState, now time.Time, out *effects) {
	a.drain = s
	for id := range a.areas {
		a.change(id, now)
	}
	for k := range a.table {
		a.count(k.node, out)
	}
	a.countDrain(out)
}

// countDrain sets the gauges about what operators have set.
func (a *adjacencies) countDrain(out *effects) {
	out.gauge(counterNodeOverloaded, number(a.drain.Overloaded))
	out.gauge(counterNodeIncrement, int64(a.drain.MetricIncrement))
	out.gauge(counterLinksOverloaded, int64(len(a.drain.overloaded)))
	out.gauge(counterMetricsSet, int64(len(a.drain.metrics)+len(a.drain.adjMetrics)+len(a.drain.increments)))
}

// count sets the gauges about one neighbour.
func (a *adjacencies) count(node string, out *effects) {
	out.gauge(counterAdjacencies, int64(len(a.table)))
	lowest, name := int64(0), counterMetricPrefix+node
	for k, x := range a.table {
		if k.node == node {
			if m := int64(a.metric(k, x)); lowest == 0 || m < lowest {
				lowest = m
			}
		}
	}
	if lowest == 0 {
		delete(out.gauges, name)
		out.gone = append(out.gone, name)
		return
	}
	out.gone = slices.DeleteFunc(out.gone, func(n string) bool { return n == name })
	out.gauge(name, lowest)
}
