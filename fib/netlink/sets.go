package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/internal/rtnl"
	"openr/msg"
)

// set is a distinct set of next hops and alternates, as routes have them, in one call of Apply.
type set struct {
	family       uint8
	hops, backup []msg.NextHop // as given
	fresh        int           // routes with one way that come to it in this call, from another or from nothing

	aim            // hops and backup as objects, over interfaces that there are, dead ones too
	standby bool   // its group is to be a resilient one
	alive   bool   // traffic gets somewhere, or is to be dropped
	key     []byte // of a group for it, and
	held    []byte // of a resilient one
	group   *group // where routes with this set go; nil: nowhere, see err
	err     error  // why next hops are missing, or all
	asked   *form  // what was asked for, tidied up; nil: it is not all there
}

// form returns what Dump is to show; nil if that is not all that was asked for.
func (s *set) form() *form {
	if s.err != nil {
		return nil
	}
	return s.asked
}

// sets finds the set of a route without allocating, and mostly without comparing.
type sets struct {
	all    []*set
	byHash map[uint64][]*set
	last   [2]*set // of each family, for routes that share the slices of the one before
}

func (c *sets) reset() {
	c.all, c.byHash, c.last = nil, map[uint64][]*set{}, [2]*set{}
}

// of returns the set of a route.
func (c *sets) of(r *msg.Route) *set {
	fam := family(r.Prefix.Addr())
	last := &c.last[0]
	if fam == unix.AF_INET6 {
		last = &c.last[1]
	}
	if s := *last; s != nil && sameSlice(s.hops, r.NextHops) && sameSlice(s.backup, r.Backup) {
		return s
	}
	h := hashHops(hashHops(uint64(fam)*mix+uint64(len(r.NextHops)), r.NextHops), r.Backup)
	for _, s := range c.byHash[h] {
		if s.family == fam && slices.EqualFunc(s.hops, r.NextHops, sameHop) && slices.EqualFunc(s.backup, r.Backup, sameHop) {
			*last = s
			return s
		}
	}
	s := &set{family: fam, hops: r.NextHops, backup: r.Backup}
	c.all, c.byHash[h], *last = append(c.all, s), append(c.byHash[h], s), s
	return s
}

func sameSlice(a, b []msg.NextHop) bool {
	return len(a) == len(b) && (len(a) == 0 || unsafe.SliceData(a) == unsafe.SliceData(b))
}

func sameHop(a, b msg.NextHop) bool {
	return a.Addr == b.Addr && a.IfName == b.IfName && a.Weight == b.Weight
}

const mix = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio

// hashHops mixes what is programmed of next hops into h.
func hashHops(h uint64, hops []msg.NextHop) uint64 {
	for i := range hops {
		n := &hops[i]
		a := addrBytes(n.Addr)
		h = (h ^ binary.NativeEndian.Uint64(a[:])) * mix
		h = (h ^ binary.NativeEndian.Uint64(a[8:])) * mix
		h ^= h >> 29
		for j := range len(n.IfName) {
			h = (h ^ uint64(n.IfName[j])) * mix
		}
		h = (h ^ uint64(n.Weight)) * mix
		h ^= h >> 32
	}
	return h
}

// resolve finds the objects for a set's next hops. Next hops over interfaces that are missing are left out and named in err;
// alternates that are of no use are left out silently.
func (s *set) resolve(p *Programmer) {
	hops := fib.Ways(s.hops, int32(p.maxWeight))
	backup := s.backup
	if !p.alternates {
		backup = nil
	}
	s.asked = &form{hops, backup}
	if len(hops) > maxMembers && p.objects {
		s.err = rtnl.Error{Errno: unix.E2BIG, Text: fmt.Sprintf("%d next hops are more than %d", len(hops), maxMembers)}
		return
	}
	if s.err = wrongFamily(s.family, hops); s.err != nil {
		return
	}
	missing := missingHops{all: len(hops)}
	for _, h := range hops {
		w, err := p.way(s.family, h)
		if err != nil {
			missing.add(err)
			continue
		}
		s.ways = append(s.ways, member{p.books.wanted(w), uint32(max(h.Weight, 1))})
	}
	s.err = missing.err()
	sortMembers(s.ways)
	if len(hops) == 0 || len(backup) == 0 {
		return
	}
	for _, h := range fib.Ways(backup, 1) {
		if wrongFamily(s.family, []msg.NextHop{h}) != nil || len(s.ways)+len(s.spare) == maxMembers {
			continue
		}
		w, err := p.way(s.family, h)
		if err != nil {
			s.asked = nil // something to come back for
			continue
		}
		o := p.books.wanted(w)
		if !slices.ContainsFunc(s.ways, func(m member) bool { return m.object == o }) {
			s.spare = append(s.spare, member{o, 1})
		}
	}
	sortMembers(s.spare)
}

// wrongFamily is the reason to refuse IPv4 next hops of IPv6 routes.
func wrongFamily(fam uint8, hops []msg.NextHop) error {
	for _, h := range hops {
		if h.Addr.Is4() && fam == unix.AF_INET6 {
			return rtnl.Error{Errno: unix.EAFNOSUPPORT, Text: "an IPv6 route cannot have the IPv4 next hop " + h.Addr.String()}
		}
	}
	return nil
}

// way resolves a next hop's interface.
func (p *Programmer) way(fam uint8, h msg.NextHop) (way, error) {
	i, state := p.watch.lookup(h.IfName)
	switch {
	case state == linkMissing:
		return way{}, fmt.Errorf("%w (ENODEV): there is no interface %s", unix.ENODEV, h.IfName)
	case state == linkHeld && !p.objects:
		return way{}, p.watch.dead(i)
	}
	w := way{addr: h.Addr.WithZone(""), index: i, family: fam}
	if w.addr.IsValid() {
		w.family = family(w.addr)
	}
	return w, nil
}

// live reports whether a group may have an object as a member.
func (p *Programmer) live(o *object) bool {
	return o.err == nil && (!p.objects || p.watch.dead(o.way.index) == nil)
}

// desired returns the members that the kernel's group for an aim is to have: the ways that are alive, and if there are none the
// alternates. In a resilient group the alternates stand beside a single way, whose weight leaves them no bucket.
func (p *Programmer) desired(a *aim, standby bool) []member {
	live := func(from []member) (out []member) {
		for _, m := range from {
			if p.live(m.object) {
				out = append(out, m)
			}
		}
		return out
	}
	out := live(a.ways)
	switch g := commonDivisor(out); {
	case len(out) == 0:
		return live(a.spare)
	case standby && len(a.ways) == 1:
		if spare := live(a.spare); len(spare) > 0 {
			out[0].weight = p.maxWeight
			out = append(out, spare...)
			sortMembers(out)
			return out
		}
		fallthrough
	default:
		for i := range out {
			out[i].weight /= g
		}
	}
	return out
}

// kind decides whether a set's group is to be a resilient one: from p.standing routes on that have no other way, wherever their
// alternates are. Routes that came before in smaller numbers stay where they are, as a change of mind would cost a message for
// each; so those on alternates from memory are always fewer than that.
func (s *set) kind(p *Programmer, crowd map[*object]int) {
	o := onlyWay(&s.aim)
	if p.standing == 0 || o == nil {
		return
	}
	there := func(standby bool) bool { return p.books.byKey[string(p.books.keyOf(&s.aim, standby))] != nil }
	s.standby = there(true) || crowd[o] >= p.standing && (len(s.spare) > 0 || !there(false))
}

// onlyWay returns the way that is the only one; nil if there are more or none.
func onlyWay(a *aim) *object {
	if len(a.ways) != 1 {
		return nil
	}
	return a.ways[0].object
}

// settle leaves out what the kernel has refused, and says what is missing. That all next hops are dead is no failure if there
// is an alternate: the kernel sends packets there until they live again or others are asked for.
func (s *set) settle(p *Programmer) {
	missing := missingHops{all: len(s.ways)}
	dead := 0
	s.ways = slices.DeleteFunc(s.ways, func(m member) bool {
		o := m.object
		if o.err != nil {
			missing.add(p.blame(o, o.err, missing.all))
			return true
		}
		if err := p.watch.dead(o.way.index); err != nil && p.objects {
			missing.add(p.blame(o, err, missing.all))
			dead++
		}
		return false
	})
	s.alive = len(s.hops) == 0 || len(p.desired(&s.aim, false)) > 0
	if s.err == nil && (dead == 0 || dead < missing.all || !s.alive) {
		s.err = missing.err()
	}
	before := len(s.spare)
	s.spare = slices.DeleteFunc(s.spare, func(m member) bool { return m.object.err != nil })
	if len(s.spare) < before {
		s.asked = nil
	}
	g := commonDivisor(s.ways)
	for i := range s.ways {
		s.ways[i].weight /= g
	}
	s.key = slices.Clone(p.books.keyOf(&s.aim, false))
	s.held = slices.Clone(p.books.keyOf(&s.aim, true))
}

// blame says why an object is missing, and if there are several, which.
func (p *Programmer) blame(o *object, why error, of int) error {
	if of == 1 {
		return why
	}
	return fmt.Errorf("%s: %w", describeHop(msg.NextHop{Addr: o.way.addr, IfName: p.watch.name(o.way.index)}), why)
}

func commonDivisor(members []member) uint32 {
	var g uint32
	for _, m := range members {
		for a := m.weight; a != 0; {
			g, a = a, g%a
		}
	}
	return max(g, 1)
}

// unmix tells ways and alternates apart in a group as the kernel has it.
func unmix(members []member, standby bool, limit uint32) (ways, spare []member) {
	var top uint32
	for _, m := range members {
		top = max(top, m.weight)
	}
	for _, m := range members {
		if standby && m.weight == 1 && top == limit {
			spare = append(spare, m)
		} else {
			ways = append(ways, m)
		}
	}
	g := commonDivisor(ways)
	for i := range ways {
		ways[i].weight /= g
	}
	return ways, spare
}

// nextHops returns ways or alternates as next hops.
func (p *Programmer) nextHops(members []member) (hops []msg.NextHop) {
	for _, m := range members {
		hops = append(hops, msg.NextHop{Addr: m.object.way.addr, IfName: p.watch.name(m.object.way.index), Weight: int32(m.weight)})
	}
	slices.SortFunc(hops, msg.NextHop.Compare)
	return hops
}

// missingHops collects why next hops of a route cannot be programmed.
type missingHops struct {
	all, n int
	first  error
}

func (m *missingHops) add(err error) {
	if m.n++; m.first == nil {
		m.first = err
	}
}

// err returns nil if none is missing.
func (m *missingHops) err() error {
	if m.n == 0 || m.all == 1 {
		return m.first
	}
	return fmt.Errorf("%w; %d of %d next hops cannot be programmed", m.first, m.n, m.all)
}

// addrBytes returns an address as 16 bytes, zero for none.
func addrBytes(a netip.Addr) (b [16]byte) {
	if a.IsValid() {
		b = a.As16()
	}
	return b
}
