package netlink

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
)

// minMove is how many routes are worth a group of their own with the same aim as another: fewer are pointed there one by one.
const minMove = 8

// turn is a group that gets other members.
type turn struct {
	group *group
	to    []member
}

// moveGroups finds groups all of whose routes go to the same other place, and gives them that aim instead, by one message for
// each group if it changes where packets go now. The kernel then moves all routes in one step. Where only the alternates
// change, it is enough that most of the routes agree.
func (a *apply) moveGroups() error {
	if !a.p.objects || a.twice {
		return nil
	}
	for i := range a.steps {
		s := &a.steps[i]
		if s.at == nil || !s.set.alive {
			continue
		}
		g := s.at.group
		if g.epoch != a.b.epoch {
			g.epoch, g.leaving, g.pulls, g.target = a.b.epoch, 0, g.pulls[:0], nil
			a.froms = append(a.froms, g)
		}
		g.pull(s.set)
	}
	var moves []turn
	claimed := map[string]bool{}
	for _, g := range a.froms {
		t, n := g.winner()
		if t == nil || len(g.members) == 0 || len(t.ways)+len(t.spare) == 0 || !a.p.fits(g, t) {
			continue
		}
		key := string(a.b.keyOf(&t.aim, g.standby))
		if g.key == key || (a.b.byKey[key] != nil || claimed[key]) && n < minMove {
			continue
		}
		to := a.p.desired(&t.aim, g.standby)
		if len(to) == 0 {
			continue
		}
		claimed[key], g.target = true, t
		if sameShares(to, g.members) {
			a.b.setAim(g, t.aim)
			g.moved = a.b.epoch
			continue
		}
		moves = append(moves, turn{g, to})
	}
	return a.p.transact(a.ctx, len(moves), func(b []byte, seq uint32, i int) []byte {
		return a.p.appendGroup(b, unix.NLM_F_REPLACE, seq, moves[i].group, moves[i].to)
	}, func(i int, refused *rtnl.Error) error {
		g := moves[i].group
		if refused != nil {
			if errors.Is(*refused, unix.ENOENT) {
				return fmt.Errorf("nexthop group %d: %w", g.id, *refused) // with its routes: the books are wrong
			}
			g.fixed = true
			return nil
		}
		a.p.counters.Sum(counterMovedRoutes, int64(g.leaving))
		a.b.setMembers(g, moves[i].to)
		a.b.setAim(g, g.target.aim)
		g.moved = a.b.epoch
		return nil
	})
}

// maxPulls is of how many places it is counted how many of a group's routes go there.
const maxPulls = 16

// pull counts a route of g that goes to s.
func (g *group) pull(s *set) {
	g.leaving++
	for i := len(g.pulls) - 1; i >= 0; i-- {
		if p := &g.pulls[i]; p.to == s || string(p.to.held) == string(s.held) {
			p.n++
			return
		}
	}
	if len(g.pulls) < maxPulls {
		g.pulls = append(g.pulls, pull{s, 1})
	}
}

// winner returns where a group may go as a whole, and how many of its routes are to go there.
func (g *group) winner() (to *set, n int) {
	if g.leaving != g.refs || g.gone || g.alien || g.fixed || g.plain {
		return nil, 0
	}
	for _, p := range g.pulls {
		if (p.n == g.leaving || sameShares(g.ways, p.to.ways)) && p.n > n {
			to, n = p.to, p.n
		}
	}
	return to, n
}

// fits reports whether a group can take on what a set wants. A resilient one has buckets for so many ways only. One that is not
// may do so for new ways, which is urgent; for alternates that are to stand in it, its routes change to a resilient one.
func (p *Programmer) fits(g *group, s *set) bool {
	if !g.standby {
		return !s.standby || len(s.spare) == 0 || !sameShares(g.ways, s.ways)
	}
	sum := uint32(0)
	for _, m := range s.ways {
		sum += m.weight
	}
	return len(s.ways) == 1 || sum <= uint32(p.buckets)/4
}
