package main

import (
	"fmt"
	"slices"
	"strings"

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

func (a *app) receivedBlocks(routes []*openrctrl.ReceivedRouteDetail, detail bool) error {
	var blocks []block
	for _, r := range routes {
		b := block{prefix: r.Prefix, best: len(r.BestKeys)}
		for _, e := range r.Routes {
			same := func(k *openrctrl.NodeAndArea) bool { return k != nil && e.Key != nil && *k == *e.Key }
			source := "?"
			if e.Key != nil {
				source = e.Key.Node + " " + e.Key.Area
			}
			b.lines = append(b.lines, advertisement{source, slices.ContainsFunc(r.BestKeys, same), same(r.BestKey), e.Route})
		}
		blocks = append(blocks, b)
	}
	return a.printBlocks(blocks, detail)
}

func (a *app) advertisedBlocks(routes []*openrctrl.AdvertisedRouteDetail, detail bool) error {
	var blocks []block
	for _, r := range routes {
		b := block{prefix: r.Prefix, best: len(r.BestKeys)}
		for _, e := range r.Routes {
			best := slices.Contains(r.BestKeys, e.Key)
			b.lines = append(b.lines, advertisement{"<" + e.Key.String() + ">", best, best && e.Key == r.BestKey, e.Route})
		}
		blocks = append(blocks, b)
	}
	return a.printBlocks(blocks, detail)
}

// printBlocks prints advertisements by prefix, each with all its attributes or on one line.
func (a *app) printBlocks(blocks []block, detail bool) error {
	slices.SortStableFunc(blocks, func(x, y block) int { return comparePrefix(prefixOf(x.prefix), prefixOf(y.prefix)) })
	a.printf("\nMarkers: * - Best entries (used for forwarding), @ - Entry used to advertise across area\n\n")
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
				a.printEntry(l.entry)
			}
		}
		a.printf("\n")
	}
	return nil
}

func (a *app) printEntry(e *types.PrefixEntry) {
	m := metrics(e)
	a.printf("     Forwarding - algorithm: %s, type: %s\n", e.ForwardingAlgorithm, e.ForwardingType)
	a.printf("     Metrics - path-preference: %d, source-preference: %d, distance: %d, drained-path: %d\n",
		m.PathPreference, m.SourcePreference, m.Distance, m.DrainMetric)
	if e.MinNexthop != nil {
		a.printf("     Performance - min-nexthops: %d\n", *e.MinNexthop)
	}
	if e.Weight != nil {
		a.printf("     Misc - weight: %d\n", *e.Weight)
	}
	a.printf("%s", strings.TrimRight("     Tags - "+strings.Join(slices.Sorted(slices.Values(e.Tags)), ", "), " ")+"\n")
	a.printf("%s", strings.TrimRight("     Area Stack - "+strings.Join(e.AreaStack, ", "), " ")+"\n")
}

func metrics(e *types.PrefixEntry) *types.PrefixMetrics {
	if e == nil || e.Metrics == nil {
		return types.NewPrefixMetrics()
	}
	return e.Metrics
}
