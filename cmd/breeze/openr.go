package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openragent"
)

// openr is the group of the commands that concern the agent as a whole, and of other names for the commonest others.
func (a *app) openr() *cobra.Command {
	return group("openr", "The agent as a whole, and the commonest commands of the other groups",
		a.openrVersion(), a.openrStatus(), a.openrValidate(), a.openrDrain(),
		shortcut("interfaces", a.linkMonitor(), "links"),
		shortcut("neighbors", a.decision(), "adj"),
		shortcut("table", a.decision(), "received-routes"),
		shortcut("rib-policy", a.decision(), "rib-policy"),
		shortcut("summary", a.kvStore(), "summary"),
		shortcut("peers", a.kvStore(), "peers"),
		shortcut("config", a.config(), "show"),
		shortcut("unicast-routes", a.fib(), "unicast-routes"),
		shortcut("mpls-routes", a.fib(), "mpls-routes"),
		shortcut("advertised-routes", a.prefixManager(), "advertised-routes"),
		shortcut("originated-routes", a.prefixManager(), "originated-routes"),
	)
}

func (a *app) openrVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Versions of the agent and of the protocol it speaks",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			v, err := s.GetOpenrVersion(s.ctx)
			if err != nil {
				return err
			}
			build, err := s.GetBuildInfo(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"openr_version": v, "build_info": build})
			}
			if build.BuildPackageName != "" {
				a.printf("Build Information\n")
				for _, line := range [][2]string{
					{"Package", build.BuildPackageName}, {"Version", build.BuildPackageVersion}, {"Revision", build.BuildRevision},
					{"Platform", build.BuildPlatform}, {"Tool", build.BuildTool},
				} {
					if line[1] != "" {
						a.printf("  %s: %s\n", line[0], line[1])
					}
				}
			}
			a.printf("Open Source Version : %d\n", v.Version)
			a.printf("Lowest Supported Open Source Version : %d\n", v.LowestSupportedVersion)
			return nil
		}),
	}
}

func (a *app) openrStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "How far initialization has come, what it waits for, and whether all modules are alive",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			status, err := s.status()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(status.json())
			}
			return a.printStatus(status)
		}),
	}
}

// agentStatus is what is known of an agent as a whole.
type agentStatus struct {
	*openragent.AgentStatus
	full bool // it has said more than when stages were reached
}

// status asks the agent how it does; one of Open/R's, which cannot say all of it, for its stages.
func (s *session) status() (agentStatus, error) {
	status, err := s.own.GetAgentStatus(s.ctx)
	if err == nil || !unknownMethod(err) {
		return agentStatus{status, true}, err
	}
	events, err := s.GetInitializationEvents(s.ctx)
	if err != nil {
		return agentStatus{}, err
	}
	since, err := s.AliveSince(s.ctx)
	if err != nil {
		return agentStatus{}, err
	}
	status = &openragent.AgentStatus{UptimeMs: s.now().Sub(time.Unix(since, 0)).Milliseconds()}
	for _, stage := range slices.SortedFunc(maps.Keys(events), func(x, y kvstore.InitializationEvent) int {
		return cmp.Or(cmp.Compare(events[x], events[y]), cmp.Compare(x, y))
	}) {
		status.Stages = append(status.Stages, &openragent.InitializationStage{Stage: stage, ReachedMs: new(events[stage])})
	}
	return agentStatus{status, false}, nil
}

// initialized reports whether the last stage was reached.
func (s agentStatus) initialized() bool {
	return slices.ContainsFunc(s.Stages, func(x *openragent.InitializationStage) bool {
		return x.Stage == kvstore.InitializationEvent_INITIALIZED && x.ReachedMs != nil
	})
}

// stageJSON and moduleJSON are how they look in JSON, durations in milliseconds.
type (
	stageJSON struct {
		Stage    string `json:"stage"`
		Reached  *int64 `json:"reached_ms"`
		WaitsFor string `json:"waits_for"`
		Bound    *int64 `json:"bound_ms"`
	}
	moduleJSON struct {
		Module   string `json:"module"`
		Silent   int64  `json:"silent_ms"`
		Deadline int64  `json:"deadline_ms"`
	}
)

func (s agentStatus) json() any {
	stages, modules := []stageJSON{}, []moduleJSON{}
	for _, x := range s.Stages {
		stages = append(stages, stageJSON{x.Stage.String(), x.ReachedMs, x.WaitsFor, x.BoundMs})
	}
	out := map[string]any{"initialized": s.initialized(), "uptime_ms": s.UptimeMs, "stages": stages}
	if s.full {
		for _, m := range s.Modules {
			modules = append(modules, moduleJSON{m.Module, m.SilentMs, m.DeadlineMs})
		}
		out["version"], out["drained"], out["modules"] = s.Version, s.Drained, modules
		out["memory_bytes"], out["memory_limit_bytes"] = s.MemoryBytes, s.MemoryLimitBytes
	}
	return out
}

// notable is from when on a module is worth a word: they answer in microseconds.
const notable = time.Second

func (a *app) printStatus(s agentStatus) error {
	state := a.paint(yellow, "initializing")
	if s.initialized() {
		state = a.paint(green, "initialized")
	}
	if s.Drained {
		state += ", " + a.paint(yellow, "drained")
	}
	a.printf("Status: %s, up for %s\n", state, milliseconds(s.UptimeMs))
	if s.full {
		memory := ""
		if s.MemoryLimitBytes > 0 {
			memory = " of " + size(s.MemoryLimitBytes)
		}
		a.printf("Version: %s\nMemory: %s%s\nModules: %s\n", s.Version, size(s.MemoryBytes), memory, a.modules(s.Modules))
	}
	a.printf("\n")
	var rows [][]string
	for _, x := range s.Stages {
		row := []string{x.Stage.String(), "", ""}
		switch {
		case x.ReachedMs != nil:
			row[1] = fmt.Sprint(*x.ReachedMs)
		case x.WaitsFor != "" && x.BoundMs != nil:
			row[2] = fmt.Sprintf("%s; at %d ms whatever is missing", x.WaitsFor, *x.BoundMs)
		default:
			row[2] = x.WaitsFor
		}
		rows = append(rows, row)
	}
	header := []string{"Stage", "After(ms)", "Waits for"}
	if s.initialized() || !s.full {
		header = header[:2]
		for i := range rows {
			rows[i] = rows[i][:2]
		}
	}
	return a.table(header, rows)
}

func milliseconds(ms int64) string { return duration(time.Duration(ms) * time.Millisecond) }

// modules says which modules are silent.
func (a *app) modules(all []*openragent.ModuleLiveness) string {
	var silent []string
	for _, m := range all {
		if m.SilentMs < notable.Milliseconds() {
			continue
		}
		text := m.Module + " has been silent for " + milliseconds(m.SilentMs)
		if m.DeadlineMs > 0 {
			text += " (the agent ends at " + milliseconds(m.DeadlineMs) + ")"
		}
		silent = append(silent, a.paint(red, text))
	}
	switch {
	case len(all) == 0:
		return "not started"
	case len(silent) == 0:
		return a.paint(green, fmt.Sprintf("all %d answer", len(all)))
	}
	return strings.Join(silent, ", ")
}

// openrValidate runs the validations of all modules. As Open/R's it exits with 0 whatever they find; scripts read the JSON.
func (a *app) openrValidate() *cobra.Command {
	var suppress bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check all modules",
		Long:  "Checks all modules. The exit code tells only whether the checks could be made; --json says what passed.",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			passed := map[string]bool{}
			var failed []string
			for _, v := range validations {
				list, err := v.checks(s)
				if err != nil {
					err = s.explain(s.link.who, s.link.addr, err)
					if len(passed) == 0 { // most likely it is not there at all
						return err
					}
					list = append(list, check{title: "could be made", faults: []string{err.Error()}})
				}
				passed[v.module] = failures(list) == 0
				if !passed[v.module] {
					failed = append(failed, v.module)
				}
				if !a.json {
					a.printChecks(v.module, list, suppress)
				}
			}
			if a.json {
				return a.printJSON(passed)
			}
			verdict := a.paint(green, "all passed")
			if len(failed) > 0 {
				verdict = a.paint(red, fmt.Sprintf("%d of %d modules failed", len(failed), len(validations)))
			}
			a.printf("\n%s\n", verdict)
			return nil
		}),
	}
	suppressFlag(cmd, &suppress)
	return cmd
}
