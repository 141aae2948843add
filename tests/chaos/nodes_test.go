package chaos

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"openr/lsdb"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// Events of nodes and of their agents.

func (w *world) drawNode() *node { return w.nodes[w.rng.IntN(len(w.nodes))] }

func (n *node) String() string { return fmt.Sprintf("n%d", n.id) }

func own(nodes ...*node) claims { return claims{nodes: nodes} }

// nodePower takes a node down as a power cut does: its links go, its agent dies, and what the kernel knew is gone when it is
// back.
func nodePower(w *world) *event {
	n := w.agents(func(n *node) bool { return n.id != zebraNode && n.id != switchNode })[0]
	e := &event{what: n.String(), claims: claims{nodes: []*node{n}, links: w.linksOf(n)}}
	var ends []end
	for _, l := range e.claims.links {
		for _, x := range l.ends {
			if x.node == n.id {
				ends = append(ends, x)
			}
		}
	}
	e.begin = once(func() {
		for _, x := range ends {
			w.setEnd(x, false)
		}
		w.stopAgent(n, syscall.SIGKILL)
	})
	up := func() {
		for _, x := range ends {
			w.setEnd(x, true)
		}
	}
	agentFirst := w.rng.IntN(2) == 0
	e.end = once(func() {
		w.flush(n.id)
		if agentFirst {
			w.startAgent(n)
			up()
		} else {
			up()
			w.startAgent(n)
		}
	})
	return e
}

func nodeDrained(w *world) *event {
	n := w.drawNode()
	return w.operation(n, n.String(), nil,
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error { return c.SetNodeOverload(ctx) },
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error { return c.UnsetNodeOverload(ctx) },
		func(on bool) { n.drained = on })
}

func nodeDrainedSoftly(w *world) *event {
	n, increment := w.drawNode(), int32(1+w.rng.IntN(100))
	return w.operation(n, fmt.Sprintf("%v by %d", n, increment), nil,
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			return c.SetNodeInterfaceMetricIncrement(ctx, increment)
		},
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			return c.UnsetNodeInterfaceMetricIncrement(ctx)
		},
		func(on bool) {
			n.increment = 0
			if on {
				n.increment = increment
			}
		})
}

// nodeDrainStop takes a node out of the network and ends its agent, by the command made for that.
func nodeDrainStop(w *world) *event {
	n := w.drawNode()
	return &event{
		what: n.String(), claims: own(n),
		begin: once(func() {
			n.away = true
			w.command(n.id, breezeBinary, "openr", "drain", "--and-stop", "--yes")
			w.stopAgent(n, syscall.SIGTERM) // it ends by itself; this waits
		}),
		end: once(func() { w.startAgent(n) }),
	}
}

// nodePrefixes has an agent advertise some prefixes, and withdraw them.
func nodePrefixes(w *world) *event {
	n, count := w.drawNode(), []int{1, 20, 300}[w.rng.IntN(3)]
	prefixes, advertise, withdraw := n.prefixes(0, count)
	return w.operation(n, fmt.Sprintf("%v, %d of them", n, count), nil, advertise,
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			if len(n.extra) == 0 {
				return nil // a restart has forgotten them
			}
			return withdraw(ctx, c)
		},
		func(on bool) {
			n.extra = nil
			if on {
				n.extra = prefixes
			}
		})
}

// nodePrefixesFlap advertises and withdraws many prefixes again and again.
func nodePrefixesFlap(w *world) *event {
	const count = 1000
	n, at := w.drawNode(), time.Duration(0)
	_, advertise, withdraw := n.prefixes(1, count)
	e := &event{what: fmt.Sprintf("%v, %d of them", n, count), claims: own(n)}
	for range 2 + w.rng.IntN(4) {
		for _, r := range []request{advertise, withdraw} {
			e.begin = append(e.begin, step{after: at, do: func() { w.operate(n, r) }})
			at += w.between(0, 400*time.Millisecond)
		}
	}
	return e
}

// prefixes makes up prefixes for a node, other ones for another which, and requests to advertise and withdraw them.
func (n *node) prefixes(which byte, count int) (prefixes []netip.Prefix, advertise, withdraw request) {
	var entries []*types.PrefixEntry
	for i := range count {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 2: which, 4: byte(i >> 8), 5: byte(i), 7: byte(n.id)}), 64)
		prefixes = append(prefixes, p)
		entries = append(entries, lsdb.PrefixEntry{Prefix: p, Type: lsdb.PrefixBreeze}.Thrift())
	}
	return prefixes,
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			return c.AdvertisePrefixes(ctx, entries)
		},
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error { return c.WithdrawPrefixes(ctx, entries) }
}

// agentRestarts stops an agent in order and starts it again.
func agentRestarts(w *world) *event {
	n := w.drawNode()
	return &event{what: n.String(), claims: own(n), begin: w.restarts(n, syscall.SIGTERM, w.between(time.Millisecond, 4*time.Second))}
}

// agentAborted ends an agent as a service manager does that takes it for hanging.
func agentAborted(w *world) *event {
	n := w.drawNode()
	e := &event{what: n.String(), claims: own(n), begin: w.restarts(n, syscall.SIGABRT, w.between(time.Millisecond, 2*time.Second))}
	abort := e.begin[0].do
	e.begin[0].do = func() {
		w.complaints()
		abort()
		_, err := w.news(n) // it complains of having been aborted, with good reason
		w.must(err)
	}
	return e
}

// agentCrashes kills an agent, which is started again at once.
func agentCrashes(w *world) *event {
	n := w.drawNode()
	return &event{what: n.String(), claims: own(n), begin: w.restarts(n, syscall.SIGKILL, w.between(time.Millisecond, 300*time.Millisecond))}
}

func (w *world) restarts(n *node, sig syscall.Signal, after time.Duration) []step {
	return []step{{do: func() { w.stopAgent(n, sig) }}, {after: after, do: func() { w.startAgent(n) }}}
}

func agentKilled(w *world) *event {
	n := w.drawNode()
	return &event{what: n.String(), claims: own(n), begin: once(func() { w.stopAgent(n, syscall.SIGKILL) }), end: once(func() { w.startAgent(n) })}
}

// agentCrashLoops lets an agent crash many times, at whatever it is just doing.
func agentCrashLoops(w *world) *event {
	n, times, at := w.drawNode(), 5+w.rng.IntN(25), time.Duration(0)
	e := &event{what: fmt.Sprintf("%v, %d times", n, times), claims: own(n)}
	for range times {
		e.begin = append(e.begin, step{after: at, do: func() { w.stopAgent(n, syscall.SIGKILL) }}, step{after: at, do: func() { w.startAgent(n) }})
		at += w.between(10*time.Millisecond, []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, time.Second}[w.rng.IntN(3)])
	}
	return e
}

// agentFrozen stops an agent's threads for a while, shorter and longer than its neighbours wait.
func agentFrozen(w *world) *event {
	n, lasts := w.drawNode(), w.between(100*time.Millisecond, 9*time.Second)
	return &event{
		what: fmt.Sprintf("%v for %v", n, lasts), claims: own(n),
		begin: []step{
			{do: func() { n.away = true; w.must(syscall.Kill(w.PID(n.id), syscall.SIGSTOP)) }},
			{after: lasts, do: func() { w.must(syscall.Kill(w.PID(n.id), syscall.SIGCONT)); n.away, n.fresh = false, true }},
		},
	}
}
