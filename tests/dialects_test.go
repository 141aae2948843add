package tests

import (
	"strings"
	"testing"

	"openr/lab"
)

// TestForeignClient: Apache's Python runtime, Debian's python3-thrift, talks to an agent in every dialect that it knows, on
// IPv4 and IPv6.
func TestForeignClient(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:2"})
	for _, host := range []string{"::1", "127.0.0.1"} {
		out, err := n.Run(t.Context(), 0, "/usr/bin/python3", "testdata/theader.py", host, "2018", lab.NodeName(0))
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if got := strings.Count(string(out), "ok "); got != 8 {
			t.Errorf("%d dialects of 8:\n%s", got, out)
		}
	}
}
