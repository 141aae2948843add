package systemd

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// borrow makes a machine, not running yet, whose file system is that of the machine that the test runs on, with what it writes
// itself laid over it: nothing has to be fetched or unpacked. It starts no more than systemd itself.
func borrow(t *testing.T, namespace string) *machine {
	t.Helper()
	m := newMachine(t, namespace)
	memory := m.root + ".memory" // a file system that can be the upper one, wherever the root file system comes from
	mount := func(source, target, kind, options string) {
		t.Helper()
		if err := os.MkdirAll(target, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(source, target, kind, 0, options); err != nil {
			t.Fatalf("failed to mount %s (%s) at %s: %v", kind, options, target, err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
	}
	mount("tmpfs", memory, "tmpfs", "mode=755")
	upper, scratch := filepath.Join(memory, "upper"), filepath.Join(memory, "scratch")
	for _, folder := range []string{upper, scratch} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("overlay", m.root, "overlay", "lowerdir=/,upperdir="+upper+",workdir="+scratch)
	m.endWithTest()

	m.write("/etc/machine-id", strings.Repeat("0123456789abcdef", 2)+"\n")
	m.write("/etc/fstab", "")
	m.write("/etc/systemd/system/alone.target", "[Unit]\nDescription=systemd and nothing else\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n")
	m.link("/etc/systemd/system/alone.target", "/etc/systemd/system/default.target")
	for _, unit := range []string{"timers.target", "systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service"} {
		m.link("/dev/null", "/etc/systemd/system/"+unit)
	}
	for _, there := range []string{"/etc/openr", "/var/lib/openr", "/etc/default/openr", "/etc/systemd/system/openr.service.d"} {
		if err := os.RemoveAll(filepath.Join(m.root, there)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// link makes a symbolic link in the machine, in place of whatever is there.
func (m *machine) link(to, path string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	_ = os.Remove(path) // if it is there
	if err := os.Symlink(to, path); err != nil {
		m.t.Fatal(err)
	}
}

// packaged matches the entries of nfpm.yaml: source, target, type, mode.
var packaged = regexp.MustCompile(`(?m)^  - \{src: "?([^",]+)"?, dst: ([^,]+),(?: type: ([^,]+),)?.* file_info: \{mode: (\d+)\}\}$`)

// place does what installing the package does, without one: it copies the files that nfpm.yaml lists, with the binaries from a
// folder, and runs the script that follows. before is the version that is replaced, empty if there is none.
func (m *machine) place(binaries, before string) {
	m.t.Helper()
	list, err := os.ReadFile("../../packaging/nfpm.yaml")
	if err != nil {
		m.t.Fatal(err)
	}
	entries := packaged.FindAllStringSubmatch(string(list), -1)
	if all := strings.Count(string(list), "\n  - {src: "); len(entries) != all || all == 0 {
		m.t.Fatalf("%d of the %d entries of nfpm.yaml can be read", len(entries), all)
	}
	for _, e := range entries {
		source, inPackage := strings.CutPrefix(e[1], "${STAGE}/")
		if inPackage {
			source = filepath.Join(binaries, source)
		} else {
			source = filepath.Join("../..", e[1])
		}
		target := filepath.Join(m.root, e[2])
		if _, err := os.Lstat(target); err == nil && e[3] == "config|noreplace" {
			continue
		}
		content, err := os.ReadFile(source)
		if err != nil {
			m.t.Fatal(err)
		}
		mode, err := strconv.ParseUint(e[4], 8, 32)
		if err != nil {
			m.t.Fatal(err)
		}
		m.write(e[2]+".new", string(content)) // what runs must not be written to
		if err := os.Chmod(target+".new", os.FileMode(mode)); err != nil {
			m.t.Fatal(err)
		}
		if err := os.Rename(target+".new", target); err != nil {
			m.t.Fatal(err)
		}
	}
	m.copyIn("../../packaging/scripts/postinstall.sh", "/root/postinstall.sh")
	// Whatever the machine outside says of what may be started, this one is ours.
	_ = os.Remove(filepath.Join(m.root, "/usr/sbin/policy-rc.d"))
	if out, err := m.try("sh", "/root/postinstall.sh", "configure", before); err != nil {
		m.t.Fatalf("postinstall.sh: %v\n%s", err, out)
	}
}

// newer builds the new version's binaries.
func newer(t *testing.T) (folder string) {
	t.Helper()
	folder = filepath.Join(work, "newer")
	if err := compile(folder, versions[1]); err != nil {
		t.Fatal(err)
	}
	return folder
}
