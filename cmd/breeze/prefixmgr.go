package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

func (a *app) prefixManager() *cobra.Command {
	return group("prefixmgr", "Own prefixes",
		a.advertisedRoutes(), a.originatedRoutes(), a.prefixView(), a.advertisePrefixes(), a.withdrawPrefixes(), a.syncPrefixes(),
		a.validateCommand("Check that the prefixes were advertised", "Prefix Manager", (*session).checkPrefixManager))
}

// advertisedQuestion is what the commands below advertised-routes were asked for. All take the same flags.
type advertisedQuestion struct {
	kind             prefixTypeValue
	detail, tag2name bool
}

func (q *advertisedQuestion) flags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().Var(&q.kind, "prefix-type", "only prefixes of this type: loopback, config, rib ...")
	pair(cmd, &q.detail, "detail", "dD", true, "all attributes; --no-detail: a line each")
	tagNamesFlag(cmd, &q.tag2name)
	completePrefixTypes(cmd)
	return cmd
}

func (q *advertisedQuestion) filter(prefixes []string) (*openrctrl.AdvertisedRouteFilter, error) {
	wanted, err := parsePrefixes(prefixes)
	if err != nil {
		return nil, err
	}
	filter := &openrctrl.AdvertisedRouteFilter{Prefixes: prefixesThrift(wanted)}
	if q.kind != 0 {
		t := network.PrefixType(q.kind)
		filter.PrefixType = &t
	}
	return filter, nil
}

// advertisedRoutes is a group whose first command it is itself when it is given no command.
func (a *app) advertisedRoutes() *cobra.Command {
	q := &advertisedQuestion{}
	all := a.run(func(s *session, args []string) error {
		filter, err := q.filter(args)
		if err != nil {
			return err
		}
		routes, err := s.GetAdvertisedRoutesFiltered(s.ctx, filter)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(routes)
		}
		tags, err := s.tagNames(q.tag2name)
		if err != nil {
			return err
		}
		return a.advertisedBlocks(routes, q.detail, tags)
	})
	cmd := &cobra.Command{
		Use:   "advertised-routes [PREFIX...]",
		Short: "Prefixes that this node advertises",
		Long:  "Prefixes that this node advertises: all that there is reason to advertise, or what becomes of them in one area.",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if _, err := parsePrefixes(args[:1]); err != nil {
					return pick(cmd, args)
				}
			}
			return all(cmd, args)
		},
	}
	q.flags(cmd)
	cmd.AddCommand(q.flags(&cobra.Command{
		Use:   "all [PREFIX...]",
		Short: "Everything that there is reason to advertise",
		RunE:  all,
	}))
	for _, stage := range []struct {
		name, short string
		kind        openrctrl.RouteFilterType
	}{ // each of an area's import policy, or with --origination of the configured prefixes' own policies
		{"pre-policy", "What is meant for an area, before its policy", openrctrl.RouteFilterType_PREFILTER_ADVERTISED},
		{"post-policy", "What is advertised to an area, as its policy leaves it", openrctrl.RouteFilterType_POSTFILTER_ADVERTISED},
		{"rejected", "What the policy of an area keeps back", openrctrl.RouteFilterType_REJECTED_ON_ADVERTISE},
	} {
		origination := false
		sub := q.flags(&cobra.Command{
			Use:   stage.name + " {AREA | --origination} [PREFIX...]",
			Short: stage.short,
			RunE: a.run(func(s *session, args []string) error {
				switch {
				case origination:
					return s.originationAdvertised(q, stage.kind, args)
				case len(args) == 0:
					return usagef("say of which area, or --origination")
				}
				return s.areaAdvertised(q, stage.kind, args[0], args[1:])
			}),
		})
		sub.Flags().BoolVar(&origination, "origination", false, "of configured prefixes and their origination policies, rather than of an area")
		cmd.AddCommand(sub)
	}
	return cmd
}

func (s *session) areaAdvertised(q *advertisedQuestion, stage openrctrl.RouteFilterType, area string, prefixes []string) error {
	filter, err := q.filter(prefixes)
	if err != nil {
		return err
	}
	areas, err := s.areaNames()
	if err != nil {
		return err
	}
	if !slices.Contains(areas, area) { // or part of its name
		match := slices.DeleteFunc(slices.Clone(areas), func(name string) bool { return !strings.Contains(name, area) })
		if len(match) != 1 {
			return usagef("there is no area %q; there are %s", area, strings.Join(areas, ", "))
		}
		area = match[0]
	}
	routes, err := s.GetAreaAdvertisedRoutesFiltered(s.ctx, area, stage, filter)
	if err != nil {
		return err
	}
	return s.printAdvertised(q, routes)
}

func (s *session) originationAdvertised(q *advertisedQuestion, stage openrctrl.RouteFilterType, prefixes []string) error {
	filter, err := q.filter(prefixes)
	if err != nil {
		return err
	}
	routes, err := s.GetAdvertisedRoutesWithOriginationPolicy(s.ctx, stage, filter)
	if err != nil {
		return err
	}
	return s.printAdvertised(q, routes)
}

func (s *session) printAdvertised(q *advertisedQuestion, routes []*openrctrl.AdvertisedRoute) error {
	if s.json {
		return s.printJSON(routes)
	}
	tags, err := s.tagNames(q.tag2name)
	if err != nil {
		return err
	}
	var blocks []block
	for _, r := range routes {
		b := block{best: 1, lines: []advertisement{{
			source: "<" + r.Key.String() + ">", best: true, readvert: true, entry: r.Route, policy: r.GetHitPolicy(), igpCost: r.IgpCost,
		}}}
		if r.Route != nil {
			b.prefix = r.Route.Prefix
		}
		blocks = append(blocks, b)
	}
	return s.printBlocks(blocks, q.detail, tags)
}

func (a *app) originatedRoutes() *cobra.Command {
	var detail, tag2name bool
	cmd := &cobra.Command{
		Use:   "originated-routes",
		Short: "Prefixes that the configuration has this node advertise",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			all, err := s.GetOriginatedPrefixes(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(all)
			}
			tags, err := s.tagNames(tag2name)
			if err != nil {
				return err
			}
			all = slices.DeleteFunc(all, func(e *types.OriginatedPrefixEntry) bool { return e.Prefix == nil })
			if detail {
				a.originatedBlocks(all, tags)
				return nil
			}
			a.printf("SR: supporting routes, MSR: how many are needed, I: installed into the forwarding table\n\n")
			var rows [][]string
			for _, e := range all {
				rows = append(rows, []string{
					e.Prefix.Prefix, strings.Join(named(e.Prefix.Tags, tags), ", "), fmt.Sprint(len(e.SupportingPrefixes)),
					fmt.Sprint(e.Prefix.MinimumSupportingRoutes), yes(e.Installed),
				})
			}
			return a.table([]string{"Prefix", "Community", "SR", "MSR", "I"}, rows)
		}),
	}
	pair(cmd, &detail, "detail", "dD", false, "all attributes, and the supporting routes")
	tagNamesFlag(cmd, &tag2name)
	return cmd
}

// originatedBlocks prints configured prefixes, each with all its attributes.
func (a *app) originatedBlocks(all []*types.OriginatedPrefixEntry, tags map[string]string) {
	for _, e := range all {
		p := e.Prefix
		line := func(format string, args ...any) {
			a.printf("     %s\n", strings.TrimRight(fmt.Sprintf(format, args...), " "))
		}
		a.printf("> %s\n", p.Prefix)
		line("Forwarding - algorithm: %s, type: %s", p.ForwardingAlgorithm, p.ForwardingType)
		line("Metrics - path-preference: %d, source-preference: %d", p.GetPathPreference(), p.GetSourcePreference())
		if p.MinNexthop != nil {
			line("Performance - min-nexthops: %d", *p.MinNexthop)
		}
		line("Tags - %s", strings.Join(named(p.Tags, tags), ", "))
		line("Area Stack - %s", strings.Join(p.AreaStack, ", "))
		if p.OriginationPolicy != nil {
			line("Policy - %s", *p.OriginationPolicy)
		}
		line("Min-Supporting-Routes: %d", p.MinimumSupportingRoutes)
		line("Install to Fib: %s", yes(p.GetInstallToFib()))
		line("Installed: %s", yes(e.Installed))
		line("Supporting-Routes (%d): %s", len(e.SupportingPrefixes), strings.Join(e.SupportingPrefixes, ", "))
		a.printf("\n")
	}
}

// checkPrefixManager validates what the prefix manager does.
func (s *session) checkPrefixManager() ([]check, error) {
	synced, err := s.checkStage(kvstore.InitializationEvent_PREFIX_DB_SYNCED)
	return []check{synced}, err
}
