package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"slices"
	"time"

	"openr/endpoint"
	"openr/endpoint/coop"
)

// Name names endpoints by MAC, by address, or by both. What is zero is not asked about: BD 0 is any domain.
type Name struct {
	endpoint.Key
	IP netip.Addr
}

func (n *Name) fits(v *endpoint.View) bool {
	return (n.BD == 0 || n.BD == v.Key.BD) && (n.MAC == endpoint.MAC{} || n.MAC == v.Key.MAC) &&
		(!n.IP.IsValid() || slices.ContainsFunc(v.IPs, func(p endpoint.IPView) bool { return p.Addr == n.IP }))
}

// Status is an endpoint as this node knows it. At an oracle View.State is Absent, View.Place.TEP the leaf's, and Status says
// what the directory thinks of the record; at a leaf Status does not count.
type Status struct {
	endpoint.View
	Status endpoint.Status
	Node   string // the leaf that has it; empty: its name is not known
	Flags  endpoint.Flags
	// Drained: an operator has drained that leaf. The endpoint stays there until it is heard elsewhere.
	Drained bool
}

// Oracle is an oracle as this node sees it.
type Oracle struct {
	Node    string
	TEPs    []netip.Addr
	State   coop.LinkState // of a leaf's session with it
	Linked  bool           // there is a session; otherwise State says nothing
	Self    bool           // it is this node
	Ready   bool
	Records int // 0: not known
}

// roles returns the roles that run; an error if none does, which says why.
func (n *Node) roles() (*leaf, *oracle, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.leaf != nil || n.oracle != nil {
		return n.leaf, n.oracle, nil
	}
	for _, role := range []string{roleLeaf, roleOracle} {
		if err := n.failed[role]; err != nil {
			return nil, nil, fmt.Errorf("the endpoint directory does not work and is tried again: %w", err)
		}
	}
	return nil, nil, errors.New("the endpoint directory is starting; try again")
}

var errNotLeaf = errors.New("this node is no leaf: ask the leaf that has the endpoint")

// partSize is how many endpoints the owner of a table shows before it turns to its own work again: a fraction of a millisecond.
const partSize = 256

// Each shows all endpoints in the table of the leaf, or of the oracle if this node is no leaf, in any order, until visit
// returns false. The owner of the table is kept for a part of it at a time, so that nobody who asks keeps it from its work: what
// comes, changes or goes meanwhile is shown as it was or as it is, once or not at all. visit runs on the caller's goroutine.
func (n *Node) Each(ctx context.Context, visit func(Status) bool) error {
	l, o, err := n.roles()
	if err != nil {
		return err
	}
	drained := n.drained()
	marked := func(s Status) bool { return visit(n.mark(s, drained)) }
	if l != nil {
		return l.each(ctx, marked)
	}
	return eachRecord(ctx, o, statusOf, marked)
}

// drained returns the tunnel addresses of the leaves that are drained.
func (n *Node) drained() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.facts == nil {
		return nil
	}
	return n.facts.drainedTEPs()
}

// mark notes whether the leaf of an endpoint is drained.
func (n *Node) mark(s Status, drained []netip.Addr) Status {
	at := s.Place.TEP
	if !at.IsValid() && len(drained) > 0 {
		at = n.cfg.TEPs[0]
	}
	s.Drained = slices.Contains(drained, at)
	return s
}

func (n *Node) markAll(list []Status) {
	drained := n.drained()
	for i := range list {
		list[i] = n.mark(list[i], drained)
	}
}

func (l *leaf) each(ctx context.Context, visit func(Status) bool) error {
	all := func(yield func(Status) bool) {
		names := l.names()
		for v := range l.core.All() {
			if !yield(l.status(v, names)) {
				return
			}
		}
	}
	return inParts(func(f func()) error { return l.calls.Do(ctx, f) }, all, visit)
}

// eachRecord is Each for an oracle; convert runs on the goroutine of the directory.
func eachRecord[T any](ctx context.Context, o *oracle, convert func(*endpoint.Record) T, visit func(T) bool) error {
	var core *coop.Oracle
	all := func(yield func(T) bool) {
		core.All(func(r endpoint.Record) bool { return yield(convert(&r)) })
	}
	return inParts(func(f func()) error {
		return o.server.Do(ctx, func(d *coop.Oracle) {
			core = d
			f()
		})
	}, all, visit)
}

// inParts shows what all goes through, until visit returns false. all runs on the goroutine of its owner only, a part in each
// call of do.
func inParts[T any](do func(func()) error, all iter.Seq[T], visit func(T) bool) error {
	next, stop := iter.Pull(all)
	defer stop()
	part := make([]T, 0, partSize)
	for more := true; more; {
		part = part[:0]
		err := do(func() {
			for len(part) < partSize {
				var v T
				if v, more = next(); !more {
					return
				}
				part = append(part, v)
			}
		})
		if err != nil {
			return err
		}
		for _, v := range part {
			if !visit(v) {
				return nil
			}
		}
	}
	return nil
}

// names returns the leaves by their tunnel addresses.
func (l *leaf) names() map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for i := range l.told.members {
		if m := &l.told.members[i]; m.Role == coop.RoleLeaf {
			for _, a := range m.TEPs {
				out[a] = m.Node
			}
		}
	}
	return out
}

func (l *leaf) status(v endpoint.View, names map[netip.Addr]string) Status {
	s := Status{View: v, Node: l.n.Config.NodeName}
	if v.Place.TEP.IsValid() {
		s.Node = names[v.Place.TEP]
	}
	if v.State == endpoint.Frozen {
		s.Flags |= endpoint.FlagFrozen
	}
	return s
}

// statusOf is a record as an oracle shows it.
func statusOf(r *endpoint.Record) Status {
	s := Status{
		View:   endpoint.View{Key: r.Key, Place: endpoint.Place{Port: r.Port, VLAN: r.VLAN, TEP: r.TEP}, Seq: r.Seq, TS: r.TS, Heard: time.Unix(0, r.TS)},
		Status: r.Status, Node: r.Publisher, Flags: r.Flags,
	}
	for _, ip := range r.IPs {
		s.IPs = append(s.IPs, endpoint.IPView{Addr: ip.Addr, Heard: time.Unix(0, ip.TS)})
	}
	return s
}

// Known returns the endpoints in the table that have the name. A leaf goes by index; an oracle does so for a MAC address with
// its domain, and goes through its table for other names.
func (n *Node) Known(ctx context.Context, name Name) (out []Status, err error) {
	defer func() { n.markAll(out) }()
	l, o, err := n.roles()
	switch {
	case err != nil:
		return nil, err
	case l != nil:
		err = l.calls.Do(ctx, func() { out = l.known(name) })
		return out, err
	}
	take := func(s Status) bool {
		if s.Status != endpoint.Tombstone && name.fits(&s.View) {
			out = append(out, s)
		}
		return true
	}
	if name.BD == 0 || name.MAC == (endpoint.MAC{}) {
		err = eachRecord(ctx, o, statusOf, take)
		return out, err
	}
	err = o.server.Do(ctx, func(d *coop.Oracle) {
		if r, there := d.Get(name.Key); there {
			take(statusOf(&r))
		}
	})
	return out, err
}

func (l *leaf) known(name Name) (out []Status) {
	names := l.names()
	for _, d := range l.member.Domains {
		if name.BD != 0 && name.BD != d {
			continue
		}
		v, there := endpoint.View{}, false
		if name.MAC != (endpoint.MAC{}) {
			v, there = l.core.Lookup(endpoint.Key{BD: d, MAC: name.MAC})
		} else if name.IP.IsValid() {
			v, there = l.core.LookupIP(d, name.IP)
		}
		if there && name.fits(&v) && !slices.ContainsFunc(out, func(s Status) bool { return s.Key == v.Key }) {
			out = append(out, l.status(v, names))
		}
	}
	return out
}

// Ask returns what the oracles know of a name in the domains of this leaf, which is empty if they know nothing.
func (n *Node) Ask(ctx context.Context, name Name) (out []Status, err error) {
	defer func() { n.markAll(out) }()
	l, _, err := n.roles()
	if err != nil {
		return nil, err
	}
	if l == nil {
		return n.Known(ctx, name)
	}
	queries := l.queries(name)
	answers := make(chan *coop.Answer, len(queries))
	if err := l.calls.Do(ctx, func() {
		for q := range queries {
			l.askers[q] = append(l.askers[q], answers)
		}
	}); err != nil {
		return nil, err
	}
	defer func() {
		_ = l.calls.Do(context.WithoutCancel(ctx), func() { // if it has stopped there is nothing to forget
			for q := range queries {
				l.askers[q] = slices.DeleteFunc(l.askers[q], func(c chan<- *coop.Answer) bool { return c == answers })
				if len(l.askers[q]) == 0 {
					delete(l.askers, q)
				}
			}
		})
	}()
	for q := range queries {
		if err := l.client.Lookup(ctx, q); err != nil {
			return nil, err
		}
	}
	for range queries {
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case a := <-answers:
			if a.Found == coop.FoundRecord && a.Record != nil {
				if s := statusOf(a.Record); name.fits(&s.View) {
					out = append(out, s)
				}
			}
		}
	}
	return out, nil
}

// queries returns what to ask for a name: in each domain or VRF of this leaf.
func (l *leaf) queries(name Name) map[coop.Query]bool {
	out := map[coop.Query]bool{}
	for i := range l.n.cfg.Domains {
		d := &l.n.cfg.Domains[i]
		bd := endpoint.BD(d.ID)
		switch {
		case name.BD != 0 && name.BD != bd:
		case name.MAC != (endpoint.MAC{}):
			out[coop.Query{Key: endpoint.Key{BD: bd, MAC: name.MAC}}] = true
		case name.IP.IsValid():
			out[coop.Query{VRF: endpoint.VRF(d.VRF), IP: name.IP}] = true
		}
	}
	return out
}

var errNoHistory = errors.New("this node is no leaf, and oracles keep no history: ask a leaf, as breeze endpoint where says which")

// Changes returns the changes that are kept, the oldest first. A node that is no leaf has none, which is an error.
func (n *Node) Changes() ([]endpoint.Change, error) {
	if !n.cfg.Leaf {
		return nil, errNoHistory
	}
	return n.history.all(), nil
}

// SubscribeChanges returns what Changes does, and all changes after these.
func (n *Node) SubscribeChanges() ([]endpoint.Change, *Changes, error) {
	if !n.cfg.Leaf {
		return nil, nil, errNoHistory
	}
	return n.history.subscribe()
}

// Faults returns the faults that stand at this leaf.
func (n *Node) Faults(ctx context.Context) (out []endpoint.Fault, err error) {
	l, _, err := n.roles()
	if err != nil || l == nil {
		return nil, err
	}
	err = l.calls.Do(ctx, func() { out = l.core.Faults() })
	return out, err
}

// Domains returns the bridge domains: of a leaf those it takes part in, of an oracle those that it has endpoints of.
func (n *Node) Domains(ctx context.Context) (out []endpoint.DomainView, err error) {
	l, o, err := n.roles()
	switch {
	case err != nil:
		return nil, err
	case l != nil:
		err = l.calls.Do(ctx, func() { out = l.core.Domains() })
		return out, err
	}
	all := map[endpoint.BD]*endpoint.DomainView{}
	standing := func(r *endpoint.Record) endpoint.Domain {
		if r.Status == endpoint.Tombstone {
			return endpoint.Domain{}
		}
		return endpoint.Domain{BD: r.BD, VRF: r.VRF}
	}
	err = eachRecord(ctx, o, standing, func(d endpoint.Domain) bool {
		if d.BD != 0 {
			v := all[d.BD]
			if v == nil {
				v = &endpoint.DomainView{Domain: d}
				all[d.BD] = v
			}
			v.Endpoints++
		}
		return true
	})
	for _, v := range all {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b endpoint.DomainView) int { return cmp.Compare(a.BD, b.BD) })
	return out, err
}

// Oracles returns the oracles that the link-state database has, by name, with this leaf's sessions, or those that this oracle has
// opened to the others.
func (n *Node) Oracles(ctx context.Context) (out []Oracle, err error) {
	l, o, err := n.roles()
	if err != nil {
		return nil, err
	}
	links := map[string]coop.LinkState{}
	if l != nil {
		err = l.client.Do(ctx, func(c *coop.Citizen) {
			for _, s := range c.Links() {
				links[s.Oracle] = s
			}
		})
		if err != nil {
			return nil, err
		}
	}
	records := 0
	if o != nil {
		if err = o.server.Do(ctx, func(d *coop.Oracle) {
			_, records = d.Digest()
			if l == nil {
				for _, s := range d.Peers() {
					links[s.Oracle] = s
				}
			}
		}); err != nil {
			return nil, err
		}
	}
	n.mu.Lock()
	f := n.facts
	n.mu.Unlock()
	for i := range f.members {
		m := &f.members[i]
		if m.Role != coop.RoleOracle {
			continue
		}
		e := Oracle{Node: m.Node, TEPs: m.TEPs, Ready: m.Ready, Self: o != nil && m.Node == n.Config.NodeName}
		e.State, e.Linked = links[m.Node]
		if e.Self {
			e.Records = records
		}
		out = append(out, e)
	}
	return out, nil
}

// ClearRogue ends the holds of a rogue endpoint (Key), of a rogue address (IP in domain BD), of a domain (BD alone) or of all;
// at an oracle it forgets that an endpoint changes too often. Nothing is held: no error.
func (n *Node) ClearRogue(ctx context.Context, name Name) error {
	l, o, err := n.roles()
	if err != nil {
		return err
	}
	if o != nil && name.BD != 0 && name.MAC != (endpoint.MAC{}) {
		if err := o.server.Clear(ctx, name.Key); err != nil {
			return err
		}
	}
	if l == nil {
		return nil
	}
	return l.order(ctx, endpoint.Event{Kind: endpoint.ClearRogue, Key: name.Key, IP: name.IP})
}

// ClearEndpoint removes an endpoint from the table of this leaf; it may be learned again.
func (n *Node) ClearEndpoint(ctx context.Context, key endpoint.Key) error {
	return n.orderLeaf(ctx, endpoint.Event{Kind: endpoint.ClearEndpoint, Key: key})
}

// EnablePort brings a port back that loop protection has shut. A port that this node does not have is an error.
func (n *Node) EnablePort(ctx context.Context, port string) error {
	l, _, err := n.roles()
	switch {
	case err != nil:
		return err
	case l == nil:
		return errNotLeaf
	}
	if _, err := net.InterfaceByName(port); err != nil {
		return fmt.Errorf("this node has no interface %q", port)
	}
	return l.calls.Do(ctx, func() {
		if !slices.Contains(l.core.DisabledPorts(), port) { // an earlier run has shut it
			l.todo = append(l.todo, endpoint.Action{Kind: endpoint.PortEnable, Port: port})
			return
		}
		l.handle(endpoint.Event{Kind: endpoint.EnablePort, Port: port})
	})
}

// EnableLearning ends the time in which a domain does not learn.
func (n *Node) EnableLearning(ctx context.Context, bd endpoint.BD) error {
	if !slices.Contains(domainsOf(n.cfg), bd) {
		return fmt.Errorf("bridge domain %d: this leaf takes no part in it", bd)
	}
	return n.orderLeaf(ctx, endpoint.Event{Kind: endpoint.EnableLearning, Key: endpoint.Key{BD: bd}})
}

func (n *Node) orderLeaf(ctx context.Context, e endpoint.Event) error {
	l, _, err := n.roles()
	if err != nil {
		return err
	}
	if l == nil {
		return errNotLeaf
	}
	return l.order(ctx, e)
}

// order has the core handle an operator's event; what follows is applied by the loop.
func (l *leaf) order(ctx context.Context, e endpoint.Event) error {
	return l.calls.Do(ctx, func() { l.handle(e) })
}
