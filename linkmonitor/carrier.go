package linkmonitor

import (
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Linux tells of a change of carrier at once, but not of a second one within a second of the first: it reports those
// together when the second is over (net/core/link_watch.c). A failure or a repair of several links, of this node or of a
// neighbour, would be seen that late; and of an address that is tentative it does not tell at all. So after any sign of
// change the links are looked at for a while, which the kernel always answers truly.
const (
	watchInterval = 10 * time.Millisecond
	watchTime     = 1100 * time.Millisecond // the kernel's second, and some more
	watchSlow     = 16                      // for each so many links the interval grows by watchInterval
	maxWatched    = 256                     // links looked at each time; more are left to the notifications
)

// carrierWatch says when to look at the links. The zero carrierWatch rests.
type carrierWatch struct {
	until time.Time
	due   time.Time // zero: at rest
	every time.Duration
}

// start watches for watchTime from now.
func (w *carrierWatch) start(now time.Time) {
	if w.due.IsZero() {
		w.due = now
	}
	w.until = now.Add(watchTime)
}

// take reports whether to look now, and plans the next time.
func (w *carrierWatch) take(now time.Time) bool {
	if w.due.IsZero() || now.Before(w.due) {
		return false
	}
	w.due = now.Add(max(w.every, watchInterval))
	if w.due.After(w.until) {
		w.due = time.Time{}
	}
	return true
}

// pace sets how often to look at so many links.
func (w *carrierWatch) pace(links int) {
	w.every = watchInterval * time.Duration(1+links/watchSlow)
}

// watched returns the links on which neighbours are looked for, and of those that are up without a usable link-local
// address the addresses.
func (s *interfaces) watched() Probe {
	var p Probe
	for name, f := range s.flaps {
		link, ok := s.table.link(name)
		if !ok || !s.role(name).discover {
			continue
		}
		p.Links = append(p.Links, link.Index)
		if f.up && !slices.ContainsFunc(s.table.usable(link.Index), isLinkLocal) {
			p.Addrs = append(p.Addrs, link.Index)
		}
	}
	slices.Sort(p.Links)
	slices.Sort(p.Addrs)
	p.Links = p.Links[:min(len(p.Links), maxWatched)]
	p.Addrs = p.Addrs[:min(len(p.Addrs), 1)] // a socket lists one at a time
	return p
}

// isLinkLocal reports whether p is an IPv6 link-local address.
func isLinkLocal(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() }

// Probe implements LinkSource. A probe for which there is no time is left out: the next one is near.
func (n *Netlink) Probe(p Probe) {
	select {
	case n.probes <- p:
	default:
	}
}

// probeRequests ask for single links and their addresses. The answers are messages as for changes; a link that is gone is
// not answered for.
func probeRequests(p Probe) []*nl.NetlinkRequest {
	var reqs []*nl.NetlinkRequest
	for _, index := range p.Links {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
		info := nl.NewIfInfomsg(unix.AF_UNSPEC)
		info.Index = int32(index)
		req.AddData(info)
		req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
		reqs = append(reqs, req)
	}
	for _, index := range p.Addrs {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		info := nl.NewIfAddrmsg(unix.AF_INET6)
		info.Index = uint32(index)
		req.AddData(info)
		reqs = append(reqs, req)
	}
	for _, req := range reqs {
		req.Seq = 0 // no snapshot has this number
	}
	return reqs
}
