package endpoint

import (
	"container/heap"
	"math"
	"net/netip"
	"slices"
	"time"
	"unique"
)

// instant is a time in nanoseconds since the core's first event; it never runs backwards.
type instant int64

const never instant = math.MaxInt64

func (i instant) add(d time.Duration) instant {
	if i == never || int64(d) > int64(never-i) {
		return never
	}
	return i + instant(d)
}

// tep is a tunnel address, stored once for all endpoints behind it.
type tep = unique.Handle[netip.Addr]

// spot is a place in comparable form: port and VLAN, or tunnel address.
type spot struct {
	port *port
	vlan uint16
	tep  tep
}

// entry is an endpoint. It is in the table as long as its state is not Absent.
type entry struct {
	dom  *domain
	port *port // nil: behind another leaf
	tep  tep
	mac  MAC
	vlan uint16

	state   State
	probes  uint8 // sent in state Probing; in state Remote: how often the data plane was asked whether it is in use
	active  bool  // the data plane will say when it falls silent
	foreign bool  // behind a leaf of another site
	fresh   bool  // learned here as unknown; the directory may still know it from elsewhere
	lost    bool  // the kernel's entry is gone: to be programmed when it is heard or repaired
	mine    bool  // the directory has it from this leaf, as far as known

	// The newest statement on who has it: this leaf's own or another's.
	seq       uint32
	ts        int64
	publisher unique.Handle[string]
	epoch     uint64

	heard       instant // last sign of life, or last update if remote
	probeAt     instant // in state Probing, and in state Remote if not 0: when the next step is due
	bounceUntil instant // 0: no bounce entry
	refreshAt   instant // of local ones
	due         instant // when its timer runs off; may be early, never late
	pos         int32   // in the heap; -1: not there

	ips []ipEntry // ascending
	x   *extra    // nil for the well-behaved
}

// ipEntry is one address of an endpoint.
type ipEntry struct {
	addr    netip.Addr
	ts      int64
	heard   instant
	probeAt instant // if probes is not 0: when the next step is due
	probes  uint8
	x       *ipExtra // nil for the well-behaved
}

// extra is what only few endpoints need.
type extra struct {
	moves    window
	pairs    []pairWindow
	until    instant // in state Frozen: when the hold ends
	pending  *Record // in state Frozen: the newest that the directory said
	repairAt instant // not before this is a lost entry programmed again
}

type ipExtra struct {
	moves window
	until instant // 0: not rogue
}

func (e *entry) extra() *extra {
	if e.x == nil {
		e.x = &extra{}
	}
	return e.x
}

func (p *ipEntry) extra() *ipExtra {
	if p.x == nil {
		p.x = &ipExtra{}
	}
	return p.x
}

func (p *ipEntry) rogue() bool { return p.x != nil && p.x.until != 0 }

func (e *entry) key() Key { return Key{e.dom.cfg.BD, e.mac} }

func (e *entry) spot() spot { return spot{e.port, e.vlan, e.tep} }

func (e *entry) findIP(a netip.Addr) (int, bool) {
	return slices.BinarySearchFunc(e.ips, a, func(p ipEntry, a netip.Addr) int { return p.addr.Compare(a) })
}

// ip returns the endpoint's entry for one of its addresses, valid until the next change of its addresses.
func (e *entry) ip(a netip.Addr) *ipEntry {
	if i, found := e.findIP(a); found {
		return &e.ips[i]
	}
	return nil
}

func (e *entry) hasRogueIP() bool {
	return slices.ContainsFunc(e.ips, func(p ipEntry) bool { return p.rogue() })
}

func (e *entry) addrs() []netip.Addr {
	out := make([]netip.Addr, len(e.ips))
	for i := range e.ips {
		out[i] = e.ips[i].addr
	}
	return out
}

// domain is a bridge domain and the endpoints in it.
type domain struct {
	cfg Domain
	ret Retention
	eps map[MAC]*entry

	offUntil instant // 0: it learns
	offFault FaultID

	moves   int     // in the second that began at movesAt
	movesAt instant // 0: not yet
}

// port is an access port, known since the first event that named it.
type port struct {
	name      string
	endpoints int // behind it
	askers    int // of which a question waits
	down      bool
	disabled  bool // by loop protection
	fell      bool // it went down since it was disabled
	enableAt  instant
	fault     FaultID
}

// ipKey names an address within a VRF, a link-local one within its domain.
type ipKey struct {
	scope uint64
	addr  [16]byte
}

func keyOfIP(d *domain, a netip.Addr) ipKey {
	if a.IsLinkLocalUnicast() {
		return ipKey{1<<32 | uint64(d.cfg.BD), a.As16()}
	}
	return ipKey{uint64(d.cfg.VRF), a.As16()}
}

// timers is a heap of endpoints by due.
type timers []*entry

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].pos, t[j].pos = int32(i), int32(j)
}

func (t *timers) Push(x any) {
	e := x.(*entry)
	e.pos = int32(len(*t))
	*t = append(*t, e)
}

func (t *timers) Pop() any {
	old := *t
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	e.pos = -1
	return e
}

// schedule makes e's timer run off at due or before.
func (t *timers) schedule(e *entry, due instant) {
	switch {
	case e.pos < 0 && due == never:
	case e.pos < 0:
		e.due = due
		heap.Push(t, e)
	case due < e.due:
		e.due = due
		heap.Fix(t, int(e.pos))
	}
}

func (t *timers) cancel(e *entry) {
	if e.pos >= 0 {
		heap.Remove(t, int(e.pos))
	}
}

// window is the times of the last moves, oldest first.
type window []instant

// add notes a move and returns how many lie within the interval that ends now.
func (w *window) add(now instant, interval time.Duration) int {
	old := 0
	for old < len(*w) && (*w)[old] <= now-instant(interval) {
		old++
	}
	*w = append(slices.Delete(*w, 0, old), now)
	return len(*w)
}

// pairWindow is the moves between two places, in either direction.
type pairWindow struct {
	a, b  spot
	moves window
}
