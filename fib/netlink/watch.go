package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/monitor"
)

// watcher knows the interfaces by name and hears what others do to our routes. The kernel has queued its notifications
// before the change that they tell of is over, so whoever calls refresh first sees the interfaces as they are.
type watcher struct {
	log      *zap.Logger
	counters *monitor.Counters
	slot     slot
	changed  chan struct{} // signalled when the table may have changed behind our back
	ended    chan struct{} // closed when the goroutine has ended
	file     *os.File      // the notification socket
	raw      syscall.RawConn
	closing  atomic.Bool

	mu      sync.Mutex // guards what follows
	request *conn
	buf     []byte
	index   map[string]uint32
	links   map[uint32]kernelLink
	foreign map[netip.Prefix]bool // routes of ours that somebody else deleted or replaced, until takeForeign
	lost    bool                  // there may be more of them, their notifications having been lost, until takeForeign
	unread  bool                  // the interfaces could not be read after that
}

// newWatcher subscribes to the kernel's notifications and reads the interfaces. own is the port of the socket on which
// routes are programmed, whose changes are no news.
func newWatcher(own uint32, s slot, log *zap.Logger, counters *monitor.Counters) (*watcher, error) {
	fd, _, err := openSocket(unix.SOCK_NONBLOCK)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "netlink")
	w := &watcher{
		log: log, counters: counters, slot: s, file: file,
		changed: make(chan struct{}, 1), ended: make(chan struct{}), buf: make([]byte, readBuffer),
		index: map[string]uint32{}, links: map[uint32]kernelLink{}, foreign: map[netip.Prefix]bool{},
	}
	if w.raw, err = file.SyscallConn(); err == nil {
		err = subscribe(fd, filter(own, s.protocol))
	}
	if err == nil {
		w.request, err = dial()
	}
	if err == nil {
		err = w.readLinks()
	}
	if err != nil {
		_ = file.Close()
		if w.request != nil {
			_ = w.request.close()
		}
		return nil, err
	}
	go w.run()
	return w, nil
}

// subscribe attaches the filter and then joins the groups, so that nothing passes unfiltered.
func subscribe(fd int, program []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("failed to filter netlink notifications: %w", err)
	}
	for _, group := range []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return fmt.Errorf("failed to subscribe to netlink notifications: %w", err)
		}
	}
	return nil
}

// filter returns a classic BPF program that passes, besides all about interfaces, only what other processes do to our
// routes: deletes of our protocol, and replacements by another protocol. Neither our own changes nor another protocol's
// full table cost anything, and what the kernel deletes with an interface is known from the interface.
func filter(own uint32, protocol uint8) []unix.SockFilter {
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
		offType, offFlags, offPort = 4, 6, 12         // of struct nlmsghdr
		offProtocol                = headerLen + 5    // of struct rtmsg
		ld, ldh, ldb               = 0x20, 0x28, 0x30 // BPF_LD | BPF_W, BPF_H, BPF_B | BPF_ABS
		jeq, jset, ret             = 0x15, 0x45, 0x06
	)
	const pass, drop = 14, 15 // where the program ends
	jump := func(at int, op uint16, k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: op, K: k, Jt: uint8(yes - at - 1), Jf: uint8(no - at - 1)}
	}
	return []unix.SockFilter{
		0:    {Code: ldh, K: offType},
		1:    jump(1, jeq, be16(unix.RTM_NEWLINK), pass, 2),
		2:    jump(2, jeq, be16(unix.RTM_DELLINK), pass, 3),
		3:    jump(3, jeq, be16(unix.RTM_DELROUTE), 5, 4),
		4:    jump(4, jeq, be16(unix.RTM_NEWROUTE), 10, drop),
		5:    {Code: ldb, K: offProtocol},
		6:    jump(6, jeq, uint32(protocol), 7, drop),
		7:    {Code: ld, K: offPort},
		8:    jump(8, jeq, be32(own), drop, 9),
		9:    jump(9, jeq, 0, drop, pass), // the kernel itself
		10:   {Code: ldb, K: offProtocol},
		11:   jump(11, jeq, uint32(protocol), drop, 12),
		12:   {Code: ldh, K: offFlags},
		13:   jump(13, jset, be16(unix.NLM_F_REPLACE), pass, drop),
		pass: {Code: ret, K: 0xffffffff},
		drop: {Code: ret, K: 0},
	}
}

// run waits for notifications until the socket is closed.
func (w *watcher) run() {
	defer close(w.ended)
	err := w.raw.Read(func(fd uintptr) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !w.drain(int(fd))
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

// lookup returns the index of an interface.
func (w *watcher) lookup(name string) (uint32, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.index[name]
	return i, ok
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

// takeForeign returns the prefixes where what stands is no longer ours, since the last call. With lost there may be more.
func (w *watcher) takeForeign() (prefixes map[netip.Prefix]bool, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	prefixes, lost = w.foreign, w.lost
	w.foreign, w.lost = map[netip.Prefix]bool{}, false
	return prefixes, lost
}

// close ends the goroutine.
func (w *watcher) close() error {
	w.closing.Store(true)
	err := w.file.Close()
	<-w.ended
	return errors.Join(err, w.request.close())
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
			w.lost, news = true, true
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
		eachMessage(w.buf[:n], func(h unix.NlMsghdr, payload []byte) bool {
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
		w.foreign[r.prefix] = true
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
		return known
	}
	w.links[l.index], w.index[l.name] = l, l.index
	return !known || old != l
}

// readLinks reads all interfaces. The caller holds mu, or is the only one who knows w.
func (w *watcher) readLinks() error {
	w.unread = true
	err := w.request.dump(dumpLinks, func() { clear(w.links); clear(w.index) }, func(h unix.NlMsghdr, payload []byte) {
		if l, ok := parseLink(payload); ok && h.Type == unix.RTM_NEWLINK {
			w.setLink(l, true)
		}
	})
	if err != nil {
		return fmt.Errorf("failed to read the interfaces: %w", err)
	}
	w.unread = false
	return nil
}
