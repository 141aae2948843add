package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
)

func (k *kvCommands) summary() *cobra.Command {
	return &cobra.Command{
		Use:   "summary",
		Short: "Peers, keys and traffic in figures",
		Args:  cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			areas, err := k.areas(s)
			if err != nil {
				return err
			}
			summaries, err := s.GetKvStoreAreaSummary(s.ctx, areas)
			if err != nil {
				return err
			}
			slices.SortFunc(summaries, func(x, y *kvstore.KvStoreAreaSummary) int { return cmp.Compare(x.Area, y.Area) })
			if k.json {
				return k.printJSON(summaries)
			}
			counters, err := s.GetRegexCounters(s.ctx, `kvstore\..*`)
			if err != nil {
				return err
			}
			if len(summaries) > 1 {
				k.printSummary(fmt.Sprintf("ALL, %d configured area(s)", len(summaries)), summaries...)
			}
			for _, sum := range summaries {
				k.printSummary("Area - "+sum.Area, sum)
			}
			k.printf("\n")
			return k.table([]string{"Stat", "1 min", "10 mins", "1 hour", "All Time"}, statistics(counters))
		}),
	}
}

// printSummary prints the sum of some areas.
func (k *kvCommands) printSummary(title string, areas ...*kvstore.KvStoreAreaSummary) {
	var peers, keys, bytes int
	states := map[kvstore.KvStorePeerState]int{}
	for _, sum := range areas {
		for _, p := range sum.PeersMap {
			peers++
			states[p.State]++
		}
		keys += int(sum.KeyValsCount)
		bytes += int(sum.KeyValsBytes)
	}
	k.printf("%s\n   Peers: %d Total - %d Initialized, %d Syncing, %d Idle\n   Database: %d KVs, %s\n", k.paint(bold, ">> "+title), peers,
		states[kvstore.KvStorePeerState_INITIALIZED], states[kvstore.KvStorePeerState_SYNCING], states[kvstore.KvStorePeerState_IDLE],
		keys, size(int64(bytes)))
}

// statistics lists what kvstore has sent and received over four spans of time.
func statistics(counters map[string]int64) [][]string {
	var rows [][]string
	for _, stat := range []struct{ title, counter string }{
		{"Sent Publications", "kvstore.thrift.num_flood_pub.count"},
		{"Sent KeyVals", "kvstore.thrift.num_flood_key_vals.sum"},
		{"Rcvd Publications", "kvstore.received_publications.count"},
		{"Rcvd KeyVals", "kvstore.received_key_vals.sum"},
		{"Updated KeyVals", "kvstore.updated_key_vals.sum"},
	} {
		row := []string{stat.title}
		for _, span := range []string{".60", ".600", ".3600", ""} {
			v, ok := counters[stat.counter+span]
			if !ok {
				row = append(row, "N/A")
				continue
			}
			row = append(row, fmt.Sprint(v))
		}
		rows = append(rows, row)
	}
	return rows
}
