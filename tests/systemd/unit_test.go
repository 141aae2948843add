package systemd

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"openr/lab"
)

// directives are what openr.service promises, as systemd has understood it.
var directives = map[string]string{
	"Type": "notify", "NotifyAccess": "main", "Restart": "on-failure", "RestartUSec": "250ms",
	"StartLimitIntervalUSec": "5min", "StartLimitBurst": "20", "MemoryMax": "1677721600", "MemorySwapMax": "0", "LimitCORE": "0",
	"User": "openr", "Group": "openr", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes",
	"PrivateDevices": "yes", "ProtectKernelTunables": "yes", "ProtectControlGroups": "yes", "RestrictNamespaces": "yes",
	"MemoryDenyWriteExecute": "yes", "CapabilityBoundingSet": "cap_net_admin cap_net_raw", "AmbientCapabilities": "cap_net_admin cap_net_raw",
	"RuntimeDirectory": "openr", "StateDirectory": "openr",
}

// TestUnit: what openr.service does beside starting an agent that works: it waits and says for what, refuses a configuration
// that cannot be used, and gives up an agent that crashes without end.
func TestUnit(t *testing.T) {
	const router = 1
	l := network(t, "line:2", router, settings)
	m := borrow(t, l.Namespace(router))
	m.boot()
	m.place(work+"/bin", "")
	for name, want := range directives {
		if got := m.property("openr", name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := m.property("openr", "ExecReload"); !strings.Contains(got, "/bin/kill -HUP $MAINPID") {
		t.Errorf("ExecReload is %q", got)
	}
	m.must("systemd-tmpfiles", "--create", "openr.conf")
	if got, want := m.must("stat", "-c", "%U:%G %a", "/run/openr", "/var/lib/openr"), "openr:openr 755\nopenr:openr 750"; got != want {
		t.Errorf("tmpfiles.d makes %q, want %q", got, want)
	}
	m.waits(l, router)
	if got := m.property("openr", "WatchdogUSec"); got != "10s" {
		t.Errorf("WatchdogSec= is %s, want 10s", got)
	}
	m.sysctls()

	// A configuration with a mistake: the next start would end as this one.
	good := m.must("cat", "/etc/openr/openr.conf")
	m.write("/etc/openr/openr.conf", "{")
	if out, err := m.try("systemctl", "restart", "openr"); err == nil {
		t.Errorf("it starts with a configuration that is none: %s", out)
	}
	if state := m.property("openr", "ActiveState") + " " + m.property("openr", "ExecMainStatus") + " " + m.property("openr", "NRestarts"); state != "failed 78 0" {
		t.Errorf("with a configuration that is none it is %s:\n%s", state, m.unit())
	}
	m.write("/etc/openr/openr.conf", good)

	// An agent that crashes without end.
	m.must("systemctl", "reset-failed", "openr")
	m.must("systemctl", "start", "openr")
	crashes := 0
	for ; ; crashes++ {
		pid := m.property("openr", "MainPID")
		m.must("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "openr")
		eventually(t, "systemd starts it again, or gives it up", func() bool {
			now := m.property("openr", "MainPID")
			return now != "0" && now != pid || m.property("openr", "ActiveState") == "failed"
		}, m.unit)
		if m.property("openr", "ActiveState") == "failed" {
			break
		}
		if crashes > 30 {
			t.Fatalf("it starts for ever:\n%s", m.unit())
		}
	}
	t.Logf("given up after %d crashes", crashes+1)
	if crashes < 10 {
		t.Errorf("given up after %d crashes: a router that is out for a reason that passes stays out", crashes+1)
	}
	m.must("systemctl", "reset-failed", "openr")
	m.must("systemctl", "start", "openr")
	m.ready("")
	neighborsRoutes(t, l, m)
}

// waits starts openr over a switch agent that is not there yet, and starts that when it was seen to wait.
func (m *machine) waits(l *lab.Lab, node int) {
	m.t.Helper()
	m.configure(l, node)
	text := m.must("cat", "/etc/openr/openr.conf")
	m.write("/etc/openr/openr.conf", regexp.MustCompile(`"enable_netlink_fib_handler": *true`).ReplaceAllString(text, `"enable_netlink_fib_handler": false, "fib_port": 60100`))
	m.must("openr", "config", "check", "/etc/openr/openr.conf")
	m.must("systemctl", "start", "--no-block", "openr")
	eventually(m.t, "openr.service says what it waits for", func() bool {
		status := m.property("openr", "StatusText")
		return strings.HasPrefix(status, "starting, 0 of 8: waiting for ") && strings.Contains(status, "60100")
	}, m.unit)
	if state := m.property("openr", "ActiveState"); state != "activating" {
		m.t.Errorf("while it waits it is %s", state)
	}
	var status struct {
		Initialization []struct {
			Stage    string `json:"stage"`
			Reached  *int64 `json:"reached_ms"`
			WaitsFor string `json:"waits_for"`
		} `json:"stages"`
	}
	eventually(m.t, "breeze says what openr waits for", func() bool {
		out, err := m.try("breeze", "--json", "openr", "status")
		if err != nil || json.Unmarshal([]byte(out), &status) != nil || len(status.Initialization) == 0 {
			return false
		}
		first := status.Initialization[0]
		return first.Stage == "AGENT_CONFIGURED" && first.Reached == nil && strings.Contains(first.WaitsFor, "60100")
	}, func() string {
		out, _ := m.try("breeze", "--json", "openr", "status")
		return out
	})
	m.must("systemctl", "start", "openr-platform")
	m.ready("")
	neighborsRoutes(m.t, l, m)
	m.must("systemctl", "stop", "openr", "openr-platform")
	m.write("/etc/openr/openr.conf", text)
	m.must("systemctl", "start", "openr")
}

// sysctls compares the kernel with every setting of /etc/openr/sysctl.conf.
func (m *machine) sysctls() {
	m.t.Helper()
	text, err := os.ReadFile("../../systemd/openr.sysctl")
	if err != nil {
		m.t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, want, ok := strings.Cut(line, " = ")
		if !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "-") || strings.Contains(name, "*") {
			continue
		}
		seen++
		if got := m.must("sysctl", "-n", name); got != want {
			m.t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"ip_forward", "forwarding", "ignore_routes_with_linkdown", "fib_multipath_hash_policy"} {
		if !strings.Contains(string(text), name+" = 1\n") {
			m.t.Errorf("nothing of %s", name)
		}
	}
	if seen < 10 {
		m.t.Errorf("only %d settings", seen)
	}
}
