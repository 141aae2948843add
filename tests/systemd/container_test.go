package systemd

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"openr/lab"
)

// TestContainer makes the file system that the container recipe describes, from the last stage's COPY lines, and runs the
// agent in it: nothing else may be needed.
func TestContainer(t *testing.T) {
	const inside = 1
	l := network(t, "line:2", inside, settings)
	recipe, err := os.ReadFile("../../packaging/container/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, last, found := strings.Cut(string(recipe), "\nFROM scratch\n")
	if !found {
		t.Fatal("the last stage does not begin with FROM scratch")
	}
	root := t.TempDir()
	for _, copied := range regexp.MustCompile(`(?m)^COPY (.*)$`).FindAllStringSubmatch(last, -1) {
		names := strings.Fields(copied[1])
		to := names[len(names)-1]
		for _, from := range names[:len(names)-1] {
			target := to
			if strings.HasSuffix(to, "/") {
				target = path.Join(to, path.Base(from))
			}
			source := filepath.Join("../..", from)
			if dir, base := path.Split(from); dir == "bin/" {
				source = filepath.Join(filepath.Dir(agent), base)
			}
			b, err := os.ReadFile(source)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(root, path.Dir(target)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, target), b, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	var entry, arguments []string
	for directive, into := range map[string]*[]string{"ENTRYPOINT": &entry, "CMD": &arguments} {
		line := regexp.MustCompile(`(?m)^` + directive + ` (\[.*\])$`).FindStringSubmatch(last)
		if line == nil {
			t.Fatalf("the last stage has no %s", directive)
		}
		if err := json.Unmarshal([]byte(line[1]), into); err != nil {
			t.Fatal(err)
		}
	}

	check := exec.Command("chroot", append([]string{root, entry[0]}, "config", "check", arguments[len(arguments)-1])...)
	if out, err := check.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// In place of the defaults the node's own, to find its neighbour.
	config, err := os.ReadFile(l.ConfigPath(inside))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, arguments[len(arguments)-1]), config, 0o644); err != nil {
		t.Fatal(err)
	}
	// A process and mount namespace with a /proc, as container runtimes make them, and the network of the node.
	script := `mkdir -p "$1/proc" "$1/sys" "$1/tmp" && mount -t proc proc "$1/proc" && exec chroot "$@"`
	argv := append([]string{"--net=/run/netns/" + l.Namespace(inside), "unshare", "--mount", "--pid", "--fork", "--kill-child=TERM",
		"sh", "-c", script, "run", root}, append(entry, arguments...)...)
	cmd := exec.Command("nsenter", argv...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the agent gets SIGTERM with that
		_ = cmd.Wait()
	})
	wrong := ""
	eventually(t, "the agent in the container has routes", func() bool {
		facts, err := l.Observe()
		if err != nil {
			t.Fatal(err)
		}
		facts.Nodes[inside].Running = true
		if wrong, err = l.Wrong(facts); err != nil {
			t.Fatal(err)
		}
		return wrong == ""
	}, func() string {
		text, _ := os.ReadFile(log.Name())
		return wrong + "\n" + string(text)
	})
}

// TestContainerlab builds the network of the containerlab topology with namespaces for containers, runs the agent with the
// topology's configuration, and asks for the routes that its comment promises.
func TestContainerlab(t *testing.T) {
	b, err := os.ReadFile("../../packaging/containerlab/openr.clab.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	names := regexp.MustCompile(`(?m)^    (r\d+):$`).FindAllStringSubmatch(text, -1)
	links := regexp.MustCompile(`endpoints: \["(r\d+):(eth\d+)", "(r\d+):(eth\d+)"\]`).FindAllStringSubmatch(text, -1)
	commands := regexp.MustCompile(`(?m)^    (r\d+):\n      exec:\n((?:        - .*\n)+)`).FindAllStringSubmatch(text, -1)
	if len(names) != 4 || len(links) != 4 || len(commands) != 4 {
		t.Fatalf("%d nodes, %d links, %d nodes with commands", len(names), len(links), len(commands))
	}
	ip := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %q: %v\n%s", args, err, out)
		}
	}
	namespace := func(node string) string { return labName(t) + "-" + node }
	for _, n := range names {
		ip("netns", "add", namespace(n[1]))
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", namespace(n[1])).Run() })
		ip("-n", namespace(n[1]), "link", "set", "lo", "up")
	}
	// A container's eth0 is its management; the indices of two ends must differ.
	for i, k := range links {
		ip("link", "add", "name", k[2], "netns", namespace(k[1]), "index", index(2*i), "type", "veth",
			"peer", "name", k[4], "netns", namespace(k[3]), "index", index(2*i+1))
		ip("-n", namespace(k[1]), "link", "set", k[2], "up")
		ip("-n", namespace(k[3]), "link", "set", k[4], "up")
	}
	var want []netip.Prefix
	for _, n := range commands {
		for line := range strings.Lines(n[2]) {
			argv := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "- "))
			ip(append([]string{"netns", "exec", namespace(n[1])}, argv...)...)
			want = append(want, netip.MustParsePrefix(argv[3]))
		}
		for _, setting := range regexp.MustCompile(`(?m)^      (net\.\S+): (\d)$`).FindAllStringSubmatch(text, -1) {
			ip("netns", "exec", namespace(n[1]), "sysctl", "-q", "-w", setting[1]+"="+setting[2])
		}
		// As the container's own file system has it.
		config := filepath.Join(t.TempDir(), "openr.conf")
		packaged, err := os.ReadFile("../../packaging/containerlab/openr.conf")
		if err != nil {
			t.Fatal(err)
		}
		named := strings.Replace(string(packaged), "{", `{"node_name": "`+n[1]+`",`, 1)
		named = strings.Replace(named, "/var/lib/openr/", t.TempDir()+"/", 1)
		if err := os.WriteFile(config, []byte(named), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("ip", "netns", "exec", namespace(n[1]), agent, "--config", config)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	for _, n := range names {
		eventually(t, n[1]+" has routes to all others", func() bool {
			routes, err := lab.KernelRoutes(namespace(n[1]))
			if err != nil {
				t.Fatal(err)
			}
			return len(routes) == len(want)-2
		}, nil)
	}
}

// index is the number of the interface at an end of a link.
func index(end int) string {
	return []string{"100", "201", "102", "203", "104", "205", "106", "207"}[end]
}
