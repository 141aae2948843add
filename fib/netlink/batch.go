package netlink

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"openr/internal/crash"
	"openr/internal/rtnl"
	"openr/msg"
)

const (
	batchMessages = 256      // per send
	batchBytes    = 64 << 10 // per send, exceeded by the last message at most
)

// batch is a number of messages about routes that are sent at once.
type batch struct {
	buf     []byte
	ops     []op
	first   uint32 // sequence number of ops[0]; the others follow
	start   int    // where the last message begins in buf
	refused map[int]rtnl.Error
	answer  chan error // when the kernel has answered to all
}

func newBatch() *batch { return &batch{answer: make(chan error, 1)} }

// clear empties a batch, and lets go of what it refers to.
func (b *batch) clear() {
	clear(b.ops)
	b.buf, b.ops, b.refused = b.buf[:0], b.ops[:0], nil
}

// op is a message of a batch and what to do about its answer.
type op struct {
	kind   opKind
	prefix netip.Prefix
	step   step // for add and replace
}

type opKind uint8

const (
	opAdd opKind = iota
	opReplace
	opDelete
	opStray // delete of a route with another metric, after its successor stands
)

var opNames = [...]string{opAdd: "add", opReplace: "replace", opDelete: "delete", opStray: "delete"}

// add puts a message into the batch, and sends the batch when it is full.
func (a *apply) add(o op) error {
	if o.kind == opDelete {
		return a.addDelete(o, a.p.slot.metric)
	}
	flags := uint16(unix.NLM_F_CREATE | unix.NLM_F_EXCL)
	if o.kind == opReplace {
		flags = unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	}
	f, seq := a.fill, a.p.conn.Seq+1
	f.start = len(f.buf)
	if !o.step.set.group.plain {
		f.buf = appendRouteOn(f.buf, flags, seq, a.p.slot, o.prefix, o.step.set.group.id)
	} else {
		var err error
		a.p.hops = appendMembers(a.p.hops[:0], o.step.set.group.members)
		if f.buf, err = appendNewRoute(f.buf, flags, seq, a.p.slot, o.prefix, a.p.hops); err != nil {
			a.refuse(o.kind, o.step.route, err)
			return nil
		}
	}
	return a.added(o, seq)
}

func (a *apply) addDelete(o op, metric uint32) error {
	f, seq := a.fill, a.p.conn.Seq+1
	f.start = len(f.buf)
	s := a.p.slot
	s.metric = metric
	f.buf = appendDelRoute(f.buf, seq, s, o.prefix)
	return a.added(o, seq)
}

func (a *apply) added(o op, seq uint32) error {
	f := a.fill
	if len(f.ops) == 0 {
		f.first = seq
	}
	a.p.conn.Seq = seq
	f.ops = append(f.ops, o)
	if len(f.ops) < batchMessages && len(f.buf) < batchBytes {
		return nil
	}
	return a.send()
}

// send lets the kernel work on the batch, and takes the answers to the one before. Meanwhile the next is filled.
func (a *apply) send() error {
	if err := a.wait(); err != nil {
		return err
	}
	if err := a.ctx.Err(); err != nil {
		return err
	}
	a.p.follow()
	f := a.fill
	rtnl.RequestAck(f.buf[f.start:])
	a.p.counters.Sum(counterMessages, int64(len(f.ops)))
	conn := a.p.conn
	go func() {
		defer crash.Guard()
		f.answer <- conn.Exchange(f.buf, f.first, len(f.ops), func(i int, why rtnl.Error) {
			if f.refused == nil {
				f.refused = map[int]rtnl.Error{}
			}
			f.refused[i] = why
		})
	}()
	a.fill, a.sent, a.p.spare = a.p.spare, f, nil
	return nil
}

// wait takes the answers that are due.
func (a *apply) wait() error {
	f := a.sent
	if f == nil {
		return nil
	}
	err := <-f.answer
	for i := range f.ops {
		if err != nil {
			break
		}
		if why, bad := f.refused[i]; bad {
			a.answerBad(&f.ops[i], why)
		} else {
			a.answerGood(&f.ops[i])
		}
	}
	f.clear()
	a.sent, a.p.spare = nil, f
	if err != nil {
		a.p.counters.Count(counterAnswersLost)
	}
	return err
}

// flush sends what there is and takes all answers. Nothing else may be sent on the socket before.
func (a *apply) flush() error {
	if len(a.fill.ops) > 0 {
		if err := a.send(); err != nil {
			return err
		}
	}
	return a.wait()
}

// answerGood notes what the kernel has done.
func (a *apply) answerGood(o *op) {
	switch o.kind {
	case opStray:
		a.b.forgetStrays(o.prefix) // even if another metric of it fails: the next dump shows
	case opDelete:
		a.b.forgetRoute(o.prefix)
	default:
		s := a.b.point(o.prefix, o.step.at, o.step.set.group)
		s.form, s.version, s.odd = o.step.set.form(), s.group.version, false
		if len(a.p.conflicts) > 0 {
			delete(a.p.conflicts, o.prefix)
		}
	}
}

// answerBad notes what the kernel has refused.
func (a *apply) answerBad(o *op, why rtnl.Error) {
	switch {
	case o.kind == opDelete && errors.Is(why, unix.ESRCH):
		a.answerGood(o) // not there: as it should be
	case o.kind == opAdd && errors.Is(why, unix.EEXIST) && !a.last:
		a.taken = append(a.taken, *o)
	case o.kind == opStray:
		a.p.counters.Sum(counterErrors, 1)
		a.refuse(o.kind, &msg.Route{Prefix: o.prefix}, why)
	case o.kind == opDelete:
		a.p.counters.Sum(counterErrors, 1)
		a.refuse(o.kind, &msg.Route{Prefix: o.prefix}, why)
	default:
		a.p.counters.Sum(counterErrors, 1)
		a.refuse(o.kind, o.step.route, why)
	}
}
