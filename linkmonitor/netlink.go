package linkmonitor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/internal/crash"
)

const (
	netlinkBuffer = 4 << 20         // bytes of changes the kernel keeps for us
	dumpTimeout   = 5 * time.Second // for one answer of the kernel while a snapshot is being read
	dumpTries     = 4               // how often a snapshot that changes disturb is started again at once
	maxInvalid    = 100             // how often in a row the kernel may call a read invalid
	skipStats     = 1 << 3          // RTEXT_FILTER_SKIP_STATS (linux/rtnetlink.h): list links without their counters
)

// Netlink is the LinkSource that asks the Linux kernel (rtnetlink(7)).
//
// Changes and snapshots come over one socket, so that the kernel puts them in order: an old change never overwrites what a
// newer snapshot has said. When the kernel drops changes because the socket's buffer is full (ENOBUFS), a loss is
// reported and the socket goes on.
type Netlink struct {
	log    *zap.Logger
	ns     netns.NsHandle // where sockets are opened
	buffer int

	watches chan Watch
	skips   chan Addr
	tell    func(ifName string, alive bool) // see Options.Carrier; nil: nobody

	mu     sync.Mutex // guards what follows
	socket *os.File   // opened by NewNetlink; nil once Run has taken it
}

var _ LinkSource = (*Netlink)(nil)

// NewNetlink opens a socket in the network namespace of the calling thread. Run may be called from any goroutine and
// stays in that namespace.
func NewNetlink(log *zap.Logger) (*Netlink, error) { return newNetlink(log, netlinkBuffer) }

func newNetlink(log *zap.Logger, buffer int) (*Netlink, error) {
	if log == nil {
		log = zap.NewNop()
	}
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("failed to find the network namespace: %w", err)
	}
	n := &Netlink{log: log, ns: ns, buffer: buffer, watches: make(chan Watch, 1), skips: make(chan Addr, 64)}
	if n.socket, err = openNetlink(buffer); err != nil {
		ns.Close()
		return nil, err
	}
	runtime.AddCleanup(n, func(ns netns.NsHandle) { ns.Close() }, ns)
	return n, nil
}

// openNetlink opens a socket that hears of changes of links and addresses in the current namespace.
func openNetlink(buffer int) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // without privilege: as much as is allowed
	}
	const groups = 1<<(unix.RTNLGRP_LINK-1) | 1<<(unix.RTNLGRP_IPV4_IFADDR-1) | 1<<(unix.RTNLGRP_IPV6_IFADDR-1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("failed to subscribe to link changes: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1) // without: probes list more than is asked for
	return os.NewFile(uintptr(fd), "rtnetlink"), nil
}

// take returns the socket of NewNetlink, or a new one in the same namespace.
func (n *Netlink) take() (*os.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s := n.socket; s != nil {
		n.socket = nil
		return s, nil
	}
	runtime.LockOSThread()
	here, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("failed to find the network namespace: %w", err)
	}
	defer here.Close()
	if here.Equal(n.ns) {
		defer runtime.UnlockOSThread()
		return openNetlink(n.buffer)
	}
	if err := netns.Set(n.ns); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("failed to enter the network namespace: %w", err)
	}
	s, err := openNetlink(n.buffer)
	if netns.Set(here) == nil {
		runtime.UnlockOSThread() // otherwise the thread ends with its goroutine: nobody else must get it
	}
	return s, err
}

// Run implements LinkSource.
func (n *Netlink) Run(ctx context.Context, resync <-chan struct{}, emit func([]LinkEvent)) error {
	socket, err := n.take()
	if err != nil {
		return err
	}
	defer socket.Close()
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	r := &netlinkReader{log: n.log, conn: conn, emit: emit, buf: make([]byte, 64<<10)}

	// The read blocks; a deadline in the past wakes it up.
	var asked atomic.Bool
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer crash.Guard()
		var watch Watch
		var began, looked time.Time
		seen := carriers{n.tell, map[string]bool{}}
		look := time.NewTimer(time.Hour)
		look.Stop()
		defer look.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				socket.SetReadDeadline(time.Unix(1, 0))
				return
			case <-resync:
				asked.Store(true)
				socket.SetReadDeadline(time.Unix(1, 0))
			case watch = <-n.watches: // however often they come, no look comes earlier for it
				began = time.Now()
				look.Reset(time.Until(looked.Add(watch.Every)))
			case <-look.C:
				looked = time.Now()
				n.attempt(conn, suspects(conn, watch, &seen)...)
				if time.Now().Before(watch.Until) {
					look.Reset(watch.pause(looked.Sub(began)))
				}
			case a := <-n.skips:
				n.attempt(conn, addrRequest(unix.RTM_DELADDR, 0, a), addrRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, a))
			}
		}
	})
	defer wg.Wait()
	defer close(done)

	for {
		deadline := time.Time{}
		if r.dump != nil {
			deadline = r.dump.deadline
		}
		socket.SetReadDeadline(deadline)
		if ctx.Err() != nil {
			return nil
		}
		if r.dump == nil && asked.Swap(false) {
			if err := r.startDump(1); err != nil {
				return err
			}
			continue
		}
		err := r.read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if r.dump != nil && !time.Now().Before(r.dump.deadline) {
				return errors.New("the kernel does not finish listing links and addresses")
			}
			continue
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// netlinkReader reads one socket: changes, and the answers to its own requests.
type netlinkReader struct {
	log     *zap.Logger
	conn    syscall.RawConn
	emit    func([]LinkEvent)
	buf     []byte
	seq     uint32
	dump    *dump // the snapshot being read; nil: none
	invalid int   // reads in a row that the kernel called invalid
}

// dump is a snapshot being read: first the links, then the addresses. Changes that come between go into it too.
type dump struct {
	seq      uint32
	kind     uint16 // RTM_GETLINK or RTM_GETADDR
	try      int
	table    *linkTable
	spoilt   error // why it cannot be trusted
	deadline time.Time
}

func (r *netlinkReader) startDump(try int) error {
	r.dump = &dump{try: try, table: newLinkTable()}
	return r.request(unix.RTM_GETLINK)
}

// request asks the kernel for all links or all addresses.
func (r *netlinkReader) request(kind uint16) error {
	r.seq++
	r.dump.seq, r.dump.kind, r.dump.deadline = r.seq, kind, time.Now().Add(dumpTimeout)
	req := nl.NewNetlinkRequest(int(kind), unix.NLM_F_DUMP)
	req.Seq = r.seq
	if kind == unix.RTM_GETADDR {
		req.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
	} else {
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStats)))
	}
	if err := send(r.conn, req); err != nil {
		return fmt.Errorf("failed to ask for links and addresses: %w", err)
	}
	return nil
}

// attempt sends requests whose answers nobody waits for: what comes of them is seen in the changes that follow.
func (n *Netlink) attempt(conn syscall.RawConn, reqs ...*nl.NetlinkRequest) {
	if err := send(conn, reqs...); err != nil {
		n.log.Debug("the kernel does not take a request", zap.Error(err))
	}
}

// send hands requests to the kernel, which carries them out in order before send returns.
func send(conn syscall.RawConn, reqs ...*nl.NetlinkRequest) error {
	if len(reqs) == 0 {
		return nil
	}
	var message []byte
	for _, req := range reqs {
		message = append(message, req.Serialize()...)
	}
	var err error
	if e := conn.Write(func(fd uintptr) bool {
		_, err = unix.Write(int(fd), message)
		return !errors.Is(err, unix.EAGAIN)
	}); e != nil {
		err = e
	}
	return err
}

// read receives one datagram and acts on it. It returns os.ErrDeadlineExceeded when it was woken up, or an error after
// which the socket is of no use.
func (r *netlinkReader) read() error {
	var size, flags int
	var from unix.Sockaddr
	var err error
	if e := r.conn.Read(func(fd uintptr) bool {
		size, _, flags, from, err = unix.Recvmsg(int(fd), r.buf, nil, 0)
		return !errors.Is(err, unix.EAGAIN)
	}); e != nil {
		return e
	}
	switch {
	case errors.Is(err, unix.ENOBUFS):
		r.lost("the kernel dropped link changes: the receive buffer was full")
		return nil
	case errors.Is(err, unix.EINTR):
		return nil
	case errors.Is(err, unix.EINVAL) && r.invalid < maxInvalid:
		// A listing that the reader was about to continue has been finished by a request that was being sent meanwhile
		// (net/netlink/af_netlink.c, netlink_dump): nothing is missing.
		r.invalid++
		return nil
	case err != nil:
		return fmt.Errorf("failed to read link changes: %w", err)
	case flags&unix.MSG_TRUNC != 0:
		r.lost("a netlink message was longer than the buffer")
		return nil
	}
	r.invalid = 0
	if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != nl.PidKernel {
		return nil // somebody else's message
	}
	messages, err := syscall.ParseNetlinkMessage(r.buf[:size])
	if err != nil {
		r.lost("malformed netlink message: " + err.Error())
		return nil
	}
	return r.messages(messages)
}

// lost deals with changes that never came: a snapshot being read starts anew, otherwise one has to be asked for.
func (r *netlinkReader) lost(why string) {
	r.log.Warn("reading links and addresses anew", zap.String("because", why))
	if r.dump != nil {
		r.dump.spoilt = errors.New(why)
		return
	}
	r.emit([]LinkEvent{{Kind: LinkLost}})
}

func (r *netlinkReader) messages(messages []syscall.NetlinkMessage) error {
	var changes []LinkEvent
	for _, m := range messages {
		answer := r.dump != nil && m.Header.Seq == r.dump.seq && m.Header.Flags&unix.NLM_F_MULTI != 0
		if answer && m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 && r.dump.spoilt == nil {
			r.dump.spoilt = errors.New("links or addresses changed while they were listed")
		}
		switch m.Header.Type {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			if r.dump == nil || m.Header.Seq != r.dump.seq {
				if errno := netlinkErrno(m.Data); errno != 0 {
					r.log.Debug("the kernel refused a request", zap.Error(errno))
				}
				continue
			}
			if errno := netlinkErrno(m.Data); errno != 0 {
				r.dump.spoilt = fmt.Errorf("listing links and addresses: %w", errno)
			}
			if len(changes) > 0 {
				r.emit(changes)
				changes = nil
			}
			if err := r.endPart(); err != nil {
				return err
			}
			continue
		}
		e, ok := parseLinkMessage(m.Header.Type, m.Data)
		if !ok {
			continue
		}
		if r.dump != nil {
			r.dump.table.apply(e)
		}
		if !answer {
			changes = append(changes, e)
		}
	}
	if len(changes) > 0 {
		r.emit(changes)
	}
	return nil
}

// endPart goes on after the kernel has listed all links or all addresses.
func (r *netlinkReader) endPart() error {
	d := r.dump
	switch {
	case d.spoilt != nil && d.try < dumpTries:
		return r.startDump(d.try + 1)
	case d.spoilt != nil:
		r.dump = nil
		r.emit([]LinkEvent{{Kind: LinkSyncFailed, Err: d.spoilt}})
	case d.kind == unix.RTM_GETLINK:
		return r.request(unix.RTM_GETADDR)
	default:
		r.dump = nil
		r.emit([]LinkEvent{d.table.snapshot()})
	}
	return nil
}
