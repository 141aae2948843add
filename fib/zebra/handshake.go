package zebra

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// probePatience is how long zebra may take for an answer while its release is being found out. Only releases before 7.3
// make use of it, since they do not answer at all to what they do not know.
const probePatience = 3 * time.Second

// identity is what a session is to be, before the numbers of the release are known.
type identity struct {
	protocol string // name of the route type
	instance uint16
	id       uint32
	ownTable bool
}

// greet says HELLO on a new connection, after finding out zebra's release if rel is nil. Afterwards p.rel and p.caps are
// set. The connection has to be used afterwards: a session that ends lets zebra sweep the routes of its protocol and
// instance, so nothing is probed on a connection of its own.
func (p *peer) greet(who identity, rel *release) error {
	var err error
	if rel != nil {
		err = p.greetRelease(who, rel)
	} else {
		err = p.probe(who)
	}
	_ = p.conn.SetReadDeadline(time.Time{})
	return err
}

// answer returns the next message that has one of the numbers; see answerThat.
func (p *peer) answer(numbers ...int) (number int, body []byte, err error) {
	return p.answerThat(func(n int, _ []byte) bool { return slices.Contains(numbers, n) })
}

// answerThat returns the next message that is awaited, and passes over others, timing out after p.wait. Of others there
// may be some even before HELLO: zebra tells every connection when another ends (CLIENT_CLOSE_NOTIFY, 8.0 on).
func (p *peer) answerThat(awaited func(number int, body []byte) bool) (number int, body []byte, err error) {
	if err := p.flush(); err != nil {
		return 0, nil, err
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(p.wait))
	for {
		h, body, err := p.next()
		if err != nil {
			if err = lost(err); errors.Is(err, errClosedByZebra) {
				err = fmt.Errorf("%w, as it does with clients of another ZAPI version than its own; version %d is spoken here (%s)",
					err, zapiVersion, zapiVersions[zapiVersion])
			}
			return 0, nil, err
		}
		if awaited(int(h.command), body) {
			return int(h.command), body, nil
		}
	}
}

// session returns the session in the numbers of a release.
func (who identity) session(rel *release) (session, error) {
	typ, ok := rel.routeType(who.protocol)
	if !ok || uint32(typ) >= rel.maxTypes() {
		return session{}, fmt.Errorf("FRR release %s has no route type %q; set another protocol", rel, who.protocol)
	}
	return session{protocol: typ, instance: who.instance, id: who.id, notify: true}, nil
}

// greetRelease says HELLO to a zebra of a known release.
func (p *peer) greetRelease(who identity, rel *release) error {
	p.rel = rel
	s, err := who.session(rel)
	if err != nil {
		return err
	}
	if err := p.send(cmdHello, func(b []byte) ([]byte, error) { return rel.appendHello(b, s), nil }); err != nil {
		return err
	}
	caps, _ := rel.number(cmdCapabilities)
	n, body, err := p.answerThat(func(n int, body []byte) bool { return n == int(caps) || refusal(body) })
	switch {
	case timeout(err):
		return fmt.Errorf("zebra does not answer the HELLO of FRR release %s; is that its release? (zebra --version shows it)", rel)
	case err != nil:
		return err
	case n != int(caps) || len(body) != rel.capabilitiesLength():
		return wrongRelease(rel, n, len(body))
	}
	p.caps, err = rel.readCapabilities(body)
	return err
}

func wrongRelease(rel *release, number, length int) error {
	return fmt.Errorf("zebra is not of FRR release %s: it answers with command %d and %d bytes; set its release (zebra --version shows it) or let it be found out",
		rel, number, length)
}

// refusal reports whether a message says, under whatever number, that zebra does not know a command.
func refusal(body []byte) bool {
	code, err := readError(body)
	return err == nil && len(body) == 4 && code == errUnknownType
}

// probe finds out the release, and says HELLO on the way.
func (p *peer) probe(who identity) error {
	e := evidence{errors: -1, caps: -1, known: map[command]bool{}}
	if err := p.sendNumber(unknownCommand, nil); err != nil {
		return err
	}
	switch n, _, err := p.answerThat(func(_ int, body []byte) bool { return refusal(body) }); {
	case timeout(err): // older than 7.3
	case err != nil:
		return err
	default:
		e.errors = n
	}
	if err := p.askAll(&e); err != nil {
		return err
	}
	if err := p.probeHello(who, &e); err != nil {
		return err
	}
	if err := p.askAll(&e); err != nil {
		return err
	}
	if err := p.look(&e); err != nil {
		return err
	}
	rel, err := settle(e.candidates(), e, who.ownTable)
	if err != nil {
		return err
	}
	if _, err := who.session(rel); err != nil {
		return err
	}
	p.rel = rel
	return nil
}

// askAll tries commands on which the candidates differ. Each is followed by a request for the interfaces, which every
// zebra answers, HELLO or not, and by the unknown command: an ERROR before the interfaces is that of the tried one.
func (p *peer) askAll(e *evidence) error {
	for e.errors >= 0 {
		candidates := e.candidates()
		c, number, ok := ask(candidates)
		if !ok {
			return nil
		}
		interfaces, _ := candidates[0].number(cmdInterfaceAdd)
		err := errors.Join(p.sendNumber(number, nil), p.sendNumber(interfaces, nil), p.sendNumber(unknownCommand, nil))
		if err != nil {
			return err
		}
		known, last := true, false
		for !last {
			n, _, err := p.answer(e.errors, int(interfaces))
			switch {
			case err != nil:
				return err
			case n == int(interfaces):
				last = true
			default:
				known = false
			}
		}
		if _, _, err := p.answer(e.errors); err != nil {
			return err
		}
		e.known[c] = known
	}
	return nil
}

// probeHello tries the HELLOs of the candidates until zebra answers with its capabilities.
func (p *peer) probeHello(who identity, e *evidence) error {
	candidates := e.candidates()
	if len(candidates) == 0 {
		_, err := settle(nil, *e, false)
		return err
	}
	for _, g := range greetings(candidates) {
		var rel *release // any that knows this HELLO; they agree on what follows
		for _, r := range candidates {
			if n, _ := r.number(cmdHello); n == g.number && r.hello == g.form {
				rel = r
			}
		}
		s, err := who.session(rel)
		if err != nil {
			return err
		}
		caps, _ := rel.number(cmdCapabilities)
		err = p.sendNumber(g.number, func(b []byte) ([]byte, error) { return rel.appendHello(b, s), nil })
		if err != nil {
			return err
		}
		n, body, err := p.answer(int(caps), e.errors)
		switch {
		case timeout(err):
			continue
		case err != nil:
			return err
		case n == e.errors:
			continue
		}
		e.caps, e.capsLen = n, len(body)
		if fits := e.candidates(); len(fits) > 0 {
			p.caps, err = fits[0].readCapabilities(body)
		}
		return err
	}
	_, err := settle(nil, *e, false)
	return err
}

// look asks for messages in which the candidates differ: an interface, and how zebra reaches an address of no network
// (TEST-NET-1, RFC 5737).
func (p *peer) look(e *evidence) error {
	if c := e.candidates(); len(c) > 1 && differ(c, func(r *release) [4]int {
		return [4]int{r.ifNameLength, int(flag(r.ifParent)), int(flag(r.ifTxqlen)), int(flag(r.ifType))}
	}) {
		n, _ := c[0].number(cmdInterfaceAdd)
		if err := p.sendNumber(n, nil); err != nil {
			return err
		}
		_, body, err := p.answer(int(n))
		if err != nil && !timeout(err) {
			return err
		}
		e.link = append(e.link, body...)
	}
	c := e.candidates()
	if len(c) < 2 || !differ(c, func(r *release) [3]bool { return [3]bool{r.updateSafi, r.updateMatch, r.updateNum16} }) ||
		differ(c, func(r *release) bool { return r.registerSafi }) {
		return nil
	}
	addr := netip.AddrFrom4([4]byte{192, 0, 2, 254})
	track := func(b []byte) ([]byte, error) { return c[0].appendTrack(b, addr), nil }
	register, _ := c[0].number(cmdNexthopRegister)
	unregister, _ := c[0].number(cmdNexthopUnregister)
	update, _ := c[0].number(cmdNexthopUpdate)
	if err := errors.Join(p.sendNumber(register, track), p.sendNumber(unregister, track)); err != nil {
		return err
	}
	_, body, err := p.answer(int(update))
	if err != nil && !timeout(err) {
		return err
	}
	e.update = append(e.update, body...)
	return nil
}
