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
	"openr/thrift/gen/openrctrl"
)

// kvCommands are the commands of the kvstore group, which share the flag --area.
type kvCommands struct {
	*app
	area string
}

func (a *app) kvStore() *cobra.Command {
	k := &kvCommands{app: a}
	g := group("kvstore", "The replicated key-value store",
		k.areasCommand(), k.keys(), k.keyVals(), k.adj(), k.prefixes(), k.nodes(), k.peers(), k.summary(),
		a.streamSummary(openrctrl.StreamSubscriberType_KVSTORE, "Who is subscribed to the store's changes"), k.snoop(),
		k.setKey(), k.eraseKey(), k.signature(), k.compare(),
		a.validateCommand("Check peers, own keys, and how long keys live", "KvStore", (*session).checkKvStore))
	g.PersistentFlags().StringVar(&k.area, "area", "", "only this area; part of its name will do")
	return g
}

// areaNames returns the areas that the agent is part of.
func (s *session) areaNames() ([]string, error) {
	config, err := s.GetRunningConfigThrift(s.ctx)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(areaConfig(config))), nil
}

// matchAreas returns the areas that flag --area means: all without it, else the one that it names or is part of the name of.
func (s *session) matchAreas(flag string) ([]string, error) {
	all, err := s.areaNames()
	if err != nil || flag == "" || slices.Contains(all, flag) {
		if flag != "" && err == nil {
			all = []string{flag}
		}
		return all, err
	}
	match := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return !strings.Contains(name, flag) })
	if len(match) != 1 {
		return nil, usagef("--area %s: name one of the areas %s", flag, strings.Join(all, ", "))
	}
	return match, nil
}

// oneArea is matchAreas for commands that work on one area.
func (s *session) oneArea(flag string) (string, error) {
	areas, err := s.matchAreas(flag)
	if err != nil {
		return "", err
	}
	if len(areas) != 1 {
		return "", usagef("say which area: --area with one of %s", strings.Join(areas, ", "))
	}
	return areas[0], nil
}

// areas returns the areas to look at: those of the agent, or the one that --area names.
func (k *kvCommands) areas(s *session) ([]string, error) { return s.matchAreas(k.area) }

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
	return s.dump(areas, filter)
}

// dump returns the keys of some areas, in order.
func (s *session) dump(areas []string, filter *kvstore.KeyDumpParams) ([]entry, error) {
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
		Long: "The keys, who wrote them, and how big they are.\n\nWith --json: key -> value without its data; if there are several areas " +
			"and --area names none,\narea -> key -> value.",
		Args: cobra.NoArgs,
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
			areas, err := k.areas(s)
			if err != nil {
				return err
			}
			entries, err := s.dump(areas, filter)
			if err != nil {
				return err
			}
			if k.json {
				return k.printJSON(keysJSON(areas, entries))
			}
			return k.keyTable(entries, ttl)
		}),
	}
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that begin so (a regular expression)")
	cmd.Flags().StringVar(&originator, "originator", "", "only keys that this node wrote")
	cmd.Flags().BoolVar(&ttl, "ttl", false, "show how long they live, and how often they were refreshed")
	return cmd
}

// keysJSON is key -> value without its data; of several areas, area -> key -> value.
func keysJSON(areas []string, entries []entry) any {
	byArea := map[string]map[string]any{}
	for _, area := range areas {
		byArea[area] = map[string]any{}
	}
	for _, e := range entries {
		byArea[e.area][e.key] = valueJSON(e.value, nil)
	}
	if len(areas) == 1 {
		return byArea[areas[0]]
	}
	return byArea
}

// valueJSON is a value of the store with its data as given.
func valueJSON(v *kvstore.Value, data any) map[string]any {
	return map[string]any{
		"version": v.Version, "originatorId": v.OriginatorId, "value": data, "ttl": v.TTL, "ttlVersion": v.TtlVersion, "hash": v.Hash,
	}
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
						out[area][key] = valueJSON(v, decoded(key, v.Value))
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

func (a *app) peerState(state kvstore.KvStorePeerState) string {
	return a.paintIf(state != kvstore.KvStorePeerState_INITIALIZED, yellow, state.String())
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
						name, k.peerState(p.State), duration(time.Duration(p.GetStateElapsedTimeMs()) * time.Millisecond),
						fmt.Sprint(p.GetFlaps()), p.PeerAddr, fmt.Sprint(p.CtrlPort), area,
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
