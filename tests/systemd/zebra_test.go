package systemd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"openr/lab"
)

// sweep is after how many seconds zebra removes what was in the kernel when it started and nobody has renewed (-K).
const sweep = "8"

// TestZebra runs the agent over Debian's FRR and restarts one after the other, while packets cross the node.
func TestZebra(t *testing.T) {
	const left, router, right = 0, 1, 2
	l := network(t, "line:3", router, settings)
	forget(t, l, router) // what the lab's agent has left
	m := unpack(t, l.Namespace(router))
	m.boot()
	m.install(packages(t)[0])
	m.configure(l, router)
	kernel := regexp.MustCompile(`"enable_netlink_fib_handler": *true`)
	m.write("/etc/openr/openr.conf", kernel.ReplaceAllString(m.must("cat", "/etc/openr/openr.conf"), `"enable_netlink_fib_handler": false, "zebra_fib": {"enable": true}`))
	m.must("openr", "config", "check", "/etc/openr/openr.conf")
	// As packages.md says.
	m.write("/etc/systemd/system/openr.service.d/zebra.conf", "[Unit]\nAfter=frr.service\n[Service]\nUser=frr\nGroup=frr\n")
	options := func(zebra string) {
		path := filepath.Join(m.root, "etc/frr/daemons")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := append(strings.Split(string(b), "\n"), `watchfrr_options="--min-restart-interval 1"`) // zebra crashes once here
		for i, line := range lines {
			if strings.HasPrefix(line, "zebra_options=") {
				lines[i] = `zebra_options="-A 127.0.0.1 -s 90000000 ` + zebra + `"`
			}
		}
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	options("")
	m.must("systemctl", "enable", "--now", "frr", "openr")
	pid := m.ready("")
	zebra := m.zebraHas(l, router, "")
	x := startTraffic(t, l, left, router, right)
	x.touched = true // zebra makes its nexthop objects anew

	// Nobody asked zebra to leave its routes when it stops.
	lost := x.during("systemctl restart frr, as Debian configures it", 3*time.Second, func() {
		m.restartFRR()
		zebra = m.zebraHas(l, router, zebra)
	})
	if lost.messages != 0 {
		t.Errorf("%d route messages in other nodes' kernels", lost.messages)
	}

	options("-r -K " + sweep)
	m.restartFRR()
	zebra = m.zebraHas(l, router, zebra)
	zebraGoes := func(what string, act func()) {
		t.Helper()
		x.noneLost(what, func() {
			act()
			zebra = m.zebraHas(l, router, zebra)
			m.must("sleep", sweep)
			m.must("sleep", "2")
			m.zebraHas(l, router, "")
		})
	}
	zebraGoes("systemctl restart frr, zebra with -r -K "+sweep, m.restartFRR)
	zebraGoes("kill -9 of zebra, with -r -K "+sweep, func() { m.must("sh", "-c", "kill -9 $(cat /run/frr/zebra.pid)") })
	openrGoes := func(what string, argv ...string) {
		t.Helper()
		x.noneLost(what, func() {
			m.must(argv...)
			pid = m.ready(pid)
			m.zebraHas(l, router, "")
		})
	}
	openrGoes("systemctl restart openr over zebra", "systemctl", "restart", "openr")
	openrGoes("kill -9 of openr over zebra", "systemctl", "kill", "--signal=KILL", "--kill-whom=main", "openr")
}

// restartFRR restarts it however often that was done before; its unit would refuse the fourth time.
func (m *machine) restartFRR() {
	m.t.Helper()
	m.must("sh", "-ec", "systemctl reset-failed frr; systemctl restart frr")
}

// zebraHas waits until zebra, another process than the one given, has the routes of the machine's node in the kernel, and
// returns the process's number.
func (m *machine) zebraHas(l *lab.Lab, node int, but string) (pid string) {
	m.t.Helper()
	facts, err := l.Observe()
	if err != nil {
		m.t.Fatal(err)
	}
	for i := range facts.Nodes {
		facts.Nodes[i].Running = true
	}
	want := lab.Expected(facts)[node]
	state := func() string {
		out, err := m.try("sh", "-c", "cat /run/frr/zebra.pid; ip -6 route; ip -4 route; vtysh -c 'show ipv6 route' -c 'show ip route' -c 'show zebra client summary'")
		if err != nil {
			out += err.Error()
		}
		return out + "\n" + m.unit()
	}
	eventually(m.t, "zebra has the routes", func() bool {
		if pid, err = m.try("cat", "/run/frr/zebra.pid"); err != nil || pid == but {
			return false
		}
		got, _ := m.try("sh", "-c", "vtysh -c 'show ipv6 route openfabric' -c 'show ip route openfabric'; ip -6 route show proto openfabric; ip -4 route show proto openfabric")
		for prefix := range want {
			text := prefix.String()
			kernel := "\n" + strings.TrimSuffix(strings.TrimSuffix(text, "/128"), "/32") + " "
			if !strings.Contains(got, "f>* "+text+" ") || !strings.Contains(got, kernel) {
				return false
			}
		}
		return true
	}, state)
	return pid
}
