package coop

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"openr/endpoint"
)

// Bounds on what peers can make an oracle remember of lookups.
const (
	maxGleans        = 4096
	maxGleansPerPeer = 256
)

// How a search for a silent host goes on until somebody has found it. Its link may just have moved, and a host whose link is
// not up cannot answer: so that it is found soon after that, a young search asks in quick succession. That a link takes
// longer is rare, and most searches that become old are for nobody.
const (
	gleanPause = 100 * time.Millisecond // between two attempts of a young search
	gleanYoung = time.Second            // for which it is one
	gleanEvery = time.Second            // between two attempts of an old one
	gleanFor   = 3 * time.Second        // and then there is nobody
	// gleanHurry is how many attempts of young searches an oracle makes in gleanPause, whoever wants to know: as each makes all
	// leaves of a domain ask at all their ports, a scan of addresses must not become a storm. Who has been asked for least
	// often goes first.
	gleanHurry = 256
)

type gleanKey struct {
	bd endpoint.BD
	ip netip.Addr
}

// glean is a search for a host that the directory does not know.
type glean struct {
	askers []asker
	tries  int
	begun  time.Time
	at     time.Time // of the next attempt
}

type asker struct {
	session *session
	request uint64
	query   Query
}

// onLookup answers where an endpoint is. One that nobody has is looked for if its address is known.
func (o *Oracle) onLookup(s *session, m *Message, l *Lookup) {
	o.o.Counters.Count(counterLookups)
	q := l.Query
	var e *entry
	if q.IP.IsValid() {
		e = o.holder(q.VRF, q.IP)
	} else {
		e = o.entries[q.Key]
	}
	answer := &Answer{Query: q}
	switch {
	case e != nil && o.inUse(e):
		rec := o.tell(e)
		answer.Found, answer.Record = FoundRecord, &rec
	case q.BD != 0 && endpoint.ValidHostIP(q.IP) && s.gleans < maxGleansPerPeer && o.glean(gleanKey{q.BD, q.IP}, q.MAC):
		g := o.gleans[gleanKey{q.BD, q.IP}]
		g.askers = append(g.askers, asker{s, m.Seq, q})
		s.gleans++
		answer.Found = FoundGleaning
	default:
		o.none(answer)
	}
	o.send(s.id, m.Seq, answer)
}

func (o *Oracle) none(a *Answer) {
	a.Found, a.TTL = FoundNone, uint16(min(o.o.NegativeIn/time.Second, 1<<16-1))
}

// Miss takes the news that a packet for an address came to the anycast tunnel address, and nobody has it: its domain is
// asked to look for it.
func (o *Oracle) Miss(now time.Time, bd endpoint.BD, ip netip.Addr) []Effect {
	o.begin(now)
	if bd != 0 && endpoint.ValidHostIP(ip) {
		o.glean(gleanKey{bd, ip}, endpoint.MAC{})
	}
	return o.finish()
}

// glean begins a search, unless it is going on. false: there are too many, or nobody to ask.
func (o *Oracle) glean(k gleanKey, mac endpoint.MAC) bool {
	if o.gleans[k] != nil {
		return true
	}
	if len(o.gleans) >= maxGleans || !o.ask(k, mac) {
		return false
	}
	o.gleans[k] = &glean{tries: 1, begun: o.now, at: o.now.Add(gleanPause)}
	o.o.Counters.Count(counterGleans)
	return true
}

// gleanAll looks for the addresses of an endpoint whose link went down: a silent host would not be heard at its new place.
func (o *Oracle) gleanAll(rec *endpoint.Record) {
	for _, ip := range rec.IPs {
		o.glean(gleanKey{rec.BD, ip.Addr}, rec.MAC)
	}
}

// ask sends GLEAN to the leaves of a domain; false: there is none.
func (o *Oracle) ask(k gleanKey, mac endpoint.MAC) bool {
	asked := false
	for _, p := range o.sortedLeaves() {
		if p.session != nil && p.session.interest[k.bd] {
			o.send(p.session.id, 0, &Glean{BD: k.bd, IP: k.ip, MAC: mac})
			asked = true
		}
	}
	return asked
}

// gleaned ends searches that a record answers.
func (o *Oracle) gleaned(e *entry) {
	if len(o.gleans) == 0 || !o.inUse(e) {
		return
	}
	for _, ip := range e.rec.IPs {
		k := gleanKey{e.rec.BD, ip.Addr}
		if g := o.gleans[k]; g != nil {
			rec := o.tell(e)
			o.answer(k, g, Answer{Found: FoundRecord, Record: &rec})
		}
	}
}

func (o *Oracle) answer(k gleanKey, g *glean, a Answer) {
	delete(o.gleans, k)
	for _, who := range g.askers {
		a.Query = who.query
		who.session.gleans--
		reply := a
		o.send(who.session.id, who.request, &reply)
	}
}

func (o *Oracle) expireGleans() {
	if len(o.gleans) == 0 {
		return
	}
	var due []gleanKey
	for k, g := range o.gleans {
		if !o.now.Before(g.at) {
			due = append(due, k)
		}
	}
	slices.SortFunc(due, func(a, b gleanKey) int {
		return cmp.Or(cmp.Compare(o.gleans[a].tries, o.gleans[b].tries), cmp.Compare(a.bd, b.bd), a.ip.Compare(b.ip))
	})
	for _, k := range due {
		g := o.gleans[k]
		age := o.now.Sub(g.begun)
		if age >= gleanFor {
			var a Answer
			o.none(&a)
			o.answer(k, g, a)
			continue
		}
		g.at = g.begun.Add(age.Truncate(gleanEvery) + gleanEvery)
		if age < gleanYoung {
			g.at = o.now.Add(gleanPause)
			if !o.hurry() {
				continue
			}
		}
		g.tries++
		o.ask(k, endpoint.MAC{})
	}
}

// hurry reports whether one more attempt of a young search may be made now.
func (o *Oracle) hurry() bool {
	if o.now.Sub(o.hurryAt) >= gleanPause {
		o.hurryAt, o.hurried = o.now, 0
	}
	o.hurried++
	return o.hurried <= gleanHurry
}
