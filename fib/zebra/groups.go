package zebra

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"openr/msg"
)

// groups are the nexthop groups of a session: one for each distinct set of next hops and backups. When a link goes down
// or comes back, the groups over it are sent anew and all routes on them follow, whatever their number. It also puts right
// what zebra 8.0 to 8.5 gets wrong: after a link has been down they leave the kernel's group without its member, and no
// change of a route repairs that; sending the group does (FRR pull request 13413).
type groups struct {
	use   bool   // groups are made
	first uint32 // range of ids
	n     uint32
	next  uint32 // offset of the next id
	byKey map[string]*group
	byID  map[uint32]*group
	idle  []*group // without routes, maybe
}

type groupState uint8

const (
	groupNew    groupState = iota // not sent
	groupSent                     // zebra has not answered
	groupStands                   // in the kernel
	groupBroken                   // not
)

// group is a nexthop group.
type group struct {
	id           uint32
	key          string
	hops, backup []msg.NextHop
	sent         []nextHop // as zebra has it
	missing      error     // hops that are not in sent, and why
	refs         int
	state        groupState
	waiter       *batch
}

// init begins at a random id: groups of an earlier session may still be there, with routes on them.
func (g *groups) init(rel *release, typ uint8) {
	g.use = rel.groups
	g.first, g.n = rel.groupRange(typ)
	g.next = rand.Uint32N(g.n)
	g.byKey, g.byID = map[string]*group{}, map[uint32]*group{}
}

// get returns the group for a set of next hops; with fresh another than before, for routes that the old one did not help.
// A new one has the given id if that is one of ours and not taken, otherwise one that was not in use lately.
func (g *groups) get(key string, hops, backup []msg.NextHop, fresh bool, id uint32) *group {
	x := g.byKey[key]
	if x != nil && !fresh {
		return x
	}
	if x != nil && x.refs == 0 {
		g.idle = append(g.idle, x)
	}
	if id < g.first || id >= g.first+g.n || g.byID[id] != nil {
		for g.byID[g.first+g.next] != nil {
			g.next = (g.next + 1) % g.n
		}
		id = g.first + g.next
		g.next = (g.next + 1) % g.n
	}
	x = &group{id: id, key: key, hops: hops, backup: backup}
	g.byKey[key], g.byID[x.id] = x, x
	return x
}

// rename gives a group other next hops, under the routes that it has.
func (g *groups) rename(x *group, key string, hops, backup []msg.NextHop) {
	if g.byKey[x.key] == x {
		delete(g.byKey, x.key)
	}
	x.key, x.hops, x.backup = key, hops, backup
	g.byKey[key] = x
}

// forget removes a group.
func (g *groups) forget(x *group) {
	delete(g.byID, x.id)
	if g.byKey[x.key] == x {
		delete(g.byKey, x.key)
	}
}

// release lets go of a reference.
func (g *groups) release(x *group) {
	if x == nil {
		return
	}
	if x.refs--; x.refs == 0 {
		g.idle = append(g.idle, x)
	}
}

// contentKey names a set of next hops and backups.
func contentKey(hops, backup []msg.NextHop) string {
	var b strings.Builder
	b.Grow(32 * (len(hops) + len(backup)))
	var buf [64]byte
	for i, list := range [2][]msg.NextHop{hops, backup} {
		if i > 0 {
			b.WriteByte('|')
		}
		for _, h := range list {
			if h.Addr.IsValid() {
				b.Write(h.Addr.AppendTo(buf[:0]))
			}
			b.WriteByte('%')
			b.WriteString(h.IfName)
			b.WriteByte(' ')
			b.Write(strconv.AppendInt(buf[:0], int64(h.Weight), 10))
			b.WriteByte(',')
		}
	}
	return b.String()
}

// groupable reports whether next hops can be a group's: zebra wants a gateway and an interface for each.
func groupable(hops, backup []msg.NextHop) bool {
	bare := func(h msg.NextHop) bool { return !h.Addr.IsValid() }
	return len(hops) > 0 && !slices.ContainsFunc(hops, bare) && !slices.ContainsFunc(backup, bare)
}

// linkError says why a next hop cannot be used.
type linkError struct {
	hop     msg.NextHop
	unknown bool
	missing int // how many next hops of the route are without link
	all     int
}

func (e linkError) Error() string {
	what := "is down"
	if e.unknown {
		what = "is not known to zebra"
	}
	s := fmt.Sprintf("interface %s %s", e.hop.IfName, what)
	if e.all > 1 {
		s += fmt.Sprintf("; %d of %d next hops cannot be programmed", e.missing, e.all)
	}
	return s
}

// usable turns next hops into zebra's, leaving out those whose link is down or unknown.
func (s *state) usable(hops []msg.NextHop) (out []nextHop, missing error) {
	var bad *linkError
	for _, h := range hops {
		l, ok := s.links[s.index[h.IfName]]
		if !ok || !l.up() {
			if bad == nil {
				bad = &linkError{hop: h, unknown: !ok, all: len(hops)}
			}
			bad.missing++
			continue
		}
		x := nextHop{index: l.index, typ: hopIfindex}
		if h.Addr.IsValid() {
			x.addr, x.typ = h.Addr.WithZone(""), hopIPv6Index
			if h.Addr.Is4() {
				x.typ = hopIPv4Index
			}
		}
		if len(hops) > 1 && s.peer.rel.hop == hopFlags {
			x.weight = uint64(max(h.Weight, 1))
		}
		out = append(out, x)
	}
	if bad != nil {
		missing = *bad
	}
	most := int(s.peer.caps.hops)
	if most == 0 || most > maxHops {
		most = maxHops
	}
	if len(out) > most {
		missing = errors.Join(missing, fmt.Errorf("%d next hops; zebra takes %d (its option -e)", len(out), most))
		out = out[:most]
	}
	return out, missing
}

// active returns what a route with these next hops and backups should use now: the hops that work, or else the backups.
func (s *state) active(hops, backup []msg.NextHop) ([]nextHop, error) {
	out, missing := s.usable(hops)
	if len(out) == 0 && len(backup) > 0 {
		out, _ = s.usable(backup)
	}
	return out, missing
}

// sendGroup tells zebra what is in a group now. It returns an error if nothing can be.
func (s *state) sendGroup(g *group) error {
	hops, missing := s.active(g.hops, g.backup)
	if len(hops) == 0 {
		return missing
	}
	err := s.peer.send(cmdNHGAdd, func(b []byte) ([]byte, error) { return s.peer.rel.appendGroup(b, s.typ, g.id, hops) })
	if err != nil {
		return err
	}
	g.sent, g.missing = hops, missing
	if g.state != groupStands {
		g.state = groupSent
	}
	s.p.o.Counters.Set(counterGroups, int64(len(s.groups.byID)))
	return nil
}

// setLink takes in the state of an interface. A change is acted upon here at once: groups over it are sent anew.
func (s *state) setLink(l link, there bool) {
	old, known := s.links[l.index]
	if known && s.index[old.name] == l.index {
		delete(s.index, old.name)
	}
	if there {
		s.links[l.index], s.index[l.name] = l, l.index
	} else {
		delete(s.links, l.index)
		delete(s.addrs, l.index)
	}
	if known == there && (!known || old.name == l.name && old.up() == l.up()) {
		return
	}
	if !s.ready {
		return
	}
	s.p.o.Counters.Sum(counterLinkEvents, 1)
	over := func(h msg.NextHop) bool { return h.IfName == l.name || known && h.IfName == old.name }
	for _, g := range s.groups.byID {
		if g.state == groupNew || !slices.ContainsFunc(g.hops, over) && !slices.ContainsFunc(g.backup, over) {
			continue
		}
		// An error leaves the routes to Dump, which sees what the kernel has made of them.
		if s.sendGroup(g) == nil {
			s.p.o.Counters.Sum(counterGroupMoves, 1)
		}
	}
	signal(s.p.invalidated)
}

// groupNote takes in what has become of a group.
func (s *state) groupNote(n groupNote, id uint32) {
	g := s.groups.byID[id]
	if g == nil {
		return
	}
	switch n {
	case groupInstalled:
		g.state = groupStands
		s.groups.use = s.peer.rel.groups // if it had been given up, see unanswered
	case groupFailed:
		g.state = groupBroken
		signal(s.p.invalidated)
	default:
		return
	}
	if g.waiter != nil {
		g.waiter.settle()
		g.waiter = nil
	}
}

// kernelHops are next hops as they should show in the kernel.
func kernelHops(hops []nextHop) []kernelHop {
	out := make([]kernelHop, 0, len(hops))
	for _, h := range hops {
		if h.typ != hopBlackhole {
			out = append(out, kernelHop{index: h.index, addr: h.addr, weight: int32(max(h.weight, 1))})
		}
	}
	slices.SortFunc(out, compareKernelHops)
	return out
}

// sameInKernel reports whether the kernel has what was asked for. zebra from 10.1 on scales weights, to 254 at most, so
// they are compared by proportion and not too closely.
func sameInKernel(want, have []kernelHop) bool {
	if len(want) != len(have) {
		return false
	}
	var sumWant, sumHave int64
	for i := range want {
		if want[i].index != have[i].index || want[i].addr != have[i].addr {
			return false
		}
		sumWant += int64(want[i].weight)
		sumHave += int64(have[i].weight)
	}
	for i := range want {
		off := int64(want[i].weight)*sumHave - int64(have[i].weight)*sumWant
		if max(off, -off)*100 > 2*sumWant*sumHave {
			return false
		}
	}
	return true
}

// validPrefix returns why a prefix cannot be a route's.
func validPrefix(p netip.Prefix) error {
	if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
		return fmt.Errorf("invalid prefix %v: it must be without host bits, and IPv4 ones written as IPv4", p)
	}
	return nil
}
