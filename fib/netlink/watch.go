package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/internal/crash"
	"openr/internal/rtnl"
	"openr/monitor"
)

// watcher knows the interfaces by name and hears what others do to our routes and nexthop objects. The kernel has queued its
// notifications before the change that they tell of is over, so whoever calls refresh first sees the interfaces as they are.
type watcher struct {
	log      *zap.Logger
	counters *monitor.Counters
	slot     slot
	changed  chan struct{} // signalled when the table may have changed behind our back
	ended    chan struct{} // closed when the goroutine has ended
	file     *os.File      // the notification socket
	raw      syscall.RawConn
	closing  atomic.Bool
	stir     atomic.Bool // a link has died or come back: see Programmer.urge
	urge     func()

	mu      sync.Mutex // guards what follows
	request *rtnl.Conn
	buf     []byte
	index   map[string]uint32
	links   map[uint32]kernelLink
	held    map[uint32]time.Time // interfaces that are to be taken for dead, whatever the kernel says, and since when
	downs   map[uint32]bool      // interfaces that have been down since takeDowns: their nexthop objects are gone
	news    news
	unread  bool // the interfaces could not be read after notifications were lost
}

// news is what has happened behind our back.
type news struct {
	foreign map[netip.Prefix]bool // routes of ours that somebody else deleted or replaced
	objects bool                  // somebody else changed nexthop objects of ours
	renamed bool                  // an interface has got another name
	lost    bool                  // there may be more, notifications having been lost
}

// newWatcher subscribes to the kernel's notifications and reads the interfaces. own is the port of the socket on which
// p programs routes, whose changes are no news.
func newWatcher(p *Programmer, own uint32) (*watcher, error) {
	fd, _, err := rtnl.Open(unix.NETLINK_ROUTE, unix.SOCK_NONBLOCK, sendBuffer, recvBuffer)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "netlink")
	w := &watcher{
		log: p.log, counters: p.counters, slot: p.slot, file: file,
		changed: make(chan struct{}, 1), ended: make(chan struct{}), buf: make([]byte, rtnl.ReadBuffer),
		index: map[string]uint32{}, links: map[uint32]kernelLink{}, held: map[uint32]time.Time{}, downs: map[uint32]bool{}, urge: p.urge,
	}
	w.raw, err = file.SyscallConn()
	if err == nil {
		w.request, err = dial()
	}
	if err == nil {
		err = subscribe(fd, p.objects, filter([2]uint32{own, w.request.Port}, p.slot.protocol, p.books.base))
	}
	if err == nil {
		err = w.readLinks()
	}
	if err != nil {
		_ = file.Close()
		if w.request != nil {
			_ = w.request.Close()
		}
		return nil, err
	}
	p.watch = w
	go func() { defer crash.Guard(); w.run() }()
	return w, nil
}

// subscribe attaches the filter and then joins the groups, so that nothing passes unfiltered.
func subscribe(fd int, objects bool, program []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("failed to filter netlink notifications: %w", err)
	}
	groups := []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE}
	if objects {
		groups = append(groups, unix.RTNLGRP_NEXTHOP)
	}
	for _, group := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return fmt.Errorf("failed to subscribe to netlink notifications: %w", err)
		}
	}
	return nil
}

// filter returns a classic BPF program that passes, besides all about interfaces, only what other processes do to our routes
// and nexthop objects: changes of routes of our protocol, replacements by another protocol, and any change of an object in the
// range that begins with base. Neither our own changes nor another protocol's full table cost anything, and what the kernel deletes
// with an interface is known from the interface.
func filter(own [2]uint32, protocol uint8, base uint32) []unix.SockFilter {
	// A filter loads in network byte order what netlink has in the machine's.
	be16 := func(v uint16) uint32 {
		var b [2]byte
		binary.NativeEndian.PutUint16(b[:], v)
		return uint32(binary.BigEndian.Uint16(b[:]))
	}
	be32 := func(v uint32) uint32 {
		var b [4]byte
		binary.NativeEndian.PutUint32(b[:], v)
		return binary.BigEndian.Uint32(b[:])
	}
	const (
		offType, offFlags, offPort = 4, 6, 12                              // of struct nlmsghdr
		offProtocol                = rtnl.HeaderLen + 5                    // of struct rtmsg
		offID                      = rtnl.HeaderLen + unix.SizeofNhmsg + 4 // NHA_ID, which the kernel puts first (nh_fill_node)
		ld, ldh, ldb, and          = 0x20, 0x28, 0x30, 0x54                // BPF_LD | BPF_W, BPF_H, BPF_B | BPF_ABS; BPF_ALU | BPF_AND
		jeq, jset, ret             = 0x15, 0x45, 0x06
	)
	const pass, drop = 21, 22 // where the program ends
	jump := func(at int, op uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: op, K: k, Jt: uint8(yes - at - 1), Jf: uint8(no - at - 1)}
	}
	return []unix.SockFilter{
		0:    {Code: ldh, K: offType},
		1:    jump(1, jeq, be16(unix.RTM_NEWLINK), pass, 2),
		2:    jump(2, jeq, be16(unix.RTM_DELLINK), pass, 3),
		3:    jump(3, jeq, be16(unix.RTM_NEWNEXTHOP), 13, 4),
		4:    jump(4, jeq, be16(unix.RTM_DELNEXTHOP), 13, 5),
		5:    jump(5, jeq, be16(unix.RTM_DELROUTE), 7, 6),
		6:    jump(6, jeq, be16(unix.RTM_NEWROUTE), 9, drop),
		7:    {Code: ldb, K: offProtocol},
		8:    jump(8, jeq, uint32(protocol), 16, drop),
		9:    {Code: ldb, K: offProtocol},
		10:   jump(10, jeq, uint32(protocol), 16, 11),
		11:   {Code: ldh, K: offFlags},
		12:   jump(12, jset, be16(unix.NLM_F_REPLACE), pass, drop),
		13:   {Code: ld, K: offID},
		14:   {Code: and, K: be32(^uint32(idsPerBase - 1))},
		15:   jump(15, jeq, be32(base), 18, drop),
		16:   {Code: ld, K: offPort},
		17:   jump(17, jeq, 0, drop, 19), // the kernel itself
		18:   {Code: ld, K: offPort},
		19:   jump(19, jeq, be32(own[0]), drop, 20),
		20:   jump(20, jeq, be32(own[1]), drop, pass),
		pass: {Code: ret, K: 0xffffffff},
		drop: {Code: ret, K: 0},
	}
}

// run waits for notifications until the socket is closed.
func (w *watcher) run() {
	defer close(w.ended)
	taken := func(fd uintptr) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !w.drain(int(fd))
	}
	err := w.raw.Read(func(fd uintptr) bool {
		done := taken(fd)
		w.urge()
		return done
	})
	if err != nil && !w.closing.Load() {
		w.log.Error("no more netlink notifications", zap.Error(err))
	}
}

// refresh takes in all notifications that wait.
func (w *watcher) refresh() (err error) {
	failed := w.raw.Control(func(fd uintptr) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.drain(int(fd))
		if w.unread {
			err = w.readLinks()
		}
	})
	return errors.Join(failed, err)
}

// linkState says whether an interface can carry next hops.
type linkState int

const (
	linkThere   linkState = iota // the kernel decides
	linkMissing                  // there is no such interface
	linkHeld                     // it is to be taken for dead
)

// lookup returns the index of an interface.
func (w *watcher) lookup(name string) (uint32, linkState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.index[name]
	if !ok {
		return 0, linkMissing
	}
	if _, held := w.held[i]; held {
		return i, linkHeld
	}
	return i, linkThere
}

// dead returns why nexthop objects over an interface are of no use; nil if they are, as far as is known.
func (w *watcher) dead(index uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, there := w.links[index]
	_, held := w.held[index]
	switch {
	case !there:
		return fmt.Errorf("%w (ENODEV): the interface is gone", unix.ENODEV)
	case held:
		return fmt.Errorf("%w (ENETDOWN): interface %s has been found dead", unix.ENETDOWN, l.name)
	case !l.up:
		return fmt.Errorf("%w (ENETDOWN): interface %s is down", unix.ENETDOWN, l.name)
	}
	return nil
}

// has reports whether an interface is there, dead or alive.
func (w *watcher) has(index uint32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.links[index]
	return ok
}

// hold notes that an interface is to be taken for dead, or not any more.
func (w *watcher) hold(name string, dead bool) {
	w.mu.Lock()
	i, ok := w.index[name]
	_, held := w.held[i]
	if ok && held != dead {
		if dead {
			w.held[i] = time.Now()
			w.counters.Count(counterCuts)
		} else {
			delete(w.held, i)
		}
		w.stir.Store(true)
		w.signal()
	}
	w.mu.Unlock()
	w.urge()
}

// holdTime is after how long the kernel's word counts again for an interface that has been found dead. The kernel tells of a
// carrier within a second (net/core/link_watch.c).
const holdTime = 2 * time.Second

// reconsider reads the interfaces if one has been taken for dead for long, and lets it go if it runs: it may have come back before
// the kernel had told anybody that it was gone.
func (w *watcher) reconsider() {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := map[uint32]bool{}
	for i, since := range w.held {
		if time.Since(since) > holdTime {
			old[i] = true
		}
	}
	if len(old) == 0 {
		return
	}
	if err := w.readLinks(); err != nil {
		w.log.Warn("cannot read the interfaces", zap.Error(err))
		return
	}
	for i := range old {
		if w.links[i].running {
			delete(w.held, i)
			w.stir.Store(true)
			w.signal()
		}
	}
}

// takeDowns returns the interfaces that have been down, or gone, since the last call.
func (w *watcher) takeDowns() map[uint32]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.downs
	w.downs = map[uint32]bool{}
	return d
}

// name returns the name of an interface; for one that is unknown, something that is no interface's name.
func (w *watcher) name(index uint32) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l, ok := w.links[index]; ok {
		return l.name
	}
	return fmt.Sprintf("interface/%d", index)
}

// takeNews returns what has happened since the last call.
func (w *watcher) takeNews() (n news) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, w.news = w.news, news{}
	return n
}

// close ends the goroutine.
func (w *watcher) close() error {
	w.closing.Store(true)
	err := w.file.Close()
	<-w.ended
	return errors.Join(err, w.request.Close())
}

// drain reads until nothing waits, and reports false if the socket is of no more use. The caller holds mu.
func (w *watcher) drain(fd int) bool {
	news := false
	for {
		n, from, err := unix.Recvfrom(fd, w.buf, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			w.counters.Count(counterOverruns)
			w.log.Warn("netlink notifications were lost; reading the interfaces anew")
			if err := w.readLinks(); err != nil {
				w.log.Error("cannot read the interfaces", zap.Error(err))
			}
			w.news.lost, news = true, true
			continue
		case err != nil:
			if news {
				w.signal()
			}
			return errors.Is(err, unix.EAGAIN)
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue
		}
		rtnl.EachMessage(w.buf[:n], func(h unix.NlMsghdr, payload []byte) bool {
			news = w.notice(h, payload) || news
			return true
		})
	}
}

func (w *watcher) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// notice takes in a notification and reports whether it makes the table uncertain. The caller holds mu.
func (w *watcher) notice(h unix.NlMsghdr, payload []byte) bool {
	switch h.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		l, ok := parseLink(payload)
		if !ok || !w.setLink(l, h.Type == unix.RTM_NEWLINK) {
			return false
		}
		w.counters.Sum(counterLinkEvents, 1)
		return true
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		r, ok := parseRoute(payload)
		if !ok || r.table != w.slot.table || r.metric != w.slot.metric || h.Pid == 0 {
			return false
		}
		w.counters.Sum(counterForeign, 1)
		if w.news.foreign == nil {
			w.news.foreign = map[netip.Prefix]bool{}
		}
		w.news.foreign[r.prefix] = true
		return true
	case unix.RTM_NEWNEXTHOP, unix.RTM_DELNEXTHOP:
		w.counters.Sum(counterForeignObjects, 1)
		w.news.objects = true
		return true
	}
	return false
}

// setLink enters an interface, or with there false removes it, and reports whether that changes anything for routes.
func (w *watcher) setLink(l kernelLink, there bool) bool {
	old, known := w.links[l.index]
	if known && w.index[old.name] == old.index {
		delete(w.index, old.name)
	}
	if !there {
		delete(w.links, l.index)
		delete(w.held, l.index)
		w.downs[l.index] = true
		w.stir.Store(true)
		return known
	}
	w.links[l.index], w.index[l.name] = l, l.index
	if !l.up {
		w.downs[l.index] = true
	}
	switch {
	case known && old.running && !l.running && l.up: // the kernel keeps its next hops: it has a carrier, and yet carries nothing
		w.held[l.index] = time.Now()
		w.counters.Count(counterCuts)
	case known && l.running && !old.running:
		delete(w.held, l.index)
	}
	if known && old.up != l.up || old.running != l.running || !l.up {
		w.stir.Store(true)
	}
	w.news.renamed = w.news.renamed || known && old.name != l.name
	return !known || old != l
}

// readLinks reads all interfaces. The caller holds mu, or is the only one who knows w.
func (w *watcher) readLinks() error {
	w.unread = true
	found := map[uint32]kernelLink{}
	err := w.request.Dump(dumpLinks, func() { clear(found) }, func(h unix.NlMsghdr, payload []byte) {
		if l, ok := parseLink(payload); ok && h.Type == unix.RTM_NEWLINK {
			found[l.index] = l
		}
	})
	if err != nil {
		return fmt.Errorf("failed to read the interfaces: %w", err)
	}
	w.unread = false
	for i, l := range maps.Clone(w.links) {
		if _, there := found[i]; !there {
			w.setLink(l, false)
		}
	}
	for _, l := range found {
		w.setLink(l, true)
	}
	return nil
}
