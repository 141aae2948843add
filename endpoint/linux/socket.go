package linux

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	requestBuffer = 2 << 20         // bytes of a batch, with the kernel's own overhead, and of its answers
	listenBuffer  = 32 << 20        // bytes of notifications that may wait: a storm of 1 s fits
	readBuffer    = 64 << 10        // the kernel answers a dump in pieces of up to 32 KiB
	answerDelay   = 5 * time.Second // the kernel answers at once; when it does not, something is broken
	dumpTries     = 5               // how often a dump during which the table changed is made anew
)

// errLost says that what the kernel had to tell did not fit into the socket's buffer.
var errLost = errors.New("messages of the kernel were lost (ENOBUFS)")

// conn is a netlink socket for requests. It is used by one goroutine at a time.
type conn struct {
	fd  int
	seq uint32 // of the last message
	buf []byte
}

// openSocket opens a netlink socket in the network namespace of the calling thread.
func openSocket(protocol, flags, receive int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|flags, protocol)
	if err != nil {
		return -1, fmt.Errorf("failed to open a netlink socket: %w", err)
	}
	setBuffers(fd, requestBuffer, receive)
	// Without these (kernels before 4.12, 4.3 and 4.20) errors lose their text, answers are longer, and dumps are filtered
	// by us alone.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("failed to bind a netlink socket: %w", err)
	}
	return fd, nil
}

// setBuffers sets the sizes of a socket's buffers. The FORCE variants are not bound by net.core.[rw]mem_max but need
// CAP_NET_ADMIN.
func setBuffers(fd, send, receive int) {
	if send > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, send) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, send)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receive) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
	}
}

// dial opens a socket for requests about interfaces and neighbours, dialNetfilter one about packet filters.
func dial() (*conn, error) { return dialTo(unix.NETLINK_ROUTE) }

func dialNetfilter() (*conn, error) { return dialTo(unix.NETLINK_NETFILTER) }

func dialTo(protocol int) (*conn, error) {
	fd, err := openSocket(protocol, 0, requestBuffer)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(answerDelay.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("failed to set a netlink socket's time limit: %w", err)
	}
	return &conn{fd: fd, buf: make([]byte, readBuffer)}, nil
}

func (c *conn) close() {
	if c != nil {
		_ = unix.Close(c.fd)
	}
}

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
			return errLost
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

// exchange sends a batch of n messages, of which the last asks for an acknowledgement and whose sequence numbers begin with
// first, and calls refused for each that the kernel has refused. The kernel answers a message that fails in any case and in
// order, so after the last answer everything is known.
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
			if why := parseError(h, payload); why.errno != 0 {
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

// do sends one request, and returns what the kernel has against it.
func (c *conn) do(request func(seq uint32) []byte) error {
	c.seq++
	b := request(c.seq)
	requestAck(b)
	var failure error
	err := c.exchange(b, c.seq, 1, func(_ int, why kernelError) { failure = why })
	return errors.Join(err, failure)
}

// one sends a request that the kernel answers with one message, or an error.
func (c *conn) one(request func(seq uint32) []byte, f func(typ uint16, payload []byte, why kernelError)) error {
	c.seq++
	if err := c.send(request(c.seq)); err != nil {
		return err
	}
	for done := false; !done; {
		err := c.receive(func(h unix.NlMsghdr, payload []byte) bool {
			if h.Seq != c.seq {
				return true // a late answer to something else
			}
			done = true
			if h.Type == unix.NLMSG_ERROR {
				f(h.Type, nil, parseError(h, payload))
			} else {
				f(h.Type, payload, kernelError{})
			}
			return false
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rules makes a chain of nftables with rules.
func (c *conn) rules(family uint8, table, chain string, rules []rule) error {
	first := c.seq + 1
	b := appendRules(nil, first, family, table, chain, priority, rules)
	c.seq += uint32(len(rules)) + 3
	var failure error
	err := c.exchange(b, first, len(rules)+2, func(i int, why kernelError) { // the last rule is the last to be answered
		if failure == nil {
			failure = fmt.Errorf("message %d of the rules: %w", i, why)
		}
	})
	return errors.Join(err, failure)
}

// dump sends a request that the kernel answers with many messages, and calls f for each. If the table changed meanwhile it
// starts again, calling restart first; what f sees last may still lack what changed.
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
					if why := parseError(h, payload); why.errno != 0 {
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
