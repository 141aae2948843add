package main

import (
	"context"
	"strings"
	"testing"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openragent"
	"openr/thrift/gen/openrctrl"
)

// ownAgent is an agent of this project: it answers what Open/R's does, and more.
type ownAgent struct {
	openragent.OpenrAgent // what has no method below panics

	others  *fakeAgent // answers what Open/R's does
	status  *openragent.AgentStatus
	refusal error // of drainAndStop
}

func (o *ownAgent) GetAgentStatus(context.Context) (*openragent.AgentStatus, error) {
	return o.status, nil
}

func (o *ownAgent) DrainAndStop(_ context.Context, ms int64) error {
	o.others.did("drain and stop within %d ms", ms)
	return o.refusal
}

// serveStatus serves o and returns the port.
func serveStatus(t *testing.T, o *ownAgent) string {
	t.Helper()
	o.others = &fakeAgent{}
	server := newServer(o.others)
	own := openragent.NewOpenrAgentProcessor(o).ProcessorMap()
	for _, method := range []string{"getAgentStatus", "drainAndStop"} {
		server.Service.Processor.AddToProcessorMap(method, own[method])
	}
	return start(t, server, "[::1]:0")
}

func TestStatus(t *testing.T) {
	starting := &openragent.AgentStatus{
		Version: "v1.0", UptimeMs: 17_000, MemoryBytes: 34 << 20, MemoryLimitBytes: 800 << 20, Drained: true,
		Stages: []*openragent.InitializationStage{
			{Stage: kvstore.InitializationEvent_LINK_DISCOVERED, ReachedMs: new(int64(12))},
			{Stage: kvstore.InitializationEvent_NEIGHBOR_DISCOVERED, WaitsFor: "neighbors on the way: node2 on eth0 (WARM)", BoundMs: new(int64(15012))},
			{Stage: kvstore.InitializationEvent_KVSTORE_SYNCED},
			{Stage: kvstore.InitializationEvent_FIB_SYNCED, WaitsFor: "the forwarding table to be read"},
			{Stage: kvstore.InitializationEvent_INITIALIZED},
		},
		Modules: []*openragent.ModuleLiveness{
			{Module: "decision", SilentMs: 65_000, DeadlineMs: 300_000}, {Module: "fib", SilentMs: 999}, {Module: "spark", SilentMs: 4_000},
		},
	}
	golden(t, "status_starting", serveStatus(t, &ownAgent{status: starting}), "openr status", "openr status --json")

	routing := &openragent.AgentStatus{
		Version: "v1.0", UptimeMs: 86_400_000, MemoryBytes: 34 << 20,
		Stages:  []*openragent.InitializationStage{{Stage: kvstore.InitializationEvent_INITIALIZED, ReachedMs: new(int64(2345))}},
		Modules: []*openragent.ModuleLiveness{{Module: "decision", DeadlineMs: 300_000}},
	}
	golden(t, "status_routing", serveStatus(t, &ownAgent{status: routing}), "openr status", "openr status --json")
}

func TestDrainAndStop(t *testing.T) {
	o := &ownAgent{}
	port := serveStatus(t, o)
	for _, test := range []struct {
		input, args string
		printed     string
		code        int
		done        string
	}{
		{"", "openr drain --and-stop --yes", "Node node1 has left the network; its agent ends.\n", 0, "drain and stop within 10000 ms"},
		{"", "openr drain --and-stop -y --timeout 30s --json", `"success": true`, 0, "drain and stop within 30000 ms"},
		{"yes\n", "openr drain --and-stop -t 500", "[yn] ", 0, "drain and stop within 500 ms"},
		{"n\n", "openr drain --and-stop", "nothing was done", 1, ""},
		{"", "openr drain --and-stop", "nothing was done; answer y, or say --yes", 1, ""},
		{"", "openr drain --and-stop now", "usage: breeze openr drain", 2, ""},
	} {
		printed, code := typed(t, test.input, append([]string{"--port", port}, strings.Fields(test.args)...)...)
		if done := strings.Join(o.others.done(), ", "); !strings.Contains(printed, test.printed) || code != test.code || done != test.done {
			t.Errorf("%q with input %q: exit code %d, the agent was asked %q, printed\n%s", test.args, test.input, code, done, printed)
		}
	}
	busy := &ownAgent{refusal: &openrctrl.OpenrError{Message: "the agent is being drained and stopped already"}}
	if printed, code := typed(t, "", "--port", serveStatus(t, busy), "openr", "drain", "--and-stop", "-y"); code != 1 || printed != "breeze: the agent is being drained and stopped already\nexit code 1\n" {
		t.Errorf("exit code %d, %s", code, printed)
	}
	// An agent of Open/R's cannot do it, and neither does half of it.
	if printed, code := typed(t, "", "--port", serve(t, &fakeAgent{}), "openr", "drain", "--and-stop", "-y"); code != 1 || !strings.Contains(printed, "does not know this question") {
		t.Errorf("exit code %d, %s", code, printed)
	}
}
