package endpoint

import (
	"net/netip"
	"slices"
	"time"
)

// A host that asks for an address which the leaf does not know gets no answer from the data plane, and asks again after a
// second. So the leaf remembers who has asked, and answers as soon as the directory does.
const (
	questionLife = 3 * time.Second // for which a host is taken to wait for an answer
	lookupPause  = time.Second     // at least, between two look-ups of one address
	sweepPause   = 100 * time.Millisecond

	maxQuestions  = 1024 // addresses asked for
	maxAskers     = 16   // hosts that ask for one of them
	maxPortAskers = 64   // questions from one port, so that a scan leaves room for the others, here and at the oracles
)

// question is an address that somebody asks for.
type question struct {
	dom    *domain
	target netip.Addr
}

// waiting is who waits for the answer to a question.
type waiting struct {
	hosts    []asker
	lookupAt instant // not before this is it looked up again
	until    instant
}

// asker is a local host that has asked.
type asker struct {
	Host
	at spot
}

// onAsked takes the question of a local host who has an address. One that is known is answered by the data plane, or by its
// owner; any other is looked up in the directory.
func (c *Core) onAsked(ev *Event) {
	d := c.learnable(ev)
	if d == nil {
		return
	}
	e := d.eps[ev.MAC]
	at := spot{port: c.ports[ev.Port], vlan: ev.VLAN}
	switch {
	case !ValidHostIP(ev.Target) || ev.IP.Is4() != ev.Target.Is4():
		c.refuse(refusedIP)
		return
	case e == nil || e.port == nil || e.spot() != at || e.ip(ev.IP) == nil:
		return // it is not believed to be there, or to be this one
	case c.ips[keyOfIP(d, ev.Target)] != nil:
		return
	case !d.cfg.allows(ev.Target, false):
		c.refuse(refusedSubnet)
		return
	}
	k := question{d, ev.Target}
	w := c.questions[k]
	if w != nil && w.until <= c.now {
		c.forgetQuestion(k)
		w = nil
	}
	if w == nil {
		if !c.roomFor(at.port) {
			c.refuse(refusedQuestion)
			return
		}
		w = &waiting{until: c.now.add(questionLife)}
		c.questions[k] = w
	}
	who := asker{Host{ev.MAC, ev.IP}, at}
	if !slices.Contains(w.hosts, who) && len(w.hosts) < maxAskers && c.roomFor(at.port) {
		w.hosts = append(w.hosts, who)
		at.port.askers++
	}
	if w.lookupAt <= c.now {
		w.lookupAt = c.now.add(lookupPause)
		c.counters.Count(counterQuestions)
		c.emit(Action{Kind: Lookup, Key: Key{BD: d.cfg.BD}, VRF: d.cfg.VRF, IP: ev.Target})
	}
}

// roomFor reports whether one more question of a port may wait. What nobody waits for any more makes room.
func (c *Core) roomFor(p *port) bool {
	full := func() bool { return len(c.questions) >= maxQuestions || p.askers >= maxPortAskers }
	if full() && c.sweptAt.add(sweepPause) <= c.now {
		c.sweptAt = c.now
		for k, w := range c.questions {
			if w.until <= c.now {
				c.forgetQuestion(k)
			}
		}
	}
	return !full()
}

func (c *Core) forgetQuestion(k question) {
	w := c.questions[k]
	if w == nil {
		return
	}
	delete(c.questions, k)
	for _, h := range w.hosts {
		h.at.port.askers--
	}
}

// reply answers those who have asked for the addresses of an endpoint that has just been found behind another leaf, each once.
func (c *Core) reply(e *entry) {
	if len(c.questions) == 0 {
		return
	}
	for i := range e.ips {
		k := question{e.dom, e.ips[i].addr}
		w := c.questions[k]
		if w == nil {
			continue
		}
		c.forgetQuestion(k)
		if w.until <= c.now {
			continue
		}
		for _, h := range w.hosts {
			if who := e.dom.eps[h.MAC]; who == nil || who.spot() != h.at || who.ip(h.IP) == nil {
				continue // it has gone or moved meanwhile
			}
			c.counters.Count(counterReplies)
			c.emit(Action{Kind: Reply, Key: e.key(), VRF: e.dom.cfg.VRF, IP: k.target, Port: h.at.port.name, VLAN: h.at.vlan, Asker: h.Host})
		}
	}
}
