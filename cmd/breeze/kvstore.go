package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
)

// kvCommands are the commands of the kvstore group, which share the flag --area.
type kvCommands struct {
	*app
	area string
}

func (a *app) kvStore() *cobra.Command {
	k := &kvCommands{app: a}
	g := group("kvstore", "The replicated key-value store", k.areasCommand(), k.keys(), k.keyVals(), k.adj(), k.prefixes(), k.peers(), k.summary())
	g.PersistentFlags().StringVar(&k.area, "area", "", "only this area; part of its name will do")
	return g
}

// areas returns the areas to look at: those of the agent, or the one that --area names.
func (k *kvCommands) areas(s *session) ([]string, error) {
	summaries, err := s.GetKvStoreAreaSummary(s.ctx, nil)
	if err != nil {
		return nil, err
	}
	var all, match []string
	for _, a := range summaries {
		all = append(all, a.Area)
		switch {
		case a.Area == k.area:
			return []string{k.area}, nil
		case strings.Contains(a.Area, k.area):
			match = append(match, a.Area)
		}
	}
	slices.Sort(all)
	if k.area != "" && len(match) != 1 {
		return nil, fmt.Errorf("--area %s: name one of the areas %s", k.area, strings.Join(all, ", "))
	}
	slices.Sort(match)
	return match, nil
}

// entry is a key of one area.
type entry struct {
	area, key string
	value     *kvstore.Value
}

// dump returns the keys of all areas to look at, in order.
func (k *kvCommands) dump(s *session, filter *kvstore.KeyDumpParams) ([]entry, error) {
	areas, err := k.areas(s)
	if err != nil {
		return nil, err
	}
	var out []entry
	for _, area := range areas {
		p, err := s.GetKvStoreKeyValsFilteredArea(s.ctx, filter, area)
		if err != nil {
			return nil, err
		}
		for key, v := range p.KeyVals {
			out = append(out, entry{area, key, v})
		}
	}
	slices.SortFunc(out, func(x, y entry) int { return cmp.Or(cmp.Compare(x.area, y.area), naturalCompare(x.key, y.key)) })
	return out, nil
}

func (k *kvCommands) areasCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "areas",
		Short: "The areas that this node is part of",
		Args:  cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			areas, err := k.areas(s)
			if err != nil {
				return err
			}
			if k.json {
				return k.printJSON(areas)
			}
			k.printf("Areas configured: %s\n", strings.Join(areas, ", "))
			return nil
		}),
	}
}

func (k *kvCommands) keys() *cobra.Command {
	var (
		prefix, originator string
		ttl                bool
	)
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "The keys, who wrote them, and how big they are",
		Args:  cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			filter := kvstore.NewKeyDumpParams()
			and := kvstore.FilterOperator_AND
			filter.Oper = &and
			if prefix != "" {
				filter.Keys = []string{prefix}
			}
			if originator != "" {
				filter.OriginatorIds = []string{originator}
			}
			entries, err := k.dump(s, filter)
			if err != nil {
				return err
			}
			if k.json {
				return k.printJSON(keysJSON(entries))
			}
			return k.keyTable(entries, ttl)
		}),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that begin so (a regular expression)")
	cmd.Flags().StringVar(&originator, "originator", "", "only keys that this node wrote")
	cmd.Flags().BoolVar(&ttl, "ttl", false, "show how long they live, and how often they were refreshed")
	return cmd
}

// keysJSON is key -> value without its data; with several areas, area -> key -> value.
func keysJSON(entries []entry) any {
	byArea := map[string]map[string]any{}
	for _, e := range entries {
		v := *e.value
		v.Value = nil
		m := byArea[e.area]
		if m == nil {
			m = map[string]any{}
			byArea[e.area] = m
		}
		m[e.key] = map[string]any{
			"version": v.Version, "originatorId": v.OriginatorId, "value": nil, "ttl": v.TTL, "ttlVersion": v.TtlVersion, "hash": v.Hash,
		}
	}
	if len(byArea) == 1 {
		for _, m := range byArea {
			return m
		}
	}
	return byArea
}

// valueOverhead is what Open/R adds to the length of key, originator and data for the size of an entry.
const valueOverhead = 32

func (k *kvCommands) keyTable(entries []entry, ttl bool) error {
	header := []string{"Key", "Originator", "Ver", "Hash", "Size", "Area"}
	if ttl {
		header = append(header, "TTL - Ver")
	}
	var rows [][]string
	var total int64
	for _, e := range entries {
		v := e.value
		n := int64(valueOverhead + len(e.key) + len(v.OriginatorId) + len(v.Value))
		total += n
		hash := ""
		if v.Hash != nil {
			hash = fmt.Sprintf("%#x", *v.Hash)
		}
		row := []string{e.key, v.OriginatorId, fmt.Sprint(v.Version), hash, size(n), e.area}
		if ttl {
			row = append(row, fmt.Sprintf("%s - %d", ttlText(v.TTL), v.TtlVersion))
		}
		rows = append(rows, row)
	}
	k.caption("KvStore Data - %d keys, %s", len(entries), size(total))
	return k.table(header, rows)
}

func ttlText(ms int64) string {
	if ms == lsdb.TTLInfinite {
		return "Inf"
	}
	return duration(time.Duration(ms) * time.Millisecond)
}

func (k *kvCommands) keyVals() *cobra.Command {
	return &cobra.Command{
		Use:   "keyvals KEY...",
		Short: "Keys with their content decoded",
		Args:  cobra.MinimumNArgs(1),
		RunE: k.run(func(s *session, keys []string) error {
			areas, err := k.areas(s)
			if err != nil {
				return err
			}
			missing := map[string]bool{}
			for _, key := range keys {
				missing[key] = true
			}
			out := map[string]map[string]any{}
			for _, area := range areas {
				p, err := s.GetKvStoreKeyValsArea(s.ctx, keys, area)
				if err != nil {
					return err
				}
				out[area] = map[string]any{}
				if !k.json {
					k.caption("Dump key-value pairs in KvStore in area %s", area)
				}
				for _, key := range slices.SortedFunc(maps.Keys(p.KeyVals), naturalCompare) {
					delete(missing, key)
					v := p.KeyVals[key]
					if k.json {
						out[area][key] = map[string]any{
							"version": v.Version, "originatorId": v.OriginatorId, "ttl": v.TTL, "ttlVersion": v.TtlVersion, "hash": v.Hash,
							"value": decoded(key, v.Value),
						}
						continue
					}
					k.printf("> key: %s\n  version: %d\n  originatorId: %s\n  ttl: %s\n  ttlVersion: %d\n  value:\n%s\n",
						key, v.Version, v.OriginatorId, strings.ToUpper(ttlText(v.TTL)), v.TtlVersion, indent(valueText(key, v.Value)))
				}
			}
			if k.json {
				if err := k.printJSON(out); err != nil {
					return err
				}
			}
			if len(missing) > 0 {
				return fmt.Errorf("not in the store: %s", strings.Join(slices.Sorted(maps.Keys(missing)), ", "))
			}
			return nil
		}),
	}
}

func (k *kvCommands) peers() *cobra.Command {
	return &cobra.Command{
		Use:   "peers",
		Short: "The neighbours' stores and how far they are synchronized",
		Args:  cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			areas, err := k.areas(s)
			if err != nil {
				return err
			}
			node, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			var rows [][]string
			out := map[string]any{}
			for _, area := range areas {
				peers, err := s.GetKvStorePeersArea(s.ctx, area)
				if err != nil {
					return err
				}
				out[area] = peers
				for _, name := range slices.SortedFunc(maps.Keys(peers), naturalCompare) {
					p := peers[name]
					rows = append(rows, []string{
						name, p.State.String(), duration(time.Duration(p.GetStateElapsedTimeMs()) * time.Millisecond), fmt.Sprint(p.GetFlaps()),
						p.PeerAddr, fmt.Sprint(p.CtrlPort), area,
					})
				}
			}
			if k.json {
				return k.printJSON(out)
			}
			k.caption("%s's peers", node)
			return k.table([]string{"Peer", "State", "Elapsed time", "Flaps", "Address", "Port", "Area"}, rows)
		}),
	}
}

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
			if k.json {
				return k.printJSON(summaries)
			}
			slices.SortFunc(summaries, func(x, y *kvstore.KvStoreAreaSummary) int { return cmp.Compare(x.Area, y.Area) })
			for _, sum := range summaries {
				states := map[kvstore.KvStorePeerState]int{}
				for _, p := range sum.PeersMap {
					states[p.State]++
				}
				k.printf(">> Area - %s\n   Peers: %d Total - %d Initialized, %d Syncing, %d Idle\n   Database: %d KVs, %s\n", sum.Area, len(sum.PeersMap),
					states[kvstore.KvStorePeerState_INITIALIZED], states[kvstore.KvStorePeerState_SYNCING], states[kvstore.KvStorePeerState_IDLE],
					sum.KeyValsCount, size(int64(sum.KeyValsBytes)))
			}
			counters, err := s.GetRegexCounters(s.ctx, `kvstore\..*`)
			if err != nil {
				return err
			}
			k.printf("\n")
			return k.table([]string{"Stat", "1 min", "10 mins", "1 hour", "All Time"}, statistics(counters))
		}),
	}
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
