package chaos

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

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
	dir, err := lab.FRRFolder()
	if err != nil {
		t.Fatalf("this test runs FRR's zebra; install it with scripts/setup.sh: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
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

// routes returns the routes that zebra has put into the kernel for the agent.
func (z *zebra) routes() (lab.Routes, error) { return z.w.RoutesOf(zebraNode, lab.ZebraProtocol) }
