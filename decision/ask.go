package decision

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"

	"openr/lsdb"
	"openr/msg"
)

// RouteDB returns the routes of any node, computed anew and sorted by prefix; "" is this node. Links that an initializing
// node alone may use are judged from this node's point of view, and static routes are this node's. A node that is not
// known has no routes.
func (d *Decision) RouteDB(ctx context.Context, node string) (routes []msg.Route, err error) {
	if node == "" {
		node = d.core.me
	}
	err = d.calls.Do(ctx, func() { routes = d.core.routes(node) })
	return routes, err
}

// Adjacencies returns the adjacency databases of the given areas (none given: all), sorted by node. Areas of which
// nothing is known are left out. What a node says last may not be in force yet: for a moment, paths follow what it said before.
func (d *Decision) Adjacencies(ctx context.Context, areas []string) (map[string][]lsdb.AdjacencyDatabase, error) {
	out := map[string][]lsdb.AdjacencyDatabase{}
	err := d.calls.Do(ctx, func() {
		wanted := areas
		if len(wanted) == 0 {
			wanted = slices.Collect(maps.Keys(d.core.areas))
		}
		for _, area := range wanted {
			if d.core.areas[area] != nil {
				out[area] = d.core.databases(area)
			}
		}
	})
	return out, err
}

// ReceivedRoutes returns who advertises each of the given prefixes (nil: all prefixes) and whom this node selects,
// sorted by prefix. Unless empty, node and area restrict the advertisements shown, not the selection. Prefixes without
// advertisements to show are left out.
func (d *Decision) ReceivedRoutes(ctx context.Context, prefixes []netip.Prefix, node, area string) (routes []ReceivedRoute, err error) {
	err = d.calls.Do(ctx, func() { routes = d.core.received(prefixes, node, area) })
	return routes, err
}

// Waiting says what the first routes wait for; empty once they are computed.
func (d *Decision) Waiting(ctx context.Context) (reason string, err error) {
	err = d.calls.Do(ctx, func() {
		if !d.core.built {
			reason = d.gate.waiting(d.core.me, d.core.areas)
		}
	})
	return reason, err
}

// databases returns what the nodes of an area say, sorted by node.
func (c *core) databases(area string) []lsdb.AdjacencyDatabase {
	dbs := c.areas[area].databases()
	for i := range dbs {
		if last := c.order.last(area, dbs[i].Node); last != nil {
			dbs[i] = *last
		}
	}
	return dbs
}

// DrainState is how far a node wants to be left out, in any of its areas.
type DrainState struct {
	Hard bool // overloaded: reached, not passed through
	Soft bool // it has raised its metrics

	HardInterfaces []string // whose links carry nothing, sorted
	SoftInterfaces []string // whose links have a raised metric, sorted
}

// DrainState returns what a node's adjacency databases say about its drain; "" is this node. Nothing is drained of a node
// that is not known.
func (d *Decision) DrainState(ctx context.Context, node string) (state DrainState, err error) {
	if node == "" {
		node = d.core.me
	}
	err = d.calls.Do(ctx, func() { state = d.core.drainState(node) })
	return state, err
}

// drainState is what DrainState returns.
func (c *core) drainState(node string) (state DrainState) {
	for area, ls := range c.areas {
		id, ok := ls.id(node)
		if !ok {
			continue
		}
		db := &ls.vertices[id].db
		if last := c.order.last(area, node); last != nil {
			db = last
		}
		state.Hard = state.Hard || db.Overloaded
		state.Soft = state.Soft || db.MetricIncrement != 0
		for _, a := range db.Adjacencies {
			if a.Overloaded {
				state.HardInterfaces = append(state.HardInterfaces, a.IfName)
			}
			if a.MetricIncrement != 0 {
				state.SoftInterfaces = append(state.SoftInterfaces, a.IfName)
			}
		}
	}
	slices.Sort(state.HardInterfaces)
	slices.Sort(state.SoftInterfaces)
	state.HardInterfaces, state.SoftInterfaces = slices.Compact(state.HardInterfaces), slices.Compact(state.SoftInterfaces)
	return state
}

// SetRibPolicy puts a policy in force in place of the one before, if any, and has all routes follow it at once. After a
// restart it is in force again for what is left of its time; if it could not be stored, the error is ErrNotStored, and it
// is in force nevertheless. The caller must not change p's contents afterwards. It fails, and changes nothing, if policies are
// not enabled (ErrRibPolicyDisabled) or p is not complete: it lacks statements or its TTL is not positive, or a statement
// lacks an action or has neither prefixes nor tags.
func (d *Decision) SetRibPolicy(ctx context.Context, p RibPolicy) error {
	if !d.Config.RibPolicy {
		return ErrRibPolicyDisabled
	}
	d.policyMu.Lock()
	defer d.policyMu.Unlock()
	now := time.Now()
	policy, err := newRibPolicy(p, now)
	if err != nil {
		return err
	}
	if err := d.calls.Do(ctx, func() { d.core.setPolicy(policy, "RIB_POLICY_UPDATE", time.Now()) }); err != nil {
		return err
	}
	return d.keepPolicy(&p, now)
}

// RibPolicy returns the policy in force and in its TTL what is left of it; ErrNoRibPolicy if there is none. The caller must
// not change it.
func (d *Decision) RibPolicy(ctx context.Context) (RibPolicy, error) {
	var policy *ribPolicy
	if err := d.calls.Do(ctx, func() { policy = d.core.policy }); err != nil {
		return RibPolicy{}, err
	}
	if policy != nil {
		if left := policy.left(time.Now()); left.TTL > 0 {
			return left, nil
		}
	}
	return RibPolicy{}, ErrNoRibPolicy
}

// ClearRibPolicy ends the policy in force at once, and for good; if the store could not be told, the error is ErrNotStored.
// It is an error if there is none.
func (d *Decision) ClearRibPolicy(ctx context.Context) error {
	d.policyMu.Lock()
	defer d.policyMu.Unlock()
	had := false
	err := d.calls.Do(ctx, func() {
		if had = d.core.policy != nil; had {
			d.core.setPolicy(nil, "RIB_POLICY_CLEARED", time.Now())
		}
	})
	switch {
	case err != nil:
		return err
	case !had:
		return errNothingToClear
	}
	return d.keepPolicy(nil, time.Now())
}
