package netlink

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/msg"
)

// set is a distinct set of next hops and alternates, as routes have them, in one call of Apply.
type set struct {
	family       uint8
	hops, backup []msg.NextHop // as given

	ways, spare []member // hops and backup as objects, with the wanted weights
	members     []member // what there is of them
	key         []byte   // of the members
	group       *group   // where routes with this set go; nil: nowhere, see err
	err         error    // why next hops are missing, or all
	asked       *form    // what was asked for, tidied up; nil: it is not all there
}

// empty reports whether nothing is left of a set that has next hops.
func (s *set) empty() bool { return len(s.hops) > 0 && len(s.members) == 0 }

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

// resolve finds the objects for a set's next hops. Next hops over interfaces that are missing or down are left out and
// named in err; alternates that are of no use are left out silently.
func (s *set) resolve(p *Programmer) {
	limit := p.maxWeight
	hops := fib.Ways(s.hops, int32(limit))
	backup := s.backup
	if !p.standby {
		backup = nil
	}
	s.asked = &form{hops, backup}
	if len(hops) > maxMembers && p.objects {
		s.err = kernelError{unix.E2BIG, fmt.Sprintf("%d next hops are more than %d", len(hops), maxMembers)}
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
		s.ways = append(s.ways, member{p.books.object(w), uint32(max(h.Weight, 1))})
	}
	s.err = missing.err()
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
		o := p.books.object(w)
		if !slices.ContainsFunc(s.ways, func(m member) bool { return m.object == o }) {
			s.spare = append(s.spare, member{o, 1})
		}
	}
}

// wrongFamily is the reason to refuse IPv4 next hops of IPv6 routes.
func wrongFamily(fam uint8, hops []msg.NextHop) error {
	for _, h := range hops {
		if h.Addr.Is4() && fam == unix.AF_INET6 {
			return kernelError{unix.EAFNOSUPPORT, "an IPv6 route cannot have the IPv4 next hop " + h.Addr.String()}
		}
	}
	return nil
}

// way resolves a next hop's interface.
func (p *Programmer) way(fam uint8, h msg.NextHop) (way, error) {
	i, state := p.watch.lookup(h.IfName)
	switch state {
	case linkMissing:
		return way{}, fmt.Errorf("%w (ENODEV): there is no interface %s", unix.ENODEV, h.IfName)
	case linkHeld:
		return way{}, fmt.Errorf("%w (ENETDOWN): interface %s has been found dead", unix.ENETDOWN, h.IfName)
	}
	w := way{addr: h.Addr.WithZone(""), index: i, family: fam}
	if w.addr.IsValid() {
		w.family = family(w.addr)
	}
	return w, nil
}

// settle leaves out what the kernel has refused, and says what the members of the group are to be. Alternates get the least
// weight beside the greatest: of 65536 flows one (of 256, before Linux 6.12) takes an alternate, which being loop-free
// delivers it, and when the others vanish the kernel itself moves all traffic there.
func (s *set) settle(p *Programmer) {
	missing := missingHops{all: len(s.ways)}
	var hops []member
	for _, m := range s.ways {
		if m.object.err != nil {
			missing.add(p.blame(m.object, len(s.ways)))
			continue
		}
		hops = append(hops, m)
	}
	if s.err == nil {
		s.err = missing.err()
	}
	spare := slices.DeleteFunc(slices.Clone(s.spare), func(m member) bool { return m.object.err != nil })
	if len(spare) < len(s.spare) {
		s.asked = nil
	}
	g, top := commonDivisor(hops), uint32(0)
	for _, m := range hops {
		top = max(top, m.weight)
	}
	for i := range hops {
		hops[i].weight /= g
		if len(spare) > 0 {
			hops[i].weight *= p.maxWeight / (top / g)
		}
	}
	s.members = append(hops, spare...)
	sortMembers(s.members)
	s.key = slices.Clone(p.books.keyOf(s.members))
}

// blame says why an object is missing, and if there are several, which.
func (p *Programmer) blame(o *object, of int) error {
	if of == 1 {
		return o.err
	}
	return fmt.Errorf("%s: %w", describeHop(msg.NextHop{Addr: o.way.addr, IfName: p.watch.name(o.way.index)}), o.err)
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

// unsettle tells next hops and alternates apart in a group that settle has made.
func unsettle(members []member, limit uint32, name func(uint32) string) (hops, backup []msg.NextHop) {
	var top uint32
	for _, m := range members {
		top = max(top, m.weight)
	}
	spare := func(m member) bool { return m.weight == 1 && top > limit/2 }
	g := commonDivisor(slices.DeleteFunc(slices.Clone(members), spare))
	for _, m := range members {
		h := msg.NextHop{Addr: m.object.way.addr, IfName: name(m.object.way.index), Weight: 1}
		if spare(m) {
			backup = append(backup, h)
		} else {
			h.Weight = int32(m.weight / g)
			hops = append(hops, h)
		}
	}
	slices.SortFunc(hops, msg.NextHop.Compare)
	slices.SortFunc(backup, msg.NextHop.Compare)
	return hops, backup
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
