package endpoint

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"openr/monitor"
)

var (
	leaf1 = netip.MustParseAddr("10.255.0.1") // the one under test
	leaf2 = netip.MustParseAddr("10.255.0.2")
	leaf3 = netip.MustParseAddr("10.255.0.3")
	epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

const bd1 BD = 10100

func mac(n int) MAC { return MAC{2, 0, 0, 0, byte(n >> 8), byte(n)} }

func key(n int) Key { return Key{bd1, mac(n)} }

func ip4(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}) }

func ip6(n int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd00:1::%x", n)) }

// testConfig is the defaults with one domain; the data plane reports no activity, so that what was not heard is silent.
func testConfig() Config {
	cfg := Default()
	cfg.Activity = false
	cfg.Domains = []Domain{{BD: bd1, VRF: 7, Group: 49}}
	return cfg
}

// world is a leaf with a data plane and a directory that do what they are told and nothing else. Whatever the leaf says it
// knows, they have to be in.
type world struct {
	t interface {
		Helper()
		Fatalf(string, ...any)
	}
	core     *Core
	twin     *Core // if not nil: gets the same events and has to answer the same
	counters *monitor.Counters
	now      time.Time
	got      []Action // of the last event

	kernel    map[Key]string // "port p", "leaf tep" or "frozen ..." with the addresses
	bounces   map[Key]netip.Addr
	frozenIPs map[string]Key
	off       map[BD]bool
	disabled  map[string]bool
	faults    map[FaultID]Fault
	directory map[Key]*Record // what this leaf has published and not withdrawn
	seen      map[Key]*Record // what it has said last
	asked     map[string]int  // questions of hosts that were not answered, "domain target MAC"
}

func newWorld(t interface {
	Helper()
	Fatalf(string, ...any)
}, cfg Config, tep netip.Addr) *world {
	counters := monitor.NewCounters()
	c, err := New(Options{Config: cfg, Node: "leaf-" + tep.String(), TEP: tep, Epoch: 1, Counters: counters})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return &world{t: t, core: c, counters: counters, now: epoch, kernel: map[Key]string{}, bounces: map[Key]netip.Addr{},
		frozenIPs: map[string]Key{}, off: map[BD]bool{}, disabled: map[string]bool{}, faults: map[FaultID]Fault{},
		directory: map[Key]*Record{}, seen: map[Key]*Record{}, asked: map[string]int{}}
}

// event gives the leaf an event now.
func (w *world) event(ev Event) []Action {
	w.t.Helper()
	w.overhear(&ev)
	actions := w.core.Handle(w.now, ev)
	w.compareTwin(actions, func(c *Core) []Action { return c.Handle(w.now, ev) })
	w.apply(actions)
	return w.got
}

func (w *world) compareTwin(actions []Action, handle func(*Core) []Action) {
	w.t.Helper()
	if w.twin == nil {
		return
	}
	if a, b := fmt.Sprint(actions), fmt.Sprint(handle(w.twin)); a != b {
		w.t.Fatalf("the same events lead to\n  %s\nand to\n  %s", a, b)
	}
}

// overhear notes what an event tells of the directory: that it now has another leaf's record, or this leaf's under another
// sequence number.
func (w *world) overhear(ev *Event) {
	if ev.Kind == Asked {
		w.asked[fmt.Sprint(ev.BD, ev.Target, ev.MAC)]++
	}
	k, seq := ev.Key, ev.Seq
	if r := ev.Record; r != nil {
		k, seq = r.Key, r.Seq
		if old := w.directory[k]; old != nil && Compare(r, old) > 0 &&
			(r.TEP != w.core.tep.Value() || r.Status == Tombstone && (r.Seq > old.Seq || r.TS > old.TS)) {
			delete(w.directory, k)
		}
	}
	if old := w.directory[k]; old != nil && seq > old.Seq && (ev.Record == nil || ev.Record.TEP == w.core.tep.Value()) {
		raised := *old
		raised.Seq = seq
		w.directory[k] = &raised
	}
}

func (w *world) setConfig(change func(*Config)) error {
	w.t.Helper()
	cfg := w.core.cfg.clone()
	change(&cfg)
	actions, err := w.core.SetConfig(w.now, cfg)
	if err == nil {
		w.compareTwin(actions, func(c *Core) []Action {
			again, _ := c.SetConfig(w.now, cfg)
			return again
		})
		w.apply(actions)
	}
	return err
}

// wait lets time pass with ticks whenever the leaf asks for them, and returns all actions.
func (w *world) wait(d time.Duration) []Action {
	w.t.Helper()
	var all []Action
	until := w.now.Add(d)
	for {
		next, any := w.core.NextDeadline()
		if !any || next.After(until) {
			break
		}
		if next.After(w.now) {
			w.now = next
		}
		all = append(all, w.event(Event{})...)
		if again, any := w.core.NextDeadline(); any && !again.After(w.now) {
			w.t.Fatalf("after a tick at %v the next deadline is %v", w.now, again)
		}
	}
	w.now = until
	all = append(all, w.event(Event{})...)
	w.got = all
	return all
}

func (w *world) learn(n int, port string, ips ...netip.Addr) []Action {
	w.t.Helper()
	ev := Event{Kind: Learned, Key: key(n), Port: port}
	if len(ips) > 0 {
		ev.IP = ips[0]
	}
	return w.event(ev)
}

// record is what another leaf says of an endpoint.
func (w *world) record(n int, tep netip.Addr, seq uint32, ips ...netip.Addr) *Record {
	r := &Record{Key: key(n), VRF: 7, TEP: tep, Port: "eth9", Seq: seq, TS: w.now.UnixNano(), Publisher: "leaf-" + tep.String(), Epoch: 1}
	for _, a := range ips {
		r.IPs = append(r.IPs, IP{a, r.TS})
	}
	slices.SortFunc(r.IPs, func(a, b IP) int { return a.Addr.Compare(b.Addr) })
	return r
}

func (w *world) fromDirectory(r *Record) []Action {
	w.t.Helper()
	return w.event(Event{Kind: FromDirectory, Record: r})
}

func (w *world) movedTo(n int, tep netip.Addr, seq uint32, ips ...netip.Addr) []Action {
	w.t.Helper()
	return w.event(Event{Kind: Moved, Record: w.record(n, tep, seq, ips...)})
}

func (w *world) apply(actions []Action) {
	w.t.Helper()
	w.got = slices.Clone(actions)
	for _, a := range actions {
		switch a.Kind {
		case Publish, Withdraw:
			r := a.Record
			if err := r.Validate(); err != nil {
				w.t.Fatalf("%v of what is not valid: %v", a.Kind, err)
			}
			if old := w.seen[a.Key]; old != nil && r.TS <= old.TS {
				w.t.Fatalf("%v of %v: seq %d ts %d is not later than seq %d ts %d", a.Kind, a.Key, r.Seq, r.TS, old.Seq, old.TS)
			}
			if a.Kind == Withdraw != (r.Status == Tombstone) || a.Kind == Withdraw != a.Cause.Withdraws() {
				w.t.Fatalf("%v with status %v and cause %v", a.Kind, r.Status, a.Cause)
			}
			w.seen[a.Key] = r
			w.directory[a.Key] = r
			if a.Kind == Withdraw {
				delete(w.directory, a.Key)
			}
		case ProgramLocal:
			w.kernel[a.Key] = fmt.Sprint("port ", a.Port, ".", a.VLAN)
		case ProgramRemote:
			w.kernel[a.Key] = fmt.Sprint("leaf ", a.TEP, " ", a.IPs)
		case FreezeMAC:
			place := fmt.Sprint("leaf ", a.TEP)
			if a.Port != "" {
				place = fmt.Sprint("port ", a.Port, ".", a.VLAN)
			}
			w.kernel[a.Key] = "frozen " + place
		case UnfreezeMAC:
			if !strings.HasPrefix(w.kernel[a.Key], "frozen") {
				w.t.Fatalf("unfreeze of %v, which is %q", a.Key, w.kernel[a.Key])
			}
		case Remove:
			delete(w.kernel, a.Key)
		case Reply:
			who := fmt.Sprint(a.BD, a.IP, a.Asker.MAC)
			if w.asked[who]--; w.asked[who] < 0 {
				w.t.Fatalf("an answer without a question: %v", a)
			}
			if to := w.kernel[Key{a.BD, a.Asker.MAC}]; to != fmt.Sprint("port ", a.Port, ".", a.VLAN) && !strings.HasPrefix(to, "frozen port "+a.Port) ||
				!strings.HasPrefix(w.kernel[a.Key], "leaf ") || !strings.Contains(w.kernel[a.Key], a.IP.String()) {
				w.t.Fatalf("%v to %v at %s, about one at %s", a, a.Asker, to, w.kernel[a.Key])
			}
		case BounceOn:
			w.bounces[a.Key] = a.TEP
		case BounceOff:
			delete(w.bounces, a.Key)
		case FreezeIP:
			w.frozenIPs[fmt.Sprint(a.VRF, a.IP)] = a.Key
		case UnfreezeIP:
			delete(w.frozenIPs, fmt.Sprint(a.VRF, a.IP))
		case LearningOff:
			w.off[a.BD] = true
		case LearningOn:
			delete(w.off, a.BD)
		case PortDisable:
			w.disabled[a.Port] = true
		case PortEnable:
			delete(w.disabled, a.Port)
		case FaultRaised:
			if _, stands := w.faults[a.Fault.FaultID]; stands {
				w.t.Fatalf("fault %v raised twice", a.Fault)
			}
			w.faults[a.Fault.FaultID] = *a.Fault
		case FaultCleared:
			if _, stands := w.faults[a.Fault.FaultID]; !stands {
				w.t.Fatalf("fault %v cleared that does not stand", a.Fault)
			}
			delete(w.faults, a.Fault.FaultID)
		}
	}
	w.check()
}

// check compares the data plane, the directory and the faults with what the leaf knows, and the leaf with itself.
func (w *world) check() {
	w.t.Helper()
	c := w.core
	kernel, bounces, frozenIPs, owned := map[Key]string{}, map[Key]netip.Addr{}, map[string]Key{}, map[Key]bool{}
	local, remote, rogue, ips := 0, 0, 0, 0
	behind := map[*port]int{}
	for _, d := range c.domains {
		for m, e := range d.eps {
			if e.dom != d || e.mac != m || e.state == Absent {
				w.t.Fatalf("entry %v is in the wrong place or state %v", e.key(), e.state)
			}
			if (e.port == nil) == (e.tep == tep{}) || e.state.IsLocal() && e.port == nil || (e.state == Remote || e.state == Bounce) && e.port != nil {
				w.t.Fatalf("%v in state %v is at %v", e.key(), e.state, e.place())
			}
			if (e.state == Bounce && e.bounceUntil == 0) || e.bounceUntil != 0 && e.state != Bounce && e.state != Frozen {
				w.t.Fatalf("%v in state %v has a bounce entry until %v", e.key(), e.state, e.bounceUntil)
			}
			if (e.mine && e.port != nil) != (e.refreshAt != 0) {
				w.t.Fatalf("%v: mine %v, refresh at %v, place %v", e.key(), e.mine, e.refreshAt, e.place())
			}
			if due := e.dueAt(); due <= c.now || due != never && (e.pos < 0 || e.due > due) {
				w.t.Fatalf("at %v %v in state %v is due at %v, its timer at %v", c.now, e.key(), e.state, due, e.due)
			}
			where := e.place().Port
			if e.port != nil {
				where = fmt.Sprint("port ", where, ".", e.vlan)
				local++
				behind[e.port]++
			} else {
				where = fmt.Sprint("leaf ", e.tep.Value())
				remote++
			}
			switch e.state {
			case Frozen:
				rogue++
				where = "frozen " + where
			case Remote, Bounce:
				where += fmt.Sprint(" ", e.addrs())
			}
			kernel[e.key()] = where
			if e.bounceUntil != 0 {
				bounces[e.key()] = e.tep.Value()
			}
			owned[e.key()] = e.mine
			for i := range e.ips {
				p := &e.ips[i]
				if c.ips[keyOfIP(d, p.addr)] != e || i > 0 && !e.ips[i-1].addr.Less(p.addr) {
					w.t.Fatalf("address %v of %v is not indexed or out of order", p.addr, e.key())
				}
				ips++
				if p.rogue() {
					frozenIPs[fmt.Sprint(d.cfg.VRF, p.addr)] = e.key()
				}
			}
			if r := w.directory[e.key()]; e.mine && e.port != nil && (r == nil || r.Port != e.port.name || r.VLAN != e.vlan || r.TEP != c.tep.Value() ||
				!slices.EqualFunc(r.IPs, e.addrs(), func(ip IP, a netip.Addr) bool { return ip.Addr == a })) {
				w.t.Fatalf("the directory was told %+v of %v, which is at %v with %v", r, e.key(), e.place(), e.addrs())
			}
		}
	}
	equal(w, "data plane", w.kernel, kernel)
	equal(w, "bounce entries", w.bounces, bounces)
	equal(w, "frozen addresses", w.frozenIPs, frozenIPs)
	if local != c.local || remote != c.remote || rogue != c.rogueMACs || len(bounces) != c.bounces || len(frozenIPs) != c.rogueIPs || ips != len(c.ips) {
		w.t.Fatalf("counted %d local %d remote %d rogue %d bounces %d rogue addresses %d addresses, the core has %d %d %d %d %d %d", local, remote,
			rogue, len(bounces), len(frozenIPs), ips, c.local, c.remote, c.rogueMACs, c.bounces, c.rogueIPs, len(c.ips))
	}
	off, disabled := map[BD]bool{}, map[string]bool{}
	for bd, d := range c.domains {
		if d.offUntil != 0 {
			off[bd] = true
		}
	}
	for _, p := range c.ports {
		if p.disabled {
			disabled[p.name] = true
		}
		if p.endpoints != behind[p] || (p.down || p.disabled) && p.endpoints > 0 {
			w.t.Fatalf("port %+v has %d endpoints", p, behind[p])
		}
	}
	equal(w, "domains that do not learn", w.off, off)
	equal(w, "disabled ports", w.disabled, disabled)
	if len(w.faults) != len(c.faults) {
		w.t.Fatalf("%d faults were raised and not cleared, %d stand", len(w.faults), len(c.faults))
	}
	for k, s := range kernel {
		id := FaultID{Kind: FaultRogueMAC, Key: k}
		if _, stands := w.faults[id]; stands != strings.HasPrefix(s, "frozen") {
			w.t.Fatalf("%v is %q, its fault stands: %v", k, s, stands)
		}
	}
}

func equal[K, V comparable](w *world, what string, got, want map[K]V) {
	w.t.Helper()
	if !maps.Equal(got, want) {
		w.t.Fatalf("%s: as told\n  %v\nas known\n  %v", what, got, want)
	}
}

// kinds returns what was asked for by the last event, without what only tells operators.
func (w *world) kinds() string {
	var out []string
	for _, a := range w.got {
		switch a.Kind {
		case Notify, FaultRaised, FaultCleared:
		case Publish, Withdraw:
			out = append(out, a.Kind.String()+" "+a.Cause.String())
		default:
			out = append(out, a.Kind.String())
		}
	}
	return strings.Join(out, ", ")
}

// changes returns what operators were told by the last event.
func (w *world) changes() string {
	var out []string
	for _, a := range w.got {
		switch a.Kind {
		case Notify:
			out = append(out, a.Change.Kind.String())
		case FaultRaised:
			out = append(out, "raised "+a.Fault.Kind.String())
		case FaultCleared:
			out = append(out, "cleared "+a.Fault.Kind.String())
		}
	}
	return strings.Join(out, ", ")
}

func (w *world) wantKinds(want string) {
	w.t.Helper()
	if got := w.kinds(); got != want {
		w.t.Fatalf("asked for %q, want %q", got, want)
	}
}

func (w *world) wantChanges(want string) {
	w.t.Helper()
	if got := w.changes(); got != want {
		w.t.Fatalf("told %q, want %q", got, want)
	}
}

// wantState checks an endpoint: "local eth1", "frozen leaf 10.255.0.2", "absent".
func (w *world) wantState(n int, want string) {
	w.t.Helper()
	got := "absent"
	if v, found := w.core.Lookup(key(n)); found {
		got = strings.Replace(fmt.Sprint(v.State, " ", v.Place), "port ", "", 1)
	}
	if got != want {
		w.t.Fatalf("endpoint %d is %q, want %q", n, got, want)
	}
}

func (w *world) wantIPs(n int, want ...netip.Addr) {
	w.t.Helper()
	v, _ := w.core.Lookup(key(n))
	var got []netip.Addr
	for _, ip := range v.IPs {
		got = append(got, ip.Addr)
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("endpoint %d has %v, want %v", n, got, want)
	}
}

func (w *world) wantFaults(want ...FaultKind) {
	w.t.Helper()
	var got []FaultKind
	for _, f := range w.core.Faults() {
		got = append(got, f.Kind)
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("faults %v, want %v", got, want)
	}
}

func (w *world) counter(name string) int64 {
	v, _ := w.counters.Get(name)
	return v
}

func count(actions []Action, kind ActionKind) int {
	n := 0
	for _, a := range actions {
		if a.Kind == kind {
			n++
		}
	}
	return n
}

func rogueOn(t *testing.T) *world {
	cfg := testConfig()
	cfg.Rogue.Enabled = true
	return newWorld(t, cfg, leaf1)
}
