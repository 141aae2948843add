package linux

import (
	"slices"

	"golang.org/x/sys/unix"

	"openr/endpoint"
)

// learner turns what the kernel tells into what happened. It is plain code: notifications in, events and errands out.
//
// It knows the local entries of the bridges, and no others: remote ones are known to the kernel alone.
type learner struct {
	domains  []*domain
	byBD     map[endpoint.BD]*domain
	byBridge map[uint32]*domain
	links    map[uint32]link
	ports    map[uint32]*port
	macs     map[endpoint.Key]*local

	started bool // what was there at the start has been told
	events  []endpoint.Event
	errands []errand
	ignored map[string]int64 // by counter
}

// domain is a bridge domain whose devices have been found.
type domain struct {
	Domain
	bridge, vxlan uint32 // interfaces; 0: not there
	attached      bool   // both are there, and the vxlan device is a port of the bridge
	joined        bool   // and it has the domain's network identifier
	ipv6          bool   // the bridge can have neighbours of IPv6
	learning      bool
	count         int // local entries
}

// port is an access port: a port of a domain's bridge that is not its vxlan device.
type port struct {
	name    string
	domain  *domain
	running bool
}

// local is an entry of a bridge behind an access port.
type local struct {
	index   uint32 // the port
	managed bool   // the kernel tells when it falls silent, and does not delete it itself
	frozen  bool   // it stays where it is
	quiet   bool   // it was silent for the bridge's ageing time
	echo    uint32 // the port where we have programmed it, until the kernel has told of that; 0: none
}

// errand is something to do in the kernel about what happened.
type errand struct {
	kind errandKind
	key  endpoint.Key
	at   uint32 // interface
}

type errandKind uint8

const (
	errandDelete errandKind = iota + 1 // delete the entry from the port
	errandOpen                         // tap a port, and set its flags
	errandClose                        // a port is gone
	errandSetUp                        // a domain's devices have come
)

func newLearner(domains []Domain) *learner {
	l := &learner{
		byBD: map[endpoint.BD]*domain{}, byBridge: map[uint32]*domain{}, links: map[uint32]link{}, ports: map[uint32]*port{},
		macs: map[endpoint.Key]*local{}, ignored: map[string]int64{},
	}
	for _, d := range domains {
		one := &domain{Domain: d, learning: true}
		l.domains = append(l.domains, one)
		l.byBD[d.BD] = one
	}
	return l
}

// take returns what has come up since it was called last.
func (l *learner) take() ([]endpoint.Event, []errand) {
	e, todo := l.events, l.errands
	l.events, l.errands = nil, nil
	return e, todo
}

// tell adds an event at a port.
func (l *learner) tell(kind endpoint.EventKind, key endpoint.Key, at uint32) {
	e := endpoint.Event{Kind: kind, Key: key}
	if p := l.ports[at]; p != nil {
		e.Port = p.name
		if kind == endpoint.Idle {
			e.For = p.domain.Idle
		}
	}
	l.events = append(l.events, e)
}

func (l *learner) errand(kind errandKind, key endpoint.Key, at uint32) {
	l.errands = append(l.errands, errand{kind, key, at})
}

// domain returns the domain with a number; nil if it is not configured.
func (l *learner) domain(bd endpoint.BD) *domain { return l.byBD[bd] }

// portByName returns the index of an access port; 0 if there is none with the name in the domain, or with domain 0 in any.
func (l *learner) portByName(bd endpoint.BD, name string) uint32 {
	for index, p := range l.ports {
		if p.name == name && (bd == 0 || p.domain.BD == bd) {
			return index
		}
	}
	return 0
}

// portsOf returns the access ports of a domain in order.
func (l *learner) portsOf(d *domain) (out []uint32) {
	for index, p := range l.ports {
		if p.domain == d {
			out = append(out, index)
		}
	}
	slices.Sort(out)
	return out
}

// link takes in what the kernel tells of an interface.
func (l *learner) link(n link, gone bool) {
	old, known := l.links[n.index]
	if known && old.name != n.name {
		l.forgetLink(n.index) // renamed
		known = false
	}
	if gone {
		l.forgetLink(n.index)
		return
	}
	l.links[n.index] = n
	for _, d := range l.domains {
		switch {
		case n.name == d.Bridge && n.kind == kindBridge && d.bridge != n.index:
			d.bridge = n.index
			l.byBridge[n.index] = d
			for _, other := range l.links {
				if other.master == n.index {
					l.access(other)
				}
			}
		case n.name == d.VXLAN && n.kind == kindVXLAN:
			d.vxlan = n.index
		}
		l.join(d)
		if known && wipes(d, &old, &n) {
			l.wiped(d)
		}
	}
	l.access(n)
}

// wipes reports whether an interface has changed in a way upon which the kernel forgets what was programmed: a bridge forgets
// its neighbours with another MAC address and when it does not run, a vxlan device what is not permanent when it is down.
func wipes(d *domain, old, n *link) bool {
	switch n.index {
	case d.bridge:
		return old.address != n.address || !old.running && n.running
	case d.vxlan:
		return !old.up && n.up
	}
	return false
}

// wiped tells that remote endpoints have to be programmed again.
func (l *learner) wiped(d *domain) {
	if d.joined && l.started {
		l.tell(endpoint.Wiped, endpoint.Key{BD: d.BD}, 0)
	}
}

// join notes whether a domain's devices are there, and joined.
func (l *learner) join(d *domain) {
	attached := d.bridge != 0 && d.vxlan != 0 && l.links[d.vxlan].master == d.bridge
	had := d.attached
	d.attached, d.joined = attached, attached && l.links[d.vxlan].vni == uint32(d.BD)
	if attached && !had {
		l.errand(errandSetUp, endpoint.Key{BD: d.BD}, d.bridge)
		l.wiped(d)
	}
}

func (l *learner) forgetLink(index uint32) {
	n, ok := l.links[index]
	if !ok {
		return
	}
	n.master = 0
	l.access(n)
	delete(l.links, index)
	for _, d := range l.domains {
		if d.vxlan == index {
			d.vxlan = 0
		}
		if d.bridge == index {
			d.bridge = 0
			delete(l.byBridge, index)
			for _, p := range l.portsOf(d) {
				l.leave(p)
			}
		}
		l.join(d)
	}
}

// access notes whether an interface is an access port, and whether it runs.
func (l *learner) access(n link) {
	d := l.byBridge[n.master]
	p := l.ports[n.index]
	if p != nil && p.domain != d {
		l.leave(n.index)
		p = nil
	}
	if d == nil || n.name == d.VXLAN {
		return
	}
	if p == nil {
		p = &port{name: n.name, domain: d}
		l.ports[n.index] = p
		l.errand(errandOpen, endpoint.Key{BD: d.BD}, n.index)
	}
	if p.running == n.running {
		return
	}
	p.running = n.running
	if n.running {
		l.tell(endpoint.PortUp, endpoint.Key{BD: d.BD}, n.index)
		return
	}
	l.down(n.index)
}

// down notes that a port does not run. The kernel deletes what it has learned there by itself, but not what we manage.
// What it has just told of those need not be told as well.
func (l *learner) down(index uint32) {
	name := l.ports[index].name
	l.events = slices.DeleteFunc(l.events, func(e endpoint.Event) bool { return e.Kind == endpoint.Gone && e.Port == name })
	l.tell(endpoint.PortDown, endpoint.Key{BD: l.ports[index].domain.BD}, index)
	for key, m := range l.macs {
		if m.index == index && !m.frozen {
			l.errand(errandDelete, key, index)
			l.forget(key)
		}
	}
}

// bereft returns the ports of entries that have gone, of which nobody has been told yet.
func (l *learner) bereft() (out []uint32) {
	for _, e := range l.events {
		if e.Kind != endpoint.Gone {
			continue
		}
		if index := l.portByName(e.BD, e.Port); index != 0 && !slices.Contains(out, index) {
			out = append(out, index)
		}
	}
	return out
}

// leave notes that an interface is no access port any more; the kernel has deleted its entries.
func (l *learner) leave(index uint32) {
	p := l.ports[index]
	if p.running {
		l.tell(endpoint.PortDown, endpoint.Key{BD: p.domain.BD}, index)
	}
	for key, m := range l.macs {
		if m.index == index {
			l.forget(key)
		}
	}
	delete(l.ports, index)
	l.errand(errandClose, endpoint.Key{BD: p.domain.BD}, index)
}

// forget strikes out a local entry, without a note.
func (l *learner) forget(key endpoint.Key) {
	if l.macs[key] == nil {
		return
	}
	delete(l.macs, key)
	if d := l.domain(key.BD); d != nil {
		d.count--
	}
}

// entry returns the key of an entry of one of our bridges behind an access port; ok is false for all others.
func (l *learner) entry(n *neighbour) (key endpoint.Key, ok bool) {
	d := l.byBridge[n.master]
	if d == nil || n.family != unix.AF_BRIDGE || n.flags&(unix.NTF_SELF|unix.NTF_EXT_LEARNED) != 0 || n.state&unix.NUD_PERMANENT != 0 {
		return key, false
	}
	if p := l.ports[n.index]; p == nil || p.domain != d {
		return key, false
	}
	if !n.mac.IsHost() {
		l.ignored[counterForged]++
		return key, false
	}
	return endpoint.Key{BD: d.BD, MAC: n.mac}, true
}

// neighbour takes in what the kernel tells of an entry.
func (l *learner) neighbour(n *neighbour, gone bool) {
	key, ok := l.entry(n)
	if !ok {
		return
	}
	m := l.macs[key]
	switch {
	case gone:
		l.deleted(key, m, n)
	case m == nil:
		l.learn(key, n)
	case m.frozen:
		// What was on its way when it was frozen, and the echo of freezing it.
	case m.index == n.index:
		l.activity(key, m, n)
	case m.echo == n.index && n.notify != 0:
		// It moved while it was being programmed where it was before. It is programmed again as a consequence of the move.
		m.echo = 0
	default:
		if n.notify != 0 { // it was managed then, so this is after the echo
			m.echo = 0
		}
		m.index = n.index
		l.found(key, m, n)
	}
}

// deleted takes in that an entry has gone: by its age, which shows in its state, or otherwise.
func (l *learner) deleted(key endpoint.Key, m *local, n *neighbour) {
	if m == nil || m.index != n.index || m.frozen {
		return
	}
	kind := endpoint.Gone
	if n.state&unix.NUD_STALE != 0 {
		kind = endpoint.Idle
	}
	l.tell(kind, key, n.index)
	l.forget(key)
}

// learn notes a new entry.
func (l *learner) learn(key endpoint.Key, n *neighbour) {
	m := l.add(key, n.index)
	if m == nil {
		l.ignored[counterFull]++ // the kernel ages it out
		return
	}
	m.frozen = n.flags&ntfSticky != 0
	l.found(key, m, n)
}

// found tells of an entry that is new where it is.
func (l *learner) found(key endpoint.Key, m *local, n *neighbour) {
	m.managed, m.quiet = n.notify != 0, n.notify&activityExpired != 0
	if m.frozen && !l.started {
		l.tell(endpoint.Pinned, key, n.index)
		return
	}
	l.tell(endpoint.Learned, key, n.index)
	if m.quiet {
		l.tell(endpoint.Idle, key, n.index)
	}
}

// add notes that an entry is at a port; nil if there are too many.
func (l *learner) add(key endpoint.Key, index uint32) *local {
	m := l.macs[key]
	if m == nil {
		d := l.domain(key.BD)
		if d.count >= d.limit() {
			return nil
		}
		d.count++
		m = &local{}
		l.macs[key] = m
	}
	m.index = index
	return m
}

// activity takes in what the kernel tells of an entry that is where it was.
func (l *learner) activity(key endpoint.Key, m *local, n *neighbour) {
	echo := m.echo == n.index
	quiet := n.notify&activityExpired != 0
	m.managed, m.quiet = n.notify != 0, quiet
	switch {
	case quiet:
		l.tell(endpoint.Idle, key, n.index)
	case echo && n.notify != 0:
		m.echo = 0
	default:
		l.tell(endpoint.Heard, key, n.index)
	}
}

// state is what dumps of access ports have shown, by endpoint.
type state map[endpoint.Key]neighbour

// add takes in an entry of a dump.
func (s state) add(l *learner, n *neighbour) {
	if key, ok := l.entry(n); ok {
		s[key] = *n
	}
}

// reconcile takes in what stands, after notifications were lost or at the start: what is not known is learned, what is
// elsewhere has moved, what is missing is gone.
func (l *learner) reconcile(s state) {
	for key, m := range l.macs {
		n, there := s[key]
		m.echo = 0 // lost, or contained in s
		switch {
		case m.frozen:
		case !there:
			l.tell(endpoint.Gone, key, m.index)
			l.forget(key)
		case n.index == m.index && m.quiet != (n.notify&activityExpired != 0):
			l.activity(key, m, &n)
		}
	}
	for key, n := range s {
		if m := l.macs[key]; m == nil || m.index != n.index {
			l.neighbour(&n, false)
		}
	}
}

// heard takes in what ARP or neighbour discovery told at a port.
func (l *learner) heard(index uint32, s sighting, vlan uint16) {
	p := l.ports[index]
	if p == nil || !s.ip.IsValid() {
		return
	}
	key := endpoint.Key{BD: p.domain.BD, MAC: s.mac}
	e := endpoint.Event{Kind: endpoint.Learned, Key: key, Port: p.name, VLAN: vlan, IP: s.ip}
	l.events = append(l.events, e)
	if s.target.IsValid() {
		e.Kind, e.Target = endpoint.Asked, s.target
		l.events = append(l.events, e)
	}
}
