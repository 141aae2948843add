package rtnl

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ReadBuffer is what one read may bring: the kernel answers a dump in pieces of up to 32 KiB.
	ReadBuffer = 64 << 10

	answerDelay = 5 * time.Second // the kernel answers at once; when it does not, something is broken
	dumpTries   = 5               // how often a dump during which the table changed is made anew
)

// ErrLost says that what the kernel had to tell did not fit into the socket's buffer.
var ErrLost = errors.New("messages of the kernel were lost (ENOBUFS)")

// Conn is a netlink socket for requests. It is used by one goroutine at a time.
type Conn struct {
	Port uint32 // our address, by which the kernel marks what it does on our behalf
	Seq  uint32 // of the last message
	FD   int    // of the socket, if it was opened otherwise than by Dial
	buf  []byte
}

// Open opens a socket of a netlink protocol (NETLINK_*) in the network namespace of the calling thread, with the given flags
// beside SOCK_RAW and SOCK_CLOEXEC and buffers of the given sizes in bytes. port is its address.
func Open(protocol, flags, send, receive int) (fd int, port uint32, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, protocol)
	if err != nil {
		return -1, 0, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	SetBuffers(fd, send, receive)
	// Without these (kernels before 4.12, 4.3 and 4.20) errors lose their text, answers are longer, and dumps are filtered
	// by us alone.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return -1, 0, fmt.Errorf("failed to bind a netlink socket: %w", err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, fmt.Errorf("failed to read a netlink socket's address: %w", err)
	}
	if nl, ok := sa.(*unix.SockaddrNetlink); ok {
		port = nl.Pid
	}
	return fd, port, nil
}

// SetBuffers sets the sizes of a socket's buffers, 0: as it is. The FORCE variants are not bound by net.core.[rw]mem_max but need
// CAP_NET_ADMIN.
func SetBuffers(fd, send, receive int) {
	for _, b := range []struct{ force, option, size int }{
		{unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, send}, {unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receive},
	} {
		if b.size > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, b.force, b.size) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, b.option, b.size)
		}
	}
}

// Dial opens a socket for requests; see Open.
func Dial(protocol, send, receive int) (*Conn, error) {
	fd, port, err := Open(protocol, 0, send, receive)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(answerDelay.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("failed to set a netlink socket's time limit: %w", err)
	}
	return &Conn{FD: fd, Port: port}, nil
}

// Close closes the socket; that of a nil Conn is no matter.
func (c *Conn) Close() error {
	if c == nil {
		return nil
	}
	return unix.Close(c.FD)
}

// Send sends messages to the kernel, which has acted on them when send returns.
func (c *Conn) Send(b []byte) error {
	for {
		err := unix.Sendto(c.FD, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("sendto", err)
		}
	}
}

// Receive reads one datagram of the kernel and calls f for each message in it until f returns false. If some were lost it
// throws away those that are left and returns ErrLost: until then the kernel would not answer later requests either
// (NETLINK_S_CONGESTED of net/netlink/af_netlink.c).
func (c *Conn) Receive(f func(h unix.NlMsghdr, payload []byte) bool) error {
	if c.buf == nil {
		c.buf = make([]byte, ReadBuffer)
	}
	for {
		n, from, err := unix.Recvfrom(c.FD, c.buf, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS):
			c.discard()
			return ErrLost
		case errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("no answer from the kernel within %v", answerDelay)
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue // not from the kernel
		}
		EachMessage(c.buf[:n], f)
		return nil
	}
}

// discard throws away what waits to be read.
func (c *Conn) discard() {
	for {
		_, _, err := unix.Recvfrom(c.FD, c.buf, unix.MSG_DONTWAIT)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOBUFS) {
			return
		}
	}
}

// Exchange sends a batch of n messages, of which the last asks for an acknowledgement and whose sequence numbers begin with
// first, and calls refused for each that the kernel has refused. The kernel answers a message that fails in any case and in
// order, so after the last answer everything is known.
func (c *Conn) Exchange(batch []byte, first uint32, n int, refused func(i int, why Error)) error {
	if err := c.Send(batch); err != nil {
		return err
	}
	for done := false; !done; {
		err := c.Receive(func(h unix.NlMsghdr, payload []byte) bool {
			i := int(h.Seq - first)
			if h.Type != unix.NLMSG_ERROR || i < 0 || i >= n {
				return true // a late answer to something else
			}
			if why := ParseError(h, payload); why.Errno != 0 {
				refused(i, why)
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

// Do sends one request, and returns what the kernel has against it.
func (c *Conn) Do(request func(seq uint32) []byte) error {
	c.Seq++
	b := request(c.Seq)
	RequestAck(b)
	var failure error
	err := c.Exchange(b, c.Seq, 1, func(_ int, why Error) { failure = why })
	return errors.Join(err, failure)
}

// One sends a request that the kernel answers with one message, or an error.
func (c *Conn) One(request func(seq uint32) []byte, f func(typ uint16, payload []byte, why Error)) error {
	c.Seq++
	return c.Ask(request(c.Seq), c.Seq, 1, func(_ int, typ uint16, payload []byte, why Error) { f(typ, payload, why) })
}

// Ask sends a batch of n requests, whose sequence numbers begin with first and each of which the kernel answers with one
// message or an error, in their order.
func (c *Conn) Ask(batch []byte, first uint32, n int, f func(i int, typ uint16, payload []byte, why Error)) error {
	if err := c.Send(batch); err != nil {
		return err
	}
	for done := false; !done; {
		err := c.Receive(func(h unix.NlMsghdr, payload []byte) bool {
			i := int(h.Seq - first)
			if i < 0 || i >= n {
				return true // a late answer to something else
			}
			if h.Type == unix.NLMSG_ERROR {
				f(i, h.Type, nil, ParseError(h, payload))
			} else {
				f(i, h.Type, payload, Error{})
			}
			done = i == n-1
			return !done
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Dump sends a request that the kernel answers with many messages, and calls f for each. If the table changed meanwhile it
// starts again, calling restart first; what f sees last may still lack what changed.
func (c *Conn) Dump(request func(seq uint32) []byte, restart func(), f func(h unix.NlMsghdr, payload []byte)) error {
	for try := 1; ; try++ {
		c.Seq++
		seq := c.Seq
		restart()
		if err := c.Send(request(seq)); err != nil {
			return err
		}
		done, interrupted := false, false
		var failure error
		for !done {
			err := c.Receive(func(h unix.NlMsghdr, payload []byte) bool {
				if h.Seq != seq {
					return true // a late answer to something else
				}
				interrupted = interrupted || h.Flags&unix.NLM_F_DUMP_INTR != 0
				switch h.Type {
				case unix.NLMSG_DONE, unix.NLMSG_ERROR:
					done = true
					if why := ParseError(h, payload); why.Errno != 0 {
						failure = why
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
