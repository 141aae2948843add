package netlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/msg"
)

const (
	batchMessages = 128      // per send
	batchBytes    = 64 << 10 // per send, exceeded by the last message at most
)

// apply is one call of Programmer.Apply. The caller holds the Programmer's mutex.
type apply struct {
	p      *Programmer
	ctx    context.Context
	failed map[netip.Prefix]error

	// The batch that is being filled.
	buf   []byte
	ops   []op
	first uint32 // sequence number of ops[0]; the others follow
	last  int    // where the last message begins in buf
}

// op is a message of a batch and what to do about its answer.
type op struct {
	route  msg.Route // for a delete, only the prefix
	flags  uint16    // NLM_F_EXCL, NLM_F_REPLACE; 0: delete
	metric uint32
	stray  bool // delete of a route with another metric, after its successor stands
}

func (o op) verb() string {
	switch o.flags {
	case unix.NLM_F_EXCL:
		return "add"
	case unix.NLM_F_REPLACE:
		return "replace"
	}
	return "delete"
}

// run brings in all, then clears what is in excess, then deletes.
func (a *apply) run(update []msg.Route, del []netip.Prefix) error {
	var taken []op // adds that the kernel refused because there is a route already
	if err := a.updates(update, &taken); err != nil {
		return err
	}
	if err := a.resolveTaken(taken); err != nil {
		return err
	}
	return a.deletes(update, del)
}

func (a *apply) updates(update []msg.Route, taken *[]op) error {
	for _, r := range update {
		flags := uint16(unix.NLM_F_EXCL)
		if a.p.own[r.Prefix] {
			flags = unix.NLM_F_REPLACE
		}
		if err := a.add(op{route: r, flags: flags, metric: a.p.slot.metric}, taken); err != nil {
			return err
		}
	}
	return a.flush(taken)
}

// resolveTaken finds out whose the routes in the way are: ours, forgotten or not known of, are replaced; others stay.
func (a *apply) resolveTaken(taken []op) error {
	now := time.Now()
	search := map[netip.Prefix]bool{}
	for _, o := range taken {
		if c, ok := a.p.conflicts[o.route.Prefix]; ok && now.Before(c.until) {
			a.refuse(o, c.err)
		} else {
			search[o.route.Prefix] = true
		}
	}
	if len(search) == 0 {
		return nil
	}
	if _, err := a.p.dump(a.ctx); err != nil {
		return err
	}
	foreign := map[netip.Prefix]bool{}
	for prefix := range search {
		if !a.p.own[prefix] {
			foreign[prefix] = true
		}
	}
	protocols, err := a.p.owners(foreign)
	if err != nil {
		return err
	}
	for _, o := range taken {
		prefix := o.route.Prefix
		switch {
		case foreign[prefix]:
			c := conflictError{protocol: protocols[prefix], metric: a.p.slot.metric}
			a.p.conflicts[prefix] = conflict{c, now.Add(conflictTime)}
			a.p.counters.Sum(counterConflicts, 1)
			a.refuse(o, c)
		case search[prefix]:
			o.flags = unix.NLM_F_REPLACE
			if err := a.add(o, nil); err != nil {
				return err
			}
		}
	}
	return a.flush(nil)
}

// owners returns the protocols of the routes with our metric to the given prefixes.
func (p *Programmer) owners(prefixes map[netip.Prefix]bool) (map[netip.Prefix]int, error) {
	out := map[netip.Prefix]int{}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		some := false
		for prefix := range prefixes {
			some = some || family(prefix.Addr()) == fam
		}
		if !some {
			continue
		}
		err := p.routes(fam, 0, func() {}, func(r kernelRoute) {
			if prefixes[r.prefix] && r.metric == p.slot.metric {
				out[r.prefix] = int(r.protocol)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("failed to read the routes of other protocols: %w", err)
		}
	}
	return out, nil
}

// deletes takes out the routes with old metrics whose successors stand, and then those to delete.
func (a *apply) deletes(update []msg.Route, del []netip.Prefix) error {
	if len(a.p.strays) > 0 {
		for _, r := range update {
			if a.failed[r.Prefix] != nil {
				continue
			}
			if err := a.clearStrays(r.Prefix); err != nil {
				return err
			}
		}
	}
	for _, prefix := range del {
		if err := a.add(op{route: msg.Route{Prefix: prefix}, metric: a.p.slot.metric}, nil); err != nil {
			return err
		}
		if err := a.clearStrays(prefix); err != nil {
			return err
		}
	}
	return a.flush(nil)
}

func (a *apply) clearStrays(prefix netip.Prefix) error {
	for _, metric := range a.p.strays[prefix] {
		if err := a.add(op{route: msg.Route{Prefix: prefix}, metric: metric, stray: true}, nil); err != nil {
			return err
		}
	}
	return nil
}

// add puts a message into the batch, and sends the batch when it is full.
func (a *apply) add(o op, taken *[]op) error {
	if err := invalidPrefix(o.route.Prefix); err != nil {
		a.refuse(o, err)
		return nil
	}
	seq := a.p.conn.seq + 1
	start := len(a.buf)
	s := a.p.slot
	s.metric = o.metric
	if o.flags == 0 {
		a.buf = appendDelRoute(a.buf, seq, s, o.route.Prefix)
	} else {
		wanted := fib.Forwarding(o.route)
		hops, err := resolve(wanted, a.p.watch.lookup)
		if err != nil {
			a.refuse(o, err)
			if len(hops) == 0 {
				return nil // a route without next hops would be a blackhole
			}
		}
		if a.buf, err = appendNewRoute(a.buf, o.flags, seq, s, o.route.Prefix, hops); err != nil {
			a.refuse(o, err)
			return nil
		}
	}
	if len(a.ops) == 0 {
		a.first = seq
	}
	a.p.conn.seq = seq
	a.last = start
	a.ops = append(a.ops, o)
	if len(a.ops) < batchMessages && len(a.buf) < batchBytes {
		return nil
	}
	return a.flush(taken)
}

func (a *apply) refuse(o op, err error) {
	a.failed[o.route.Prefix] = &RouteError{Op: o.verb(), Route: o.route, Err: err}
}

// flush sends the batch and takes the answers. Adds that meet a route go to taken, if that is not nil.
func (a *apply) flush(taken *[]op) error {
	if len(a.ops) == 0 {
		return nil
	}
	if err := a.ctx.Err(); err != nil {
		return err
	}
	c := a.p.conn
	requestAck(a.buf[a.last:])
	a.p.counters.Sum(counterMessages, int64(len(a.ops)))
	refused := make(map[int]kernelError)
	if err := c.send(a.buf); err != nil {
		return err
	}
	for done := false; !done; {
		err := c.receive(func(h unix.NlMsghdr, payload []byte) bool {
			i := int(h.Seq - a.first)
			if h.Type != unix.NLMSG_ERROR || i < 0 || i >= len(a.ops) {
				return true // a late answer to something else
			}
			if errno, text := parseError(h, payload); errno != 0 {
				refused[i] = kernelError{errno, text}
			}
			done = done || i == len(a.ops)-1
			return true
		})
		if err != nil {
			a.p.counters.Count(counterAnswersLost)
			return err
		}
	}
	for i, o := range a.ops {
		if why, bad := refused[i]; bad {
			a.answerBad(o, why, taken)
		} else {
			a.answerGood(o)
		}
	}
	a.buf, a.ops = a.buf[:0], a.ops[:0]
	return nil
}

// answerGood notes what the kernel has done.
func (a *apply) answerGood(o op) {
	prefix := o.route.Prefix
	switch {
	case o.stray:
		delete(a.p.strays, prefix) // even if another metric of it fails: the next dump shows
	case o.flags == 0:
		delete(a.p.own, prefix)
	default:
		a.p.own[prefix] = true
		if len(a.p.conflicts) > 0 {
			delete(a.p.conflicts, prefix)
		}
	}
}

// answerBad notes what the kernel has refused.
func (a *apply) answerBad(o op, why kernelError, taken *[]op) {
	switch {
	case o.flags == 0 && errors.Is(why, unix.ESRCH):
		a.answerGood(o) // not there: as it should be
	case o.flags == unix.NLM_F_EXCL && errors.Is(why, unix.EEXIST) && taken != nil:
		*taken = append(*taken, o)
	default:
		a.p.counters.Sum(counterErrors, 1)
		a.refuse(o, why)
	}
}
