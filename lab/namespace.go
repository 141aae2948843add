package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsFolder is where iproute2 keeps named namespaces too (ip-netns(8)), so `ip netns exec` works with the lab's.
const netnsFolder = "/run/netns"

// inNamespace runs f on a thread of its own in the namespace; the thread ends with f.
func inNamespace(name string, f func() error) error {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", name, err)
	}
	defer ns.Close()
	return onThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("failed to enter namespace %s: %w", name, err)
		}
		return f()
	})
}

// onThread runs f on a thread that is thrown away afterwards, whatever namespace it is in by then.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// createNamespace makes a named namespace, sets its sysctls and brings its loopback interface up. If it fails there is no
// namespace, unless it was there before.
func createNamespace(name string) error {
	return onThread(func() (err error) {
		ns, err := netns.NewNamed(name)
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("namespace %s exists already and is not one of a lab; remove it with: ip netns del %s", name, name)
		}
		if err != nil {
			return fmt.Errorf("failed to create namespace %s: %w", name, err)
		}
		defer ns.Close()
		defer func() {
			if err != nil {
				err = errors.Join(err, deleteNamespace(name))
			}
		}()
		if err := setSysctls(sysctls); err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			return fmt.Errorf("failed to bring lo up in namespace %s: %w", name, err)
		}
		return nil
	})
}

// sysctls make a namespace a router: it forwards, uses link-local addresses at once (no duplicate address detection),
// spreads flows over equal paths by addresses and ports, and takes packets in from whichever way they come.
var sysctls = []string{
	"ipv6/conf/all/disable_ipv6=0",
	"ipv6/conf/default/disable_ipv6=0",
	"ipv6/conf/lo/disable_ipv6=0",
	"ipv6/conf/all/accept_dad=0",
	"ipv6/conf/default/accept_dad=0",
	"ipv6/conf/all/forwarding=1",
	"ipv6/conf/default/forwarding=1",
	"ipv6/fib_multipath_hash_policy=1",
	"ipv4/ip_forward=1",
	"ipv4/conf/all/rp_filter=0",
	"ipv4/conf/default/rp_filter=0",
	"ipv4/fib_multipath_hash_policy=1",
	"ipv4/ping_group_range=0 2147483647",
}

// setSysctls sets what is below /proc/sys/net of this thread's namespace.
func setSysctls(list []string) error {
	for _, s := range list {
		path, value, _ := strings.Cut(s, "=")
		if err := os.WriteFile("/proc/sys/net/"+path, []byte(value), 0); err != nil {
			return fmt.Errorf("failed to set sysctl net/%s: %w", s, err)
		}
	}
	return nil
}

// deleteNamespace removes a named namespace; one that is not there is no error.
func deleteNamespace(name string) error {
	path := filepath.Join(netnsFolder, name)
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("failed to unmount %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// openNetlink returns a netlink handle in the namespace, usable from any thread.
func openNetlink(namespace string) (*netlink.Handle, error) {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", namespace, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open netlink in namespace %s: %w", namespace, err)
	}
	return h, nil
}

// dump repeats a netlink dump that changes of the kernel's tables interrupted.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	for try := 1; ; try++ {
		items, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == 20 {
			return items, err
		}
	}
}
