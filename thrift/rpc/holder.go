package rpc

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tcpListen is the state of a listening socket in /proc/net/tcp (Linux include/net/tcp_states.h).
const tcpListen = "0A"

// holder describes the process that listens on a TCP port of this network namespace, "openr (pid 123)", or says that it
// cannot be found: processes of other users show only to root.
func holder(port string) string {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "another process"
	}
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"} {
		listeningInodes(table, uint16(n), sockets)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || !sockets[target] {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
	}
	return "another process"
}

// listeningInodes adds to set the names, as /proc/<pid>/fd has them, of the sockets that listen on port.
func listeningInodes(table string, port uint16, set map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	want := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		field := strings.Fields(lines.Text())
		if len(field) > 9 && field[3] == tcpListen && strings.HasSuffix(field[1], want) {
			set["socket:["+field[9]+"]"] = true
		}
	}
}
