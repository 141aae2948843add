package preflight

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/config"
	"openr/preflight/holder"
)

// inNamespace runs f on a thread of its own in a new network namespace where nothing is wrong. Both end with f.
func inNamespace(t *testing.T, f func(cfg *config.Config)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test makes network namespaces: run it as root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		ns, err := netns.New()
		if err != nil {
			t.Errorf("failed to make a network namespace: %v", err)
			return
		}
		defer ns.Close()
		for file, value := range map[string]string{
			"ipv6/conf/all/disable_ipv6": "0", "ipv6/conf/default/disable_ipv6": "0",
			"ipv6/conf/all/forwarding": "1", "ipv4/ip_forward": "1",
		} {
			set(t, file, value)
		}
		link := netlink.NewVeth(netlink.LinkAttrs{Name: "eth0"}) // the other end is not one to have neighbours
		link.PeerName = "veth-of-eth0"
		if err := netlink.LinkAdd(link); err != nil {
			t.Errorf("failed to add an interface: %v", err)
			return
		}
		f(config.Default("n1"))
	}()
	<-done
}

func set(t *testing.T, file, value string) {
	t.Helper()
	if err := os.WriteFile(sysctlDir+file, []byte(value), 0); err != nil {
		t.Errorf("failed to set a sysctl: %v", err)
	}
}

// expect checks that the problems are exactly those whose strings begin like this.
func expect(t *testing.T, got []Problem, want ...string) {
	t.Helper()
	var lines []string
	for _, p := range got {
		lines = append(lines, fmt.Sprintf("fatal=%v %v", p.Fatal, p))
	}
	if len(got) != len(want) {
		t.Errorf("got %d problems, want %d:\n%s", len(got), len(want), strings.Join(lines, "\n"))
		return
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			t.Errorf("got  %s\nwant %s...", lines[i], w)
		}
	}
}

func TestNothingWrong(t *testing.T) {
	inNamespace(t, func(cfg *config.Config) {
		expect(t, Run(cfg))
		expect(t, Run(cfg)) // the ports were released
	})
}

func TestForwardingOff(t *testing.T) {
	inNamespace(t, func(cfg *config.Config) {
		set(t, "ipv6/conf/all/forwarding", "0")
		set(t, "ipv4/ip_forward", "0")
		problems := Run(cfg)
		expect(t, problems,
			"fatal=false IPv6 forwarding is off (net.ipv6.conf.all.forwarding = 0): this node attracts",
			"fatal=false IPv4 forwarding is off (net.ipv4.ip_forward = 0): this node attracts")
		mend(t, problems)
		expect(t, Run(cfg))
		set(t, "ipv4/ip_forward", "0")
		cfg.DryRun = true
		expect(t, Run(cfg))
	})
}

func TestIPv6Disabled(t *testing.T) {
	inNamespace(t, func(cfg *config.Config) {
		set(t, "ipv6/conf/all/disable_ipv6", "1")
		problems := Run(cfg)
		expect(t, problems, "fatal=true IPv6 is disabled (net.ipv6.conf.all.disable_ipv6 = 1): neighbours are found")
		mend(t, problems)
		expect(t, Run(cfg))
	})
}

func TestIPv6DisabledOnInterface(t *testing.T) {
	inNamespace(t, func(cfg *config.Config) {
		for i, name := range []string{"eth7", "eth7.12", "docker0"} {
			veth := netlink.NewVeth(netlink.LinkAttrs{Name: name})
			veth.PeerName = fmt.Sprintf("veth%d", i)
			if err := netlink.LinkAdd(veth); err != nil {
				t.Errorf("failed to add %s: %v", name, err)
				return
			}
			set(t, "ipv6/conf/"+name+"/disable_ipv6", "1")
		}
		problems := Run(cfg)
		expect(t, problems, "fatal=false IPv6 is disabled on interface eth7:", "fatal=false IPv6 is disabled on interface eth7.12:")
		mend(t, problems)
		expect(t, Run(cfg))
	})
}

// TestNoInterface: a configuration whose expressions match nothing, the commonest of silent mistakes.
func TestNoInterface(t *testing.T) {
	inNamespace(t, func(cfg *config.Config) {
		cfg.Areas[0].IncludeInterfaces = config.MustMatch("swp.*")
		problems := Run(cfg)
		expect(t, problems, "fatal=false no interface is one to look for neighbours on: not ")
		if len(problems) == 1 && !strings.Contains(problems[0].What, "eth0") {
			t.Errorf("eth0 is not among those found: %s", problems[0].What)
		}
	})
}

// mend does what each problem says, by its sysctl commands.
func mend(t *testing.T, problems []Problem) {
	t.Helper()
	for _, p := range problems {
		args, ok := strings.CutPrefix(p.Mend, "sysctl -w ")
		if !ok {
			t.Errorf("no command: %s", p.Mend)
		}
		for _, arg := range strings.Fields(args) {
			key, value, _ := strings.Cut(arg, "=")
			if !strings.Contains(key, "/") {
				key = strings.ReplaceAll(key, ".", "/")
			}
			set(t, strings.TrimPrefix(key, "net/"), value)
		}
	}
}

func TestPortsTaken(t *testing.T) {
	self := fmt.Sprintf("by process %d (%s", os.Getpid(), filepath.Dir(os.Args[0]))
	for _, tt := range []struct {
		name string
		take func() (interface{ Close() error }, error)
		want string
	}{
		{"UDP", func() (interface{ Close() error }, error) { return net.ListenPacket("udp6", "[::]:6666") }, "fatal=true UDP port 6666 is taken " + self},
		{"UDP over IPv4", func() (interface{ Close() error }, error) { return net.ListenPacket("udp4", "0.0.0.0:6666") }, "fatal=true UDP port 6666 is taken " + self},
		{"TCP", func() (interface{ Close() error }, error) { return net.Listen("tcp", ":2018") }, "fatal=true TCP port 2018 is taken " + self},
		{"TCP over IPv4", func() (interface{ Close() error }, error) { return net.Listen("tcp4", ":2018") }, "fatal=true TCP port 2018 is taken " + self},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t, func(cfg *config.Config) {
				c, err := tt.take()
				if err != nil {
					t.Error(err)
					return
				}
				problems := Run(cfg)
				if expect(t, problems, tt.want); len(problems) == 1 && !strings.HasPrefix(problems[0].Mend, "stop it, or set ") {
					t.Errorf("mend is %q", problems[0].Mend)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				expect(t, Run(cfg))
			})
		})
	}
}

// TestHolderUnseen: a socket that no process has open, as when it is in another PID namespace.
func TestHolderUnseen(t *testing.T) {
	p := portProblem("udp", 6666, unix.EADDRINUSE, "why", "take another")
	if h := holder.Of("udp", 6666); len(h) > 0 {
		t.Fatalf("port 6666 is in use by %v: this test needs it", h)
	}
	expect(t, []Problem{p}, "fatal=true UDP port 6666 is taken by a process that cannot be seen from here: why; find it as root with: ss -lunp 'sport = :6666'; or take another")
	expect(t, []Problem{portProblem("tcp", 80, unix.EACCES, "why", "take another")}, "fatal=true TCP port 80 must not be used by this user: why; run as root or with CAP_NET_BIND_SERVICE, or take another")
	expect(t, []Problem{portProblem("tcp", 80, unix.ENOBUFS, "why", "take another")}, "fatal=true TCP port 80 cannot be had: no buffer space available: why; take another")
}

func TestRightsMissing(t *testing.T) {
	inNamespace(t, func(cfg *config.Config) {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&hdr, &data[0]); err != nil {
			t.Error(err)
			return
		}
		data[0].Effective &^= 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
		if err := unix.Capset(&hdr, &data[0]); err != nil { // of this thread only
			t.Error(err)
			return
		}
		expect(t, Run(cfg),
			"fatal=true the right CAP_NET_ADMIN is missing: without it the kernel refuses the routes; run as root",
			"fatal=true the right CAP_NET_RAW is missing: ")
		cfg.DryRun = true
		expect(t, Run(cfg))
	})
}

// TestFatalFirst: what stops the agent is named before what does not.
func TestFatalFirst(t *testing.T) {
	inNamespace(t, func(cfg *config.Config) {
		set(t, "ipv4/ip_forward", "0")
		l, err := net.Listen("tcp", ":2018")
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		expect(t, Run(cfg), "fatal=true TCP port 2018", "fatal=false IPv4 forwarding")
	})
}
