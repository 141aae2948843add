package systemd

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// machines are the architectures that are packaged, as ELF and rpm name them.
var machines = map[string]struct {
	elf elf.Machine
	rpm string
}{"amd64": {elf.EM_X86_64, "x86_64"}, "arm64": {elf.EM_AARCH64, "aarch64"}}

// TestEqualSourcesEqualPackages builds all packages twice, as two people would, and compares them byte by byte. What is inside
// is for the architecture that the package is for.
func TestEqualSourcesEqualPackages(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	for arch, machine := range machines {
		for _, format := range []string{"deb", "rpm"} {
			for _, b := range []struct {
				folder      string
				environment []string
			}{{one, []string{"TZ=Asia/Tokyo", "LANG=C"}}, {other, []string{"TZ=America/Lima", "LANG=C.UTF-8", "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}}} {
				// Another home has no modules and no cache: those stay where they are.
				kept := append(b.environment, "GOPATH="+goEnv(t, "GOPATH"), "GOCACHE="+goEnv(t, "GOCACHE"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"))
				if err := buildPackage(b.folder, versions[0], format, arch, kept...); err != nil {
					t.Fatal(err)
				}
			}
			name := fmt.Sprintf("openr_%s_%s.deb", versions[0], arch)
			if format == "rpm" {
				name = fmt.Sprintf("openr-%s-1.%s.rpm", versions[0], machine.rpm)
			}
			a, err := os.ReadFile(filepath.Join(one, name))
			if err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(other, name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a, b) {
				t.Errorf("%s: built twice they differ (%d and %d bytes)", name, len(a), len(b))
			}
			t.Logf("%s: %d bytes", name, len(a))
		}
		deb := filepath.Join(one, fmt.Sprintf("openr_%s_%s.deb", versions[0], arch))
		if out, err := exec.Command("dpkg-deb", "--field", deb, "Architecture").Output(); err != nil || strings.TrimSpace(string(out)) != arch {
			t.Errorf("%s is for %s, %v", deb, out, err)
		}
		content := filepath.Join(t.TempDir(), arch)
		if out, err := exec.Command("dpkg-deb", "-x", deb, content).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, program := range []string{"openr", "breeze"} {
			f, err := elf.Open(filepath.Join(content, "usr/bin", program))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != machine.elf {
				t.Errorf("%s of %s is for %v", program, arch, f.Machine)
			}
			if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
				t.Errorf("%s of %s is not static: %v, %v", program, arch, libraries, err)
			}
			_ = f.Close()
		}
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestRPM goes through the life of an installation by rpm: install, start, upgrade, erase.
func TestRPM(t *testing.T) {
	const router = 1
	rpmArch := machines[hostArch].rpm
	for _, version := range versions {
		if err := buildPackage(work, version, "rpm", hostArch); err != nil {
			t.Fatal(err)
		}
	}
	l := network(t, "line:2", router, settings)
	m := unpack(t, l.Namespace(router))
	m.boot()
	// Debian's rpm has no database of what Debian has installed, and says that it is the wrong tool.
	rpm := func(action, version string) {
		t.Helper()
		file := fmt.Sprintf("openr-%s-1.%s.rpm", version, rpmArch)
		m.copyIn(filepath.Join(work, file), "/root/"+file)
		t.Logf("rpm %s: %s", action, m.must("rpm", action, "--nodeps", "--force-debian", "/root/"+file))
	}
	rpm("--install", versions[0])
	m.must("getent", "passwd", "openr")
	if out := m.property("openr", "ActiveState") + " " + m.property("openr", "UnitFileState"); out != "inactive disabled" {
		t.Errorf("after installing openr.service is %s", out)
	}
	m.configure(l, router)
	m.must("systemctl", "enable", "--now", "openr")
	pid := m.ready("")
	neighborsRoutes(t, l, m)

	rpm("--upgrade", versions[1])
	m.ready(pid)
	if out := m.must("openr", "--version"); !strings.Contains(out, versions[1]) {
		t.Errorf("version %s, want %s", out, versions[1])
	}
	if out := m.must("cat", "/etc/openr/openr.conf"); !strings.Contains(out, `"to-.*"`) {
		t.Errorf("the upgrade replaced the configuration: %s", out)
	}
	neighborsRoutes(t, l, m)

	m.must("rpm", "--erase", "--nodeps", "openr")
	if state := m.property("openr", "ActiveState"); state != "inactive" {
		t.Errorf("after the removal openr.service is %s", state)
	}
	if out := m.must("ip", "-6", "route", "show", "table", "all", "proto", "99"); out != "" {
		t.Errorf("after the removal there are routes left:\n%s", out)
	}
	m.must("test", "!", "-e", "/usr/bin/openr")
	m.must("test", "-d", "/var/lib/openr") // rpm knows no purge
}
