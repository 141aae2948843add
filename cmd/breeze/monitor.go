package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) monitor() *cobra.Command {
	return group("monitor", "Counters and events", a.counters(), a.logs(), a.statistics())
}

func (a *app) counters() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "counters",
		Short: "All counters",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			all, err := s.GetCounters(s.ctx)
			if err != nil {
				return err
			}
			maps.DeleteFunc(all, func(name string, _ int64) bool { return !strings.HasPrefix(name, prefix) })
			return a.printCounters(all)
		}),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only counters whose name begins so")
	return cmd
}

// printCounters prints counters as key : value, or as JSON.
func (a *app) printCounters(all map[string]int64) error {
	if a.json {
		return a.printJSON(all)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		a.printf("%s : %d\n", name, all[name])
	}
	return nil
}

func (a *app) logs() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "The latest events, oldest first",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			logs, err := s.GetEventLogs(s.ctx)
			if err != nil {
				return err
			}
			if prefix != "" {
				logs = slices.DeleteFunc(logs, func(text string) bool {
					e, ok := parseEvent(text)
					return !ok || !strings.HasPrefix(e.Normal["event"], prefix)
				})
			}
			if a.json {
				events := []json.RawMessage{}
				for _, l := range logs {
					if !json.Valid([]byte(l)) {
						quoted, err := json.Marshal(l)
						if err != nil {
							return err
						}
						l = string(quoted)
					}
					events = append(events, json.RawMessage(l))
				}
				return a.printJSON(events)
			}
			for _, l := range logs {
				a.printEvent(l)
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only events whose name begins so")
	return cmd
}

// event is an event of the log.
type event struct {
	Int    map[string]int64  `json:"int"`
	Normal map[string]string `json:"normal"`
}

func parseEvent(text string) (event, bool) {
	var e event
	err := json.Unmarshal([]byte(text), &e)
	return e, err == nil
}

// printEvent prints an event as key : value lines.
func (a *app) printEvent(text string) {
	e, ok := parseEvent(text)
	if !ok {
		a.printf("%s\n\n", text)
		return
	}
	lines := maps.Clone(e.Normal)
	if lines == nil {
		lines = map[string]string{}
	}
	for k, v := range e.Int {
		lines[k] = fmt.Sprint(v)
		if k == "time" {
			lines[k] = time.Unix(v, 0).In(a.now().Location()).Format("15:04:05 2006-01-02")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(lines)) {
		a.printf("%s : %s\n", k, lines[k])
	}
	a.printf("\n")
}

// statistic is a line of `monitor statistics`: a counter that is kept over several spans of time.
type statistic struct{ title, counter string }

// statisticBlocks are the blocks of `monitor statistics`.
var statisticBlocks = []struct {
	title string
	lines []statistic
}{
	{"KvStore", []statistic{
		{"Sent Publications", "kvstore.thrift.num_flood_pub.count"}, {"Sent KeyVals", "kvstore.thrift.num_flood_key_vals.sum"},
		{"Rcvd Publications", "kvstore.received_publications.count"}, {"Rcvd KeyVals", "kvstore.received_key_vals.sum"},
		{"Updated KeyVals", "kvstore.updated_key_vals.sum"}, {"Full Syncs", "kvstore.thrift.num_full_sync.count"},
	}},
	{"LinkMonitor/Spark", []statistic{
		{"Advertised AdjDb", "link_monitor.advertise_adjacencies.sum"}, {"Neighbors Up", "link_monitor.neighbor_up.sum"},
		{"Neighbors Down", "link_monitor.neighbor_down.sum"}, {"Sent Hello Pkts", "spark.hello.packet_sent.sum"},
		{"Rcvd Pkts", "spark.packet_recv.sum"}, {"Dropped Pkts", "spark.packet_dropped.sum"},
	}},
	{"Decision/Fib", []statistic{
		{"Updates AdjDb", "decision.adj_db_update.count"}, {"Updates PrefixDb", "decision.prefix_db_update.count"},
		{"SPF Runs", "decision.spf_runs.count"}, {"SPF Avg Duration (ms)", "decision.spf_ms.avg"},
		{"Route Builds", "decision.route_build_runs.count"}, {"Route Build Avg Duration (ms)", "decision.route_build_ms.avg"},
		{"Updates RouteDb", "fib.process_route_db.count"}, {"Changed Routes", "fib.num_of_route_updates.sum"},
		{"Programming Avg Duration (ms)", "fib.route_programming.time_ms.avg"}, {"Convergence Avg Duration (ms)", "fib.convergence_time_ms.avg"},
		{"Full Route Syncs", "fib.sync_fib_calls.count"},
	}},
}

// spans are the spans of time that a counter is kept over: how they are called in JSON, and what follows the counter's name.
var spans = []struct{ name, suffix string }{{"60", ".60"}, {"600", ".600"}, {"3600", ".3600"}, {"all", ""}}

func (a *app) statistics() *cobra.Command {
	return &cobra.Command{
		Use:   "statistics",
		Short: "What the modules have done in the last minute, ten minutes, hour, and ever",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			counters, err := s.GetCounters(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				out := map[string]map[string]map[string]*int64{}
				for _, b := range statisticBlocks {
					out[b.title] = map[string]map[string]*int64{}
					for _, l := range b.lines {
						values := map[string]*int64{}
						for _, span := range spans {
							values[span.name] = nil
							if v, ok := counters[l.counter+span.suffix]; ok {
								values[span.name] = &v
							}
						}
						out[b.title][l.counter] = values
					}
				}
				return a.printJSON(out)
			}
			for _, b := range statisticBlocks {
				a.caption("%s Stats", b.title)
				var rows [][]string
				for _, l := range b.lines {
					row := []string{l.title}
					for _, span := range spans {
						text := "N/A"
						if v, ok := counters[l.counter+span.suffix]; ok {
							text = fmt.Sprint(v)
						}
						row = append(row, text)
					}
					rows = append(rows, row)
				}
				if err := a.table([]string{"Stat", "1 min", "10 mins", "1 hour", "All Time"}, rows); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
