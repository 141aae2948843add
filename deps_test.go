package openr_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The floors of the house, from the ground up. A package imports only from floors below its own; see ARCHITECTURE.md.
var (
	foundation = []string{"queue", "lsdb", "msg", "monitor", "config", "policy", "thrift", "watchdog", "zmtp"}
	modules    = []string{"configstore", "spark", "linkmonitor", "kvstore", "prefixmanager", "decision", "fib", "endpoint"}
	above      = []string{"agent", "ctrl", "platform", "web", "cmd", "lab"}
)

// room returns the name in rooms that the package stands in or under, "" if none does.
func room(pkg string, rooms []string) string {
	for _, r := range rooms {
		if pkg == r || strings.HasPrefix(pkg, r+"/") {
			return r
		}
	}
	return ""
}

// broken returns the rule of the house that package pkg breaks by importing imported, "" if none.
func broken(pkg, imported string) string {
	from, to := room(pkg, modules), room(imported, modules)
	switch {
	case room(pkg, foundation) != "" && to != "":
		return "what all modules stand on imports no module"
	case room(pkg, foundation) != "" && room(imported, above) != "":
		return "what all modules stand on imports nothing from the floors above"
	case from != "" && to != "" && from != to:
		return "modules do not import each other; what they share is a message type (package msg)"
	case from != "" && room(imported, above) != "":
		return "a module imports nothing from the floors above it; package agent alone knows them all"
	case pkg == "lab" && (to != "" || room(imported, []string{"agent", "ctrl", "config", "lsdb", "msg"}) != ""):
		return "lab judges the agent from outside, so it shares no code with it"
	case room(pkg, []string{"cmd"}) == "" && room(imported, []string{"cmd"}) != "":
		return "nothing imports a command"
	}
	return ""
}

// TestFloors holds the imports of every package, without its tests, to the floors of the house.
func TestFloors(t *testing.T) {
	for folder, files := range goFiles(t) {
		for name, file := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, spec := range file.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				imported, own := strings.CutPrefix(path, "openr/")
				if !own {
					continue
				}
				if rule := broken(folder, imported); rule != "" {
					t.Errorf("%s imports %s: %s", filepath.Join(folder, name), path, rule)
				}
			}
		}
	}
}

// TestFloorsRule shows that the rule tells right from wrong.
func TestFloorsRule(t *testing.T) {
	for _, c := range []struct {
		pkg, imported string
		allowed       bool
	}{
		{"spark", "msg", true},
		{"spark", "queue", true},
		{"kvstore", "thrift/gen/kvstore", true},
		{"fib", "fib/netlink", true},
		{"fib/netlink", "fib", true},
		{"agent", "spark", true},
		{"cmd/openr", "agent", true},
		{"spark", "linkmonitor", false},
		{"fib/netlink", "decision", false},
		{"decision", "agent", false},
		{"kvstore", "ctrl", false},
		{"lsdb", "kvstore", false},
		{"thrift/rpc", "fib/netlink", false},
		{"config", "agent", false},
		{"lab", "decision", false},
		{"ctrl", "cmd/breeze", false},
	} {
		if rule := broken(c.pkg, c.imported); (rule == "") != c.allowed {
			t.Errorf("%s importing %s: rule %q, allowed should be %v", c.pkg, c.imported, rule, c.allowed)
		}
	}
}
