package systemd

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openr/lab"
)

// patience bounds every wait for a condition. It is no measure of speed: the waits end when the condition holds.
const patience = 3 * time.Minute

// The versions of the packages under test, an old and a new one.
var versions = [2]string{"1.0.0", "1.0.1"}

// hostArch is the name of this machine's architecture, the same in Go and in Debian for those that are packaged.
const hostArch = runtime.GOARCH

// Made once for all tests.
var (
	packages [2]string // the .deb files, by version
	agent    string    // the old version's binary, for nodes without systemd
	debian   string    // the tar file of a Debian with systemd
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("these tests make network namespaces and boot a system: run them as root")
	}
	for _, tool := range []string{"systemd-nspawn", "debootstrap", "nsenter", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return 1, fmt.Errorf("%w; apt-get install systemd-container debootstrap", err)
		}
	}
	folder, err := os.MkdirTemp("", "openr-systemd-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(folder)
	if err := build(folder); err != nil {
		return 1, err
	}
	if code := m.Run(); code != 0 {
		return code, nil
	}
	return 0, goleak.Find()
}

// build makes what all tests share. The new version's package holds other binaries than the old one's: they say so.
func build(folder string) error {
	for i, version := range versions {
		cmd := exec.Command("../../packaging/build.sh", "deb", hostArch)
		cmd.Env = append(os.Environ(), "VERSION="+version, "OUT="+folder, "SOURCE_DATE_EPOCH=1700000000")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("failed to build the package: %w\n%s", err, out)
		}
		packages[i] = filepath.Join(folder, fmt.Sprintf("openr_%s_%s.deb", version, hostArch))
	}
	if out, err := exec.Command("dpkg-deb", "-x", packages[0], filepath.Join(folder, "old")).CombinedOutput(); err != nil {
		return fmt.Errorf("failed to unpack %s: %w\n%s", packages[0], err, out)
	}
	agent = filepath.Join(folder, "old/usr/bin/openr")

	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	recipe, err := os.ReadFile("rootfs.sh")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(recipe) // another recipe, another file
	debian = filepath.Join(cache, "openr", fmt.Sprintf("debian-%x-%s.tar", sum[:6], hostArch))
	if _, err := os.Stat(debian); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(debian), 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("./rootfs.sh", debian).CombinedOutput(); err != nil {
		return fmt.Errorf("failed to make a Debian to boot: %w\n%s", err, out)
	}
	return nil
}

// eventually waits until the condition holds. state says how things stand, for the report of a failure; it may be nil.
func eventually(t *testing.T, what string, condition func() bool, state func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			text := ""
			if state != nil {
				text = ":\n" + state()
			}
			t.Fatalf("waited %v in vain until %s%s", patience, what, text)
		}
	}
}

// labName is unique on this machine, and short.
func labName(t *testing.T) string {
	return fmt.Sprintf("test%d-%s", os.Getpid(), strings.ToLower(strings.TrimPrefix(t.Name(), "Test")))
}

// network builds a lab with agents in all nodes but the one given.
func network(t *testing.T, topology string, without int, config func(int) map[string]any) *lab.Lab {
	t.Helper()
	l, err := lab.Up(t.Context(), lab.Options{Name: labName(t), Topology: topology, Binary: agent, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for i := range l.Topology.Nodes {
				t.Logf("the last lines of n%d's log:\n%s", i, l.LogTail(i, 15))
			}
		}
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	if err := l.Stop(without, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return l
}
