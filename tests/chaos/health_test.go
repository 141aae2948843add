package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// usage is what a node's agents, one after the other, have used while the whole network was in order.
type usage struct {
	fds, rss samples // rss in KiB
}

type samples struct{ first, last, most, count int }

func (s *samples) add(v int) {
	if s.count == 0 {
		s.first = v
	}
	s.last, s.most, s.count = v, max(s.most, v), s.count+1
}

// How much agents may grow while the network is the same. A process holds two connections for each neighbour, and for some
// time those whose other end has vanished without a word. Go's heap has 48 MiB of room from a burst of news, such as a thousand
// prefixes that flap, until the next collection, which may be two minutes away (burstRoom in cmd/openr/memory.go).
const (
	moreFDs  = 24
	moreRSS  = (48 + 24) << 10 // KiB
	routines = 400             // goroutines of an agent
)

// sample looks at all agents. The network must be in order.
func (w *world) sample() {
	for i := range w.nodes {
		pid := w.PID(i)
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		w.must(err)
		w.usage[i].fds.add(len(fds))
		w.usage[i].rss.add(w.status(pid, "VmRSS:"))
	}
}

// status returns a number from a process's /proc/PID/status.
func (w *world) status(pid int, name string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	w.must(err)
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == name {
			n, err := strconv.Atoi(words[1])
			w.must(err)
			return n
		}
	}
	w.t.Fatalf("no %s in the status of process %d", name, pid)
	return 0
}

// grown tells which agents hold more than they should.
func (w *world) grown() {
	w.t.Helper()
	for i, u := range w.usage {
		w.t.Logf("n%-2d  file descriptors %d, in the end %d, at most %d; memory %d MB, in the end %d MB, at most %d MB; %d looks", i,
			u.fds.first, u.fds.last, u.fds.most, u.rss.first>>10, u.rss.last>>10, u.rss.most>>10, u.fds.count)
		if u.fds.last > u.fds.first+moreFDs {
			w.t.Errorf("the agent of n%d has %d file descriptors; in the beginning there were %d", i, u.fds.last, u.fds.first)
		}
		if u.rss.last > u.rss.first+moreRSS {
			w.t.Errorf("the agent of n%d takes %d MB; in the beginning it took %d", i, u.rss.last>>10, u.rss.first>>10)
		}
	}
}

// autopsy ends all agents by SIGABRT, which has them log what their goroutines do, and counts these.
func (w *world) autopsy() {
	w.t.Helper()
	w.complaints()
	most, where := 0, 0
	for _, n := range w.nodes {
		w.stopAgent(n, syscall.SIGABRT)
		text, err := w.news(n)
		w.must(err)
		count := strings.Count(text, "\ngoroutine ") // the log's text is cut at 64 KB
		if count == 0 {
			w.t.Errorf("n%d has not logged its goroutines:\n%s", n.id, text)
		}
		if count > most {
			most, where = count, n.id
		}
	}
	w.t.Logf("at most %d goroutines in an agent (n%d)", most, where)
	if most > routines {
		w.t.Errorf("the agent of n%d has %d goroutines", where, most)
	}
}

// news returns what a node's agent has logged since the last call.
func (w *world) news(n *node) (string, error) {
	file, err := os.Open(w.LogPath(n.id))
	if err != nil {
		return "", err
	}
	defer file.Close()
	if _, err := file.Seek(n.logged, io.SeekStart); err != nil {
		return "", err
	}
	text, err := io.ReadAll(file)
	n.logged += int64(len(text))
	return string(text), err
}

// complaints fails the test for errors and worse in the logs.
func (w *world) complaints() {
	w.t.Helper()
	for _, n := range w.nodes {
		text, err := w.news(n)
		w.must(err)
		for line := range strings.Lines(text) {
			for _, bad := range []string{"\terror\t", "\tdpanic\t", "\tpanic\t", "\tfatal\t", "panic:", "fatal error:", "DATA RACE"} {
				if strings.Contains(line, bad) {
					_, after, _ := strings.Cut(text, line)
					w.t.Errorf("the log of n%d: %s%s", n.id, line, after[:min(len(after), 1500)])
					break
				}
			}
		}
	}
}

// object is a nexthop object as iproute2 tells it.
type object struct {
	ID    uint32 `json:"id"`
	Group []struct {
		ID uint32 `json:"id"`
	} `json:"group"`
	Gateway  string `json:"gateway"`
	Dev      string `json:"dev"`
	Protocol string `json:"protocol"`
}

// iproute runs ip in a node and reads what it prints as JSON.
func (w *world) iproute(i int, into any, args ...string) error {
	out, err := w.Run(w.t.Context(), i, append([]string{"ip", "-N", "-j"}, args...)...)
	if err != nil || len(strings.TrimSpace(string(out))) == 0 {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("ip %s: %w:\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// objects returns the agent's nexthop objects in a node.
func (w *world) objects(i int) (list []object, err error) {
	err = w.iproute(i, &list, "nexthop", "show", "proto", "99")
	return list, err
}

// leftovers tells which nexthop objects of the agent nothing points to.
func (w *world) leftovers(i int) (string, error) {
	objects, err := w.objects(i)
	if err != nil {
		return "", err
	}
	used := map[uint32]bool{}
	for _, family := range []string{"-4", "-6"} {
		var routes []struct {
			Object uint32 `json:"nhid"`
		}
		if err := w.iproute(i, &routes, family, "route", "show", "table", "all"); err != nil {
			return "", err
		}
		for _, r := range routes {
			used[r.Object] = true
		}
	}
	if len(objects) > 0 && len(used) < 2 {
		return "", errors.New("no route is on a nexthop object; does this iproute2 show them?")
	}
	for _, o := range objects {
		if used[o.ID] {
			for _, m := range o.Group {
				used[m.ID] = true
			}
		}
	}
	var out strings.Builder
	for _, o := range objects {
		if !used[o.ID] {
			fmt.Fprintf(&out, "n%d: nothing is on nexthop object %d (%s %s, %d members)\n", i, o.ID, o.Gateway, o.Dev, len(o.Group))
		}
	}
	return out.String(), nil
}
