package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
)

func (a *app) prefixManager() *cobra.Command {
	var (
		kind   string
		detail bool
	)
	advertised := &cobra.Command{
		Use:   "advertised-routes [PREFIX...]",
		Short: "Prefixes that this node advertises",
		RunE: a.run(func(s *session, args []string) error {
			wanted, err := parsePrefixes(args)
			if err != nil {
				return err
			}
			filter := &openrctrl.AdvertisedRouteFilter{Prefixes: prefixesThrift(wanted)}
			if kind != "" {
				t, err := network.PrefixTypeFromString(strings.ToUpper(kind))
				if err != nil {
					return fmt.Errorf("--prefix-type %s: there is no such type", kind)
				}
				filter.PrefixType = &t
			}
			routes, err := s.GetAdvertisedRoutesFiltered(s.ctx, filter)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(routes)
			}
			return a.advertisedBlocks(routes, detail)
		}),
	}
	advertised.Flags().StringVar(&kind, "prefix-type", "", "only prefixes of this type: loopback, config, rib ...")
	advertised.Flags().BoolVar(&detail, "detail", true, "all attributes; --detail=false prints a line each")
	return group("prefixmgr", "Own prefixes", advertised)
}

func (a *app) openr() *cobra.Command {
	version := &cobra.Command{
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
	status := &cobra.Command{
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
			state := "initializing"
			if _, done := events[kvstore.InitializationEvent_INITIALIZED]; done {
				state = "initialized"
			}
			a.printf("Status: %s, up for %s\n\n", state, duration(a.now().Sub(time.Unix(since, 0))))
			return a.table([]string{"Stage", "After(ms)"}, stageRows(events))
		}),
	}
	return group("openr", "The agent as a whole", version, status)
}

// stageRows lists the stages in the order in which they were reached.
func stageRows(events map[kvstore.InitializationEvent]int64) [][]string {
	var rows [][]string
	for _, stage := range slices.SortedFunc(maps.Keys(events), func(x, y kvstore.InitializationEvent) int {
		if c := events[x] - events[y]; c != 0 {
			return int(c)
		}
		return int(x - y)
	}) {
		rows = append(rows, []string{stage.String(), fmt.Sprint(events[stage])})
	}
	return rows
}

func (a *app) monitor() *cobra.Command {
	var prefix string
	counters := &cobra.Command{
		Use:   "counters",
		Short: "All counters",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			all, err := s.GetCounters(s.ctx)
			if err != nil {
				return err
			}
			maps.DeleteFunc(all, func(name string, _ int64) bool { return !strings.HasPrefix(name, prefix) })
			if a.json {
				return a.printJSON(all)
			}
			for _, name := range slices.Sorted(maps.Keys(all)) {
				a.printf("%s : %d\n", name, all[name])
			}
			return nil
		}),
	}
	counters.Flags().StringVar(&prefix, "prefix", "", "only counters whose name begins so")
	logs := &cobra.Command{
		Use:   "logs",
		Short: "The latest events, oldest first",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			logs, err := s.GetEventLogs(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				events := []json.RawMessage{}
				for _, l := range logs {
					if json.Valid([]byte(l)) {
						events = append(events, json.RawMessage(l))
					}
				}
				return a.printJSON(events)
			}
			for _, l := range logs {
				a.printEvent(l)
			}
			return nil
		}),
	}
	return group("monitor", "Counters and events", counters, logs)
}

// printEvent prints an event as key : value lines.
func (a *app) printEvent(text string) {
	var event struct {
		Int    map[string]int64
		Normal map[string]string
	}
	if err := json.Unmarshal([]byte(text), &event); err != nil {
		a.printf("%s\n\n", text)
		return
	}
	lines := event.Normal
	if lines == nil {
		lines = map[string]string{}
	}
	for k, v := range event.Int {
		lines[k] = fmt.Sprint(v)
		if k == "time" {
			lines[k] = time.Unix(v, 0).UTC().Format("15:04:05 2006-01-02")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(lines)) {
		a.printf("%s : %s\n", k, lines[k])
	}
	a.printf("\n")
}

func (a *app) config() *cobra.Command {
	show := &cobra.Command{
		Use:   "show",
		Short: "The effective configuration",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			text, err := s.GetRunningConfig(s.ctx)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			if err := json.Indent(&b, []byte(strings.TrimSpace(text)), "", "  "); err != nil {
				return fmt.Errorf("the agent's configuration is not JSON: %w", err)
			}
			a.printf("%s\n", b.String())
			return nil
		}),
	}
	return group("config", "The agent's configuration", show)
}
