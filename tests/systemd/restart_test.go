package systemd

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"openr/lab"
)

// switchAgent stands for the agent of a switch: a unit that may crash and comes back by itself.
const switchAgent = `[Unit]
Description=the agent of a switch
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sleep infinity
Restart=on-failure
RestartSec=500ms
[Install]
WantedBy=multi-user.target
`

// prefixes is how many each node advertises that is loaded.
const prefixes = 1000

// loaded is settings for a node whose neighbours have a table to learn from it.
func loaded(node int) map[string]any {
	config := settings(node)
	var own []any
	for k := range prefixes {
		own = append(own, map[string]any{"prefix": fmt.Sprintf("fd00:4:%d:%x::/64", node, k), "minimum_supporting_routes": 0})
	}
	config["originated_prefixes"] = own
	return config
}

// TestNothingIsLost restarts the node in the middle of a line in all ways that happen to a router, while packets cross it.
func TestNothingIsLost(t *testing.T) {
	const left, router, right = 0, 1, 2
	l := network(t, "line:3", router, loaded)
	m := unpack(t, l.Namespace(router))
	m.boot()
	m.install(packages(t)[0])
	m.configure(l, router)
	m.must("systemctl", "enable", "--now", "openr")
	pid := m.ready("")
	neighborsRoutes(t, l, m)
	if routes := strings.Count(m.must("ip", "-6", "route", "show", "proto", strconv.Itoa(lab.Protocol))+"\n", "\n"); routes < 2*prefixes {
		t.Fatalf("%d routes, want at least %d", routes, 2*prefixes)
	}
	x := startTraffic(t, l, left, router, right)
	restarts := x.restarts(m, l, pid)
	x.noneLost("peace", func() { time.Sleep(time.Second) })
	restarts("systemctl restart", func() { m.must("systemctl", "restart", "openr") })
	restarts("systemctl stop, and start two seconds later", func() {
		m.must("systemctl", "stop", "openr")
		time.Sleep(2 * time.Second) // the length of the absence is part of the case
		m.must("systemctl", "start", "openr")
	})
	restarts("kill -9", func() { m.must("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "openr") })
	if n := m.property("openr", "NRestarts"); n != "1" {
		t.Errorf("systemd counts %s restarts after a crash, want 1", n)
	}
	restarts("the upgrade to a new version", func() { m.install(packages(t)[1]) })
	if out := m.must("journalctl", "-b", "-u", "openr", "--no-pager"); !strings.Contains(out, `"version": "`+versions[1]+`"`) {
		t.Error("the new version does not run")
	}
	restarts("a hang (SIGSTOP), until the watchdog ends it", func() {
		m.must("systemctl", "kill", "--signal=STOP", "--kill-whom=main", "openr")
		eventually(t, "the watchdog ends the hung agent", func() bool { return m.property("openr", "NRestarts") != "0" }, m.unit)
	})
	if out := m.must("journalctl", "-b", "-u", "openr", "--no-pager"); !strings.Contains(out, "Watchdog timeout") {
		t.Error("it was not the watchdog that ended the hung agent")
	}

	m.bound(t, restarts, 25) // more often than StartLimitBurst= lets openr start by itself

	// Everything stops, and nobody forwards until it is back. The neighbors are told of a restart, so what is lost is what was
	// sent meanwhile.
	lost := x.during("a reboot", 3*time.Second, func() {
		m.powerOff()
		forget(t, l, router)
		m.boot()
		m.ready("")
		neighborsRoutes(t, l, m)
	})
	if lost.packets == 0 || lost.own < 2*prefixes {
		t.Errorf("%d packets lost, %d messages from its kernel: that was no reboot", lost.packets, lost.own)
	}
}

// restarts returns what a case does: act makes openr.service go, and it has to come back with another process than pid, and the
// next time than the one of before, with its kernel's routes in place.
func (x *traffic) restarts(m *machine, l *lab.Lab, pid string) func(what string, act func()) {
	return func(what string, act func()) {
		x.t.Helper()
		x.noneLost(what, func() {
			act()
			pid = m.ready(pid)
		})
		neighborsRoutes(x.t, l, m)
	}
}

// forget removes the agent's routes from a node's kernel, as a reboot does.
func forget(t *testing.T, l *lab.Lab, node int) {
	t.Helper()
	for _, what := range []string{"nexthop", "-4 route", "-6 route"} {
		argv := append(append([]string{"ip"}, strings.Fields(what)...), "flush", "proto", strconv.Itoa(lab.Protocol))
		if out, err := l.Run(t.Context(), node, argv...); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
}

// bound ties openr.service to a switch agent as the drop-in says, and restarts, stops and crashes that, some times in a row.
func (m *machine) bound(t *testing.T, restarts func(string, func()), inARow int) {
	m.write("/etc/systemd/system/switch.service", switchAgent)
	m.must("systemctl", "daemon-reload")
	m.must("systemctl", "enable", "--now", "switch")
	m.must("sh", "-ec", `mkdir -p /etc/systemd/system/openr.service.d
		sed s/SWITCH_AGENT/switch/ /usr/share/openr/switch-agent.conf >/etc/systemd/system/openr.service.d/switch-agent.conf
		systemctl daemon-reload
		systemctl reenable openr`)
	m.must("test", "-L", "/etc/systemd/system/switch.service.wants/openr.service")

	// openr stops before the switch agent does, and starts when that has.
	ordered := func(when string) {
		t.Helper()
		stopped, started := m.time("openr", "InactiveEnterTimestampMonotonic"), m.time("openr", "ExecMainStartTimestampMonotonic")
		agentStopped, agentStarted := m.time("switch", "ActiveExitTimestampMonotonic"), m.time("switch", "ExecMainStartTimestampMonotonic")
		if stopped > agentStopped || started < agentStarted {
			t.Errorf("%s: openr stopped at %v and started at %v, the switch agent at %v and %v", when, stopped, started, agentStopped, agentStarted)
		}
	}
	restarts("the warm restart of the switch agent", func() { m.must("systemctl", "restart", "switch") })
	ordered("the warm restart of the switch agent")

	crash := func() {
		t.Helper()
		agent, openr := m.property("switch", "MainPID"), m.property("openr", "ExecMainStartTimestampMonotonic")
		m.must("systemctl", "kill", "--signal=KILL", "switch")
		eventually(t, "the switch agent and openr start again", func() bool {
			pid := m.property("switch", "MainPID")
			own := m.property("openr", "MainPID")
			return pid != "0" && pid != agent && own != "0" && m.property("openr", "ExecMainStartTimestampMonotonic") != openr
		}, m.unit)
	}
	restarts("a crash of the switch agent", crash)
	restarts(fmt.Sprintf("a switch agent that crashes %d times in a row", inARow), func() {
		for range inARow {
			crash()
		}
	})
	if n := m.property("switch", "NRestarts"); n != strconv.Itoa(inARow+1) {
		t.Errorf("systemd counts %s restarts of the switch agent, want %d", n, inARow+1)
	}

	restarts("stop and start of the switch agent", func() {
		m.must("systemctl", "stop", "switch")
		if state := m.property("openr", "ActiveState"); state != "inactive" {
			t.Errorf("the switch agent is stopped, openr.service is %s", state)
		}
		m.must("systemctl", "start", "switch")
	})
	ordered("stop and start of the switch agent")

	m.must("rm", "/etc/systemd/system/openr.service.d/switch-agent.conf")
	m.must("systemctl", "daemon-reload")
	m.must("systemctl", "reenable", "openr")
}

// time returns a point in time that systemd keeps of a unit.
func (m *machine) time(unit, property string) time.Duration {
	m.t.Helper()
	usec, err := strconv.ParseInt(m.property(unit, property), 10, 64)
	if err != nil {
		m.t.Fatal(err)
	}
	return time.Duration(usec) * time.Microsecond
}
