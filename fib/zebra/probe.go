package zebra

import (
	"fmt"
	"slices"
	"strings"
)

// unknownCommand is a command number of no release. zebra from 7.3 on answers it with ERROR, in order with everything
// else, and the number of that ERROR tells much of the release. It changes nothing.
const unknownCommand = 200

// evidence is what zebra's behaviour has told about its release.
type evidence struct {
	errors  int // number of its ERROR; -1: none came
	caps    int // number of its CAPABILITIES; -1: not asked yet
	capsLen int // length of their body
	// known has commands that zebra was tried with, and whether it knew them.
	known map[command]bool
	// link and update are an interface and a NEXTHOP_UPDATE without next hops, as it sent them; nil: not seen yet.
	link, update []byte
}

// fits reports whether a release would have behaved so.
func (e evidence) fits(r *release) bool {
	n, has := r.number(cmdError)
	if !r.programming || has != (e.errors >= 0) || has && int(n) != e.errors {
		return false
	}
	if e.caps >= 0 {
		if n, _ := r.number(cmdCapabilities); int(n) != e.caps || r.capabilitiesLength() != e.capsLen {
			return false
		}
	}
	for c, known := range e.known {
		if _, has := r.number(c); has != known {
			return false
		}
	}
	if e.link != nil {
		if _, err := r.readLink(e.link); err != nil {
			return false
		}
	}
	if e.update != nil {
		if _, err := r.readTracked(e.update); err != nil {
			return false
		}
	}
	return true
}

// candidates returns the releases that fit.
func (e evidence) candidates() []*release {
	return slices.DeleteFunc(slices.Clone(releases), func(r *release) bool { return !e.fits(r) })
}

// telling are commands that tell releases apart which answer alike otherwise. A zebra that knows them takes an empty
// body of theirs for a broken message, which it ignores.
var telling = []command{cmdClientCapabilities, cmdTcFilterDelete}

// ask returns a command to try next, if there is one that only some of the candidates know.
func ask(candidates []*release) (c command, number uint16, ok bool) {
	for _, c := range telling {
		var numbers []uint16
		for _, r := range candidates {
			if n, has := r.number(c); has && !slices.Contains(numbers, n) {
				numbers = append(numbers, n)
			}
		}
		if len(numbers) == 1 && differ(candidates, func(r *release) bool { _, has := r.number(c); return has }) {
			return c, numbers[0], true
		}
	}
	return 0, 0, false
}

// differ reports whether f is not the same for all candidates.
func differ[T comparable](candidates []*release, f func(r *release) T) bool {
	for _, r := range candidates {
		if f(r) != f(candidates[0]) {
			return true
		}
	}
	return false
}

// greeting is a HELLO to try.
type greeting struct {
	number uint16
	form   helloForm
}

// greetings returns the HELLOs that the candidates understand, the one of older releases first. Sent to another release
// each is a command that zebra does not take, which it answers with ERROR (from 7.3 on) or ignores.
func greetings(candidates []*release) (out []greeting) {
	for _, r := range candidates {
		n, _ := r.number(cmdHello)
		if g := (greeting{n, r.hello}); !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// ours clears what does not matter for what this package sends and needs to understand: EVPN, MPLS and SRv6 next hops,
// and without a table of our own the flag that comes with it.
func (l layout) ours(ownTable bool) string {
	l.rmacByHop, l.labelType, l.segments, l.segEncap = false, false, false, false
	l.tableFlag = l.tableFlag && ownTable
	return fmt.Sprintf("%+v", l)
}

// settle returns the release to speak, the latest of those that amount to the same.
func settle(candidates []*release, e evidence, ownTable bool) (*release, error) {
	switch {
	case len(candidates) == 0:
		return nil, fmt.Errorf("zebra answers like no known FRR release (ERROR is %d, CAPABILITIES is %d with %d bytes); if it is one of %s, set the release by configuration",
			e.errors, e.caps, e.capsLen, strings.Join(Releases(), ", "))
	case differ(candidates, func(r *release) string { return r.ours(ownTable) }) ||
		differ(candidates, usedNumbers):
		var names []string
		for _, r := range candidates {
			names = append(names, r.String())
		}
		return nil, fmt.Errorf("zebra may be of FRR release %s, which differ in the messages that are needed and cannot be told apart from outside; set the release by configuration (zebra --version shows it)",
			strings.Join(names, " or "))
	}
	return candidates[len(candidates)-1], nil
}

// used are the commands that this package sends or understands.
var used = []command{
	cmdInterfaceAdd, cmdInterfaceDelete, cmdInterfaceAddressAdd, cmdInterfaceAddressDelete, cmdInterfaceUp, cmdInterfaceDown,
	cmdRouteAdd, cmdRouteDelete, cmdRouteNotifyOwner, cmdRouteNotifyRequest, cmdRedistributeAdd, cmdRedistributeRouteAdd, cmdRedistributeRouteDel,
	cmdRouterIDAdd, cmdRouterIDUpdate, cmdHello, cmdCapabilities, cmdNexthopRegister, cmdNexthopUnregister, cmdNexthopUpdate,
	cmdVRFAdd, cmdNHGAdd, cmdNHGDel, cmdNHGNotifyOwner, cmdError, cmdClientCapabilities,
}

// usedNumbers returns the numbers of used as something to compare.
func usedNumbers(r *release) string {
	var b strings.Builder
	for _, c := range used {
		fmt.Fprintf(&b, "%d ", commandTable[c].numbers[r.column])
	}
	return b.String()
}
