package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"openr/thrift/gen/network"
	"openr/thrift/gen/types"
)

func TestMonitor(t *testing.T) {
	n := newNode()
	n.extra = map[string]int64{"decision.spf_runs.count": 9, "decision.spf_runs.count.60": 1, "spark.hello.packet_sent.sum.3600": 180}
	golden(t, "monitor", serve(t, n), "monitor counters --prefix spark", "monitor counters --prefix kvstore.num --json", "monitor counters --prefix nothing",
		"monitor logs", "monitor logs --json", "monitor logs --prefix NB", "monitor statistics", "monitor statistics --json")
}

func TestDispatcherAndPerf(t *testing.T) {
	n := newNode()
	golden(t, "dispatcher", serve(t, n), "dispatcher filters", "dispatcher filters --json", "dispatcher queues", "dispatcher queues --json", "perf fib", "perf fib --json")
	n.extra = map[string]int64{
		"messaging.replicate_queue.kvStorePublicationsQueue.messages_sent": 12, "messaging.rw_queue.kvStorePublicationsQueue-decision.size": 0,
		"messaging.rw_queue.other.size": 3,
	}
	golden(t, "queues", serve(t, n), "dispatcher queues", "dispatcher queues --json")
}

func TestConfig(t *testing.T) {
	n := newNode()
	port := serve(t, n)
	golden(t, "config", port, "config show", "config show --json", "openr config", "config dryrun /same", "config dryrun /other --json", "config dryrun /missing",
		"config compare /same", "config compare /same --json", "config compare /other", "config compare /other --json", "config compare /missing",
		"config link-monitor-config", "config link-monitor-config --json", "config prefix-manager-config", "config erase link-monitor-config", "config erase x --json",
		"config store x 'a value'", "config store x y --json", "config store '' y", "config store x")
	want := []string{"erase link-monitor-config", "erase x", `store x "a value"`, `store x "y"`}
	if got := n.done(); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	n.mu.Lock()
	n.keys[prefixManagerKey] = compactBytes(&types.PrefixDatabase{ThisNodeName: "node1", PrefixEntries: []*types.PrefixEntry{prefixEntry("10.1.0.0/16", network.PrefixType_BREEZE)}})
	n.keys[linkMonitorKey] = []byte{0xff, 0xff, 0xff}
	n.mu.Unlock()
	golden(t, "config_keys", port, "config prefix-manager-config", "config prefix-manager-config --json", "config link-monitor-config")
	// A file is found from where breeze runs.
	out := breeze(t, "--port", port, "config", "dryrun", "some.conf")
	if !strings.Contains(out, "open /") || !strings.Contains(out, "/some.conf: no such file") {
		t.Errorf("a relative path:\n%s", out)
	}
}

func TestConfigDifferences(t *testing.T) {
	for _, tt := range []struct {
		x, y string
		want string // JSON of the differences
	}{
		{`{"a": 1, "b": [1, 2]}`, `{"b": [1, 2], "a": 1}`, `null`},
		{`{"a": 1}`, `{"a": 2}`, `[{"path":"a","running":1,"file":2}]`},
		{`{"a": 9223372036854775807}`, `{"a": 9223372036854775806}`, `[{"path":"a","running":9223372036854775807,"file":9223372036854775806}]`},
		{`{"a": null}`, `{}`, `[{"path":"a","running":null,"file":null}]`},
		{`{"a": {"b": [{"c": 1}, 2]}}`, `{"a": {"b": [{"c": 1, "d": 0}]}}`, `[{"path":"a.b[0].d","running":null,"file":0},{"path":"a.b[1]","running":2,"file":null}]`},
		{`{"a": {}}`, `{"a": []}`, `[{"path":"a","running":{},"file":[]}]`},
		{`1`, `2`, `[{"path":".","running":1,"file":2}]`},
	} {
		got, err := configDifferences(tt.x, tt.y)
		text, marshal := json.Marshal(got)
		if err != nil || marshal != nil || string(text) != tt.want {
			t.Errorf("%s and %s: %s, %v; want %s", tt.x, tt.y, text, err, tt.want)
		}
	}
	if _, err := configDifferences("{", "{}"); err == nil {
		t.Error("what is not JSON is compared")
	}
}
