package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"openr/lab"
	"openr/thrift/gen/kvstore"
)

// TestStages: an agent reaches all stages in their order, at a cold start and after a restart, and tells the same of them in
// its API, its counters, its log and by breeze.
func TestStages(t *testing.T) {
	order := []kvstore.InitializationEvent{
		kvstore.InitializationEvent_INITIALIZING, kvstore.InitializationEvent_AGENT_CONFIGURED, kvstore.InitializationEvent_LINK_DISCOVERED,
		kvstore.InitializationEvent_NEIGHBOR_DISCOVERED, kvstore.InitializationEvent_KVSTORE_SYNCED, kvstore.InitializationEvent_RIB_COMPUTED,
		kvstore.InitializationEvent_FIB_SYNCED, kvstore.InitializationEvent_PREFIX_DB_SYNCED, kvstore.InitializationEvent_INITIALIZED,
	}
	const node = 0
	n := start(t, lab.Options{Topology: "line:2"})
	logged := int64(0) // bytes of the log that are of an earlier run
	for _, what := range []string{"a cold start", "a restart"} {
		if what == "a restart" {
			n.must(n.Stop(node, syscall.SIGTERM))
			info, err := os.Stat(n.LogPath(node))
			n.must(err)
			logged = info.Size()
			n.must(n.Start(node))
		}
		n.initialized(node)
		operator := n.control(node)
		events := ask(n, operator.GetInitializationEvents)
		counters := ask(n, operator.GetCounters)
		text, err := os.ReadFile(n.LogPath(node))
		n.must(err)
		lines := regexp.MustCompile(`\tinfo\tinitialization\t\{"stage": "(\w+)", "after": ([0-9.e-]+)\}`).FindAllStringSubmatch(string(text[logged:]), -1)
		inLog := map[string]float64{} // seconds
		for _, l := range lines {
			inLog[l[1]], err = strconv.ParseFloat(l[2], 64)
			n.must(err)
		}
		out, err := n.Run(t.Context(), node, breeze, "--json", "openr", "status")
		n.must(err)
		var status struct {
			Initialized bool `json:"initialized"`
			Stages      []struct {
				Stage   string `json:"stage"`
				Reached *int64 `json:"reached_ms"`
			} `json:"stages"`
		}
		n.must(json.Unmarshal(out, &status))
		shown := map[string]string{"INITIALIZING": "0"}
		for _, s := range status.Stages {
			if s.Reached != nil {
				shown[s.Stage] = fmt.Sprint(*s.Reached)
			}
		}
		last := int64(-1)
		for _, stage := range order {
			at, reached := events[stage]
			if !reached || at < last {
				t.Errorf("%s: %v at %d ms (%t), the one before at %d ms", what, stage, at, reached, last)
			}
			last = at
			if v, ok := counters["initialization."+stage.String()+".duration_ms"]; !ok || v != at {
				t.Errorf("%s: %v at %d ms, the counter is %d, %t", what, stage, at, v, ok)
			}
			if after, ok := inLog[stage.String()]; !ok || after*1000 < float64(at)-1 || after*1000 > float64(at)+1 {
				t.Errorf("%s: %v at %d ms, the log says %v s, %t", what, stage, at, after, ok)
			}
			if shown[stage.String()] != fmt.Sprint(at) {
				t.Errorf("%s: %v at %d ms, breeze shows %q", what, stage, at, shown[stage.String()])
			}
		}
		if took := ask(n, operator.GetInitializationDurationMs); took != last || !status.Initialized {
			t.Errorf("%s: took %d ms, the last stage came at %d ms; breeze: initialized %t", what, took, last, status.Initialized)
		}
	}
}
