package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"go.uber.org/zap"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/rtnl"
)

// gulp is how many notifications are read before what they tell is passed on.
const gulp = 1024

// notificationFilter returns the program that passes what interfaces do, and what bridges learn and forget by themselves:
// what is programmed comes back with NTF_SELF (from a vxlan device) or NTF_EXT_LEARNED, and costs nothing so.
func notificationFilter() []bpf.RawInstruction {
	// A filter loads in network byte order what netlink has in the machine's.
	be16 := func(v uint16) uint32 {
		var b [2]byte
		binary.NativeEndian.PutUint16(b[:], v)
		return uint32(binary.BigEndian.Uint16(b[:]))
	}
	const family, flags = rtnl.HeaderLen, rtnl.HeaderLen + 10 // in struct ndmsg
	return assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: be16(unix.RTM_NEWLINK), SkipTrue: 8},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: be16(unix.RTM_DELLINK), SkipTrue: 7},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: be16(unix.RTM_NEWNEIGH), SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: be16(unix.RTM_DELNEIGH), SkipTrue: 4},
		bpf.LoadAbsolute{Off: family, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.AF_BRIDGE, SkipTrue: 2},
		bpf.LoadAbsolute{Off: flags, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: unix.NTF_SELF | unix.NTF_EXT_LEARNED, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 20},
	})
}

// attach gives a socket a filter.
func attach(fd int, program []bpf.RawInstruction) error {
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))}
	return os.NewSyscallError("setsockopt(SO_ATTACH_FILTER)", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog))
}

// listen subscribes to the kernel's notifications.
func (k *Kernel) listen() error {
	fd, _, err := rtnl.Open(unix.NETLINK_ROUTE, unix.SOCK_NONBLOCK, requestBuffer, listenBuffer)
	if err != nil {
		return err
	}
	k.listener = os.NewFile(uintptr(fd), "netlink")
	if k.raw, err = k.listener.SyscallConn(); err != nil {
		return err
	}
	if err := attach(fd, notificationFilter()); err != nil { // first, so that nothing passes unfiltered
		return fmt.Errorf("failed to filter netlink notifications: %w", err)
	}
	for _, group := range []int{unix.RTNLGRP_LINK, unix.RTNLGRP_NEIGH} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group); err != nil {
			return fmt.Errorf("failed to subscribe to netlink notifications: %w", err)
		}
	}
	return nil
}

// follow reads notifications until the listener is closed.
func (k *Kernel) follow() {
	defer k.done.Done()
	for {
		var failure error
		err := k.raw.Read(func(fd uintptr) bool {
			failure = k.swallow(int(fd))
			return !errors.Is(failure, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		k.mu.Lock()
		if k.closed {
			k.mu.Unlock()
			return
		}
		if errors.Is(failure, unix.ENOBUFS) {
			k.counters.Count(counterOverruns)
			failure = k.repair()
		}
		failure = errors.Join(failure, k.lookAtPorts())
		if failure != nil {
			k.log.Warn("failed to follow the kernel", zap.Error(failure))
		}
		k.pass()
		k.mu.Unlock()
	}
}

// lookAtPorts looks at the ports of entries that have just gone: a bridge deletes them before it tells of a port that went
// down, and it is the port that matters then.
func (k *Kernel) lookAtPorts() (err error) {
	for _, index := range k.learn.bereft() {
		var failure error
		err = errors.Join(err, k.req.One(func(seq uint32) []byte { return appendLinks(nil, seq, index) },
			func(typ uint16, payload []byte, why rtnl.Error) {
				if why.Errno == 0 {
					k.learn.message(typ, payload)
				} else if !errors.Is(why, unix.ENODEV) { // its end is about to be told
					failure = why
				}
			}), failure)
	}
	return err
}

// swallow reads a number of notifications. It returns EAGAIN if there was none, and ENOBUFS if some were lost.
func (k *Kernel) swallow(fd int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range gulp {
		n, err := unix.Read(fd, k.buf) // only the kernel can write there
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && i > 0:
			return nil
		case err != nil:
			return err
		default:
			rtnl.EachMessage(k.buf[:n], func(h unix.NlMsghdr, payload []byte) bool {
				k.learn.message(h.Type, payload)
				return true
			})
		}
	}
	return nil
}

// message takes in a notification or a part of a dump.
func (l *learner) message(typ uint16, payload []byte) {
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if n, ok := parseLink(payload); ok {
			l.link(n, typ == unix.RTM_DELLINK)
		}
	case unix.RTM_NEWNEIGH, unix.RTM_DELNEIGH:
		if n, ok := parseNeighbour(payload); ok {
			l.neighbour(&n, typ == unix.RTM_DELNEIGH)
		}
	}
}

// repair finds out what has been missed. What waits in the socket is older than what is read then, and so it goes first:
// otherwise an endpoint that has moved would seem to move back.
func (k *Kernel) repair() error {
	err := k.raw.Control(func(fd uintptr) {
		for range 1 << 20 { // bounded: under a storm there is always more
			if _, err := unix.Read(int(fd), k.buf); err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return errors.Join(err, k.readAll())
}

// readAll reads the interfaces and who is behind the access ports, and passes on what is new. The remote endpoints are not
// read: a dump of one port passes over them, at a hundredth of the cost. The caller holds the mutex.
func (k *Kernel) readAll() error {
	found := map[uint32]link{}
	err := k.req.Dump(func(seq uint32) []byte { return appendLinks(nil, seq, 0) }, func() { clear(found) },
		func(h unix.NlMsghdr, payload []byte) {
			if n, ok := parseLink(payload); ok {
				found[n.index] = n
			}
		})
	if err != nil {
		return fmt.Errorf("failed to read the interfaces: %w", err)
	}
	for index := range k.learn.links {
		if _, there := found[index]; !there {
			k.learn.forgetLink(index)
		}
	}
	for _, n := range found {
		k.learn.link(n, false)
	}
	s := state{}
	for index := range k.learn.ports {
		if err := k.readPort(index, s); err != nil {
			return err
		}
	}
	k.learn.reconcile(s)
	k.pass()
	return nil
}

// readPort reads the entries of one access port.
func (k *Kernel) readPort(index uint32, s state) error {
	err := k.req.Dump(func(seq uint32) []byte { return appendFDBDump(nil, seq, index) }, func() {},
		func(h unix.NlMsghdr, payload []byte) {
			if n, ok := parseNeighbour(payload); ok && n.index == index {
				s.add(k.learn, &n)
			}
		})
	if errors.Is(err, unix.ENODEV) {
		return nil // its end is about to be told
	}
	if err != nil {
		return fmt.Errorf("failed to read the entries of port %s: %w", k.learn.ports[index].name, err)
	}
	return nil
}

// pass passes on what has come up and runs the errands. The caller holds the mutex.
func (k *Kernel) pass() {
	events, errands := k.learn.take()
	for name, n := range k.learn.ignored {
		k.counters.Sum(name, n)
		delete(k.learn.ignored, name)
	}
	p := applier{k: k, quiet: true}
	run := func(deletes bool) {
		for _, e := range errands {
			if (e.kind == errandDelete) != deletes {
				continue
			}
			if err := k.run(&p, e); err != nil {
				k.log.Warn("failed to set up a device", zap.Uint32("domain", uint32(e.key.BD)), zap.Error(err))
			}
		}
	}
	run(false) // first, so that who is told of a port can ask there
	k.tell(events)
	run(true)
	if err := p.flush(); err != nil {
		k.log.Warn("failed to follow the kernel", zap.Error(err))
	}
}

func (k *Kernel) tell(events []endpoint.Event) {
	if len(events) > 0 {
		k.events.Push(events)
	}
}

func (k *Kernel) run(p *applier, e errand) error {
	d := k.learn.domain(e.key.BD)
	if e.kind == errandDelete {
		return p.deleteLocal(e.key, e.at)
	}
	if err := p.flush(); err != nil { // what follows uses the socket by itself
		return err
	}
	switch e.kind {
	case errandClose:
		if t := k.taps[e.at]; t != nil {
			delete(k.taps, e.at)
			t.stop()
		}
	case errandOpen:
		if k.learn.ports[e.at] == nil || k.taps[e.at] != nil {
			return nil
		}
		if err := k.setFlags(e.at, []portFlag{{unix.IFLA_BRPORT_LEARNING, d.learning}}); err != nil {
			return err
		}
		return k.openTap(e.at)
	case errandSetUp:
		return k.setUp(d)
	}
	return nil
}
