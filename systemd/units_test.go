package systemd

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestMemoryLimits: as installed, the agent's own limit is below the one at which the kernel ends it without a word.
func TestMemoryLimits(t *testing.T) {
	number := func(file, pattern string) int {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s: nothing like %s", file, pattern)
		}
		n, err := strconv.Atoi(string(found[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	own, kernel := number("openr.conf", `"enable_watchdog": true,\s*"watchdog_config": {"max_memory_mb": (\d+)}`), number("openr.service", `(?m)^MemoryMax=(\d+)M$`)
	if own >= kernel {
		t.Errorf("max_memory_mb %d, MemoryMax=%dM", own, kernel)
	}
}
