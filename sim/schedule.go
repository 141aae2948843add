package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"openr/lsdb"
	"openr/thrift/gen/types"
)

// fault is something that goes wrong, or that an operator does, and how long it lasts.
type fault struct {
	at, lasts time.Duration
	kind      kind
	node      *node
	link      *link
	side      int
	nodes     []*node // of a partition
	forever   bool
}

// kind is what a fault does.
type kind struct {
	name  string
	begin func(f *fault)
	end   func(f *fault)
	agent bool // it ends the agent of its node
}

var kinds = []kind{
	{name: "link loses its carrier", begin: func(f *fault) { f.link.setDown(true) }, end: func(f *fault) { f.link.setDown(false) }},
	{name: "link is cut silently", begin: func(f *fault) { f.link.ends[0].block(true); f.link.ends[1].block(true) },
		end: func(f *fault) { f.link.ends[0].block(false); f.link.ends[1].block(false) }},
	{name: "link works one way", begin: func(f *fault) { f.link.ends[f.side].block(true) }, end: func(f *fault) { f.link.ends[f.side].block(false) }},
	{name: "link loses, repeats and reorders", begin: func(f *fault) { f.link.disturb(0.2, 0.2, 100*time.Millisecond) }, end: func(f *fault) { f.link.disturb(0, 0, 0) }},
	{name: "partition", begin: func(f *fault) { f.partition(true) }, end: func(f *fault) { f.partition(false) }},
	{name: "agent restarts", begin: func(f *fault) { f.node.stop() }, end: func(f *fault) { f.node.again() }, agent: true},
	{name: "agent is killed", begin: func(f *fault) { f.node.kill() }, end: func(f *fault) { f.node.again() }, agent: true},
	{name: "node loses power", begin: func(f *fault) { f.node.powerOff() }, end: func(f *fault) { f.node.powerOn() }, agent: true},
	{name: "table refuses routes", begin: func(f *fault) { f.node.kernel.misbehave(0.5, 0) }, end: func(f *fault) { f.node.kernel.misbehave(0, 0) }},
	{name: "table is slow", begin: func(f *fault) { f.node.kernel.misbehave(0, 700*time.Millisecond) }, end: func(f *fault) { f.node.kernel.misbehave(0, 0) }},
	{name: "somebody deletes a route", begin: func(f *fault) { f.node.kernel.meddle(f.side + f.link.id) }, end: func(*fault) {}},
	{name: "node answers slowly", begin: func(f *fault) { f.node.slow.Store(int64(time.Second)) }, end: func(f *fault) { f.node.slow.Store(0) }},
	{name: "clock leaps", begin: func(f *fault) { f.node.clock.Store(int64(time.Hour) * int64(1-2*f.side)) }, end: func(f *fault) { f.node.clock.Store(0) }},
	{name: "node is drained", begin: func(f *fault) { f.node.drain(true) }, end: func(f *fault) { f.node.drain(false) }},
	{name: "link is made dear", begin: func(f *fault) { f.link.ends[f.side].setMetric(7) }, end: func(f *fault) { f.link.ends[f.side].setMetric(0) }},
	{name: "prefixes come and go", begin: func(f *fault) { f.node.originate(true, 20) }, end: func(f *fault) { f.node.originate(false, 20) }},
}

func (f *fault) String() string {
	until := fmt.Sprintf("for %v", f.lasts)
	if f.forever {
		until = "for ever"
	}
	what := fmt.Sprintf("%s, %s-%s", f.node.name, f.link.ends[f.side].node.name, f.link.ends[1-f.side].node.name)
	if len(f.nodes) > 0 {
		var names []string
		for _, n := range f.nodes {
			names = append(names, n.name)
		}
		what = strings.Join(names, " ")
	}
	return fmt.Sprintf("%8v %s (%s) %s", f.at, f.kind.name, what, until)
}

// plan draws a schedule of so many faults within a time. Some last for ever: one in ten.
func (w *world) plan(seed uint64, count int, within time.Duration) []*fault {
	random := rand.New(rand.NewPCG(seed, 1))
	busy := map[*node]time.Duration{} // until when an agent is away
	var faults []*fault
	for len(faults) < count {
		f := &fault{
			at:    time.Duration(random.Int64N(int64(within))).Round(time.Millisecond),
			lasts: time.Duration(random.ExpFloat64() * float64(4*time.Second)).Round(time.Millisecond),
			kind:  kinds[random.IntN(len(kinds))],
			node:  w.nodes[random.IntN(len(w.nodes))], link: w.links[random.IntN(len(w.links))], side: random.IntN(2),
		}
		f.forever = random.IntN(10) == 0
		if f.kind.name == "partition" {
			for _, n := range w.nodes {
				if random.IntN(2) == 0 {
					f.nodes = append(f.nodes, n)
				}
			}
		}
		faults = append(faults, f)
	}
	slices.SortStableFunc(faults, func(a, b *fault) int { return int(a.at - b.at) })
	return slices.DeleteFunc(faults, func(f *fault) bool {
		if !f.kind.agent {
			f.forever = f.forever && strings.HasPrefix(f.kind.name, "link ") && f.kind.name != "link loses, repeats and reorders" || f.forever && f.kind.name == "node is drained"
			return false
		}
		until, taken := busy[f.node]
		if taken && f.at <= until {
			return true
		}
		busy[f.node] = f.at + f.lasts
		if f.forever {
			busy[f.node] = within * 100
		}
		return false
	})
}

func (f *fault) partition(on bool) {
	for _, l := range f.node.world.links {
		if slices.Contains(f.nodes, l.ends[0].node) != slices.Contains(f.nodes, l.ends[1].node) {
			l.setDown(on)
		}
	}
}

// again starts the agent after it has ended. What clients had it advertise is forgotten.
func (n *node) again() {
	n.mu.Lock()
	clear(n.extra)
	n.mu.Unlock()
	n.begin()
}

// The operator's doings fail when the agent does not run, or not yet; then nothing was done.

func (n *node) drain(on bool) {
	r := n.running()
	if r == nil {
		return
	}
	order := r.client().SetNodeOverload
	if !on {
		order = r.client().UnsetNodeOverload
	}
	if order(context.Background()) == nil {
		n.mu.Lock()
		n.drained = on
		n.mu.Unlock()
	}
}

func (p *port) setMetric(metric int32) {
	r := p.node.running()
	if r == nil {
		return
	}
	var err error
	if metric == 0 {
		err = r.client().UnsetInterfaceMetric(context.Background(), p.name)
	} else {
		err = r.client().SetInterfaceMetric(context.Background(), p.name, metric)
	}
	if err != nil {
		return
	}
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	if metric == 0 {
		delete(p.node.metrics, p)
	} else {
		p.node.metrics[p] = metric
	}
}

// originate has the agent advertise so many prefixes beside its loopback address, or withdraw them.
func (n *node) originate(on bool, count int) {
	r := n.running()
	if r == nil {
		return
	}
	entries := make([]*types.PrefixEntry, count)
	prefixes := map[netip.Prefix]bool{}
	for i := range entries {
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 1, 0, 0, byte(i >> 8), byte(i), byte(n.id >> 8), byte(n.id)}), 64)
		prefixes[prefix] = true
		entries[i] = lsdb.PrefixEntry{Prefix: prefix, Type: lsdb.PrefixBreeze}.Thrift()
	}
	order := r.client().AdvertisePrefixes
	if !on {
		order = r.client().WithdrawPrefixes
	}
	if order(context.Background(), entries) != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.extra = map[netip.Prefix]bool{}
	if on {
		n.extra = prefixes
	}
}
