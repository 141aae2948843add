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
	"sync"
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

// Made once for all tests: the folder of what is built, with bin/openr and bin/breeze of the old version in it.
var work string

// agent is the old version's binary, for nodes without systemd.
var agent string

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
	work, agent = folder, filepath.Join(folder, "bin/openr")
	if err := compile(filepath.Join(folder, "bin"), versions[0]); err != nil {
		return 1, err
	}
	if code := m.Run(); code != 0 {
		return code, nil
	}
	return 0, goleak.Find()
}

// compile builds the binaries of a version into a folder.
func compile(folder, version string) error {
	cmd := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", folder+"/", "openr/cmd/openr", "openr/cmd/breeze")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to build: %w\n%s", err, out)
	}
	return nil
}

// buildPackage builds a package of a version into a folder.
func buildPackage(folder, version, format, arch string, environment ...string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("../../packaging/build.sh", format, arch)
	cmd.Env = append(append(os.Environ(), "VERSION="+version, "OUT="+folder, "SOURCE_DATE_EPOCH=1700000000"), environment...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("failed to build the package: %w\n%s", err, out)
	}
	return nil
}

// builtPackages are the .deb files, by version.
var builtPackages = sync.OnceValues(func() (debs [2]string, err error) {
	for i, version := range versions {
		if err := buildPackage(work, version, "deb", hostArch); err != nil {
			return debs, err
		}
		debs[i] = filepath.Join(work, fmt.Sprintf("openr_%s_%s.deb", version, hostArch))
	}
	return debs, nil
})

// packages returns the .deb files, by version. The new version's holds other binaries than the old one's: they say so.
func packages(t *testing.T) [2]string {
	t.Helper()
	debs, err := builtPackages()
	if err != nil {
		t.Fatal(err)
	}
	return debs
}

// debian makes the tar file of a Debian with systemd, if it is not there from an earlier run.
var debian = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	recipe, err := os.ReadFile("rootfs.sh")
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(recipe) // another recipe, another file
	file := filepath.Join(cache, "openr", fmt.Sprintf("debian-%x-%s.tar", sum[:6], hostArch))
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	if out, err := exec.Command("./rootfs.sh", file).CombinedOutput(); err != nil {
		return "", fmt.Errorf("failed to make a Debian to boot: %w\n%s", err, out)
	}
	return file, nil
})

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
