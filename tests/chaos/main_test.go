package chaos

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openr/lab"
)

var (
	flagFor   = flag.Duration("chaos.for", 30*time.Second, "how long things go wrong")
	flagSeed  = flag.Uint64("chaos.seed", 0, "what goes wrong; 0: something new each time")
	flagTopo  = flag.String("chaos.topo", "", "the network (see `openr lab up --help`), of at least 6 nodes; default: by the seed")
	flagRate  = flag.Int("chaos.rate", 200, "packets per second between each two nodes of the traffic matrix, for IPv4 and for IPv6")
	flagOnly  = flag.String("chaos.only", "", "only events whose name contains this")
	flagRace  = flag.Bool("chaos.race", false, "build the agents with the race detector")
	flagAgent = flag.String("chaos.agent", "", "folder of the binaries openr and breeze; default: built from this source")
)

// patience bounds every wait for a condition. It is no measure of speed: the waits end when the condition holds.
const patience = 90 * time.Second

// The binaries under test.
var agentBinary, breezeBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make network namespaces: run them as root")
		return 1
	}
	// What a crashed earlier run has left.
	labs, err := lab.List()
	for _, l := range labs {
		if l.Orphaned && strings.HasPrefix(l.Name, "chaos") {
			err = errors.Join(err, lab.Down(l.Name))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	folder := *flagAgent
	if folder == "" {
		if folder, err = os.MkdirTemp("", "openr-chaos-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(folder)
		build := exec.Command("go", "build", "-o", folder, "openr/cmd/openr", "openr/cmd/breeze")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if *flagRace {
			build = exec.Command("go", "build", "-race", "-o", folder, "openr/cmd/openr", "openr/cmd/breeze")
			build.Env = append(os.Environ(), "CGO_ENABLED=1")
		}
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "failed to build: %v\n%s", err, out)
			return 1
		}
	}
	hurry()
	agentBinary, breezeBinary = filepath.Join(folder, "openr"), filepath.Join(folder, "breeze")
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// hurry puts this process, and so all that it starts, before whatever else the machine does. A daemon that gets no processor
// for seconds loses its neighbours, which is no mistake of its own, and a stopped packet generator finds no losses.
func hurry() {
	threads, _ := filepath.Glob("/proc/self/task/*")
	for _, path := range threads {
		if id, err := strconv.Atoi(filepath.Base(path)); err == nil {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, -15) // without it the test is less steady, no more
		}
	}
}
