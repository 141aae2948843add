package node

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"openr/endpoint/coop"
	"openr/lsdb"
	"openr/msg"
)

// roster is who is leaf or oracle in one area, and whether this node is drained, as the link-state database says.
type roster struct {
	node, area string
	members    map[string]coop.Member // by key
	drained    bool
	synced     bool // everything that there was at the start is known
}

func newRoster(node, area string) *roster {
	return &roster{node: node, area: area, members: map[string]coop.Member{}}
}

// apply takes a publication. changed: there is something new for the roles; wrong says what was not understood.
func (r *roster) apply(p msg.Publication) (changed bool, wrong []error) {
	for k := range p.Expired {
		if _, there := r.members[k.Key]; there && k.Area == r.area {
			delete(r.members, k.Key)
			changed = true
		}
	}
	for k, v := range p.KeyVals {
		if k.Area != r.area || !v.HasData() { // a TTL was refreshed
			continue
		}
		switch {
		case k.Key == lsdb.AdjKey(r.node):
			if db, err := lsdb.ParseAdjacencyDatabase(v.Data); err == nil {
				drained := db.Overloaded || db.MetricIncrement > 0
				changed = changed || drained != r.drained
				r.drained = drained
			}
		case coop.IsMemberKey(k.Key):
			m, gone, err := parseMember(k.Key, v)
			old, there := r.members[k.Key]
			switch {
			case err != nil:
				wrong = append(wrong, err)
				fallthrough
			case gone:
				delete(r.members, k.Key)
				changed = changed || there
			case !there || !sameMember(&old, &m):
				r.members[k.Key] = m
				changed = true
			}
		}
	}
	if p.Synced && !r.synced {
		r.synced, changed = true, true
	}
	return changed, wrong
}

// parseMember reads the entry of a member. gone: it is the last word of one. Each node speaks for itself alone, and an oracle
// listens on its tunnel addresses: an entry must not have others connect anywhere else.
func parseMember(key string, v lsdb.Value) (m coop.Member, gone bool, err error) {
	if len(v.Data) == 0 {
		return m, true, nil
	}
	if m, err = coop.ParseMember(key, v.Data); err != nil {
		return m, false, err
	}
	if v.Originator != m.Node {
		return m, false, fmt.Errorf("member %q: written by %q, want by the node itself", key, v.Originator)
	}
	for _, s := range []string{m.Session, m.Feed} {
		if s == "" {
			continue
		}
		at, err := netip.ParseAddrPort(s)
		if err != nil || !slices.Contains(m.TEPs, at.Addr()) {
			return m, false, fmt.Errorf("member %q: listens on %.64q, want one of its tunnel addresses with a port", key, s)
		}
	}
	return m, false, nil
}

func sameMember(a, b *coop.Member) bool {
	return a.Node == b.Node && a.Role == b.Role && a.Epoch == b.Epoch && a.Key == b.Key && a.Session == b.Session && a.Feed == b.Feed &&
		a.Ready == b.Ready && a.Drained == b.Drained && slices.Equal(a.TEPs, b.TEPs) && slices.Equal(a.Domains, b.Domains)
}

// sorted returns the members by role and name.
func (r *roster) sorted() []coop.Member {
	out := make([]coop.Member, 0, len(r.members))
	for _, m := range r.members {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b coop.Member) int {
		if a.Role != b.Role {
			return int(a.Role) - int(b.Role)
		}
		return strings.Compare(a.Node, b.Node)
	})
	return out
}
