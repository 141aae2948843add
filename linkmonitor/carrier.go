package linkmonitor

import (
	"net/netip"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Linux tells of a change of carrier at once, but not of a second one within a second of the first: it reports those
// together when the second is over (net/core/link_watch.c). A failure or a repair of several links, of this node or of a
// neighbour, would be seen that late; and of an address that is tentative it does not tell at all. So after any sign of
// change the links are looked at for a while, which the kernel always answers truly.
const (
	watchInterval = 20 * time.Millisecond
	watchTime     = 1100 * time.Millisecond // the kernel's second, and some more
	watchHeard    = 300 * time.Millisecond  // after signs from other nodes: what fails together is told within that
	watchSlow     = 16                      // for each so many links the interval grows by watchInterval
)

// linkWatch says what to look at and until when. The zero linkWatch rests.
type linkWatch struct {
	until time.Time
	due   bool // what was last said is out of date
}

// start watches for watchTime from now.
func (w *linkWatch) start(now time.Time) { w.until, w.due = now.Add(watchTime), true }

// heard watches for watchHeard from now, as another node tells of a change that may be followed by one here.
func (w *linkWatch) heard(now time.Time) {
	if until := now.Add(watchHeard); until.After(w.until) {
		w.until, w.due = until, true
	}
}

// renew says anew what to look at, if something is being watched.
func (w *linkWatch) renew() { w.due = true }

// flush adds to out what is to be watched, if that is news.
func (w *linkWatch) flush(s *interfaces, now time.Time, out *effects) {
	if !w.due {
		return
	}
	w.due = false
	if !now.Before(w.until) {
		return
	}
	// What does not follow soon on a sign from another node does not come of it, and each look wakes up an idle processor.
	watch := Watch{Until: w.until, Eases: !w.until.After(now.Add(watchHeard))}
	for name := range s.flaps {
		link, ok := s.table.link(name)
		if !ok || !s.role(name).discover {
			continue
		}
		watch.Links = append(watch.Links, link)
		if link.Up && !slices.ContainsFunc(s.table.usable(link.Index), isLinkLocal) {
			watch.Addrs = append(watch.Addrs, link.Index)
		}
	}
	slices.SortFunc(watch.Links, func(a, b Link) int { return a.Index - b.Index })
	slices.Sort(watch.Addrs)
	watch.Every = watchInterval * time.Duration(1+len(watch.Links)/watchSlow)
	out.watch = &watch
}

// isLinkLocal reports whether p is an IPv6 link-local address.
func isLinkLocal(p netip.Prefix) bool { return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() }

// pause returns how long it is to the next look, some time after the first.
func (w Watch) pause(since time.Duration) time.Duration {
	if !w.Eases {
		return w.Every
	}
	return max(w.Every, since/2)
}

// Watch implements LinkSource.
func (n *Netlink) Watch(w Watch) {
	for {
		select {
		case n.watches <- w:
			return
		default:
		}
		select { // what waits is out of date
		case <-n.watches:
		default:
		}
	}
}

// carriers remembers of which links somebody has been told that the carrier is lost.
type carriers struct {
	tell func(ifName string, alive bool)
	lost map[string]bool
}

// saw tells of a carrier that is lost, and of its return.
func (c *carriers) saw(name string, carrier bool) {
	if c.tell == nil || c.lost[name] == !carrier {
		return
	}
	if carrier {
		delete(c.lost, name)
	} else {
		c.lost[name] = true
	}
	c.tell(name, carrier)
}

// suspects returns requests for the links whose carrier is not what it is known to be, and for the addresses to list: of one
// link or of all, as a socket can list but one thing at a time. The answers are messages as for changes.
func suspects(conn syscall.RawConn, w Watch, seen *carriers) []*nl.NetlinkRequest {
	var reqs []*nl.NetlinkRequest
	for _, l := range w.Links {
		carrier, ok := carrier(conn, l.Name)
		if ok {
			seen.saw(l.Name, carrier)
		}
		if !ok || carrier == l.Up {
			continue
		}
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
		info := nl.NewIfInfomsg(unix.AF_UNSPEC)
		info.Index = int32(l.Index)
		req.AddData(info)
		req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
		reqs = append(reqs, req)
	}
	if len(w.Addrs) > 0 {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		info := nl.NewIfAddrmsg(unix.AF_INET6)
		if len(w.Addrs) == 1 {
			info.Index = uint32(w.Addrs[0])
		}
		req.AddData(info)
		reqs = append(reqs, req)
	}
	for _, req := range reqs {
		req.Seq = 0 // no snapshot has this number
	}
	return reqs
}

// carrier asks for the carrier of an interface (ETHTOOL_GLINK, linux/ethtool.h), which costs next to nothing. An interface
// that is switched off has none. conn is any socket in its network namespace. ok is false if there is no such interface or
// its driver cannot tell.
func carrier(conn syscall.RawConn, name string) (up, ok bool) {
	var request struct { // struct ifreq, linux/if.h
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	if len(name) >= unix.IFNAMSIZ {
		return false, false
	}
	copy(request.name[:], name)
	value := [2]uint32{unix.ETHTOOL_GLINK} // struct ethtool_value
	request.data = unsafe.Pointer(&value)
	err := conn.Control(func(fd uintptr) {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		ok = errno == 0
	})
	return value[1] != 0, ok && err == nil
}
