package systemd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"openr/lab"
)

// settings are the times of all nodes: those that routers have, but quick at the start.
func settings(int) map[string]any {
	return map[string]any{"spark_config": map[string]any{"hold_time_s": 30, "graceful_restart_time_s": 30}}
}

// configure gives the machine the configuration of a node of the lab. Where its state is kept stays as the package has it.
func (m *machine) configure(l *lab.Lab, node int) {
	m.t.Helper()
	b, err := os.ReadFile(l.ConfigPath(node))
	if err != nil {
		m.t.Fatal(err)
	}
	own := regexp.MustCompile(`"persistent_config_store_path": *"[^"]*"`)
	path := own.FindString(m.must("cat", "/etc/openr/openr.conf"))
	if path == "" {
		m.t.Fatal("the packaged configuration says nothing of persistent_config_store_path")
	}
	text := string(b)
	if own.MatchString(text) {
		text = own.ReplaceAllString(text, path)
	} else {
		text = strings.Replace(text, "{", "{\n  "+path+",", 1)
	}
	m.write("/etc/openr/openr.conf", text)
	m.must("openr", "config", "check", "/etc/openr/openr.conf")
}

// TestPackage goes through the life of an installation: install, start, upgrade, remove, install, purge.
func TestPackage(t *testing.T) {
	const router = 1
	l := network(t, "line:2", router, settings)
	m := unpack(t, l.Namespace(router))
	m.boot()
	m.install(packages(t)[0])

	// Nothing starts by itself, and the kernel is as it was.
	if out := m.property("openr", "ActiveState") + " " + m.property("openr", "UnitFileState"); out != "inactive disabled" {
		t.Errorf("after installing openr.service is %s", out)
	}
	if out := m.property("openr-platform", "ActiveState") + " " + m.property("openr-platform", "UnitFileState"); out != "inactive disabled" {
		t.Errorf("after installing openr-platform.service is %s", out)
	}
	m.must("getent", "passwd", "openr")
	m.must("openr", "config", "check", "/etc/openr/openr.conf")
	m.must("openr", "config", "check", "/etc/openr/openr.conf.reference")
	for _, unit := range []string{"openr.service", "openr-platform.service"} {
		if out := m.must("systemd-analyze", "verify", "--recursive-errors=no", "/usr/lib/systemd/system/"+unit); out != "" {
			t.Errorf("systemd-analyze verify %s: %s", unit, out)
		}
		lines := strings.Split(m.must("systemd-analyze", "security", "--no-pager", unit), "\n")
		t.Log(strings.TrimSpace(lines[len(lines)-1]))
	}

	m.configure(l, router)
	m.must("sysctl", "-w", "net.ipv4.fib_multipath_hash_policy=0")
	m.must("systemctl", "enable", "--now", "openr")
	first := m.ready("")
	t.Logf("%s", m.must("systemctl", "status", "--no-pager", "--lines=0", "openr"))
	if out := m.must("sysctl", "-n", "net.ipv4.fib_multipath_hash_policy"); out != "1" {
		t.Errorf("the settings of /etc/openr/sysctl.conf were not applied: %s", out)
	}
	m.confined(first)
	neighborsRoutes(t, l, m)
	journal := m.must("journalctl", "-b", "-u", "openr", "--no-pager", "-o", "cat")
	for _, bad := range []string{"permission denied", "not permitted", "Permission denied", "Operation not permitted", "\tERROR\t"} {
		if strings.Contains(journal, bad) {
			t.Errorf("the journal says %q:\n%s", bad, journal)
		}
	}

	// An upgrade restarts what runs and keeps the administrator's files.
	m.install(packages(t)[1])
	second := m.ready(first)
	if out := m.must("openr", "--version"); !strings.Contains(out, versions[1]) {
		t.Errorf("version %s, want %s", out, versions[1])
	}
	if out := m.must("cat", "/etc/openr/openr.conf"); !strings.Contains(out, `"to-.*"`) {
		t.Errorf("the upgrade replaced the configuration: %s", out)
	}
	m.must("systemctl", "stop", "openr")
	m.install(packages(t)[1])
	if out := m.property("openr", "ActiveState"); out != "inactive" {
		t.Errorf("an upgrade while openr.service is stopped leaves it %s", out)
	}
	m.must("systemctl", "start", "openr")
	m.ready(second)

	// Removal stops it and takes its routes with it; what the administrator has written stays until the purge.
	// Its neighbor sends nothing to it any more, and does not wait for it to come back.
	routes := func() string {
		out, err := l.Run(t.Context(), 0, "ip", "-6", "route", "show", "proto", "99")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	neighborsRoutes(t, l, m)
	if routes() == "" {
		t.Fatal("the neighbor has no routes to it")
	}
	m.must("dpkg", "--remove", "openr")
	if out := routes(); out != "" {
		t.Errorf("after the removal the neighbor still has routes to it:\n%s", out)
	}
	for _, family := range []string{"-4", "-6"} {
		if out := m.must("ip", family, "route", "show", "table", "all", "proto", "99"); out != "" {
			t.Errorf("after the removal there are routes left:\n%s", out)
		}
	}
	if out := m.must("ip", "nexthop", "show", "proto", "99"); out != "" {
		t.Errorf("after the removal there are nexthop objects left:\n%s", out)
	}
	m.must("test", "-e", "/etc/openr/openr.conf")
	m.must("test", "-d", "/var/lib/openr")
	m.must("dpkg", "--purge", "openr")
	for _, left := range []string{"/etc/openr", "/var/lib/openr", "/etc/default/openr", "/usr/bin/openr", "/usr/share/openr", "/run/openr"} {
		if _, err := os.Lstat(filepath.Join(m.root, left)); err == nil {
			t.Errorf("after the purge there is still %s", left)
		}
	}
	for _, database := range []string{"passwd", "group"} {
		if out, err := m.try("getent", database, "openr"); err == nil {
			t.Errorf("after the purge there is still an account: %s", out)
		}
	}
}

// TestPlatform runs openr-platform.service with the rights that the unit gives it.
func TestPlatform(t *testing.T) {
	const router = 1
	l := network(t, "line:2", router, settings)
	m := unpack(t, l.Namespace(router))
	m.boot()
	m.install(packages(t)[0])
	m.must("systemctl", "start", "openr-platform")
	eventually(t, "the service listens", func() bool {
		out, _ := m.try("ss", "-Hltn", "sport = :60100")
		return out != ""
	}, func() string { return m.must("journalctl", "-b", "-u", "openr-platform", "--no-pager") })
	pid := m.property("openr-platform", "MainPID")
	if status := m.must("cat", "/proc/"+pid+"/status"); !strings.Contains(status, "CapEff:\t0000000000001000") {
		t.Errorf("its rights are not CAP_NET_ADMIN alone:\n%s", status)
	}
	out, err := m.try("breeze", "fib", "--fib_agent_port", "60100", "add", "fd00:99::/64", "fe80::1%to-n0")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	eventually(t, "the kernel has the route", func() bool {
		return strings.HasPrefix(m.must("ip", "-6", "route", "show", "proto", "99"), "fd00:99::/64 ")
	}, nil)
}

// confined checks the rights of the agent's process.
func (m *machine) confined(pid string) {
	m.t.Helper()
	status := m.must("cat", "/proc/"+pid+"/status")
	const netAdminAndRaw = "0000000000003000"
	for _, want := range []string{
		"CapEff:\t" + netAdminAndRaw, "CapBnd:\t" + netAdminAndRaw, "CapPrm:\t" + netAdminAndRaw, "NoNewPrivs:\t1", "Seccomp:\t2",
	} {
		if !strings.Contains(status, want) {
			m.t.Errorf("the agent's process lacks %q:\n%s", want, status)
		}
	}
	uid := strings.Fields(m.must("id", "-u", "openr"))[0]
	if !regexp.MustCompile(`Uid:\t` + uid + `\t` + uid).MatchString(status) {
		m.t.Errorf("the agent does not run as the user openr (%s):\n%s", uid, status)
	}
	if _, err := m.try("nsenter", "-t", pid, "-m", "--", "touch", "/etc/openr/x"); err == nil {
		m.t.Error("the agent's file system can be written")
	}
}

// neighborsRoutes waits until the kernels of all nodes have the right routes.
func neighborsRoutes(t *testing.T, l *lab.Lab, m *machine) {
	t.Helper()
	wrong := "nothing"
	eventually(t, "all kernels have the right routes", func() bool {
		facts, err := l.Observe()
		if err != nil {
			t.Fatal(err)
		}
		for i := range facts.Nodes {
			facts.Nodes[i].Running = true
		}
		if wrong, err = l.Wrong(facts); err != nil {
			t.Fatal(err)
		}
		return wrong == ""
	}, func() string { return wrong + "\n" + m.unit() })
}
