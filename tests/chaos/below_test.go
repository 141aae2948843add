package chaos

import (
	"fmt"
	"net/url"
	"syscall"
	"time"

	"openr/lab"
)

// Events of what is below agents: zebra and the switch agent.

func zebraRestarts(w *world, killed bool) *event {
	sig, after := syscall.SIGTERM, w.between(time.Millisecond, 3*time.Second)
	if killed {
		sig = syscall.SIGKILL
	}
	return &event{
		what: fmt.Sprintf("n%d, away for %v", zebraNode, after), claims: own(w.nodes[zebraNode]),
		begin: []step{{do: func() { w.zebra.stop(sig) }}, {after: after, do: w.zebra.start}},
	}
}

func zebraFrozen(w *world) *event {
	lasts := w.between(100*time.Millisecond, 8*time.Second)
	return &event{
		what: fmt.Sprintf("n%d for %v", zebraNode, lasts), claims: own(w.nodes[zebraNode]),
		begin: []step{
			{do: func() { w.zebra.signal(syscall.SIGSTOP) }},
			{after: lasts, do: func() { w.zebra.signal(syscall.SIGCONT); w.nodes[zebraNode].fresh = true }},
		},
	}
}

// zebraAndAgent kills both, and brings them back in either order.
func zebraAndAgent(w *world) *event {
	n := w.nodes[zebraNode]
	first, second := func() { w.startAgent(n) }, w.zebra.start
	if w.rng.IntN(2) == 0 {
		first, second = second, first
	}
	return &event{
		what: n.String(), claims: own(n),
		begin: []step{
			{do: func() { w.zebra.stop(syscall.SIGKILL); w.stopAgent(n, syscall.SIGKILL) }},
			{after: w.between(time.Millisecond, 300*time.Millisecond), do: first},
			{after: w.between(300*time.Millisecond, time.Second), do: second},
		},
	}
}

// switchRestarts restarts the switch agent, whose interfaces go with it; its routes too unless it is warm, and even then if
// it forgets them.
func switchRestarts(w *world, warm, forgets bool) *event {
	n, down := w.nodes[switchNode], w.between(time.Millisecond, 1500*time.Millisecond)
	return &event{
		what: fmt.Sprintf("n%d, away for %v", switchNode, down), claims: claims{nodes: []*node{n}, links: w.linksOf(n)},
		begin: once(func() {
			if forgets {
				w.fabric.tell("forget", nil)
			}
			w.fabric.tell("restart", url.Values{"down": {down.String()}, "warm": {fmt.Sprint(warm)}})
			n.fresh = true
		}),
	}
}

func (w *world) linksOf(n *node) (list []*link) {
	for _, l := range w.links {
		if l.A == n.id || l.B == n.id {
			list = append(list, l)
		}
	}
	return list
}

func switchHangs(w *world) *event {
	n, lasts := w.nodes[switchNode], w.between(500*time.Millisecond, 8*time.Second)
	return &event{
		what: fmt.Sprintf("n%d for %v", switchNode, lasts), claims: own(n),
		begin: []step{
			{do: func() { w.fabric.tell("hang", url.Values{"on": {"true"}}) }},
			{after: lasts, do: func() { w.fabric.tell("hang", nil); n.fresh = true }},
		},
	}
}

// switchHangsRestart restarts an agent that waits for an answer of its switch agent.
func switchHangsRestart(w *world) *event {
	e, n := switchHangs(w), w.nodes[switchNode]
	again := e.begin[1]
	e.begin = []step{
		e.begin[0],
		{after: 50 * time.Millisecond, do: func() { w.stopAgent(n, syscall.SIGTERM) }},
		{after: 100 * time.Millisecond, do: func() { w.startAgent(n); n.away = true }},
		{after: again.after, do: func() { again.do(); n.away = false }},
	}
	return e
}

// switchRefuses lets the switch agent refuse all routes, or those to a node, while a link of it fails and comes back.
func switchRefuses(w *world) *event {
	n := w.nodes[switchNode]
	l := w.linksOf(n)[w.rng.IntN(len(w.linksOf(n)))]
	e := l.ends[w.rng.IntN(2)]
	v6, _ := lab.Loopbacks(w.rng.IntN(len(w.nodes)))
	how, on, off := "all", func() { w.fabric.tell("refuse", url.Values{"on": {"true"}}) }, func() { w.fabric.tell("refuse", nil) }
	if w.rng.IntN(2) == 0 {
		how, on, off = v6.String(), func() { w.fabric.tell("fail", url.Values{"prefix": {v6.String()}}) }, func() { w.fabric.tell("fail", nil) }
	}
	return &event{
		what: fmt.Sprintf("n%d, %s, as %v fails", switchNode, how, l), claims: claims{nodes: []*node{n}, links: []*link{l}},
		begin: []step{
			{do: on},
			{after: 50 * time.Millisecond, do: func() { w.setEnd(e, false) }},
			{after: w.between(500*time.Millisecond, 3*time.Second), do: func() { w.setEnd(e, true) }},
			{after: w.between(3*time.Second, 4*time.Second), do: func() { off(); n.fresh = true }},
		},
	}
}
