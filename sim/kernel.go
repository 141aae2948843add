package sim

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"openr/fib"
	"openr/msg"
)

// kernel is a forwarding table that outlives the agents that program it.
type kernel struct {
	node    *node
	changed chan struct{} // told when the table was changed behind the agent's back

	mu      sync.Mutex // guards what follows
	table   map[netip.Prefix]msg.Route
	changes int           // routes that were brought in, changed or taken out
	calls   int           // of Apply
	fails   float64       // share of routes that are refused
	delay   time.Duration // that each call takes
}

func newKernel(n *node) *kernel {
	return &kernel{node: n, changed: make(chan struct{}, 1), table: map[netip.Prefix]msg.Route{}}
}

// programmer is the kernel in the hands of one run of the agent.
type programmer struct {
	kernel *kernel
	run    *run
}

var _ fib.Programmer = (*programmer)(nil)

var (
	errKilled = errors.New("the agent was killed")
	errNoRoom = errors.New("no buffer space available")
)

// Dump implements fib.Programmer.
func (p *programmer) Dump(context.Context) (map[netip.Prefix]msg.Route, error) {
	if p.run.dead.Load() {
		return nil, errKilled
	}
	k := p.kernel
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.table), nil
}

// Apply implements fib.Programmer.
func (p *programmer) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	k := p.kernel
	k.mu.Lock()
	delay := k.delay
	k.calls++
	k.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if p.run.dead.Load() {
		return nil, errKilled
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	failed := map[netip.Prefix]error{}
	refused := func(prefix netip.Prefix) bool {
		if k.fails == 0 {
			return false
		}
		a := prefix.Addr().As16()
		which := uint64(k.node.id)<<16 | uint64(a[6])<<8 | uint64(a[7])
		if k.node.world.dice(diceFib, which, uint64(time.Since(k.node.world.start))) >= k.fails {
			return false
		}
		failed[prefix] = errNoRoom
		return true
	}
	w := k.node.world
	done := 0
	for _, r := range update {
		hops := fib.Forwarding(r)
		if old, ok := k.table[r.Prefix]; ok && slices.EqualFunc(old.NextHops, hops, func(a, b msg.NextHop) bool { return a.Addr == b.Addr && a.IfName == b.IfName && a.Weight == b.Weight }) || refused(r.Prefix) {
			continue
		}
		k.table[r.Prefix] = msg.Route{Prefix: r.Prefix, NextHops: hops}
		k.changes++
		done++
	}
	for _, prefix := range del {
		if _, ok := k.table[prefix]; ok && !refused(prefix) {
			delete(k.table, prefix)
			k.changes++
			done++
		}
	}
	if done > 0 {
		w.mu.Lock()
		w.stats.Programmed += int64(done)
		w.changed = time.Now()
		w.mu.Unlock()
	}
	return failed, nil
}

// Invalidated implements fib.Programmer.
func (p *programmer) Invalidated() <-chan struct{} { return p.kernel.changed }

// Close implements fib.Programmer: the routes stay.
func (p *programmer) Close() error { return nil }

// clear empties the table, as a loss of power does.
func (k *kernel) clear() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.table)
}

// misbehave makes the table refuse a share of the routes and take its time; zero values make it good.
func (k *kernel) misbehave(fails float64, delay time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fails, k.delay = fails, delay
}

// meddle takes a route out behind the agent's back, the count-th of those there are, and tells.
func (k *kernel) meddle(count int) {
	k.mu.Lock()
	if all := slices.SortedFunc(maps.Keys(k.table), netip.Prefix.Compare); len(all) > 0 {
		delete(k.table, all[count%len(all)])
	}
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// routes returns the ports of each route's next hops.
func (k *kernel) routes() map[netip.Prefix][]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make(map[netip.Prefix][]string, len(k.table))
	for prefix, r := range k.table {
		ports := make([]string, len(r.NextHops))
		for i, h := range r.NextHops {
			ports[i] = h.IfName
		}
		slices.Sort(ports)
		out[prefix] = ports
	}
	return out
}

// changeCount returns how many routes have changed since the beginning.
func (k *kernel) changeCount() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.changes
}
