package main

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"openr/thrift/gen/openrconfig"
)

// onMachine has tech-support look at other files than the machine's own.
func onMachine(t *testing.T, files fs.FS) {
	before := machine
	machine = files
	t.Cleanup(func() { machine = before })
}

func TestTechSupport(t *testing.T) {
	onMachine(t, fstest.MapFS{
		"etc/openr/openr.conf": {Data: []byte("{\"node_name\": \"node1\"}\n")},
		"proc/7/cmdline":       {Data: []byte("/usr/sbin/openr\x00--config\x00/etc/openr/openr.conf\x00")},
		"proc/8/cmdline":       {Data: []byte("/bin/sh\x00openr\x00")},
		"proc/9/cmdline":       {},
		"proc/uptime":          {Data: []byte("1")},
	})
	n, _ := sound(t)
	n.config = func(c *openrconfig.OpenrConfig) { c.Areas = c.Areas[:1] }
	values := map[string]string{"$PORT": serve(t, n)}
	goldenWith(t, "techsupport", values, "tech-support --no-routes", "tech-support -H ::1 --no-routes --fib_agent_port 1")
	// With --json, each section is what its command prints with --json.
	out, code := typed(t, "", "--port", values["$PORT"], "tech-support", "--json")
	var report struct {
		Sections map[string]json.RawMessage
		Failures []string
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != 0 || len(report.Failures) > 0 {
		t.Fatalf("exit code %d, %v, failed: %q\n%s", code, err, report.Failures, out)
	}
	for title, line := range map[string]string{"breeze lm links": "lm links", "breeze decision routes": "decision routes", "breeze fib unicast-routes": "fib unicast-routes"} {
		var want, got any
		if err := json.Unmarshal([]byte(breeze(t, append([]string{"--port", values["$PORT"], "--json"}, strings.Fields(line)...)...)), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(report.Sections[title], &got); err != nil {
			t.Fatalf("%s: %v", title, err)
		}
		x, _ := json.Marshal(got)
		y, _ := json.Marshal(want)
		if string(x) != string(y) {
			t.Errorf("%s is\n%s\nwant\n%s", title, x, y)
		}
	}
}

// TestTechSupportGoesOn: without an agent, all sections are tried, and named at the end.
func TestTechSupportGoesOn(t *testing.T) {
	onMachine(t, fstest.MapFS{"proc/7/status": {}})
	out, code := typed(t, "", "--port", "1", "tech-support")
	if code != 1 || !strings.Contains(out, "Missing Config File") || !strings.Contains(out, "no openr is running") ||
		strings.Count(out, "connection refused") < 20 || !strings.Contains(out, "--------  failures  --------\n\nbreeze openr version\n") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	out, code = typed(t, "", "-H", "192.0.2.1", "--port", "1", "--timeout", "1", "tech-support", "--json")
	if code != 1 || !strings.Contains(out, `"openr runtime params": "on another machine\n"`) {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestTechSupportKeepsFlags: what is asked is asked of the same agent, in the same way.
func TestTechSupportKeepsFlags(t *testing.T) {
	onMachine(t, fstest.MapFS{"proc/7/status": {}})
	out, _ := typed(t, "", "--ssl", "--ca-file", "/nonexistent", "--color", "always", "tech-support")
	if strings.Count(out, "failed to read --ca-file") < 20 || !strings.Contains(out, "\x1b[1m--------  openr config file") {
		t.Errorf("printed\n%s", out)
	}
}
