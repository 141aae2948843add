package endpoint

import (
	"container/heap"
	"fmt"
	"net/netip"
	"time"
	"unique"

	"go.uber.org/zap"

	"openr/monitor"
)

// Options is what a Core is made from.
type Options struct {
	Config   Config
	Node     string     // name of this leaf; required
	TEP      netip.Addr // its tunnel address; required
	Epoch    uint64     // larger than that of any earlier run
	Log      *zap.Logger
	Counters *monitor.Counters
}

// Core is everything a leaf decides about endpoints. Its methods are to be called from one goroutine.
type Core struct {
	cfg        Config
	exceptions map[Key]bool
	node       string
	publisher  unique.Handle[string]
	tep        tep
	epoch      uint64
	log        *zap.Logger
	counters   *monitor.Counters

	domains map[BD]*domain
	ports   map[string]*port
	ips     map[ipKey]*entry
	faults  map[FaultID]*Fault
	drained map[tep]bool // leaves, by tunnel address
	timers  timers
	slow    instant // when the first timer of a domain, a port or a fault runs off
	useAt   instant // when the data plane is asked next about endpoints that have reached their age
	uses    int     // about how many of them then

	questions map[question]*waiting
	sweptAt   instant

	base      time.Time // instant 1
	now       instant
	wall      int64 // the time of day at now, in nanoseconds since 1970
	clock     int64 // last time stamp given out
	local     int   // endpoints behind ports here
	remote    int   // endpoints elsewhere
	bounces   int
	rogueMACs int
	rogueIPs  int
	shown     [5]int // these as the counters have them

	actions []Action
}

// New returns a core with an empty table.
func New(o Options) (*Core, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	switch {
	case o.Node == "" || len(o.Node) > MaxName:
		return nil, fmt.Errorf("node name of %d bytes: want 1-%d", len(o.Node), MaxName)
	case !ValidTEP(o.TEP):
		return nil, fmt.Errorf("tunnel address %v: want a unicast IPv4 or IPv6 address without zone", o.TEP)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	c := &Core{
		node: o.Node, publisher: unique.Make(o.Node), tep: unique.Make(o.TEP), epoch: o.Epoch, log: o.Log, counters: o.Counters,
		domains: map[BD]*domain{}, ports: map[string]*port{}, ips: map[ipKey]*entry{}, faults: map[FaultID]*Fault{},
		questions: map[question]*waiting{}, slow: never,
	}
	c.adopt(o.Config)
	for i := range c.cfg.Domains {
		c.addDomain(&c.cfg.Domains[i])
	}
	return c, nil
}

func (c *Core) adopt(cfg Config) {
	c.cfg = cfg.clone()
	c.exceptions = map[Key]bool{}
	for _, k := range c.cfg.Rogue.Exceptions {
		c.exceptions[k] = true
	}
	if c.cfg.Rogue.Enabled && c.cfg.Loop.Enabled {
		c.log.Warn("loop_protection has no effect while rogue_control is enabled; enable one of the two")
	}
}

func (c *Core) addDomain(cfg *Domain) {
	c.domains[cfg.BD] = &domain{cfg: *cfg, ret: c.cfg.retention(cfg), eps: map[MAC]*entry{}}
}

// Handle takes an event at the time now and returns what is to be done, in this order; the slice is valid until the next
// call. Timers that have run off by now count as earlier than the event. A time before that of an earlier call is taken for
// that one.
func (c *Core) Handle(now time.Time, ev Event) []Action {
	c.begin(now)
	switch ev.Kind {
	case Learned:
		c.onLearned(&ev)
	case LearnedRemote:
		c.onLearnedRemote(&ev)
	case Heard:
		if e := c.find(ev.Key); e != nil {
			c.hear(e)
		}
	case Idle:
		c.onIdle(&ev)
	case Gone:
		c.onGone(&ev)
	case Used:
		c.onUsed(&ev)
	case Asked:
		c.onAsked(&ev)
	case Wiped:
		c.onWiped(ev.BD)
	case Pinned:
		c.onPinned(&ev)
	case PortDown:
		c.onPortDown(ev.Port)
	case PortUp:
		c.onPortUp(ev.Port)
	case FromDirectory, Moved:
		c.onRecord(ev.Record, ev.Kind == Moved)
	case Acked:
		c.onAcked(&ev)
	case Glean:
		c.onGlean(&ev)
	case ClearRogue:
		c.onClearRogue(&ev)
	case ClearEndpoint:
		if e := c.find(ev.Key); e != nil {
			c.remove(e, CauseClear)
		}
	case EnablePort:
		if p := c.ports[ev.Port]; p != nil {
			c.enablePort(p)
		}
	case EnableLearning:
		if d := c.domains[ev.BD]; d != nil {
			c.learningOn(d)
		}
	}
	return c.finish()
}

// begin sets the time and lets the timers run off that are due.
func (c *Core) begin(now time.Time) {
	c.actions = c.actions[:0]
	if c.base.IsZero() {
		c.base = now.Add(-1)
	}
	if i := instant(now.Sub(c.base)); i > c.now {
		c.now, c.wall = i, now.UnixNano()
	}
	for len(c.timers) > 0 && c.timers[0].due <= c.now {
		e := heap.Pop(&c.timers).(*entry)
		c.expire(e)
	}
	if c.slow <= c.now {
		c.expireSlow()
	}
}

func (c *Core) finish() []Action {
	if g := [...]int{c.local, c.remote, c.bounces, c.rogueMACs, c.rogueIPs}; g != c.shown {
		for i, name := range [...]string{counterLocal, counterRemote, counterBounce, counterRogueMACs, counterRogueIPs} {
			if g[i] != c.shown[i] {
				c.counters.Set(name, int64(g[i]))
			}
		}
		c.shown = g
	}
	return c.actions
}

// NextDeadline returns when Handle is to be called with a Tick if nothing happens before, and whether at all. It may be
// early, and is never late.
func (c *Core) NextDeadline() (time.Time, bool) {
	next := c.slow
	if len(c.timers) > 0 {
		next = min(next, c.timers[0].due)
	}
	return c.time(next), next != never
}

// time turns an instant into a time.
func (c *Core) time(i instant) time.Time {
	if i == never || i == 0 {
		return time.Time{}
	}
	return c.base.Add(time.Duration(i))
}

// maxSkew is how far ahead another leaf's clock may be to be followed.
const maxSkew = 24 * time.Hour

// stamp returns the next time stamp of the hybrid clock, later than seen. Clocks that are more than maxSkew ahead are
// not followed: one bad clock must not take the others along.
func (c *Core) stamp(seen int64) int64 {
	c.clock = max(c.clock+1, c.wall)
	if seen >= c.clock && seen <= c.wall+int64(maxSkew) {
		c.clock = seen + 1
	}
	return c.clock
}

func (c *Core) emit(a Action) { c.actions = append(c.actions, a) }

// do asks for something about the endpoint at its present place.
func (c *Core) do(kind ActionKind, e *entry) {
	a := Action{Kind: kind, Key: e.key(), VRF: e.dom.cfg.VRF}
	switch kind {
	case ProgramLocal:
		a.Port, a.VLAN = e.port.name, e.vlan
	case ProgramRemote:
		a.TEP, a.IPs = e.tep.Value(), e.addrs()
	case FreezeMAC:
		a.IPs = e.addrs()
		if e.port != nil {
			a.Port, a.VLAN = e.port.name, e.vlan
		} else {
			a.TEP = e.tep.Value()
		}
	case BounceOn:
		a.TEP, a.For = e.tep.Value(), time.Duration(e.bounceUntil-c.now)
	}
	c.emit(a)
}

func (c *Core) refuse(counter string) { c.counters.Count(counter) }

func (c *Core) find(k Key) *entry {
	if d := c.domains[k.BD]; d != nil {
		return d.eps[k.MAC]
	}
	return nil
}

func (e *entry) place() Place {
	if e.port != nil {
		return Place{Port: e.port.name, VLAN: e.vlan}
	}
	if e.tep == (tep{}) {
		return Place{}
	}
	return Place{TEP: e.tep.Value()}
}

func (s spot) place() Place {
	e := entry{port: s.port, vlan: s.vlan, tep: s.tep}
	return e.place()
}

func (c *Core) notify(kind ChangeKind, e *entry, from, to Place, cause Cause) {
	c.emit(Action{Kind: Notify, Key: e.key(), Cause: cause,
		Change: &Change{Kind: kind, At: c.time(c.now), Key: e.key(), From: from, To: to, Cause: cause}})
}

// insert makes an entry that is nowhere yet, or returns nil if there is no room.
func (c *Core) insert(d *domain, m MAC, local bool) *entry {
	if local && c.local >= c.cfg.MaxLocal || !local && c.remote >= c.cfg.MaxRemote {
		c.refuse(refusedFull)
		c.raise(&Fault{FaultID: FaultID{Kind: FaultTableFull}})
		return nil
	}
	e := &entry{dom: d, mac: m, pos: -1}
	d.eps[m] = e
	return e
}

// settle moves an entry to a place and state and keeps the counts. It tells nobody.
func (c *Core) settle(e *entry, to spot, s State) {
	if e.state != Absent {
		c.count(e, -1)
	}
	e.port, e.vlan, e.tep, e.state = to.port, to.vlan, to.tep, s
	if s != Absent {
		c.count(e, +1)
	}
}

func (c *Core) count(e *entry, n int) {
	if e.port != nil {
		c.local += n
		e.port.endpoints += n
	} else {
		c.remote += n
	}
	if e.state == Frozen {
		c.rogueMACs += n
	}
}

// erase takes an entry out of the table. It tells nobody but those whom the entry's special states concern.
func (c *Core) erase(e *entry) {
	c.endBounce(e)
	for i := range e.ips {
		if e.ips[i].rogue() {
			c.releaseIP(e, &e.ips[i])
		}
	}
	if e.state == Frozen {
		c.emit(Action{Kind: UnfreezeMAC, Key: e.key()})
		c.clear(FaultID{Kind: FaultRogueMAC, Key: e.key()})
		c.notify(RogueEnd, e, e.place(), e.place(), 0)
	}
	for i := range e.ips {
		delete(c.ips, keyOfIP(e.dom, e.ips[i].addr))
	}
	e.ips, e.x = nil, nil
	c.settle(e, spot{}, Absent)
	c.timers.cancel(e)
	delete(e.dom.eps, e.mac)
	if c.local < c.cfg.MaxLocal-c.cfg.MaxLocal/10 && c.remote < c.cfg.MaxRemote-c.cfg.MaxRemote/10 {
		c.clear(FaultID{Kind: FaultTableFull})
	}
}

// remove takes an entry out of the table and of the kernel, and out of the directory if that has it from here. If the
// endpoint was pinned, what the directory said in the meantime counts again.
func (c *Core) remove(e *entry, cause Cause) {
	d, key, place, pending := e.dom, e.key(), e.place(), e.pending()
	if e.mine {
		c.withdraw(e, cause)
	}
	c.erase(e)
	if pending != nil && cause != CauseConfig {
		c.onRecord(pending, false)
	}
	if d.eps[key.MAC] == nil {
		c.emit(Action{Kind: Remove, Key: key, Cause: cause})
	}
	if place.TEP.IsValid() && cause == CauseAge {
		return // it is where it was, only not in this table
	}
	c.notify(Detach, &entry{dom: d, mac: key.MAC}, place, Place{}, cause)
	c.counters.Count(counterDetach)
}

func (c *Core) onGlean(ev *Event) {
	d := c.domains[ev.BD]
	switch {
	case d == nil:
		c.refuse(refusedDomain)
		return
	case !ValidHostIP(ev.IP):
		c.refuse(refusedIP)
		return
	}
	if e := c.ips[keyOfIP(d, ev.IP)]; e != nil && e.state.IsLocal() && e.dom == d {
		c.probe(e, ev.IP)
		return
	}
	c.probeAll(d, ev.IP)
}
