package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is a Debian with systemd in a network namespace.
type machine struct {
	t         *testing.T
	name      string // of its control groups
	namespace string
	root      string
	nspawn    *exec.Cmd
	ended     chan error
	console   string // file
}

// unpack makes a machine, not running yet, of a Debian of its own.
func unpack(t *testing.T, namespace string) *machine {
	t.Helper()
	m := newMachine(t, namespace)
	file, err := debian()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "--numeric-owner", "-C", m.root, "-xf", file).CombinedOutput(); err != nil {
		t.Fatalf("failed to unpack %s: %v\n%s", file, err, out)
	}
	m.endWithTest()
	return m
}

func newMachine(t *testing.T, namespace string) *machine {
	t.Helper()
	m := &machine{t: t, name: "openr-" + labName(t), namespace: namespace, root: filepath.Join(t.TempDir(), "root")}
	m.console = m.root + ".console"
	if err := os.Mkdir(m.root, 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

// endWithTest has the machine stopped at the end of the test, before what was arranged earlier for that time.
func (m *machine) endWithTest() {
	t := m.t
	t.Cleanup(func() {
		if m.nspawn == nil {
			return
		}
		if t.Failed() {
			out, _ := m.try("journalctl", "-b", "--no-pager", "-o", "short-precise", "-n", "60", "-u", "openr", "-u", "switch")
			t.Logf("the last lines of the journal:\n%s", out)
		}
		m.powerOff()
	})
}

// boot starts the machine and returns when its systemd has finished starting. The machine has control groups of its own:
// systemd-nspawn would otherwise make some of fixed names where this process is.
func (m *machine) boot() {
	m.t.Helper()
	var join strings.Builder
	for _, group := range m.groups() {
		if err := os.MkdirAll(group, 0o755); err != nil {
			m.t.Fatal(err)
		}
		fmt.Fprintf(&join, "echo $$ >'%s/cgroup.procs' && ", group)
	}
	// openr's rights need none but CAP_NET_ADMIN beyond those that a container has, and /proc/sys/net to be its own.
	script := join.String() + `exec systemd-nspawn --quiet --directory="$1" --boot --register=no --keep-unit \
		--network-namespace-path="/run/netns/$2" --capability=CAP_NET_ADMIN --hostname=router --console=pipe`
	console, err := os.OpenFile(m.console, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer console.Close()
	m.nspawn = exec.Command("sh", "-c", script, "boot", m.root, m.namespace)
	m.nspawn.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	m.nspawn.Stdout, m.nspawn.Stderr = console, console
	if err := m.nspawn.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan<- error) { ended <- cmd.Wait() }(m.nspawn, m.ended)
	eventually(m.t, "systemd has started", func() bool {
		if len(m.ended) > 0 {
			text, _ := os.ReadFile(m.console)
			m.t.Fatalf("systemd-nspawn ended: %v\n%s", <-m.ended, text)
		}
		out, _ := m.try("systemctl", "is-system-running")
		return out == "running" || out == "degraded"
	}, func() string {
		out, err := m.try("systemctl", "list-jobs", "--no-pager")
		return fmt.Sprint(out, err)
	})
}

// powerOff stops the machine in order and removes its control groups.
func (m *machine) powerOff() {
	m.t.Helper()
	_, _ = m.try("systemctl", "poweroff")
	m.ends()
}

// cutPower ends everything in the machine at once.
func (m *machine) cutPower() {
	m.t.Helper()
	if err := syscall.Kill(m.leader(), syscall.SIGKILL); err != nil {
		m.t.Fatal(err)
	}
	m.ends()
}

// ends waits for the end of the machine and removes its control groups.
func (m *machine) ends() {
	m.t.Helper()
	select {
	case <-m.ended:
	case <-time.After(patience):
		m.t.Error("the machine did not stop")
		_ = m.nspawn.Process.Kill()
		<-m.ended
	}
	m.nspawn = nil
	for _, group := range m.groups() {
		if err := removeGroup(group); err != nil {
			m.t.Error(err)
		}
	}
}

// removeGroup removes a control group and those below it.
func removeGroup(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeGroup(filepath.Join(path, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(path))
}

// groups returns the folders of the machine's control groups: of version 2, and of systemd's own hierarchy where this
// system has one.
func (m *machine) groups() []string {
	m.t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		m.t.Fatal(err)
	}
	var groups []string
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if f[2] == "cgroup2" || f[2] == "cgroup" && strings.Contains(f[3], "name=systemd") {
			groups = append(groups, filepath.Join(f[1], m.name))
		}
	}
	if len(groups) == 0 {
		m.t.Fatal("no control groups of version 2 are mounted: mount -t cgroup2 none /sys/fs/cgroup")
	}
	return groups
}

// leader is the machine's first process as seen from outside, 0 if there is none.
func (m *machine) leader() int {
	pid := m.nspawn.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(children), " ")
	n, _ := strconv.Atoi(first)
	return n
}

// try runs a program in the machine and returns what it printed.
func (m *machine) try(argv ...string) (string, error) {
	pid := m.leader()
	if pid == 0 {
		return "", errors.New("the machine does not run")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "nsenter", append([]string{"-t", strconv.Itoa(pid), "-a", "--"}, argv...)...).CombinedOutput()
	if ctx.Err() != nil {
		err = fmt.Errorf("has not ended after %v: %w", patience, err)
	}
	return strings.TrimSpace(string(out)), err
}

// must is try for what must succeed.
func (m *machine) must(argv ...string) string {
	m.t.Helper()
	out, err := m.try(argv...)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// copyIn copies a file from outside into the machine.
func (m *machine) copyIn(from, to string) {
	m.t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write(to, string(b))
}

// write writes a file in the machine.
func (m *machine) write(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// install installs the package of a version, as apt would.
func (m *machine) install(deb string) {
	m.t.Helper()
	m.copyIn(deb, "/root/openr.deb")
	m.t.Logf("dpkg: %s", m.must("dpkg", "--install", "/root/openr.deb"))
}

// property returns a property of a unit.
func (m *machine) property(unit, name string) string {
	m.t.Helper()
	out, _ := m.try("systemctl", "show", "--property", name, "--value", unit)
	return out
}

// unit is how openr.service stands.
func (m *machine) unit() string {
	out, _ := m.try("systemctl", "show", "openr", "--property",
		"ActiveState,SubState,Result,StatusText,NRestarts,MainPID,ExecMainStatus,ExecMainCode")
	return out
}

// ready waits until openr.service is active and says that it routes, with another process than the one given, and returns
// its number in the machine.
func (m *machine) ready(but string) string {
	m.t.Helper()
	eventually(m.t, "openr.service is ready", func() bool {
		out := m.unit()
		return strings.Contains(out, "ActiveState=active\n") && strings.Contains(out, "StatusText=routing") &&
			!strings.Contains(out, "MainPID="+but+"\n")
	}, m.unit)
	return m.property("openr", "MainPID")
}
