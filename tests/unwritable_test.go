package tests

import (
	"os"
	"strings"
	"testing"

	"openr/lab"
)

// TestUnwritableStore: where the drain state cannot be written, the agent runs all the same; an operator who drains the node is
// told that this will not outlive the agent, and it is drained.
func TestUnwritableStore(t *testing.T) {
	const node, path = 1, "/proc/sys/store.bin" // nobody may make files there
	n := start(t, lab.Options{Topology: "line:2", Config: func(i int) map[string]any {
		if i != node {
			return nil
		}
		return map[string]any{"persistent_config_store_path": path}
	}})
	operator := n.control(node)
	err := operator.SetNodeOverload(t.Context())
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("the operator is told %v", err)
	}
	if !ask(n, operator.GetInterfaces).IsOverloaded {
		t.Error("the node is not drained")
	}
	if got := ask(n, operator.GetCounters)["config_store.unsaved"]; got != 1 {
		t.Errorf("config_store.unsaved is %d", got)
	}
	if log, err := os.ReadFile(n.LogPath(node)); err != nil || !strings.Contains(string(log), "\twarn\tconfigstore\t") {
		t.Errorf("no warning in the log: %v", err)
	}
}
