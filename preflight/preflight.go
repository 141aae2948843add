package preflight

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"openr/config"
	"openr/preflight/holder"
)

// Problem is something that keeps the agent from working.
type Problem struct {
	What  string // what is wrong
	Why   string // what does not work because of it
	Mend  string // how to mend it, a command if there is one
	Fatal bool   // the agent cannot work at all; otherwise a part of it does not
}

// String is "what: why; mend".
func (p Problem) String() string { return p.What + ": " + p.Why + "; " + p.Mend }

// Run returns what is wrong with this machine for an agent with the configuration, the fatal first. It looks at the
// network namespace and the rights of the calling thread.
func Run(cfg *config.Config) []Problem {
	problems := ipv6(cfg)
	if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Fatal }) {
		problems = append(problems, ports(cfg)...)
		problems = append(problems, links(cfg)...)
	}
	if !cfg.DryRun {
		problems = append(problems, rights()...)
		problems = append(problems, forwarding()...)
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		switch {
		case a.Fatal == b.Fatal:
			return 0
		case a.Fatal:
			return -1
		}
		return 1
	})
	return problems
}

// proc is the calling thread's directory: its network namespace may be another than the process's.
const proc = "/proc/thread-self/"

// sysctlDir shows the calling thread's network namespace, too.
const sysctlDir = "/proc/sys/net/"

// ipv6 checks that neighbours can be found: over IPv6 link-local addresses only, even if all routes are IPv4.
func ipv6(cfg *config.Config) []Problem {
	const why = "neighbours are found and reached over IPv6 link-local addresses"
	if _, err := os.Stat(proc + "net/if_inet6"); errors.Is(err, fs.ErrNotExist) {
		return []Problem{{
			What:  "the kernel has no IPv6",
			Why:   why,
			Mend:  "remove ipv6.disable=1 from the kernel's command line and reboot, or load the module: modprobe ipv6",
			Fatal: true,
		}}
	}
	if sysctl("ipv6/conf/all/disable_ipv6") == "1" {
		return []Problem{{
			What:  "IPv6 is disabled (net.ipv6.conf.all.disable_ipv6 = 1)",
			Why:   why,
			Mend:  "sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0",
			Fatal: true,
		}}
	}
	var problems []Problem
	for _, name := range interfaces() {
		if discovers(cfg, name) && sysctl("ipv6/conf/"+name+"/disable_ipv6") == "1" {
			problems = append(problems, Problem{
				What: "IPv6 is disabled on interface " + name,
				Why:  why + ", and this interface is to have neighbours",
				Mend: "sysctl -w net/ipv6/conf/" + name + "/disable_ipv6=0", // with slashes: a name may have dots
			})
		}
	}
	return problems
}

// links warns if there is no interface now to look for neighbours on. Not fatal: interfaces come later.
func links(cfg *config.Config) []Problem {
	names := slices.DeleteFunc(interfaces(), func(name string) bool { return name == "lo" })
	if slices.ContainsFunc(names, func(name string) bool { return discovers(cfg, name) }) {
		return nil
	}
	what := "no interface is one to look for neighbours on"
	if len(names) > 0 {
		what += ": not " + strings.Join(names, ", ")
	}
	return []Problem{{
		What: what,
		Why:  "this node stays alone until there is one",
		Mend: "name them in areas[].include_interface_regexes of the configuration, and see that exclude_interface_regexes does not",
	}}
}

// interfaces returns the names of the interfaces that have IPv6 or could have it.
func interfaces() []string {
	var names []string
	dirs, _ := filepath.Glob(sysctlDir + "ipv6/conf/*") // the pattern is well-formed
	for _, dir := range dirs {
		if name := filepath.Base(dir); name != "all" && name != "default" {
			names = append(names, name)
		}
	}
	return names
}

// discovers reports whether neighbours are looked for on an interface.
func discovers(cfg *config.Config, name string) bool {
	return slices.ContainsFunc(cfg.Areas, func(a config.Area) bool { return a.Discovers(name) })
}

// rights checks the capabilities (capabilities(7)).
func rights() []Problem {
	have, err := capabilities()
	if err != nil {
		return nil // no /proc: what is missing will show itself
	}
	var problems []Problem
	for _, c := range []struct {
		bit       int
		name, why string
	}{
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "without it the kernel refuses the routes"},
		{unix.CAP_NET_RAW, "CAP_NET_RAW", "without it the kernel refuses to bind sockets to interfaces"},
	} {
		if have&(1<<c.bit) == 0 {
			problems = append(problems, Problem{
				What:  "the right " + c.name + " is missing",
				Why:   c.why,
				Mend:  "run as root, give it to the unit (AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW), or set dryrun in the configuration",
				Fatal: true,
			})
		}
	}
	return problems
}

// capabilities returns the effective set of the calling thread.
func capabilities() (uint64, error) {
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "\nCapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	return strconv.ParseUint(strings.TrimSpace(line), 16, 64)
}

// forwarding checks that the kernel passes packets on. Without it a node still reaches everything itself.
func forwarding() []Problem {
	var problems []Problem
	for _, f := range []struct{ family, file, key string }{
		{"IPv6", "ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"},
		{"IPv4", "ipv4/ip_forward", "net.ipv4.ip_forward"},
	} {
		if sysctl(f.file) == "0" {
			problems = append(problems, Problem{
				What: f.family + " forwarding is off (" + f.key + " = 0)",
				Why:  "this node attracts traffic for others and drops it",
				Mend: "sysctl -w " + f.key + "=1",
			})
		}
	}
	return problems
}

// sysctl returns a value below net, empty if there is none.
func sysctl(file string) string {
	b, err := os.ReadFile(sysctlDir + file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// ports checks that the agent's ports can be had, by taking them for a moment.
func ports(cfg *config.Config) []Problem {
	var problems []Problem
	udp, err := net.ListenUDP("udp", &net.UDPAddr{Port: cfg.Spark.Port})
	if err != nil {
		problems = append(problems, portProblem("udp", cfg.Spark.Port, err,
			"it is the port neighbours are found on", "set spark_config.neighbor_discovery_port to the same other port on all nodes"))
	} else {
		_ = udp.Close() // nothing was sent
	}
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{Port: cfg.CtrlPort})
	if err != nil {
		problems = append(problems, portProblem("tcp", cfg.CtrlPort, err,
			"neighbours and breeze connect to it", "set thrift_server.openr_ctrl_port to another port"))
	} else {
		_ = tcp.Close()
	}
	return problems
}

func portProblem(network string, port int, err error, why, otherPort string) Problem {
	p := Problem{Why: why, Fatal: true}
	name := fmt.Sprintf("%s port %d", strings.ToUpper(network), port)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		p.What = name + " is taken"
		if h := holder.Of(network, port); len(h) > 0 {
			p.What += " by " + strings.Join(h, " and ")
			p.Mend = "stop it, or " + otherPort
		} else {
			flags := map[string]string{"udp": "-lunp", "tcp": "-ltnp"}[network]
			p.What += " by a process that cannot be seen from here"
			p.Mend = fmt.Sprintf("find it as root with: ss %s 'sport = :%d'; or %s", flags, port, otherPort)
		}
	case errors.Is(err, unix.EACCES):
		p.What = name + " must not be used by this user"
		p.Mend = "run as root or with CAP_NET_BIND_SERVICE, or " + otherPort
	default:
		p.What = fmt.Sprintf("%s cannot be had: %v", name, err)
		p.Mend = otherPort
	}
	return p
}
