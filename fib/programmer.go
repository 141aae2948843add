package fib

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"openr/msg"
)

// Programmer is a forwarding table that takes routes: the Linux kernel, a routing suite, a switch. It is used by one
// goroutine at a time, but Invalidated may be signalled at any moment.
type Programmer interface {
	// Dump returns the routes of this agent that stand in the table now, those left by an earlier run included. Only
	// prefix and next hops are filled in. A route that stands there in another form than Apply would give it (say, with
	// another metric) has DoNotInstall set: it equals no wanted route, so it is renewed or deleted.
	Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error)

	// Apply brings in the routes of update, which replace in one step what this agent has for their prefixes, and
	// afterwards takes out the routes to del. A route to delete that is not there is a success. Routes of others are
	// never touched. failed holds the routes that could not be brought in or taken out, and why; a route with several
	// next hops of which only some could be programmed is among them, with ErrPartial in the error's chain. err means that
	// nothing can be said about any.
	Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (failed map[netip.Prefix]error, err error)

	// Invalidated is ready when the table may have changed behind our back: an interface went down or was re-created,
	// somebody deleted our routes, notifications were lost.
	Invalidated() <-chan struct{}

	// Close releases the table. The routes stay.
	Close() error
}

// ErrPartial says of a route that it stands, although not with all its next hops. It carries packets, so it counts as
// programmed for those who are told (FIB-ACK), and is tried again as one that failed.
var ErrPartial = errors.New("not all next hops are programmed")

// Abilities say what a Programmer can do beyond the interface.
type Abilities struct {
	Backup    bool  // it uses Route.Backup. The others get routes without
	MaxWeight int32 // greatest share of a next hop that it can tell from others; 0: 256
	Batch     int   // most routes it wants in one call of Apply; 0: 2048
}

// Able is a Programmer that tells its Abilities. They do not change. One that does not tell has none.
type Able interface{ Abilities() Abilities }

// abilities returns what p can do, defaults filled in.
func abilities(p Programmer) (a Abilities) {
	if able, ok := p.(Able); ok {
		a = able.Abilities()
	}
	if a.MaxWeight < 1 {
		a.MaxWeight = maxWeight
	}
	if a.Batch < 1 {
		a.Batch = chunk
	}
	return a
}

// maxWeight is the greatest share that one next hop can have where nothing else is known: the kernel keeps it less one in
// a byte (rtnexthop.rtnh_hops of linux/rtnetlink.h).
const maxWeight = 256

// Forwarding returns a route's next hops as a forwarding table keeps them: each way (address and interface) once, sorted,
// with weights from 1 to 256 in about the wanted proportion, 1 for a way that is alone. Routes to the same prefix with
// equal Forwarding need no programming. The fields that are not programmed are kept from the first hop of each way.
func Forwarding(r msg.Route) []msg.NextHop { return Ways(r.NextHops, maxWeight) }

// Ways is Forwarding for any list of next hops and any greatest weight.
func Ways(nextHops []msg.NextHop, maxWeight int32) []msg.NextHop {
	hops := slices.Clone(nextHops)
	slices.SortFunc(hops, msg.NextHop.Compare)
	out := hops[:0]
	var sums []int64
	for _, h := range hops {
		w := int64(max(h.Weight, 1))
		if n := len(out); n > 0 && out[n-1].Addr == h.Addr && out[n-1].IfName == h.IfName {
			sums[n-1] += w
			continue
		}
		out, sums = append(out, h), append(sums, w)
	}
	if len(out) == 0 {
		return nil
	}
	top := slices.Max(sums)
	for i := range out {
		switch {
		case len(out) == 1:
			out[i].Weight = 1
		case top > int64(maxWeight):
			out[i].Weight = int32(max(1, sums[i]*int64(maxWeight)/top))
		default:
			out[i].Weight = int32(sums[i])
		}
	}
	return out
}

// sameForwarding reports whether a table with the given abilities need not be touched to go from one route to the other.
// Weights count by their proportion.
func sameForwarding(a, b msg.Route, can Abilities) bool {
	if !can.Backup {
		a.Backup, b.Backup = nil, nil
	}
	return a.SameForwarding(b) || a.Prefix == b.Prefix && a.DoNotInstall == b.DoNotInstall &&
		sameWays(a.NextHops, b.NextHops, can) && sameWays(a.Backup, b.Backup, can)
}

func sameWays(a, b []msg.NextHop, can Abilities) bool {
	x, y := Ways(a, can.MaxWeight), Ways(b, can.MaxWeight)
	if len(x) != len(y) {
		return false
	}
	gx, gy := commonDivisor(x), commonDivisor(y)
	return slices.EqualFunc(x, y, func(x, y msg.NextHop) bool {
		return x.Addr == y.Addr && x.IfName == y.IfName && x.Weight/gx == y.Weight/gy
	})
}

// commonDivisor returns the greatest number by which all weights can be divided, 1 if there are none.
func commonDivisor(hops []msg.NextHop) int32 {
	var g int32
	for _, h := range hops {
		for a := h.Weight; a != 0; {
			g, a = a, g%a
		}
	}
	return max(g, 1)
}

// Memory is a Programmer whose table is a map. It never fails.
type Memory struct {
	invalidated chan struct{}

	mu    sync.Mutex // guards table
	table map[netip.Prefix]msg.Route
}

// DryRun returns a Programmer that programs nothing and remembers what it was told, for trying out a configuration
// (dryrun of the configuration file) and for tests.
func DryRun() *Memory {
	return &Memory{invalidated: make(chan struct{}, 1), table: map[netip.Prefix]msg.Route{}}
}

var _ Programmer = (*Memory)(nil)

// Dump returns a copy of the table.
func (m *Memory) Dump(context.Context) (map[netip.Prefix]msg.Route, error) { return m.Table(), nil }

// Apply changes the table.
func (m *Memory) Apply(_ context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range update {
		m.table[r.Prefix] = msg.Route{Prefix: r.Prefix, NextHops: Forwarding(r)}
	}
	for _, p := range del {
		delete(m.table, p)
	}
	return nil, nil
}

// Invalidated is ready after Disturb.
func (m *Memory) Invalidated() <-chan struct{} { return m.invalidated }

// Close does nothing.
func (m *Memory) Close() error { return nil }

// Table returns a copy of the table.
func (m *Memory) Table() map[netip.Prefix]msg.Route {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.table)
}

// Disturb changes the table as if from outside, and tells.
func (m *Memory) Disturb(f func(table map[netip.Prefix]msg.Route)) {
	m.mu.Lock()
	f(m.table)
	m.mu.Unlock()
	select {
	case m.invalidated <- struct{}{}:
	default:
	}
}

// comparePrefix orders prefixes: IPv4 before IPv6, then by address, then shorter first.
func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
