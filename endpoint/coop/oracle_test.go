package coop

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"openr/endpoint"
)

// calm is a world in which everybody has met.
func calm(t *testing.T, leaves, oracles int, options ...func(*world)) *world {
	w := newWorld(t, leaves, oracles, options...)
	w.run(time.Second)
	for _, o := range w.oracles {
		o.effects = nil
		if !o.ready {
			t.Fatalf("%s is not ready", o.name)
		}
	}
	for _, l := range w.leaves {
		l.events, l.effects = nil, nil
	}
	return w
}

func (w *world) told(l *simLeaf, kind endpoint.EventKind) (out []endpoint.Event) {
	for _, e := range l.events {
		if e.Kind == kind {
			out = append(out, e)
		}
	}
	return out
}

func sentTo(o *simOracle, node string, typ Type) (out []*Message) {
	for _, e := range o.effects {
		if e.Kind == Send && e.To.Node == node && e.Message.Body.Type() == typ {
			out = append(out, e.Message)
		}
	}
	return out
}

// Requirements A2 to A5: a leaf registers MAC, addresses and group with every oracle, and each holds where it is. C7: one
// oracle that missed it has it from another.
func TestRegistration(t *testing.T) {
	w := calm(t, 2, 3)
	w.setCut("leaf1", "spine3", true)
	k := testKey(100, 1)
	rec := w.record(w.leaves[0], k, 1)
	rec.Group = 42
	w.leaves[0].holds[k] = *rec
	w.takeLeaf(w.leaves[0], w.leaves[0].c.Publish(w.now, rec, endpoint.CauseLearn))
	w.run(15 * time.Second)
	for _, o := range w.oracles {
		got, ok := o.o.Get(k)
		if !ok || got.TEP != w.leaves[0].tep || got.Group != 42 || len(got.IPs) != 1 || got.Status != endpoint.Active {
			t.Errorf("%s has %v", o.name, got)
		}
	}
	if e := w.told(w.leaves[0], endpoint.Acked); len(e) != 1 || e[0].Seq != 1 || e[0].TEP.IsValid() {
		t.Errorf("acknowledged as %+v", e)
	}
}

// Requirements C12 to C15: a new claim is a move, and the leaf that had the endpoint is told; the sequence number rises although
// the new leaf knew nothing of the old record and its clock is behind.
func TestMove(t *testing.T) {
	w := calm(t, 3, 2, func(w *world) { w.skew["leaf2"] = -time.Hour })
	k := testKey(100, 1)
	w.attach(w.leaves[0], k)
	w.run(time.Second)
	delete(w.leaves[1].remote, k)
	w.takeLeaf(w.leaves[1], w.leaves[1].c.SetInterest(w.now, nil)) // it knows nothing
	w.attach(w.leaves[1], k)
	w.run(time.Second)
	if e := w.told(w.leaves[0], endpoint.Moved); len(e) == 0 || e[0].Record.TEP != w.leaves[1].tep || e[0].Record.Seq != 2 {
		t.Errorf("the old leaf was told %+v", e)
	}
	if e := w.told(w.leaves[1], endpoint.Acked); len(e) == 0 || e[0].Seq != 2 || e[0].TEP != w.leaves[0].tep {
		t.Errorf("the new leaf was told %+v", e)
	}
	if got := w.leaves[2].remote[k]; got.TEP != w.leaves[1].tep || got.PrevTEP != w.leaves[0].tep {
		t.Errorf("the third leaf has %v", got)
	}
	for _, o := range w.oracles {
		if m := sentTo(o, "leaf1", TypeMoved); len(m) != 1 || m[0].Body.(*Moved).Bounce != 630 {
			t.Errorf("%s sent MOVED %d times", o.name, len(m))
		}
	}
}

// Forged, stale, oversized and malformed records are refused with a reason in the ACK and counted; what is right in the same
// message is taken.
func TestRefusals(t *testing.T) {
	w := calm(t, 2, 1)
	o, l := w.oracles[0], w.leaves[0]
	good := w.record(l, testKey(100, 1), 1)
	good.Epoch = l.c.o.Epoch
	for name, tt := range map[string]struct {
		change func(*Item)
		reason Reason
		says   string
	}{
		"another's tunnel address": {func(i *Item) { i.Record.TEP = w.leaves[1].tep }, ReasonTEP, "10.0.0.2"},
		"another's name":           {func(i *Item) { i.Record.Publisher = "leaf2" }, ReasonPublisher, "leaf2"},
		"an earlier run":           {func(i *Item) { i.Record.Epoch-- }, ReasonEpoch, "epoch"},
		"a later run":              {func(i *Item) { i.Record.Epoch++ }, ReasonEpoch, "epoch"},
		"tomorrow":                 {func(i *Item) { i.Record.TS += int64(25 * time.Hour) }, ReasonClock, "ahead"},
		"the end of time":          {func(i *Item) { i.Record.TS = 1<<63 - 1 }, ReasonClock, "ahead"},
		"no bridge domain":         {func(i *Item) { i.Record.BD = 0 }, ReasonRecord, "bridge domain"},
		"a group address":          {func(i *Item) { i.Record.MAC[0] = 1 }, ReasonRecord, "MAC"},
		"a multicast address":      {func(i *Item) { i.Record.IPs[0].Addr = netip.MustParseAddr("224.0.0.1") }, ReasonRecord, "224.0.0.1"},
		"too many addresses":       {func(i *Item) { i.Record.IPs = make([]endpoint.IP, endpoint.MaxIPs+1) }, ReasonOversized, "1025"},
		"no cause":                 {func(i *Item) { i.Cause = 0 }, ReasonCause, "cause"},
		"a wrong cause":            {func(i *Item) { i.Cause = endpoint.CauseAge }, ReasonCause, "age"},
	} {
		bad := Item{endpoint.CauseLearn, good.Clone()}
		bad.Record.MAC[5] = 99
		tt.change(&bad)
		fine := good.Clone()
		fine.TS++
		good.TS++
		before := o.o.Len()
		effects := o.o.Receive(w.now, Session{"leaf1", RoleLeaf, false},
			&Message{Header{"0", l.c.o.Epoch, 1000, 0}, &Publish{Items: []Item{bad, {endpoint.CauseLearn, fine}}}})
		var ack *Ack
		for _, e := range effects {
			if e.Kind == Send {
				ack, _ = e.Message.Body.(*Ack)
			}
		}
		if ack == nil || len(ack.Results) != 2 {
			t.Fatalf("%s: answered with %+v", name, ack)
		}
		if r := ack.Results[0]; r.Outcome != OutcomeRefused || r.Reason != tt.reason || !strings.Contains(r.Detail, tt.says) {
			t.Errorf("%s: %+v", name, r)
		}
		if ack.Results[1].Outcome != OutcomeOK {
			t.Errorf("%s: the good one is %+v", name, ack.Results[1])
		}
		if n := o.o.Len(); n > max(before, 1) {
			t.Errorf("%s: %d records", name, n)
		}
		if w.counters.Snapshot()[counterRefused+tt.reason.String()+".count"] == 0 {
			t.Errorf("%s: not counted", name)
		}
	}
}

// Sessions are refused with a reason, too.
func TestSessionsRefused(t *testing.T) {
	w := calm(t, 1, 1)
	o := w.oracles[0].o
	tep := netip.MustParseAddr("10.0.0.1")
	hello := func(node string, role Role, teps ...netip.Addr) Body {
		return &Hello{Node: node, Role: role, TEPs: teps}
	}
	for name, tt := range map[string]struct {
		from   string
		area   string
		epoch  uint64
		body   Body
		reason Reason
	}{
		"another area":      {"leaf1", "1", 99, hello("leaf1", RoleLeaf, tep), ReasonArea},
		"another's name":    {"leaf1", "0", 99, hello("leaf2", RoleLeaf, tep), ReasonName},
		"another role":      {"leaf1", "0", 99, hello("leaf1", RoleOracle), ReasonName},
		"no member":         {"leaf9", "0", 99, hello("leaf9", RoleLeaf, tep), ReasonMember},
		"an earlier run":    {"leaf1", "0", 1, hello("leaf1", RoleLeaf, tep), ReasonEpoch},
		"another's address": {"leaf1", "0", 99, hello("leaf1", RoleLeaf, netip.MustParseAddr("10.0.0.9")), ReasonTEP},
		"no address":        {"leaf1", "0", 99, hello("leaf1", RoleLeaf), ReasonTEP},
		"no HELLO":          {"leaf1", "0", 99, &Publish{}, ReasonSession},
		"an oracle's word":  {"leaf1", "0", 99, &Moved{}, ReasonSession},
	} {
		id := Session{tt.from, RoleLeaf, false}
		o.Up(w.now, id)
		var got Reason
		for _, e := range o.Receive(w.now, id, &Message{Header{tt.area, tt.epoch, 7, 0}, tt.body}) {
			switch b := e.Message.Body.(type) {
			case *Ack:
				got = b.Refused
			case *HelloAck:
				got = b.Refused
			}
			if e.Message.Ack != 7 {
				t.Errorf("%s: answers message %d", name, e.Message.Ack)
			}
		}
		if got != tt.reason {
			t.Errorf("%s: refused for %v, want %v", name, got, tt.reason)
		}
	}
}

// A leaf that is lost is stale at once when routing says so, is given up after 120 s, forgotten after 900 s more, and is back
// in use when it returns before.
func TestLostLeaf(t *testing.T) {
	w := calm(t, 2, 2)
	k := testKey(100, 1)
	w.attach(w.leaves[0], k)
	w.run(time.Second)
	status := func() (s endpoint.Status, ok bool) {
		rec, ok := w.oracles[0].o.Get(k)
		return rec.Status, ok
	}
	for _, o := range w.oracles {
		w.takeOracle(o, o.o.SetReachable(w.now, w.leaves[0].tep, false))
	}
	if s, _ := status(); s != endpoint.Stale {
		t.Errorf("unreachable: %v", s)
	}
	if w.leaves[1].remote[k].TEP != w.leaves[0].tep {
		t.Error("forwarding does not go on")
	}
	w.run(121 * time.Second)
	if n := w.sent[TypePublish]; n > 10 {
		t.Errorf("the leaf, which has its sessions, published %d times", n)
	}
	if s, _ := status(); s != endpoint.Tombstone {
		t.Errorf("after the hold: %v", s)
	}
	if _, ok := w.leaves[1].remote[k]; ok {
		t.Error("the other leaf still has it")
	}
	for _, o := range w.oracles {
		w.takeOracle(o, o.o.SetReachable(w.now, w.leaves[0].tep, true))
	}
	w.settles(time.Minute)
	if s, _ := status(); s != endpoint.Active {
		t.Errorf("back: %v", s)
	}
	for _, o := range w.oracles {
		w.takeOracle(o, o.o.SetReachable(w.now, w.leaves[0].tep, false))
	}
	w.run(1100 * time.Second)
	if s, ok := status(); ok {
		t.Errorf("after 1100 s: %v", s)
	}
}

// One oracle's lost session does not make a leaf stale while another oracle has one.
func TestVouching(t *testing.T) {
	w := calm(t, 1, 2)
	k := testKey(100, 1)
	w.attach(w.leaves[0], k)
	w.run(15 * time.Second)
	w.setCut("leaf1", "spine1", true)
	w.run(10 * time.Minute)
	if rec, _ := w.oracles[0].o.Get(k); rec.Status != endpoint.Active {
		t.Errorf("%v", rec.Status)
	}
	w.setCut("leaf1", "spine2", true)
	w.run(20 * time.Second)
	if rec, _ := w.oracles[0].o.Get(k); rec.Status != endpoint.Stale {
		t.Errorf("nobody has a session: %v", rec.Status)
	}
	w.run(200 * time.Second)
	if rec, _ := w.oracles[0].o.Get(k); rec.Status != endpoint.Tombstone {
		t.Errorf("for long: %v", rec.Status)
	}
}

// A leaf that starts again has forgotten what it does not publish before it is complete: mark and sweep.
func TestLeafRestarts(t *testing.T) {
	w := calm(t, 2, 2)
	for i := range 600 {
		w.attach(w.leaves[0], testKey(100, i))
	}
	w.run(time.Second)
	w.disconnectNode("leaf1")
	l := w.leaves[0]
	w.startLeaf(l)
	for k := range l.holds {
		if k.MAC[5]%2 == 0 {
			delete(l.holds, k)
		}
	}
	w.connectAll()
	w.run(30 * time.Second)
	if _, n := w.oracles[0].o.Digest(); n != 600 {
		t.Errorf("%d records before the leaf is complete", n)
	}
	for k := range l.holds {
		w.attach(l, k)
	}
	w.takeLeaf(l, l.c.Complete(w.now))
	w.settles(time.Minute)
	if _, n := w.oracles[0].o.Digest(); n != 300 {
		t.Errorf("%d records after it", n)
	}
}

// An oracle announces the anycast tunnel address only when it has another oracle's directory and every reachable leaf's word;
// drained, it takes it back and keeps its sessions.
func TestReadiness(t *testing.T) {
	w := calm(t, 2, 2)
	for i := range 1000 {
		w.attach(w.leaves[0], testKey(100, i))
	}
	w.run(time.Second)
	o := w.oracles[1]
	w.disconnectNode(o.name)
	w.startOracle(o)
	w.connect("leaf2", o.name)
	w.run(time.Second)
	if o.ready {
		t.Error("ready without another oracle's directory")
	}
	w.connect(o.name, "spine1")
	w.run(time.Second)
	if _, n := o.o.Digest(); n != 1000 {
		t.Errorf("%d records from the other oracle", n)
	}
	if len(sentTo(w.oracles[0], o.name, TypeSync)) != 0 {
		t.Error("they came piecemeal")
	}
	if o.ready {
		t.Error("ready without the word of leaf1")
	}
	w.connectAll()
	w.run(time.Second)
	if !o.ready {
		t.Error("not ready although everybody was heard")
	}
	w.takeOracle(o, o.o.SetDrained(w.now, true))
	w.run(time.Second)
	if o.ready || len(o.o.sessions) == 0 {
		t.Error("drained: it announces itself, or has no sessions")
	}
	for _, l := range w.leaves {
		if l.c.feed != "spine1" {
			t.Errorf("%s follows %s", l.name, l.c.feed)
		}
	}
	w.takeOracle(o, o.o.SetDrained(w.now, false))
	if !o.ready {
		t.Error("not ready after the drain")
	}
}

// Who is silent is not waited for for ever.
func TestReadinessDoesNotWaitForEver(t *testing.T) {
	w := newWorld(t, 2, 2)
	w.disconnectNode("leaf2")
	w.setCut("leaf2", "spine1", true)
	w.setCut("leaf2", "spine2", true)
	w.restartOracle(w.oracles[0])
	w.run(20 * time.Second)
	if w.oracles[0].ready {
		t.Error("ready at once")
	}
	w.run(15 * time.Second)
	if !w.oracles[0].ready {
		t.Error("not ready after the wait")
	}
}

// Dampening: an endpoint that moves too often becomes critical, then frozen, a fault says so, others are untouched, and it is
// over when it has calmed down. Refresh and withdrawal of the owner pass while it is critical.
func TestDamping(t *testing.T) {
	w := calm(t, 2, 1)
	o, k, other := w.oracles[0], testKey(100, 1), testKey(100, 2)
	var seen endpoint.Status
	for i := range 60 {
		w.attach(w.leaves[i%2], k)
		w.run(50 * time.Millisecond)
		seen = max(seen, o.faults[k])
	}
	if seen != endpoint.Freeze {
		t.Fatalf("fault %v after 60 moves in 3 s", seen)
	}
	if rec, _ := o.o.Get(k); rec.Status != endpoint.Freeze || rec.Penalty < 20000 {
		t.Errorf("%v, penalty %d", rec.Status, rec.Penalty)
	}
	w.attach(w.leaves[1], other)
	w.run(time.Second)
	if rec, _ := o.o.Get(other); rec.Status != endpoint.Active {
		t.Errorf("the other endpoint is %v", rec.Status)
	}
	w.settles(3 * time.Minute)
	if len(o.faults) != 0 {
		t.Errorf("faults %v", o.faults)
	}
}

func TestDampingExceptions(t *testing.T) {
	k := testKey(100, 1)
	w := calm(t, 2, 1, func(w *world) { w.damping.Exceptions = []endpoint.Key{k} })
	o := w.oracles[0]
	for i := range 3002 {
		if len(o.faults) != 0 {
			t.Fatalf("fault after %d moves", i)
		}
		w.attach(w.leaves[i%2], k)
		w.run(20 * time.Millisecond)
	}
	if o.faults[k] != endpoint.Critical {
		t.Errorf("no fault after 3002 moves in a minute")
	}
	o.effects = nil
	w.takeOracle(o, o.o.Clear(w.now, k))
	if len(o.faults) != 0 {
		t.Error("the fault outlives the operator's clear")
	}
}

// Requirements A6, C5 and the silent host: who is asked for is found by its record, or by the leaves of its domain looking for
// it; nobody there is remembered for a while.
func TestLookup(t *testing.T) {
	w := calm(t, 3, 1)
	k := testKey(100, 5)
	w.attach(w.leaves[0], k)
	w.run(time.Second)
	answers := func(l *simLeaf) (out []Found) {
		for _, e := range l.effects {
			if e.Kind == Answered {
				out = append(out, e.Message.Body.(*Answer).Found)
			}
		}
		l.effects = nil
		return out
	}
	l := w.leaves[1]
	for _, q := range []Query{{Key: k}, {VRF: 1, IP: netip.MustParseAddr("172.0.0.5")}, {VRF: 2, IP: netip.MustParseAddr("172.0.0.5")}} {
		w.takeLeaf(l, l.c.Lookup(w.now, q))
		w.run(time.Second)
	}
	if got := answers(l); len(got) != 3 || got[0] != FoundRecord || got[1] != FoundRecord || got[2] != FoundNone {
		t.Errorf("answers %v", got)
	}
	silent := Query{Key: endpoint.Key{BD: 100}, VRF: 1, IP: netip.MustParseAddr("172.0.0.6")}
	w.takeLeaf(l, l.c.Lookup(w.now, silent))
	w.run(100 * time.Millisecond)
	if e := w.told(w.leaves[2], endpoint.Glean); len(e) != 1 || e[0].IP != silent.IP || e[0].BD != 100 {
		t.Errorf("the leaves were asked %+v", e)
	}
	w.attach(w.leaves[2], testKey(100, 6))
	w.run(100 * time.Millisecond)
	if got := answers(l); len(got) != 2 || got[0] != FoundGleaning || got[1] != FoundRecord {
		t.Errorf("answers %v", got)
	}
	silent.IP = netip.MustParseAddr("172.0.0.7")
	w.takeLeaf(l, l.c.Lookup(w.now, silent))
	w.run(gleanFor - 100*time.Millisecond)
	if got := answers(l); len(got) != 1 || got[0] != FoundGleaning {
		t.Errorf("answers %v before the search is over", got)
	}
	w.run(time.Second)
	if got := answers(l); len(got) != 1 || got[0] != FoundNone {
		t.Errorf("answers %v", got)
	}
	w.leaves[2].events = nil
	w.detach(w.leaves[0], k, endpoint.CauseLinkDown)
	w.run(100 * time.Millisecond)
	if e := w.told(w.leaves[2], endpoint.Glean); len(e) != 1 || e[0].IP != netip.MustParseAddr("172.0.0.5") {
		t.Errorf("after the link went down the leaves were asked %+v", e)
	}
}

// A gap in the stream of a domain is noticed at the next message or announcement, and mended by a snapshot.
func TestGap(t *testing.T) {
	w := calm(t, 2, 1)
	w.attach(w.leaves[0], testKey(100, 1))
	w.run(time.Second)
	subs := w.leaves[1].subs["spine1"]
	delete(subs, 100)
	for i := range 2000 {
		w.attach(w.leaves[0], testKey(100, i))
	}
	w.detach(w.leaves[0], testKey(100, 1), endpoint.CauseAge)
	w.run(time.Second)
	subs[100] = true
	if len(w.leaves[1].remote) != 1 {
		t.Fatalf("%d records without the stream", len(w.leaves[1].remote))
	}
	w.run(25 * time.Second)
	if why := w.disagreement(); why != "" {
		t.Error(why)
	}
}

// An hour without changes: every record is told again once, and sessions are compared.
func TestRefresh(t *testing.T) {
	w := calm(t, 1, 2)
	for i := range 100 {
		w.attach(w.leaves[0], testKey(100, i))
	}
	w.run(30 * time.Minute)
	if n := w.counters.Snapshot()[counterRefreshed+".count"]; n != 0 {
		t.Errorf("%d refreshed after half an hour", n)
	}
	w.run(40 * time.Minute)
	if n := w.counters.Snapshot()[counterRefreshed+".count"]; n != 100 {
		t.Errorf("%d refreshed after 70 minutes", n)
	}
	if n := w.counters.Snapshot()[counterSwept+".sum"]; n != 0 {
		t.Errorf("%d swept", n)
	}
}

// The first oracle's word makes a record usable, that of all makes it stable.
func TestUsableAndStable(t *testing.T) {
	w := calm(t, 1, 2)
	delete(w.sessions, [2]string{"leaf1", "spine2"}) // it hangs
	k := testKey(100, 1)
	w.attach(w.leaves[0], k)
	w.run(time.Second)
	count := func(kind EffectKind) (n int) {
		for _, e := range w.leaves[0].effects {
			if e.Kind == kind {
				n++
			}
		}
		return n
	}
	if len(w.told(w.leaves[0], endpoint.Acked)) != 1 || count(Stable) != 0 {
		t.Error("one oracle is not enough, or enough to be stable")
	}
	w.sessions[[2]string{"leaf1", "spine2"}] = &simSession{up: true}
	w.run(3 * time.Second)
	if len(w.told(w.leaves[0], endpoint.Acked)) != 1 || count(Stable) != 1 {
		t.Error("not stable with both")
	}
}
