package coop

import (
	"container/heap"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"openr/endpoint"
	"openr/monitor"
)

// world is a fabric of citizens and oracles in virtual time, joined by a network that loses, repeats and reorders messages,
// is cut and mended, and whose nodes start again. Every message goes through the codec.
type world struct {
	t        testing.TB
	now      time.Time
	agenda   agenda
	n        int
	rnd      uint64
	loss     int // percent of messages lost, and as many repeated
	jitter   time.Duration
	leaves   []*simLeaf
	oracles  []*simOracle
	cut      map[[2]string]bool
	sessions map[[2]string]*simSession // who opened it, to whom
	epoch    uint64
	bds      []endpoint.BD
	counters *monitor.Counters
	damping  Damping
	members  bool
	skew     map[string]time.Duration
	sent     map[Type]int
}

type simSession struct{ up bool }

type simLeaf struct {
	name    string
	tep     netip.Addr
	c       *Citizen
	holds   map[endpoint.Key]endpoint.Record // what the leaf believes to be behind its ports
	remote  map[endpoint.Key]endpoint.Record
	subs    map[string]map[endpoint.BD]bool
	clock   int64
	events  []endpoint.Event
	effects []Effect
	core    *endpoint.Core                      // decides about hosts; nil: the tests do
	actions []endpoint.Action                   // of the core
	drained bool                                // as it says of itself
	former  []endpoint.Record                   // what it was told that an earlier run of it has said
	gleaned func(bd endpoint.BD, ip netip.Addr) // called with each search; nil: nobody is there
}

type simOracle struct {
	name    string
	o       *Oracle
	ready   bool
	faults  map[endpoint.Key]endpoint.Status
	effects []Effect
}

type appointment struct {
	at time.Time
	n  int
	do func()
}

type agenda []appointment

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	if !a[i].at.Equal(a[j].at) {
		return a[i].at.Before(a[j].at)
	}
	return a[i].n < a[j].n
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(appointment)) }
func (a *agenda) Pop() any {
	x := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return x
}

func newWorld(t testing.TB, leaves, oracles int, options ...func(*world)) *world {
	w := &world{t: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), rnd: 1, cut: map[[2]string]bool{}, sessions: map[[2]string]*simSession{},
		bds: []endpoint.BD{100, 200}, counters: monitor.NewCounters(), skew: map[string]time.Duration{}, jitter: time.Millisecond, sent: map[Type]int{}, members: true}
	for _, f := range options {
		f(w)
	}
	for i := range leaves {
		w.leaves = append(w.leaves, &simLeaf{name: fmt.Sprintf("leaf%d", i+1), tep: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}),
			holds: map[endpoint.Key]endpoint.Record{}})
	}
	for i := range oracles {
		w.oracles = append(w.oracles, &simOracle{name: fmt.Sprintf("spine%d", i+1)})
	}
	for _, o := range w.oracles {
		w.startOracle(o)
	}
	for _, l := range w.leaves {
		w.startLeaf(l)
		w.takeLeaf(l, l.c.Complete(w.now))
	}
	w.connectAll()
	return w
}

func (w *world) random(n int) int {
	w.rnd = mix(w.rnd + 0x9e3779b97f4a7c15)
	return int(w.rnd % uint64(max(1, n)))
}

func (w *world) after(d time.Duration, f func()) {
	w.n++
	heap.Push(&w.agenda, appointment{w.now.Add(d), w.n, f})
}

// run lets virtual time pass.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for rounds, last := 0, w.now; ; rounds++ {
		if w.now.After(last) {
			rounds, last = 0, w.now
		} else if rounds > 1000 {
			w.t.Fatalf("time stands still at %v", w.now)
		}
		next := end
		if len(w.agenda) > 0 && w.agenda[0].at.Before(next) {
			next = w.agenda[0].at
		}
		for _, o := range w.oracles {
			if t := o.o.NextDeadline(); t.Before(next) {
				next = t
			}
		}
		for _, l := range w.leaves {
			if t := l.c.NextDeadline(); !t.IsZero() && t.Before(next) {
				next = t
			}
		}
		if next.After(w.now) {
			w.now = next
		}
		for len(w.agenda) > 0 && !w.agenda[0].at.After(w.now) {
			heap.Pop(&w.agenda).(appointment).do()
		}
		for _, o := range w.oracles {
			if !o.o.NextDeadline().After(w.now) {
				w.takeOracle(o, o.o.Tick(w.now))
			}
		}
		for _, l := range w.leaves {
			if t := l.c.NextDeadline(); !t.IsZero() && !t.After(w.now) {
				w.takeLeaf(l, l.c.Tick(w.now))
			}
		}
		if !w.now.Before(end) {
			return
		}
	}
}

func (w *world) startOracle(o *simOracle) {
	w.epoch++
	core, err := NewOracle(OracleOptions{Node: o.name, Area: "0", Epoch: w.epoch, Members: w.members, Counters: w.counters, Damping: w.damping})
	if err != nil {
		w.t.Fatal(err)
	}
	o.o, o.ready, o.faults = core, false, map[endpoint.Key]endpoint.Status{}
	for _, p := range w.oracles {
		core.SetMember(w.now, Member{Node: p.name, Role: RoleOracle})
	}
	for _, l := range w.leaves {
		core.SetMember(w.now, Member{Node: l.name, Role: RoleLeaf, TEPs: []netip.Addr{l.tep}, Drained: l.drained})
	}
	w.takeOracle(o, core.SetMembersComplete(w.now))
}

func (w *world) startLeaf(l *simLeaf) {
	w.epoch++
	c, err := NewCitizen(CitizenOptions{Node: l.name, Area: "0", Epoch: w.epoch, TEPs: []netip.Addr{l.tep}, Counters: w.counters})
	if err != nil {
		w.t.Fatal(err)
	}
	l.c, l.subs, l.remote = c, map[string]map[endpoint.BD]bool{}, map[endpoint.Key]endpoint.Record{}
	w.takeLeaf(l, c.SetInterest(w.now, w.bds))
}

func (w *world) connectAll() {
	for _, o := range w.oracles {
		for _, l := range w.leaves {
			w.connect(l.name, o.name)
		}
		for _, p := range w.oracles {
			if p != o {
				w.connect(p.name, o.name)
			}
		}
	}
}

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

func (w *world) leaf(name string) *simLeaf {
	for _, l := range w.leaves {
		if l.name == name {
			return l
		}
	}
	return nil
}

func (w *world) oracle(name string) *simOracle {
	for _, o := range w.oracles {
		if o.name == name {
			return o
		}
	}
	return nil
}

// session names a session with a node.
func (w *world) session(name string, out bool) Session {
	if w.leaf(name) != nil {
		return Session{name, RoleLeaf, out}
	}
	return Session{name, RoleOracle, out}
}

// connect opens a session, unless the network between the two is cut or it is open.
func (w *world) connect(from, to string) {
	k := [2]string{from, to}
	if w.cut[pair(from, to)] || w.sessions[k] != nil {
		return
	}
	w.sessions[k] = &simSession{up: true}
	o := w.oracle(to)
	w.takeOracle(o, o.o.Up(w.now, w.session(from, false)))
	if l := w.leaf(from); l != nil {
		w.takeLeaf(l, l.c.Up(w.now, to))
	} else {
		p := w.oracle(from)
		w.takeOracle(p, p.o.Up(w.now, w.session(to, true)))
	}
}

func (w *world) disconnect(from, to string) {
	k := [2]string{from, to}
	s := w.sessions[k]
	if s == nil {
		return
	}
	s.up = false
	delete(w.sessions, k)
	o := w.oracle(to)
	w.takeOracle(o, o.o.Down(w.now, w.session(from, false)))
	if l := w.leaf(from); l != nil {
		w.takeLeaf(l, l.c.Down(w.now, to))
	} else {
		p := w.oracle(from)
		w.takeOracle(p, p.o.Down(w.now, w.session(to, true)))
	}
}

// partition cuts all connections between two groups of nodes.
func (w *world) partition(a, b []string, cut bool) {
	for _, x := range a {
		for _, y := range b {
			w.setCut(x, y, cut)
		}
	}
}

// member has all oracles hear what a leaf says of itself.
func (w *world) member(l *simLeaf, drained bool) {
	l.drained = drained
	for _, o := range w.oracles {
		w.takeOracle(o, o.o.SetMember(w.now, Member{Node: l.name, Role: RoleLeaf, TEPs: []netip.Addr{l.tep}, Drained: drained}))
	}
}

// leave has all oracles hear that a leaf is no member any more.
func (w *world) leave(l *simLeaf) {
	for _, o := range w.oracles {
		w.takeOracle(o, o.o.RemoveMember(w.now, RoleLeaf, l.name))
	}
}

// setCut cuts or mends the network between two nodes.
func (w *world) setCut(a, b string, cut bool) {
	if a == b {
		return
	}
	if cut {
		w.cut[pair(a, b)] = true
		w.disconnectPair(a, b)
		return
	}
	delete(w.cut, pair(a, b))
	w.connectAll()
}

func (w *world) disconnectPair(a, b string) {
	if w.oracle(b) != nil {
		w.disconnect(a, b)
	}
	if w.oracle(a) != nil {
		w.disconnect(b, a)
	}
}

func (w *world) disconnectNode(name string) {
	for _, k := range slices.SortedFunc(maps.Keys(w.sessions), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		if k[0] == name || k[1] == name {
			w.disconnect(k[0], k[1])
		}
	}
}

// deliver sends a message over a session, through the codec.
func (w *world) deliver(from, to string, reverse bool, m *Message) {
	k := [2]string{from, to}
	if reverse {
		k = [2]string{to, from}
	}
	s := w.sessions[k]
	if s == nil {
		return
	}
	w.sent[m.Body.Type()]++
	frames, err := Encode(m)
	if err != nil {
		w.t.Fatalf("%v: %v", m.Body.Type(), err)
	}
	w.transmit(func() {
		if !s.up {
			return
		}
		got, err := Decode(frames)
		if err != nil {
			w.t.Fatalf("%v: %v", m.Body.Type(), err)
		}
		if o := w.oracle(to); o != nil {
			w.takeOracle(o, o.o.Receive(w.now, w.session(from, reverse), got))
		} else {
			l := w.leaf(to)
			w.takeLeaf(l, l.c.Receive(w.now, from, got))
		}
	})
}

func (w *world) transmit(arrive func()) {
	copies := 1
	if w.random(100) < w.loss {
		copies = 0
	} else if w.random(100) < w.loss {
		copies = 2
	}
	for range copies {
		w.after(time.Millisecond+time.Duration(w.random(int(w.jitter))), arrive)
	}
}

func (w *world) takeOracle(o *simOracle, effects []Effect) {
	for _, e := range slices.Clone(effects) {
		o.effects = append(o.effects, e)
		switch e.Kind {
		case Send:
			// An oracle answers on the session that the other opened, unless it opened it itself.
			w.deliver(o.name, e.To.Node, !e.To.Out, e.Message)
		case Broadcast:
			for _, l := range w.leaves {
				if l.subs[o.name][e.BD] && !w.cut[pair(l.name, o.name)] {
					m := e.Message
					frames, err := Encode(m)
					if err != nil {
						w.t.Fatal(err)
					}
					core := l.c
					w.transmit(func() {
						if l.c == core && !w.cut[pair(l.name, o.name)] {
							got, err := Decode(frames)
							if err != nil {
								w.t.Fatal(err)
							}
							w.takeLeaf(l, l.c.Delta(w.now, o.name, got))
						}
					})
				}
			}
		case Readiness:
			o.ready = e.Ready
		case FaultRaised:
			o.faults[e.Key] = e.Status
		case FaultCleared:
			delete(o.faults, e.Key)
		}
	}
}

func (w *world) takeLeaf(l *simLeaf, effects []Effect) {
	for _, e := range slices.Clone(effects) {
		l.effects = append(l.effects, e)
		switch e.Kind {
		case Send:
			w.deliver(l.name, e.To.Node, false, e.Message)
		case Subscribe:
			if l.subs[e.To.Node] == nil {
				l.subs[e.To.Node] = map[endpoint.BD]bool{}
			}
			l.subs[e.To.Node][e.BD] = true
		case Unsubscribe:
			delete(l.subs[e.To.Node], e.BD)
		case ToLeaf:
			l.events = append(l.events, e.Event)
			if l.core != nil {
				w.feed(l, e.Event)
				continue
			}
			switch e.Event.Kind {
			case endpoint.Glean:
				if l.gleaned != nil {
					l.gleaned(e.Event.BD, e.Event.IP)
				}
			case endpoint.FromDirectory, endpoint.Moved:
				if e.Event.Record.Publisher == l.name {
					l.former = append(l.former, *e.Event.Record)
					continue
				}
				delete(l.holds, e.Event.Key)
				if e.Event.Record.Status == endpoint.Tombstone {
					delete(l.remote, e.Event.Key)
				} else {
					l.remote[e.Event.Key] = *e.Event.Record
				}
			}
		}
	}
}

// feed gives the core of a leaf an event, and the directory what it has to say.
func (w *world) feed(l *simLeaf, e endpoint.Event) {
	for _, a := range slices.Clone(l.core.Handle(w.now, e)) {
		l.actions = append(l.actions, a)
		switch a.Kind {
		case endpoint.Publish:
			w.takeLeaf(l, l.c.Publish(w.now, a.Record, a.Cause))
		case endpoint.Withdraw:
			w.takeLeaf(l, l.c.Withdraw(w.now, a.Record, a.Cause))
		}
	}
}

// stamp is the clock of a leaf, wrong by its skew.
func (w *world) stamp(l *simLeaf) int64 {
	l.clock = max(l.clock+1, w.now.Add(w.skew[l.name]).UnixNano())
	return l.clock
}

func testKey(bd endpoint.BD, i int) endpoint.Key {
	return endpoint.Key{BD: bd, MAC: endpoint.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}}
}

func (w *world) record(l *simLeaf, k endpoint.Key, seq uint32) *endpoint.Record {
	ts := w.stamp(l)
	return &endpoint.Record{Key: k, VRF: 1, IPs: []endpoint.IP{{Addr: netip.AddrFrom4([4]byte{172, k.MAC[3], k.MAC[4], k.MAC[5]}), TS: ts}},
		TEP: l.tep, Port: "swp1", VLAN: 10, Seq: seq, TS: ts, Publisher: l.name}
}

// attach makes a leaf learn an endpoint, of which it may know a record from the directory.
func (w *world) attach(l *simLeaf, k endpoint.Key) {
	seq, cause := uint32(1), endpoint.CauseLearn
	if old, ok := l.remote[k]; ok {
		seq, cause = old.Seq+1, endpoint.CauseMove
		delete(l.remote, k)
	}
	rec := w.record(l, k, seq)
	l.holds[k] = *rec
	w.takeLeaf(l, l.c.Publish(w.now, rec, cause))
}

func (w *world) detach(l *simLeaf, k endpoint.Key, cause endpoint.Cause) {
	rec, ok := l.holds[k]
	if !ok {
		return
	}
	delete(l.holds, k)
	rec.TS, rec.Status = w.stamp(l), endpoint.Tombstone
	w.takeLeaf(l, l.c.Withdraw(w.now, &rec, cause))
}

func (w *world) restartLeaf(l *simLeaf, keep func(endpoint.Key) bool) {
	w.disconnectNode(l.name)
	w.startLeaf(l)
	for _, k := range slices.SortedFunc(maps.Keys(l.holds), endpoint.Key.Compare) {
		if keep(k) {
			w.attach(l, k)
		} else {
			delete(l.holds, k)
		}
	}
	w.takeLeaf(l, l.c.Complete(w.now))
	w.connectAll()
}

func (w *world) restartOracle(o *simOracle) {
	w.disconnectNode(o.name)
	w.startOracle(o)
	w.connectAll()
}

// disagreement returns where oracles and leaves differ, "" if nowhere.
func (w *world) disagreement() string {
	want := map[endpoint.Key]endpoint.Record{}
	for _, l := range w.leaves {
		owns := l.c.Owns()
		for _, rec := range owns {
			if other, ok := want[rec.Key]; ok {
				return fmt.Sprintf("%v is held by %s and %s", rec.Key, other.Publisher, rec.Publisher)
			}
			want[rec.Key] = rec
			if _, ok := l.holds[rec.Key]; !ok {
				return fmt.Sprintf("%s publishes %v, which it does not hold", l.name, rec.Key)
			}
		}
		if len(owns) != len(l.holds) {
			return fmt.Sprintf("%s publishes %d and holds %d", l.name, len(owns), len(l.holds))
		}
	}
	first, _ := w.oracles[0].o.Digest()
	for _, o := range w.oracles {
		if h, n := o.o.Digest(); h != first || n != len(want) {
			diff := ""
			for rec := range o.o.All {
				if own, ok := want[rec.Key]; rec.Status != endpoint.Tombstone && (!ok || own.Seq != rec.Seq || own.TS != rec.TS || own.Publisher != rec.Publisher) {
					diff += fmt.Sprintf("\n  has %v of %s seq %d ts %d %v; leaf has seq %d ts %d %s", rec.Key, rec.Publisher, rec.Seq, rec.TS, rec.Status, own.Seq, own.TS, own.Publisher)
				}
			}
			for k, own := range want {
				if rec, ok := o.o.Get(k); !ok || rec.Status == endpoint.Tombstone {
					diff += fmt.Sprintf("\n  lacks %v of %s seq %d ts %d; has seq %d ts %d %s %v", k, own.Publisher, own.Seq, own.TS, rec.Seq, rec.TS, rec.Publisher, rec.Status)
				}
			}
			return fmt.Sprintf("%s has %d records with hash %x, leaves hold %d, %s has hash %x%s", o.name, n, h, len(want), w.oracles[0].name, first, diff)
		}
		for rec := range o.o.All {
			own, ok := want[rec.Key]
			switch {
			case rec.Status == endpoint.Tombstone && !ok:
			case !ok || rec.Seq != own.Seq || rec.TS != own.TS || rec.Publisher != own.Publisher || rec.TEP != own.TEP:
				return fmt.Sprintf("%s has %v of %s seq %d (%v), the leaf has %s seq %d", o.name, rec.Key, rec.Publisher, rec.Seq, rec.Status, own.Publisher, own.Seq)
			}
		}
		if !o.ready {
			return o.name + " is not ready"
		}
		for _, l := range w.leaves {
			if p := o.o.leaves[l.name]; p.stale || p.expired {
				return fmt.Sprintf("%s believes %s lost", o.name, l.name)
			}
		}
	}
	for _, l := range w.leaves {
		for k, rec := range want {
			if rec.Publisher == l.name {
				continue
			}
			if got, ok := l.remote[k]; !ok || got.TEP != rec.TEP || got.Seq != rec.Seq {
				return fmt.Sprintf("%s has %v at %v seq %d, it is at %v seq %d; its citizen has %+v and gone %+v", l.name, k, got.TEP, got.Seq, rec.TEP, rec.Seq,
					l.c.follows[k.BD].eps[k.MAC], l.c.follows[k.BD].gone[k.MAC])
			}
		}
		for k := range l.remote {
			if _, ok := want[k]; !ok {
				return fmt.Sprintf("%s has %v, which nobody holds", l.name, k)
			}
		}
	}
	return ""
}

// settles lets time pass on a network without faults and demands that everybody agrees in the end.
func (w *world) settles(limit time.Duration) {
	w.t.Helper()
	w.loss, w.jitter = 0, time.Millisecond
	clear(w.cut)
	for _, l := range w.leaves {
		w.member(l, l.drained)
	}
	w.connectAll()
	why := ""
	for end := w.now.Add(limit); w.now.Before(end); {
		w.run(5 * time.Second)
		if why = w.disagreement(); why == "" {
			return
		}
	}
	w.t.Fatalf("no agreement after %v: %s", limit, why)
}
