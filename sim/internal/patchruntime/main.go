// Command patchruntime prepares a build of the simulation in which a seed fixes everything: an overlay for go build that
// changes a few lines of the Go runtime's own source.
//
// synctest fixes the time, and GOMAXPROCS(1) that one goroutine runs at a time; but the runtime draws lots where a select has
// several ready cases and for the order of maps; it takes the processor from a goroutine that has computed for 10 ms or waits for
// a file; and now and then it lets one go first that has waited for long. Here the lots come from a state that package sim sets from the
// seed (build tag simreplay), and the rest does not happen.
//
// usage: patchruntime DIRECTORY      writes DIRECTORY/overlay.json, for go build -overlay -tags simreplay
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// patches replace the only occurrence of before in a file below GOROOT/src.
var patches = []struct{ file, before, after string }{
	{"runtime/select.go", "j := cheaprandn(uint32(norder + 1))", "j := uint32(simChance() % uint64(norder+1))"},
	{"runtime/time.go", "t.rand = cheaprand()", "t.rand = uint32(simChance())"},
	{"runtime/rand.go", "func maps_rand() uint64 {\n\treturn rand()\n}", `func maps_rand() uint64 {
	return simChance()
}

//go:linkname simState
var simState uint64

// simChance draws a lot (splitmix64).
func simChance() uint64 {
	simState += 0x9e3779b97f4a7c15
	z := simState
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}`},
	{"runtime/rand.go", "globalRand.state.Init(*seed)", "globalRand.state.Init([32]byte{'s', 'i', 'm'})"}, // by which maps hash
	{"internal/sync/mutex.go", "starvationThresholdNs = 1e6", "starvationThresholdNs = 1 << 60"},
	{"runtime/proc.go", "func retake(now int64) uint32 {\n", "func retake(now int64) uint32 {\n\tif simState != 0 {\n\t\treturn 0\n\t}\n"},
	{"runtime/proc.go", "func runqput(pp *p, gp *g, next bool) {\n", `func runqput(pp *p, gp *g, next bool) {
	if simState != 0 {
		lock(&sched.lock)
		globrunqput(gp)
		unlock(&sched.lock)
		return
	}
`},
	{"runtime/proc.go", "if pp.schedtick%61 == 0 && !sched.runq.empty() {", "if simState == 0 && pp.schedtick%61 == 0 && !sched.runq.empty() {"},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: patchruntime DIRECTORY")
		os.Exit(2)
	}
	if err := patch(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "patchruntime:", err)
		os.Exit(1)
	}
}

func patch(dir string) error {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	overlay := map[string]string{}
	for _, p := range patches {
		original := filepath.Join(strings.TrimSpace(string(root)), "src", p.file)
		from := cmp.Or(overlay[original], original) // changed already, or not yet
		source, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if n := strings.Count(string(source), p.before); n != 1 {
			return fmt.Errorf("%s: %q is there %d times, want once; has Go changed?", from, p.before, n)
		}
		to := filepath.Join(dir, filepath.Base(p.file))
		if err := os.WriteFile(to, []byte(strings.Replace(string(source), p.before, p.after, 1)), 0o644); err != nil {
			return err
		}
		overlay[original] = to
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o644)
}
