package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
)

// openr is the group of the commands that concern the agent as a whole, and of other names for the commonest others.
func (a *app) openr() *cobra.Command {
	return group("openr", "The agent as a whole, and the commonest commands of the other groups",
		a.openrVersion(), a.openrStatus(), a.openrValidate(),
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
		Short: "How far initialization has come, and when each stage was reached",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			events, err := s.GetInitializationEvents(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				out := map[string]int64{}
				for stage, ms := range events {
					out[stage.String()] = ms
				}
				return a.printJSON(out)
			}
			since, err := s.AliveSince(s.ctx)
			if err != nil {
				return err
			}
			state := a.paint(yellow, "initializing")
			if _, done := events[kvstore.InitializationEvent_INITIALIZED]; done {
				state = a.paint(green, "initialized")
			}
			a.printf("Status: %s, up for %s\n\n", state, duration(a.now().Sub(time.Unix(since, 0))))
			return a.table([]string{"Stage", "After(ms)"}, stageRows(events))
		}),
	}
}

// stageRows lists the stages in the order in which they were reached.
func stageRows(events map[kvstore.InitializationEvent]int64) [][]string {
	var rows [][]string
	for _, stage := range slices.SortedFunc(maps.Keys(events), func(x, y kvstore.InitializationEvent) int {
		return cmp.Or(cmp.Compare(events[x], events[y]), cmp.Compare(x, y))
	}) {
		rows = append(rows, []string{stage.String(), fmt.Sprint(events[stage])})
	}
	return rows
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
