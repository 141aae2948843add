package chaos

import (
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"openr/lab"
)

// zebra is FRR's zebra in a node, as Debian has it, run as operators should: what it finds in the kernel when it starts stays
// for a minute (-K), in which the agent sends it again; routes stay when it is stopped (-r); an IPv6 route is changed by one
// message.
type zebra struct {
	w   *world
	dir string
	cmd *exec.Cmd // nil: it does not run
}

// newZebraDir makes a folder for zebra, which gives up root for FRR's user.
func newZebraDir(t *testing.T) string {
	t.Helper()
	u, err := user.Lookup("frr")
	if err != nil {
		t.Fatalf("this test runs FRR's zebra; install it with scripts/setup.sh: %v", err)
	}
	dir, err := os.MkdirTemp("", "openr-chaos-zebra-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	for _, err := range []error{os.Chown(dir, uid, gid), os.Chmod(dir, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func newZebra(w *world, dir string) *zebra { return &zebra{w: w, dir: dir} }

func (z *zebra) logPath() string {
	if z == nil {
		return "zebra.log"
	}
	return filepath.Join(z.dir, "zebra.log")
}

// start starts zebra and waits until it takes connections.
func (z *zebra) start() {
	z.w.t.Helper()
	config, socket := filepath.Join(z.dir, "zebra.conf"), filepath.Join(z.dir, "api")
	z.w.must(os.WriteFile(config, []byte("hostname zebra\n"), 0o644))
	_ = os.Remove(filepath.Join(z.dir, "zebra.vty"))
	z.cmd = exec.Command("/usr/lib/frr/zebra", "-z", socket, "--vty_socket", z.dir, "-P", "0", "-i", filepath.Join(z.dir, "zebra.pid"),
		"-f", config, "--log", "file:"+z.logPath(), "-K", "60", "-r", "--v6-rr-semantics")
	z.w.must(z.w.Do(zebraNode, z.cmd.Start))
	z.w.eventually("zebra answers", func() bool {
		return exec.Command("vtysh", "--vty_socket", z.dir, "-d", "zebra", "-c", "show version").Run() == nil
	})
	z.w.nodes[zebraNode].fresh = true
}

// stop ends zebra.
func (z *zebra) stop(sig syscall.Signal) {
	z.w.must(z.cmd.Process.Signal(sig))
	_ = z.cmd.Wait()
	z.cmd = nil
}

// signal sends zebra a signal that does not end it.
func (z *zebra) signal(sig syscall.Signal) { z.w.must(z.cmd.Process.Signal(sig)) }

func (z *zebra) end() {
	if z != nil && z.cmd != nil {
		_ = z.cmd.Process.Kill()
		_ = z.cmd.Wait()
	}
}

// kernelProtocol is zebra's number for routes of type openfabric (FRR zebra/rt_netlink.h, RTPROT_OPENFABRIC), which is the
// agent's default.
const kernelProtocol = 197

// routes returns the routes that zebra has put into the kernel for the agent.
func (z *zebra) routes() (lab.Routes, error) {
	h := z.w.Netlink(zebraNode)
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	out := lab.Routes{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := h.RouteListFiltered(family, &netlink.Route{Protocol: kernelProtocol}, netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			ways := r.MultiPath
			if len(ways) == 0 {
				ways = []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw, Via: r.Via}}
			}
			a, _ := netip.AddrFromSlice(r.Dst.IP)
			ones, _ := r.Dst.Mask.Size()
			p := netip.PrefixFrom(a.Unmap(), ones)
			for _, way := range ways {
				gateway := way.Gw
				if via, ok := way.Via.(*netlink.Via); ok {
					gateway = via.Addr
				}
				a, _ := netip.AddrFromSlice(gateway)
				out[p] = append(out[p], lab.NextHop{IfName: names[way.LinkIndex], Via: a.Unmap()})
			}
			slices.SortFunc(out[p], func(a, b lab.NextHop) int {
				return strings.Compare(a.IfName+" "+a.Via.String(), b.IfName+" "+b.Via.String())
			})
		}
	}
	return out, nil
}
