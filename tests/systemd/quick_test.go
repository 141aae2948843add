package systemd

import (
	"strings"
	"testing"
	"time"

	"openr/lab"
)

// TestQuick restarts the node in the middle of a line in the ways that take no time, while packets cross it: what runs on every
// landing (make test). TestNothingIsLost and TestPackage have the whole of it, with packages and reboots.
func TestQuick(t *testing.T) {
	const left, router, right = 0, 1, 2
	l := network(t, "line:3", router, settings)
	m := borrow(t, l.Namespace(router))
	m.boot()
	m.place(work+"/bin", "")
	m.configure(l, router)
	m.write("/etc/systemd/system/openr.service.d/hasty.conf", "[Service]\nWatchdogSec=3s\nTimeoutAbortSec=1s\n")
	m.must("systemctl", "daemon-reload")
	m.must("systemctl", "enable", "--now", "openr")
	pid := m.ready("")
	m.confined(pid)
	neighborsRoutes(t, l, m)
	x := startTraffic(t, l, left, router, right)
	x.after = time.Second
	restarts := x.restarts(m, l, pid)

	restarts("systemctl restart", func() { m.must("systemctl", "restart", "openr") })
	restarts("systemctl stop, and start a second later", func() {
		m.must("systemctl", "stop", "openr")
		time.Sleep(time.Second) // the length of the absence is part of the case
		m.must("systemctl", "start", "openr")
	})
	restarts("kill -9", func() { m.must("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "openr") })
	upgrade := newer(t)
	restarts("the upgrade to a new version", func() { m.place(upgrade, versions[0]) })
	if out := m.must("openr", "--version"); !strings.Contains(out, versions[1]) {
		t.Errorf("version %s, want %s", out, versions[1])
	}
	restarts("a hang (SIGSTOP), until the watchdog ends it", func() {
		restarted := m.property("openr", "NRestarts")
		m.must("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "openr")
		eventually(t, "the watchdog ends the hung agent", func() bool { return m.property("openr", "NRestarts") != restarted }, m.unit)
	})
	m.bound(t, restarts, 3)
	x.noneLost("systemctl reload", func() { m.reloads() })
	x.stop() // what still came through it would have it stay

	m.leaves(t, l, left, right)
}

// reloads has the configuration read again, without and with a change, by the same process.
func (m *machine) reloads() {
	m.t.Helper()
	pid := m.property("openr", "MainPID")
	text := m.must("cat", "/etc/openr/openr.conf")
	for _, reload := range []struct{ file, status string }{
		{text, "routing; configuration reloaded"}, {"{", "routing; reload refused: "}, {text, "routing; configuration reloaded"},
	} {
		m.write("/etc/openr/openr.conf", reload.file)
		m.must("systemctl", "reload", "openr")
		eventually(m.t, "the status says "+reload.status, func() bool {
			return strings.HasPrefix(m.property("openr", "StatusText"), reload.status)
		}, m.unit)
	}
	m.write("/etc/openr/openr.conf", text)
	if now := m.property("openr", "MainPID"); now != pid || m.property("openr", "ActiveState") != "active" {
		m.t.Errorf("the process was %s and is %s:\n%s", pid, now, m.unit())
	}
}

// leaves stops openr.service for good, by the two ways to say so. Its neighbours take it out of their routes at once, long
// before the time is over for which they would wait, and it is not started again.
func (m *machine) leaves(t *testing.T, l *lab.Lab, left, right int) {
	far, _ := lab.Loopbacks(right)
	reaches := func() bool {
		routes, err := l.Routes(left)
		if err != nil {
			t.Fatal(err)
		}
		return len(routes[far]) > 0
	}
	for _, way := range []struct {
		name string
		argv []string
	}{
		{"systemctl stop with intent", []string{"sh", "-ec", "touch /run/openr/leave; systemctl stop openr"}},
		{"breeze openr drain --and-stop", []string{"breeze", "openr", "drain", "--and-stop", "--yes"}},
	} {
		restarted := m.property("openr", "NRestarts")
		if !reaches() {
			t.Fatalf("%s: nothing goes through it from the start", way.name)
		}
		begin := time.Now()
		m.must(way.argv...)
		eventually(t, "openr.service has ended", func() bool { return m.property("openr", "ActiveState") == "inactive" }, m.unit)
		t.Logf("%s took %v", way.name, time.Since(begin).Round(time.Millisecond))
		if reaches() {
			t.Errorf("%s: the neighbor still sends packets its way", way.name)
		}
		if result := m.property("openr", "Result"); result != "success" || m.property("openr", "NRestarts") != restarted {
			t.Errorf("%s:\n%s", way.name, m.unit())
		}
		m.must("systemctl", "start", "openr")
		if _, err := m.try("test", "-e", "/run/openr/leave"); err == nil {
			t.Errorf("%s: the next stop would be for good, too", way.name)
		}
		m.ready("")
		neighborsRoutes(t, l, m)
	}
}
