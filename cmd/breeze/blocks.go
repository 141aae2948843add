package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// block is a prefix with all its advertisements.
type block struct {
	prefix *network.IpPrefix
	best   int
	lines  []advertisement
}

// advertisement is one line of a block: where it comes from, how it ranks, and what it says.
type advertisement struct {
	source         string
	best, readvert bool // readvert: of the best entries the one that describes the route
	entry          *types.PrefixEntry
	policy         string // the policy statement that let it pass; ""
	igpCost        int32  // 0: none
}

func (l advertisement) marker() string {
	m := []byte("  ")
	if l.best {
		m[0] = '*'
	}
	if l.readvert {
		m[1] = '@'
	}
	return string(m)
}

// receivedBlocks prints what decision has received. tags names the tags, see tagNames.
func (a *app) receivedBlocks(routes []*openrctrl.ReceivedRouteDetail, detail bool, tags map[string]string) error {
	var blocks []block
	for _, r := range routes {
		b := block{prefix: r.Prefix, best: len(r.BestKeys)}
		for _, e := range r.Routes {
			same := func(k *openrctrl.NodeAndArea) bool { return k != nil && e.Key != nil && *k == *e.Key }
			source := "?"
			if e.Key != nil {
				source = e.Key.Node + " " + e.Key.Area
			}
			b.lines = append(b.lines, advertisement{
				source: source, best: slices.ContainsFunc(r.BestKeys, same), readvert: same(r.BestKey), entry: e.Route,
			})
		}
		blocks = append(blocks, b)
	}
	return a.printBlocks(blocks, detail, tags)
}

// advertisedBlocks prints what prefixmgr advertises.
func (a *app) advertisedBlocks(routes []*openrctrl.AdvertisedRouteDetail, detail bool, tags map[string]string) error {
	var blocks []block
	for _, r := range routes {
		b := block{prefix: r.Prefix, best: len(r.BestKeys)}
		for _, e := range r.Routes {
			best := slices.Contains(r.BestKeys, e.Key)
			b.lines = append(b.lines, advertisement{
				source: "<" + e.Key.String() + ">", best: best, readvert: best && e.Key == r.BestKey,
				entry: e.Route, policy: e.GetHitPolicy(), igpCost: e.IgpCost,
			})
		}
		blocks = append(blocks, b)
	}
	return a.printBlocks(blocks, detail, tags)
}

// printBlocks prints advertisements by prefix, each with all its attributes or on one line.
func (a *app) printBlocks(blocks []block, detail bool, tags map[string]string) error {
	slices.SortStableFunc(blocks, func(x, y block) int { return comparePrefix(prefixOf(x.prefix), prefixOf(y.prefix)) })
	a.printf("\nMarkers: * - Best entries (used for forwarding), @ - Entry used to advertise across area\n\n")
	if len(blocks) == 0 {
		a.printf("none\n")
		return nil
	}
	if !detail {
		var rows [][]string
		for _, b := range blocks {
			rows = append(rows, []string{fmt.Sprintf("> %s, %d/%d", prefixText(b.prefix), b.best, len(b.lines))})
			for _, l := range b.lines {
				e, m := l.entry, metrics(l.entry)
				if e == nil {
					continue
				}
				rows = append(rows, []string{
					l.marker() + " " + l.source, e.ForwardingAlgorithm.String(), e.ForwardingType.String(),
					fmt.Sprint(m.SourcePreference), fmt.Sprint(m.PathPreference), fmt.Sprint(m.Distance), fmt.Sprint(e.GetMinNexthop()),
				})
			}
		}
		return a.table([]string{"Source", "FwdAlgo", "FwdType", "SP", "PP", "D", "MN"}, rows)
	}
	for _, b := range blocks {
		a.printf("> %s, %d/%d\n", prefixText(b.prefix), b.best, len(b.lines))
		for _, l := range b.lines {
			a.printf("%s from %s\n", l.marker(), l.source)
			if l.entry != nil {
				a.printEntry(l, tags)
			}
		}
		a.printf("\n")
	}
	return nil
}

func (a *app) printEntry(l advertisement, tags map[string]string) {
	e, m := l.entry, metrics(l.entry)
	line := func(format string, args ...any) {
		a.printf("     %s\n", strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
	line("Forwarding - algorithm: %s, type: %s", e.ForwardingAlgorithm, e.ForwardingType)
	line("Metrics - path-preference: %d, source-preference: %d, distance: %d, drained-path: %d",
		m.PathPreference, m.SourcePreference, m.Distance, m.DrainMetric)
	if e.MinNexthop != nil {
		line("Performance - min-nexthops: %d", *e.MinNexthop)
	}
	if e.Weight != nil {
		line("Misc - weight: %d", *e.Weight)
	}
	line("Tags - %s", strings.Join(named(e.Tags, tags), ", "))
	line("Area Stack - %s", strings.Join(e.AreaStack, ", "))
	if l.policy != "" {
		line("Policy - %s", l.policy)
	}
	if l.igpCost != 0 {
		line("IGP Cost - %d", l.igpCost)
	}
}

// named sorts tags and puts their names before them: "(NA)/tag" if a tag has none. Without any names it only sorts.
func named(tags []string, names map[string]string) []string {
	out := slices.Sorted(slices.Values(tags))
	if names == nil {
		return out
	}
	for i, tag := range out {
		out[i] = cmp.Or(names[tag], "(NA)") + "/" + tag
	}
	return out
}

// tagNamesFlag declares --tag2name.
func tagNamesFlag(cmd *cobra.Command, v *bool) {
	pair(cmd, v, "tag2name", "nN", false, "show the names of tags, as the agent's policy defines them")
}

// tagNames returns the names of tags by tag, from the policy in the agent's configuration; nil if they are not wanted.
func (s *session) tagNames(wanted bool) (map[string]string, error) {
	if !wanted {
		return nil, nil
	}
	text, err := s.GetRunningConfig(s.ctx)
	if err != nil {
		return nil, err
	}
	var config struct {
		Policies struct {
			Definitions struct {
				OpenrTag struct {
					Objects map[string]struct {
						TagSet []string `json:"tagSet"`
					} `json:"objects"`
				} `json:"openrTag"`
			} `json:"definitions"`
		} `json:"area_policies"`
	}
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return nil, fmt.Errorf("the agent's configuration is not JSON: %w", err)
	}
	names := map[string]string{}
	for name, object := range config.Policies.Definitions.OpenrTag.Objects {
		if len(object.TagSet) > 0 {
			names[object.TagSet[0]] = name
		}
	}
	return names, nil
}

func metrics(e *types.PrefixEntry) *types.PrefixMetrics {
	if e == nil || e.Metrics == nil {
		return types.NewPrefixMetrics()
	}
	return e.Metrics
}
