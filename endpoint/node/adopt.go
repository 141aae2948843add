package node

import (
	"maps"
	"slices"
	"time"

	"openr/endpoint"
)

const (
	settleTime   = 3 * time.Second  // for which an oracle must have been ready before it is asked about leftovers
	askAgain     = 10 * time.Second // about the same one
	askedAtATime = 128
)

// adoption is what an earlier run of a leaf left in the kernel: endpoints behind other leaves, and bounces. It stays in force
// until the core says something of the endpoint, or the directory that it knows of none.
type adoption struct {
	left    map[endpoint.Key]time.Time // when the directory was last asked
	bounces map[endpoint.Key]endpoint.Action
	ready   time.Time // since when there is an oracle that knows all; zero: there is none
}

// adopt returns what to do at once. What was pinned and the core does not keep pinned is no longer.
func adopt(found []endpoint.Action) (*adoption, []endpoint.Action) {
	a := &adoption{left: map[endpoint.Key]time.Time{}, bounces: map[endpoint.Key]endpoint.Action{}}
	var todo []endpoint.Action
	for _, f := range found {
		switch f.Kind {
		case endpoint.ProgramRemote:
			a.left[f.Key] = time.Time{}
		case endpoint.FreezeMAC:
			a.left[f.Key] = time.Time{}
			unfreeze, program := f, f
			unfreeze.Kind, program.Kind = endpoint.UnfreezeMAC, endpoint.ProgramRemote
			todo = append(todo, unfreeze, program)
		case endpoint.BounceOn:
			a.bounces[f.Key] = f
		}
	}
	return a, todo
}

// heed notes what the core has done, and returns what that means for bounces of the earlier run: those that lead elsewhere end.
func (a *adoption) heed(actions []endpoint.Action) (todo []endpoint.Action) {
	if len(a.left)+len(a.bounces) == 0 {
		return nil
	}
	for i := range actions {
		act := &actions[i]
		switch act.Kind {
		case endpoint.ProgramLocal, endpoint.ProgramRemote, endpoint.FreezeMAC, endpoint.Remove:
			delete(a.left, act.Key)
			if b, ok := a.bounces[act.Key]; ok && (act.Kind != endpoint.ProgramRemote || act.TEP != b.TEP) {
				todo = append(todo, endpoint.Action{Kind: endpoint.BounceOff, Key: act.Key})
				delete(a.bounces, act.Key)
			}
		case endpoint.BounceOn, endpoint.BounceOff:
			delete(a.bounces, act.Key)
		}
	}
	return todo
}

// ask returns which endpoints to ask the directory about. ready: an oracle that knows all is followed. Most leftovers have
// been confirmed by then, as all endpoints are told to a leaf that starts.
func (a *adoption) ask(now time.Time, ready bool) []endpoint.Key {
	switch {
	case !ready:
		a.ready = time.Time{}
	case a.ready.IsZero():
		a.ready = now
	}
	if !ready || now.Sub(a.ready) < settleTime {
		return nil
	}
	var keys []endpoint.Key
	for _, k := range slices.SortedFunc(maps.Keys(a.left), endpoint.Key.Compare) {
		if len(keys) == askedAtATime {
			break
		}
		if now.Sub(a.left[k]) >= askAgain {
			a.left[k] = now
			keys = append(keys, k)
		}
	}
	return keys
}

// nobody takes the directory's word that nobody has an endpoint, and returns what to do.
func (a *adoption) nobody(k endpoint.Key) (todo []endpoint.Action) {
	if _, left := a.left[k]; left {
		delete(a.left, k)
		todo = append(todo, endpoint.Action{Kind: endpoint.Remove, Key: k, Cause: endpoint.CauseWithdrawn})
	}
	return todo
}
