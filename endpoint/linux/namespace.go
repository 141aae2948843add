package linux

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"openr/internal/crash"
)

// namespace is the network namespace in which sockets are opened, whichever thread is to do it.
type namespace struct {
	fd  int
	ino uint64
}

func currentNamespace() (namespace, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return namespace{fd: -1}, fmt.Errorf("failed to open the network namespace: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return namespace{fd: -1}, fmt.Errorf("failed to look at the network namespace: %w", err)
	}
	return namespace{fd, st.Ino}, nil
}

func (n namespace) close() {
	if n.ino != 0 {
		_ = unix.Close(n.fd)
	}
}

// in runs f on a thread in the namespace: this one, if it is there.
func (n namespace) in(f func() error) error {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err == nil && st.Ino == n.ino {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if unix.Stat("/proc/thread-self/ns/net", &st) == nil && st.Ino == n.ino {
			return f()
		}
	}
	answer := make(chan error, 1)
	go func() {
		defer crash.Guard()
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
			answer <- fmt.Errorf("failed to enter the network namespace: %w", err)
			return
		}
		answer <- f()
	}()
	return <-answer
}
