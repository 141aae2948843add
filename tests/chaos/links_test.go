package chaos

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"openr/thrift/gen/openrctrl"
)

// Events of links.

func (w *world) drawLink() *link { return w.links[w.rng.IntN(len(w.links))] }

// setEnd sets an end of a link up or down.
func (w *world) setEnd(e end, up bool) {
	h := w.Netlink(e.node)
	dev, err := h.LinkByName(e.port)
	w.must(err)
	if up {
		w.must(h.LinkSetUp(dev))
	} else {
		w.must(h.LinkSetDown(dev))
	}
}

// cut has the kernel drop all that an end of a link sends, or no longer. Nobody is told: the queue has no room, and that is
// no error for those who send by UDP and none that TCP does not get over.
func (w *world) cut(e *end, on bool) {
	e.cut = on
	if on {
		w.command(e.node, "tc", "qdisc", "add", "dev", e.port, "root", "pfifo", "limit", "0")
	} else {
		w.command(e.node, "tc", "qdisc", "del", "dev", e.port, "root")
	}
}

// command runs a command in a node.
func (w *world) command(i int, argv ...string) {
	if out, err := w.Run(w.t.Context(), i, argv...); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

func linkDown(w *world) *event {
	l := w.drawLink()
	e := l.ends[w.rng.IntN(2)]
	return &event{
		what: fmt.Sprintf("%v at n%d", l, e.node), claims: claims{links: []*link{l}},
		begin: once(func() { w.setEnd(e, false) }), end: once(func() { w.setEnd(e, true) }),
	}
}

func linkCut(w *world, bothWays bool) *event {
	l, side := w.drawLink(), w.rng.IntN(2)
	set := func(on bool) {
		w.cut(&l.ends[side], on)
		if bothWays {
			w.cut(&l.ends[1-side], on)
		}
	}
	what := l.String()
	if !bothWays {
		what = fmt.Sprintf("from n%d to n%d", l.ends[side].node, l.ends[1-side].node)
	}
	return &event{what: what, claims: claims{links: []*link{l}}, begin: once(func() { set(true) }), end: once(func() { set(false) })}
}

// linkCutRestart restarts the agent at one end of a link that works in one direction only: it hears a neighbour that does not
// hear it, or the other way round, from the start.
func linkCutRestart(w *world) *event {
	e := linkCut(w, false)
	l := e.claims.links[0]
	n, sig, at := w.nodes[l.ends[w.rng.IntN(2)].node], syscall.SIGTERM, w.between(0, time.Second)
	if w.rng.IntN(2) == 0 {
		sig = syscall.SIGKILL
	}
	e.what += fmt.Sprintf(", %v to %v", sig, n)
	e.claims.nodes = []*node{n}
	for _, s := range w.restarts(n, sig, w.between(time.Millisecond, time.Second)) {
		s.after += at
		e.begin = append(e.begin, s)
	}
	return e
}

func linkFlaps(w *world) *event {
	l, at := w.drawLink(), time.Duration(0)
	e := &event{what: l.String(), claims: claims{links: []*link{l}}}
	for range 1 + w.rng.IntN(8) {
		end := l.ends[w.rng.IntN(2)]
		e.begin = append(e.begin, step{after: at, do: func() { w.setEnd(end, false) }})
		at += w.between(time.Millisecond, 400*time.Millisecond)
		e.begin = append(e.begin, step{after: at, do: func() { w.setEnd(end, true) }})
		at += w.between(time.Millisecond, 400*time.Millisecond)
	}
	return e
}

func linkDeleted(w *world) *event {
	l := w.drawLink()
	return &event{
		what: l.String(), claims: claims{links: []*link{l}},
		begin: once(func() { w.must(w.DeleteLink(l.id)) }), end: once(func() { w.must(w.CreateLink(l.id)) }),
	}
}

func linkRecreated(w *world) *event {
	l := w.drawLink()
	return &event{
		what: l.String(), claims: claims{links: []*link{l}},
		begin: once(func() { w.must(w.DeleteLink(l.id)); w.must(w.CreateLink(l.id)) }),
	}
}

// linkDrained drains a link at one of its ends.
func linkDrained(w *world) *event {
	l, e, port := w.drawEnd()
	return w.operation(w.nodes[e.node], fmt.Sprintf("%v at n%d", l, e.node), l,
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			return c.SetInterfaceOverload(ctx, port)
		},
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			return c.UnsetInterfaceOverload(ctx, port)
		},
		func(on bool) { e.overloaded = on })
}

// linkMetric sets a link's metric at one of its ends.
func linkMetric(w *world) *event {
	l, e, port := w.drawEnd()
	metric := int32(2 + w.rng.IntN(5))
	return w.operation(w.nodes[e.node], fmt.Sprintf("%d for %v at n%d", metric, l, e.node), l,
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			return c.SetInterfaceMetric(ctx, port, metric)
		},
		func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			return c.UnsetInterfaceMetric(ctx, port)
		},
		func(on bool) {
			e.metric = 0
			if on {
				e.metric = metric
			}
		})
}

// drawEnd draws a link and one of its ends, with the name that the agent there has for it.
func (w *world) drawEnd() (l *link, e *end, port string) {
	l = w.drawLink()
	e = &l.ends[w.rng.IntN(2)]
	return l, e, w.agentPort(*e)
}
