package chaos

import (
	"time"
)

// step is a part of an event: something that is done so long after the event's beginning.
type step struct {
	after time.Duration
	last  bool // after the steps of all other events, when whatever was away is back
	do    func()
}

// event is something that goes wrong, or that an operator does. What lasts is judged while it lasts, and again when it is over.
type event struct {
	kind   *kind
	what   string // where
	begin  []step
	end    []step // none: it passes by itself
	claims claims
}

// claims are what an event needs for itself.
type claims struct {
	nodes []*node // their agents and what is below these
	links []*link
}

// kind is a kind of event.
type kind struct {
	name string
	// free: it and its end cost no packet when nothing else happens.
	free bool
	// freeEnd: its end costs no packet then.
	freeEnd bool
	// draw draws an event of the kind.
	draw func(w *world) *event
}

// kinds are all that can happen.
var kinds = []*kind{
	{name: "nothing", free: true, draw: func(*world) *event { return &event{what: "anywhere", begin: once(func() { time.Sleep(time.Second) })} }},

	{name: "link: one end down", freeEnd: true, draw: linkDown},
	{name: "link: cut silently", freeEnd: true, draw: func(w *world) *event { return linkCut(w, true) }},
	{name: "link: cut one way", freeEnd: true, draw: func(w *world) *event { return linkCut(w, false) }},
	{name: "link: cut one way, agent restarts", freeEnd: true, draw: linkCutRestart},
	{name: "link: flaps", draw: linkFlaps},
	{name: "link: interfaces deleted", freeEnd: true, draw: linkDeleted},
	{name: "link: interfaces made anew at once", draw: linkRecreated},
	{name: "link: drained", free: true, draw: linkDrained},
	{name: "link: metric", free: true, draw: linkMetric},

	{name: "node: loses power", freeEnd: true, draw: nodePower},
	{name: "node: drained hard", free: true, draw: nodeDrained},
	{name: "node: drained softly", free: true, draw: nodeDrainedSoftly},
	{name: "node: drained, stopped, started", free: true, draw: nodeDrainStop},
	{name: "node: prefixes", free: true, draw: nodePrefixes},
	{name: "node: prefixes flap", free: true, draw: nodePrefixesFlap},

	{name: "agent: restarts", free: true, draw: agentRestarts},
	{name: "agent: aborted, started", free: true, draw: agentAborted},
	{name: "agent: killed, started", draw: agentCrashes},
	{name: "agent: killed, away", draw: agentKilled},
	{name: "agent: crashes again and again", draw: agentCrashLoops},
	{name: "agent: frozen", draw: agentFrozen},

	{name: "zebra: stopped, started", free: true, draw: func(w *world) *event { return zebraRestarts(w, false) }},
	{name: "zebra: killed, started", free: true, draw: func(w *world) *event { return zebraRestarts(w, true) }},
	{name: "zebra: frozen", draw: zebraFrozen},
	{name: "zebra and its agent: killed, started", draw: zebraAndAgent},

	{name: "switch agent: restarts", draw: func(w *world) *event { return switchRestarts(w, false, false) }},
	{name: "switch agent: restarts warm", draw: func(w *world) *event { return switchRestarts(w, true, false) }},
	{name: "switch agent: restarts without its routes", draw: func(w *world) *event { return switchRestarts(w, true, true) }},
	{name: "switch agent: hangs", draw: switchHangs},
	{name: "switch agent: hangs, agent restarts", draw: switchHangsRestart},
	{name: "switch agent: refuses routes", draw: switchRefuses},

	{name: "somebody: deletes routes", draw: func(w *world) *event { return meddle(w, deleteRoutes) }},
	{name: "somebody: changes a route", draw: func(w *world) *event { return meddle(w, changeRoute) }},
	{name: "somebody: deletes nexthop objects", draw: func(w *world) *event { return meddle(w, deleteObjects) }},
	{name: "somebody: changes a nexthop object", draw: func(w *world) *event { return meddle(w, changeObject) }},
	{name: "somebody: deletes everything", draw: func(w *world) *event { return meddle(w, flush) }},
	{name: "somebody: overwrites a key", draw: overwriteKey},
}

func once(do func()) []step { return []step{{do: do}} }

// disjoint reports whether two events can happen at the same time.
func (e *event) disjoint(o *event) bool {
	for _, a := range e.claims.nodes {
		for _, b := range o.claims.nodes {
			if a == b {
				return false
			}
		}
	}
	for _, a := range e.claims.links {
		for _, b := range o.claims.links {
			if a == b {
				return false
			}
		}
	}
	return true
}

// between draws a time.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least))).Round(time.Millisecond)
}
