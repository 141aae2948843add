package decision

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"openr/msg"
)

// gate holds back the first routes until enough is known that they are not worse than what a former run of the agent
// left in the kernel (Open/R decision/Decision.cpp, unblockInitialRoutesBuild).
type gate struct {
	staticRoutes bool // still awaited
	kvStore      bool
	ownAdjacency bool
	firstPeers   bool
	peers        map[msg.AreaNode]bool // of the first peer update, without those deleted meanwhile
}

// applyPeers notes the first peers, and which of them have gone.
func (g *gate) applyPeers(u msg.PeerUpdate) {
	if u.Initial && g.firstPeers {
		g.firstPeers = false
		for p := range u.Add {
			g.peers[p] = true
		}
	}
	for p := range u.Del {
		if _, back := u.Add[p]; !back {
			delete(g.peers, p)
		}
	}
}

// waiting says what is missing before the first routes can be computed; empty: nothing. Peers whose adjacency is there
// once are not looked at again.
func (g *gate) waiting(me string, areas map[string]*linkState) string {
	var missing []string
	for _, m := range []struct {
		is   bool
		what string
	}{
		{g.firstPeers, "the first peers from linkmonitor"},
		{g.kvStore, "kvstore to be synchronised (KVSTORE_SYNCED)"},
		{g.ownAdjacency, "this node's adjacencies to be advertised (ADJACENCY_DB_SYNCED)"},
		{g.staticRoutes, "static routes from prefixmanager"},
	} {
		if m.is {
			missing = append(missing, m.what)
		}
	}
	for p := range g.peers {
		if ls := areas[p.Area]; ls != nil && ls.adjacent(me, p.Node) {
			delete(g.peers, p)
		}
	}
	names := make([]string, 0, len(g.peers))
	for p := range maps.Keys(g.peers) {
		names = append(names, fmt.Sprintf("%s (area %s)", p.Node, p.Area))
	}
	if slices.Sort(names); len(names) > 0 {
		missing = append(missing, "both directions of the adjacency with "+strings.Join(names, ", "))
	}
	if len(missing) == 0 {
		return ""
	}
	return "waiting for " + strings.Join(missing, "; ")
}
