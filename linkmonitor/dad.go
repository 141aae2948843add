package linkmonitor

import (
	"maps"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Duplicate address detection keeps a link-local address from use for one to two seconds whenever its link comes up
// (RFC 4862 section 5.4): no hello can be sent, no session opened, no packet forwarded to it. On a link between routers,
// whose link-local addresses derive from their interfaces, it guards against next to nothing, and RFC 4862 leaves the
// number of probes to the operator. So it is skipped on interfaces on which neighbours are looked for, unless the
// configuration says otherwise; optimistic addresses (RFC 4429) would be the gentler way, but Linux denies them to routers.

// dadRetry is the least time between two attempts to skip the detection of one address.
const dadRetry = time.Second

// dadKey names an address of a link.
type dadKey struct {
	index  int
	prefix netip.Prefix
}

// skipDAD adds to out the tentative link-local addresses that e tells of.
func (s *interfaces) skipDAD(e LinkEvent, now time.Time, out *effects) {
	if !s.cfg.SkipDAD {
		return
	}
	addrs := e.Addrs
	if e.Kind == AddrSet {
		addrs = []Addr{e.Addr}
	}
	for _, a := range addrs {
		if !a.Tentative {
			delete(s.skipped, dadKey{a.Index, a.Prefix}) // when it is tentative again, that is another detection
			continue
		}
		link, ok := s.table.links[a.Index]
		if !ok || !isLinkLocal(a.Prefix) || a.Peer.IsValid() || !s.role(link.Name).discover {
			continue
		}
		maps.DeleteFunc(s.skipped, func(_ dadKey, last time.Time) bool { return now.Sub(last) >= dadRetry })
		if _, tried := s.skipped[dadKey{a.Index, a.Prefix}]; tried {
			continue
		}
		s.skipped[dadKey{a.Index, a.Prefix}] = now
		out.skipDAD = append(out.skipDAD, a)
		out.sum(counterDADSkipped)
	}
}

// SkipDAD implements LinkSource: it removes the address and adds it again with the flag that there is to be no detection. If
// too many wait the detection takes its time.
func (n *Netlink) SkipDAD(a Addr) {
	select {
	case n.skips <- a:
	default:
	}
}

// addrRequest adds or removes an IPv6 address, without detection of duplicates.
func addrRequest(kind, flags int, a Addr) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Seq = 0 // no snapshot has this number
	msg := nl.NewIfAddrmsg(unix.AF_INET6)
	msg.Prefixlen = uint8(a.Prefix.Bits())
	msg.Scope = unix.RT_SCOPE_LINK
	msg.Index = uint32(a.Index)
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, a.Prefix.Addr().AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(unix.IFA_F_NODAD)))
	return req
}
