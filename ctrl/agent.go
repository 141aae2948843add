package ctrl

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"openr/monitor"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// The protocol version that this agent speaks and the oldest it accepts (Open/R common/Constants.h, kOpenrVersion and
// kOpenrSupportedVersion).
const (
	openrVersion    = 20200825
	lowestSupported = 20200604
)

// stages are the initialization events that every agent reaches.
var stages = []monitor.Stage{
	monitor.Initializing, monitor.AgentConfigured, monitor.LinkDiscovered, monitor.NeighborDiscovered, monitor.KvStoreSynced,
	monitor.AdjacencyDBSynced, monitor.RIBComputed, monitor.FIBSynced, monitor.PrefixDBSynced, monitor.Initialized,
}

// GetMyNodeName returns the node's name.
func (c *Ctrl) GetMyNodeName(context.Context) (string, error) { return c.Config.NodeName, nil }

// GetOpenrVersion returns the versions of the protocol.
func (c *Ctrl) GetOpenrVersion(context.Context) (*types.OpenrVersions, error) {
	return &types.OpenrVersions{Version: openrVersion, LowestSupportedVersion: lowestSupported}, nil
}

// GetBuildInfo returns what the Go toolchain recorded about this program. What it does not record is empty.
func (c *Ctrl) GetBuildInfo(context.Context) (*types.BuildInfo, error) {
	info := types.NewBuildInfo()
	info.BuildPackageName, info.BuildPackageVersion = "openr", c.Version
	info.BuildPlatform = runtime.GOOS + "/" + runtime.GOARCH
	info.BuildTool = runtime.Version()
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return info, nil
	}
	info.BuildRule = build.Path
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.BuildRevision = s.Value
		case "vcs.time":
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				info.BuildRevisionCommitTimeUnix = t.Unix()
			}
		case "vcs.modified":
			if modified, err := strconv.ParseBool(s.Value); err == nil && modified {
				info.BuildType = "modified"
			}
		case "-buildmode":
			info.BuildMode = s.Value
		}
	}
	return info, nil
}

// GetInitializationEvents returns the stages reached so far, each with the milliseconds since start.
func (c *Ctrl) GetInitializationEvents(context.Context) (map[wire.InitializationEvent]int64, error) {
	out := map[wire.InitializationEvent]int64{}
	for stage, d := range c.Init.Times() {
		out[stage] = d.Milliseconds()
	}
	return out, nil
}

// InitializationConverged reports whether initialization is over.
func (c *Ctrl) InitializationConverged(context.Context) (bool, error) { return c.initialized(), nil }

// GetInitializationDurationMs returns how long initialization took. It fails while it is not over.
func (c *Ctrl) GetInitializationDurationMs(context.Context) (int64, error) {
	d, ok := c.Init.Times()[monitor.Initialized]
	if !ok {
		return 0, errors.New("initialization is not over yet")
	}
	return d.Milliseconds(), nil
}

// GetEventLogs returns the latest events as JSON texts, oldest first.
func (c *Ctrl) GetEventLogs(context.Context) ([]string, error) {
	return append([]string{}, c.Events.Events()...), nil
}

// GetPerfDb returns the time stamps of the last changes that have become routes, from their origin to the forwarding table.
// (C++ Open/R no longer has any.)
func (c *Ctrl) GetPerfDb(ctx context.Context) (*types.PerfDatabase, error) {
	chains, err := ask(ctx, "fib", c.Fib.Perf)
	if err != nil {
		return nil, openrError(err)
	}
	t := &types.PerfDatabase{ThisNodeName: c.Config.NodeName, EventInfo: make([]*types.PerfEvents, len(chains))}
	for i, chain := range chains {
		t.EventInfo[i] = &types.PerfEvents{Events: perfEvents(chain)}
	}
	return t, nil
}

// GetDispatcherFilters returns, for each module that reads the store, what the keys begin with that it looks at: decision,
// prefixmanager, linkmonitor.
func (c *Ctrl) GetDispatcherFilters(context.Context) ([][]string, error) {
	return [][]string{{"adj:", "prefix:"}, {"prefix:" + c.Config.NodeName + ":"}, {"adj:"}}, nil
}

// GetSubscriberInfo returns the streams that are open: those of the store, or those of routes. There are none of another
// type.
func (c *Ctrl) GetSubscriberInfo(_ context.Context, kind int64) ([]*openrctrl.StreamSubscriberInfo, error) {
	switch openrctrl.StreamSubscriberType(kind) {
	case openrctrl.StreamSubscriberType_KVSTORE:
		return c.subscribers.info(time.Now(), streamKvStore), nil
	case openrctrl.StreamSubscriberType_FIB:
		return c.subscribers.info(time.Now(), streamFib, streamFibDetail), nil
	}
	return []*openrctrl.StreamSubscriberInfo{}, nil
}

// StartProfiler begins to measure the methods of this API, or ends it. What was measured stays.
func (c *Ctrl) StartProfiler(_ context.Context, enable bool) error {
	c.profiler.on.Store(enable)
	return nil
}

// SetProfilerFilter restricts the measurements to the methods whose names the expression matches in part; "" stands for all.
func (c *Ctrl) SetProfilerFilter(_ context.Context, regex string) error {
	return c.profiler.setFilter(regex)
}

// GetProfilerStats returns what was measured, by method.
func (c *Ctrl) GetProfilerStats(context.Context) ([]*openrctrl.ProfilerStat, error) {
	stats := c.profiler.stats()
	out := make([]*openrctrl.ProfilerStat, len(stats))
	for i, t := range stats {
		out[i] = &openrctrl.ProfilerStat{
			Name: t.name, Count: t.count, P50Ms: millis(t.p50), P90Ms: millis(t.p90), P99Ms: millis(t.p99), MaxMs: millis(t.max), TotalMs: millis(t.total),
		}
	}
	return out, nil
}

// ClearProfilerStats forgets what was measured.
func (c *Ctrl) ClearProfilerStats(context.Context) error {
	c.profiler.clear()
	return nil
}

// ResetRecvToAdvertiseMax sets the counter kvstore.recv_to_advertise_max_ms to 0.
func (c *Ctrl) ResetRecvToAdvertiseMax(context.Context) error {
	c.Counters.Set(cntRecvToAdvMax, 0)
	return nil
}
