package holder

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Of names the processes that hold a port, of network "tcp" or "udp", in the calling thread's network namespace, as
// "process 17 (openr --config x)".
// It sees processes of other users only as root, and none outside its PID namespace.
func Of(network string, port int) []string {
	inodes := map[string]bool{}
	for _, family := range []string{network + "6", network} {
		table, err := os.ReadFile("/proc/thread-self/net/" + family)
		if err != nil {
			continue // a kernel without this family has no such port
		}
		for _, inode := range inodesOf(string(table), network, port) {
			inodes["socket:["+inode+"]"] = true
		}
	}
	if len(inodes) == 0 {
		return nil
	}
	var names []string
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, dir := range dirs {
		if holds(dir, inodes) {
			names = append(names, fmt.Sprintf("process %s (%s)", filepath.Base(dir), command(dir)))
		}
	}
	slices.Sort(names)
	return names
}

// inodesOf returns the inodes of the sockets bound to a local port in a table of /proc/net (proc(5)): UDP sockets in any
// state, TCP sockets that listen. Lines that are not understood are left out.
func inodesOf(table, network string, port int) []string {
	const (
		local, state, inode = 1, 3, 9
		listen              = "0A" // TCP_LISTEN of include/net/tcp_states.h
	)
	var found []string
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) <= inode || network == "tcp" && f[state] != listen {
			continue
		}
		_, hex, _ := strings.Cut(f[local], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port && f[inode] != "0" {
			found = append(found, f[inode])
		}
	}
	return found
}

// holds reports whether one of the open files of a process is one of the sockets. A process that is gone or may not be
// looked into holds none.
func holds(dir string, sockets map[string]bool) bool {
	files, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(files, func(f os.DirEntry) bool {
		target, err := os.Readlink(filepath.Join(dir, "fd", f.Name()))
		return err == nil && sockets[target]
	})
}

// command returns the command line of a process, shortened, or its name if it has none.
func command(dir string) string {
	const most = 80
	line, err := os.ReadFile(dir + "/cmdline")
	if err != nil || len(line) == 0 {
		if line, err = os.ReadFile(dir + "/comm"); err != nil {
			return "gone by now"
		}
	}
	s := []rune(strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " ")))
	if len(s) > most {
		return string(s[:most]) + "..."
	}
	return string(s)
}
