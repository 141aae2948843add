package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"openr/internal/allocs"
)

// FuzzArguments parses whatever somebody may type, as far as that can be done without an agent: no panic, and what is wrong
// is said.
func FuzzArguments(f *testing.F) {
	for _, line := range []string{
		"", "decision routes --nodes all", "s n", "kvstore keyvals adj:n1 --json", "--timeout 5 fib routes", "kvstore set-key k v --ttl never --version 3",
		"decision path --src a --dst 10.0.0.1", "fib add 10.0.0.0/8 fe80::1@eth0", "prefixmgr advertise ::/0 -x", "--host fe80::1%eth0 --port 99999", "lm set-link-metric eth0 -1",
		"decision what-if --fail n1", "--color=sometimes", "tech-support -- --", "monitor counters --prefix=( ",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		allocs.Bound(t, len(line), 8<<20, 8<<10, func() { // the tree of commands is big
			a := &app{in: strings.NewReader(""), out: io.Discard, errOut: io.Discard, now: time.Now}
			root := a.command()
			cmd, rest, err := root.Find(args)
			if err != nil || cmd == nil {
				return
			}
			if err := cmd.ParseFlags(rest); err != nil {
				if err.Error() == "" {
					t.Error("an error without words")
				}
				return
			}
			if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil && err.Error() == "" {
				t.Error("an error without words")
			}
		})
	})
}

// FuzzTexts reads what stands in arguments and events.
func FuzzTexts(f *testing.F) {
	for _, text := range []string{"10.0.0.0/8", "fe80::1%eth0@100", "::/0,1.2.3.4", "16", "-1", "n1:eth0", `{"EVENT": 1}`, "999999999999999999999"} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, x, y string) {
		allocs.Bound(t, len(x)+len(y), 0, 4<<10, func() {
			args := strings.Fields(x)
			if list, err := parsePrefixes(args); err == nil && len(list) != len(args) {
				t.Errorf("%d prefixes of %d", len(list), len(args))
			}
			_, _ = parseLabels(args)
			_, _ = parseRoutes(x, y)
			parseEvent(x)
			readings(x)
		})
	})
}
