package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"openr/preflight/holder"
)

// keepAlive finds dead connections, which would otherwise stay for ever on an idle server.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 20 * time.Second, Count: 3}

// Listen opens a TCP listener on addr ("[::]:2018" takes IPv6 and IPv4). tos is the traffic class of everything it and
// the connections it accepts will send, SYN-ACKs included, as one byte (DSCP times 4); after its SYN-ACK a Server answers a
// client whose SYN has a class in that one. If the port is taken, the error says by which process, as far as /proc shows it.
func Listen(ctx context.Context, addr string, tos int) (net.Listener, error) {
	config := net.ListenConfig{
		KeepAliveConfig: keepAlive,
		Control: func(network, _ string, c syscall.RawConn) error {
			saveSYN(c)
			return control(c, network, tos, "")
		},
	}
	l, err := config.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		_, text, _ := net.SplitHostPort(addr)
		port, _ := net.LookupPort("tcp", text) // it was just used
		by := strings.Join(holder.Of("tcp", port), " and ")
		return nil, fmt.Errorf("TCP port %d is taken by %s: %w", port, cmp.Or(by, "a process that cannot be seen from here"), err)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to listen on %s: %w", addr, err)
	}
	return l, nil
}

// control prepares a socket before it is bound or connected. IP_TOS is set on IPv6 sockets too: there it counts for IPv4
// clients (ip(7), ipv6(7)). A device, if any, is the interface of a link-local address.
func control(c syscall.RawConn, network string, tos int, device string) error {
	var err error
	failed := c.Control(func(fd uintptr) {
		if strings.HasSuffix(network, "6") {
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos); err != nil {
				err = fmt.Errorf("failed to set IPV6_TCLASS %d: %w", tos, err)
				return
			}
		}
		if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, tos); err != nil {
			err = fmt.Errorf("failed to set IP_TOS %d: %w", tos, err)
			return
		}
		if device != "" {
			err = bindToDevice(int(fd), device)
		}
	})
	return errors.Join(failed, err)
}
