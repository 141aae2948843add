package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The states that sd_notify(3) defines and that the agent uses.
const (
	stateReady    = "READY=1"
	stateStopping = "STOPPING=1"
	stateReload   = "RELOADING=1"
	stateWatchdog = "WATCHDOG=1"
)

// maxStatus is the longest status text in bytes; systemctl shows one line.
const maxStatus = 400

// sendTimeout bounds how long a message may wait for room in the manager's queue.
const sendTimeout = time.Second

// Socket is where the service manager listens. A nil *Socket takes every message and drops it.
type Socket struct{ addr net.UnixAddr }

// OpenSocket returns the socket that NOTIFY_SOCKET names in an environment (os.LookupEnv), nil if it names none: then
// nobody wants to be told. A name that begins with @ is in the abstract name space, one with / is a path; others, such as
// systemd's vsock: for virtual machines, are an error.
func OpenSocket(lookup func(string) (string, bool)) (*Socket, error) {
	name, _ := lookup("NOTIFY_SOCKET")
	switch {
	case name == "":
		return nil, nil
	case len(name) < 2 || name[0] != '/' && name[0] != '@':
		return nil, fmt.Errorf("NOTIFY_SOCKET %q: want a path or a name that begins with @", name)
	case len(name) > len(unix.RawSockaddrUnix{}.Path)-1:
		return nil, fmt.Errorf("NOTIFY_SOCKET %q: longer than a socket's name can be", name)
	}
	return &Socket{net.UnixAddr{Net: "unixgram", Name: name}}, nil
}

// Send gives the manager states in one message, each of the form NAME=value. It waits a second at most. Each message has a
// socket of its own, so that a manager that was re-executed is found again.
func (s *Socket) Send(states ...string) error {
	if s == nil {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &s.addr)
	if err != nil {
		return fmt.Errorf("failed to reach the service manager: %w", err)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(sendTimeout)) // fails on closed sockets only
	_, err = conn.Write([]byte(strings.Join(states, "\n")))
	if err = errors.Join(err, conn.Close()); err != nil {
		return fmt.Errorf("failed to notify the service manager: %w", err)
	}
	return nil
}

// status is the state that sets the text that systemctl shows: one line of valid UTF-8, cut if it is too long.
func status(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxStatus {
		text = text[:maxStatus]
	}
	return "STATUS=" + strings.ToValidUTF8(text, "")
}

// microseconds is the state that gives a duration or a time of the monotonic clock.
func microseconds(name string, d time.Duration) string {
	return name + "=" + strconv.FormatInt(d.Microseconds(), 10)
}

// monotonic is the time of CLOCK_MONOTONIC, by which systemd tells an old READY=1 from the one that ends a reload.
func monotonic() time.Duration {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0 // every Linux has this clock
	}
	return time.Duration(now.Nano())
}

// watchdogTimeout returns after how long without a sign of life the manager ends this process, 0 if it does not watch it
// (sd_watchdog_enabled(3)).
func watchdogTimeout(lookup func(string) (string, bool)) (time.Duration, error) {
	text, _ := lookup("WATCHDOG_USEC")
	if text == "" {
		return 0, nil
	}
	usec, err := strconv.ParseInt(text, 10, 64)
	if err != nil || usec <= 0 || usec > int64(1<<63-1)/int64(time.Microsecond) {
		return 0, fmt.Errorf("WATCHDOG_USEC %q: want a positive number of microseconds", text)
	}
	if pid, _ := lookup("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil // meant for another process
	}
	return time.Duration(usec) * time.Microsecond, nil
}
