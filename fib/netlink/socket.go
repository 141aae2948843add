package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	headerLen   = unix.SizeofNlMsghdr
	recvBuffer  = 8 << 20 // bytes that may wait to be read
	sendBuffer  = 1 << 20 // longest batch, with the kernel's own overhead
	readBuffer  = 64 << 10
	answerDelay = 5 * time.Second // the kernel answers at once; when it does not, something is broken
	dumpTries   = 5               // how often a dump during which the table changed is made anew
)

// errAnswersLost says that the kernel's answers did not fit into the socket's buffer.
var errAnswersLost = errors.New("the kernel's answers were lost (ENOBUFS)")

// conn is a netlink socket for requests. It is used by one goroutine at a time.
type conn struct {
	fd   int
	port uint32 // our address, by which the kernel marks what it does on our behalf
	seq  uint32 // of the last message
	buf  []byte
}

// openSocket opens a NETLINK_ROUTE socket in the network namespace of the calling thread.
func openSocket(flags int) (fd int, port uint32, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, unix.NETLINK_ROUTE)
	if err != nil {
		return 0, 0, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	// The FORCE variants are not bound by net.core.[rw]mem_max but need CAP_NET_ADMIN.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, recvBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, recvBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	// Without these (kernels before 4.12, 4.3 and 4.20) errors lose their text, answers are longer, and dumps are
	// filtered by us alone.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return 0, 0, fmt.Errorf("failed to bind a netlink socket: %w", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return 0, 0, fmt.Errorf("failed to read a netlink socket's address: %w", err)
	}
	if nl, ok := sa.(*unix.SockaddrNetlink); ok {
		port = nl.Pid
	}
	return fd, port, nil
}

// dial opens a socket for requests.
func dial() (*conn, error) {
	fd, port, err := openSocket(0)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(answerDelay.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("failed to set a netlink socket's time limit: %w", err)
	}
	return &conn{fd: fd, port: port, buf: make([]byte, readBuffer)}, nil
}

func (c *conn) close() error { return unix.Close(c.fd) }

// send sends messages to the kernel, which has acted on them when send returns.
func (c *conn) send(b []byte) error {
	for {
		err := unix.Sendto(c.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// receive reads one datagram of the kernel and calls f for each message in it until f returns false.
func (c *conn) receive(f func(h unix.NlMsghdr, payload []byte) bool) error {
	for {
		n, from, err := unix.Recvfrom(c.fd, c.buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			return errAnswersLost
		case errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("no answer from the kernel within %v", answerDelay)
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue // not from the kernel
		}
		eachMessage(c.buf[:n], f)
		return nil
	}
}

// exchange sends a batch of n messages, of which the last asks for an acknowledgement and whose sequence numbers begin
// with first, and calls refused for each that the kernel has refused. The kernel answers a message that fails in any case
// and in order, so after the last answer everything is known.
func (c *conn) exchange(batch []byte, first uint32, n int, refused func(i int, why kernelError)) error {
	if err := c.send(batch); err != nil {
		return err
	}
	for done := false; !done; {
		err := c.receive(func(h unix.NlMsghdr, payload []byte) bool {
			i := int(h.Seq - first)
			if h.Type != unix.NLMSG_ERROR || i < 0 || i >= n {
				return true // a late answer to something else
			}
			if errno, text := parseError(h, payload); errno != 0 {
				refused(i, kernelError{errno, text})
			}
			done = done || i == n-1
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachMessage calls f for each message in b until f returns false; what is malformed ends b.
func eachMessage(b []byte, f func(h unix.NlMsghdr, payload []byte) bool) {
	for len(b) >= headerLen {
		h := unix.NlMsghdr{
			Len:   binary.NativeEndian.Uint32(b),
			Type:  binary.NativeEndian.Uint16(b[4:]),
			Flags: binary.NativeEndian.Uint16(b[6:]),
			Seq:   binary.NativeEndian.Uint32(b[8:]),
			Pid:   binary.NativeEndian.Uint32(b[12:]),
		}
		if h.Len < headerLen || uint64(h.Len) > uint64(len(b)) {
			return
		}
		if !f(h, b[headerLen:h.Len]) {
			return
		}
		b = b[min(align(int(h.Len)), len(b)):]
	}
}

// dump sends a request that the kernel answers with many messages, and calls f for each. If the table changed meanwhile
// it starts again, calling restart first; what f sees last may still lack what changed.
func (c *conn) dump(request func(seq uint32) []byte, restart func(), f func(h unix.NlMsghdr, payload []byte)) error {
	for try := 1; ; try++ {
		c.seq++
		seq := c.seq
		restart()
		if err := c.send(request(seq)); err != nil {
			return err
		}
		done, interrupted := false, false
		var failure error
		for !done {
			err := c.receive(func(h unix.NlMsghdr, payload []byte) bool {
				if h.Seq != seq {
					return true // a late answer to something else
				}
				interrupted = interrupted || h.Flags&unix.NLM_F_DUMP_INTR != 0
				switch h.Type {
				case unix.NLMSG_DONE, unix.NLMSG_ERROR:
					done = true
					if errno, text := parseError(h, payload); errno != 0 {
						failure = kernelError{errno, text}
					}
				default:
					f(h, payload)
				}
				return true
			})
			if err != nil {
				return err
			}
		}
		if failure != nil || !interrupted || try == dumpTries {
			return failure
		}
	}
}

// align rounds up to the next multiple of 4, where the next message or attribute begins.
func align(n int) int { return (n + 3) &^ 3 }
