package linkmonitor

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// LinkSource is where links and addresses come from: the kernel (NewNetlink) or a test (FakeLinks).
type LinkSource interface {
	// Run calls emit with what happens, in order, until ctx is done (then it returns nil) or the source fails. For each
	// receive from resync it reads everything anew and answers with exactly one LinkSnapshot or LinkSyncFailed; it may
	// answer several requests that wait by one. Changes reach emit at any time, before the first snapshot too. A snapshot
	// holds the effect of every change emitted before it and of none that is emitted after it. emit does not block.
	// After an error, Run may be called again.
	Run(ctx context.Context, resync <-chan struct{}, emit func([]LinkEvent)) error
	// Watch has the source look for itself, rather than wait for notifications, until w.Until or the next call. What it finds
	// changed reaches emit as LinkSet and AddrSet. It does not block, and may do nothing.
	Watch(w Watch)
	// SkipDAD has duplicate address detection of a tentative address broken off and the address declared usable, of which
	// emit hears in the end. It does not block, and may do nothing.
	SkipDAD(a Addr)
}

// Watch is what a LinkSource is to look at.
type Watch struct {
	Until time.Time
	Every time.Duration
	Eases bool   // the longer it lasts, the longer it may be between two looks
	Links []Link // as they are known
	Addrs []int  // ifindexes of links whose IPv6 addresses are to be listed each time
}

// LinkEventKind says which fields of a LinkEvent count.
type LinkEventKind int

// The kinds of link events.
const (
	LinkSet        LinkEventKind = iota + 1 // Link is new or has changed
	LinkGone                                // the link with index Link.Index is gone, and its addresses with it
	AddrSet                                 // Addr is new or has changed
	AddrGone                                // Addr is gone
	LinkSnapshot                            // Links and Addrs are all there are
	LinkSyncFailed                          // a snapshot was asked for and failed with Err
	LinkLost                                // changes were lost: what is known may be wrong until the next snapshot
)

// LinkEvent is one change of the kernel's table of links and addresses, or all of it.
type LinkEvent struct {
	Kind  LinkEventKind
	Link  Link
	Addr  Addr
	Links []Link
	Addrs []Addr
	Err   error
}

// Link is a network interface.
type Link struct {
	Index int // kernel ifindex
	Name  string
	Up    bool // administratively up and able to carry packets: IFF_UP, IFF_RUNNING and IFF_LOWER_UP (linux/if.h)
}

// Addr is an address of a link.
type Addr struct {
	Index  int          // ifindex of its link
	Prefix netip.Prefix // address with the length of its network, not masked
	Peer   netip.Prefix // far end of a point-to-point address; invalid if there is none
	Usable bool         // false while duplicate address detection runs, or after it failed

	Tentative bool // duplicate address detection runs (RFC 4862 section 5.4)
}

// errEmpty is what a snapshot without a single link means.
var errEmpty = errors.New("no link at all, not even a loopback")

// errOverflow stands for the events of a queue that nobody emptied in time.
var errOverflow = errors.New("too many link events waited")

// maxWaiting bounds how many link events wait for the module before they are given up for a resync.
const maxWaiting = 8192

// mergeLinkEvents appends. Beyond maxWaiting all are forgotten and a loss is noted instead; a snapshot that was forgotten
// counts as failed, so that it is asked for again.
func mergeLinkEvents(waiting, next []LinkEvent) []LinkEvent {
	waiting = append(waiting, next...)
	if len(waiting) <= maxWaiting {
		return waiting
	}
	lost := LinkEvent{Kind: LinkLost}
	for _, e := range waiting {
		if e.Kind == LinkSnapshot || e.Kind == LinkSyncFailed {
			lost = LinkEvent{Kind: LinkSyncFailed, Err: errOverflow}
		}
	}
	return []LinkEvent{lost}
}

// linkTable is the kernel's table of links and addresses as far as events have told.
type linkTable struct {
	links  map[int]Link
	byName map[string]int
	addrs  map[int]map[addrKey]addrState // by ifindex
}

type addrKey struct{ prefix, peer netip.Prefix }

type addrState struct{ usable, tentative bool }

func newLinkTable() *linkTable {
	return &linkTable{links: map[int]Link{}, byName: map[string]int{}, addrs: map[int]map[addrKey]addrState{}}
}

// apply changes the table and returns the names of the interfaces that e is about; for a snapshot, of all that were or
// are. Events that are not about the table change nothing.
func (t *linkTable) apply(e LinkEvent) []string {
	switch e.Kind {
	case LinkSet:
		return t.setLink(e.Link)
	case LinkGone:
		name := t.unname(e.Link.Index)
		delete(t.links, e.Link.Index)
		delete(t.addrs, e.Link.Index)
		return name
	case AddrSet:
		set := t.addrs[e.Addr.Index]
		if set == nil {
			set = map[addrKey]addrState{}
			t.addrs[e.Addr.Index] = set
		}
		set[addrKey{e.Addr.Prefix, e.Addr.Peer}] = addrState{e.Addr.Usable, e.Addr.Tentative}
		return t.nameOf(e.Addr.Index)
	case AddrGone:
		delete(t.addrs[e.Addr.Index], addrKey{e.Addr.Prefix, e.Addr.Peer})
		return t.nameOf(e.Addr.Index)
	case LinkSnapshot:
		names := maps.Clone(t.byName)
		*t = *newLinkTable()
		for _, l := range e.Links {
			t.setLink(l)
		}
		for _, a := range e.Addrs {
			t.apply(LinkEvent{Kind: AddrSet, Addr: a})
		}
		maps.Copy(names, t.byName)
		return slices.Sorted(maps.Keys(names))
	}
	return nil
}

// knows reports whether e sets what is set already.
func (t *linkTable) knows(e LinkEvent) bool {
	switch e.Kind {
	case LinkSet:
		known, ok := t.links[e.Link.Index]
		return ok && known == e.Link && t.byName[e.Link.Name] == e.Link.Index
	case AddrSet:
		known, ok := t.addrs[e.Addr.Index][addrKey{e.Addr.Prefix, e.Addr.Peer}]
		return ok && known == addrState{e.Addr.Usable, e.Addr.Tentative}
	}
	return false
}

func (t *linkTable) setLink(l Link) []string {
	var names []string
	if old, ok := t.links[l.Index]; ok && old.Name != l.Name {
		names = t.unname(l.Index)
	}
	t.links[l.Index], t.byName[l.Name] = l, l.Index
	return append(names, l.Name)
}

func (t *linkTable) nameOf(index int) []string {
	if l, ok := t.links[index]; ok {
		return []string{l.Name}
	}
	return nil
}

// unname forgets the name of a link, unless another link has taken it meanwhile.
func (t *linkTable) unname(index int) []string {
	name := t.nameOf(index)
	if name != nil && t.byName[name[0]] == index {
		delete(t.byName, name[0])
	}
	return name
}

// link returns the link of that name.
func (t *linkTable) link(name string) (Link, bool) {
	index, ok := t.byName[name]
	return t.links[index], ok
}

// usable returns the usable addresses of a link in ascending order.
func (t *linkTable) usable(index int) []netip.Prefix {
	var out []netip.Prefix
	for k, state := range t.addrs[index] {
		if state.usable {
			out = append(out, k.prefix)
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out)
}

// snapshot returns the table as a LinkSnapshot, in a fixed order.
func (t *linkTable) snapshot() LinkEvent {
	e := LinkEvent{Kind: LinkSnapshot}
	for _, index := range slices.Sorted(maps.Keys(t.links)) {
		e.Links = append(e.Links, t.links[index])
	}
	for _, index := range slices.Sorted(maps.Keys(t.addrs)) {
		for k, state := range t.addrs[index] {
			e.Addrs = append(e.Addrs, Addr{Index: index, Prefix: k.prefix, Peer: k.peer, Usable: state.usable, Tentative: state.tentative})
		}
	}
	slices.SortFunc(e.Addrs, func(a, b Addr) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), comparePrefixes(a.Prefix, b.Prefix), comparePrefixes(a.Peer, b.Peer))
	})
	return e
}

// comparePrefixes orders by address, then by length.
func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
