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
	"openr/thrift/gen/openrconfig"
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

// GetRunningConfig returns the effective configuration as JSON.
func (c *Ctrl) GetRunningConfig(context.Context) (string, error) {
	return string(c.Config.JSON()), nil
}

// GetRunningConfigThrift returns the effective configuration.
func (c *Ctrl) GetRunningConfigThrift(context.Context) (*openrconfig.OpenrConfig, error) {
	return c.Config.Thrift(), nil
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
