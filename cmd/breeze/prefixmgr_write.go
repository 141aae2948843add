package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/types"
)

// prefixTypeValue is a flag that takes the name of a prefix type, in upper or lower case. 0 is none.
type prefixTypeValue network.PrefixType

func (t *prefixTypeValue) String() string {
	if *t == 0 {
		return ""
	}
	return strings.ToLower(network.PrefixType(*t).String())
}

func (t *prefixTypeValue) Type() string { return "type" }

func (t *prefixTypeValue) Set(text string) error {
	kind, err := network.PrefixTypeFromString(strings.ToUpper(text))
	if err != nil {
		return errors.New("there is no such type; there are " + strings.Join(prefixTypes, ", "))
	}
	*t = prefixTypeValue(kind)
	return nil
}

// prefixTypes are the names of all prefix types.
var prefixTypes = func() []string {
	var out []string
	for t := range network.PrefixTypeValues() {
		out = append(out, strings.ToLower(t.String()))
	}
	return out
}()

func completePrefixTypes(cmd *cobra.Command) {
	// It fails only for a flag that is not there, or has a completer.
	_ = cmd.RegisterFlagCompletionFunc("prefix-type", cobra.FixedCompletions(prefixTypes, cobra.ShellCompDirectiveNoFileComp))
}

// prefixFlags are the attributes of prefixes that are to be advertised.
type prefixFlags struct {
	kind                                prefixTypeValue
	pathPreference, sourcePreference    int32
	distance                            int32
	tags, areaStack                     []string
	minNextHops, weight                 int64
	forwardingType, forwardingAlgorithm string
}

func (p *prefixFlags) register(cmd *cobra.Command) {
	p.kind = prefixTypeValue(network.PrefixType_BREEZE)
	f := cmd.Flags()
	f.Var(&p.kind, "prefix-type", "type: breeze, bgp, vip ...")
	f.Int32Var(&p.pathPreference, "path-preference", 1000, "larger wins")
	f.Int32Var(&p.sourcePreference, "source-preference", 100, "larger wins, if the path preference is equal")
	f.Int32Var(&p.distance, "distance", 0, "smaller wins, if both preferences are equal")
	f.StringSliceVar(&p.tags, "tags", nil, "tags")
	f.StringSliceVar(&p.areaStack, "area-stack", nil, "areas that the prefix has come through; it is not advertised to them")
	f.Int64Var(&p.minNextHops, "min-nexthop", 0, "next hops without which others do not use the prefix; 0: any number will do")
	f.Int64Var(&p.weight, "weight", 0, "share of the traffic that other nodes send here, beside others that advertise the prefix with a weight; 0: none")
	f.StringVar(&p.forwardingType, "forwarding-type", "IP", "IP or SR_MPLS, which is passed on and not acted upon")
	f.StringVar(&p.forwardingAlgorithm, "forwarding-algo", "SP_ECMP", "SP_ECMP or KSP2_ED_ECMP, which is passed on and not acted upon")
	completePrefixTypes(cmd)
}

// entries makes advertisements of prefixes.
func (p *prefixFlags) entries(args []string) ([]*types.PrefixEntry, error) {
	prefixes, err := parsePrefixes(args)
	if err != nil {
		return nil, err
	}
	for _, n := range []struct {
		flag  string
		value int64
	}{{"distance", int64(p.distance)}, {"min-nexthop", p.minNextHops}, {"weight", p.weight}} {
		if n.value < 0 {
			return nil, usagef("--%s %d: want 0 or more", n.flag, n.value)
		}
	}
	forwarding, err := openrconfig.PrefixForwardingTypeFromString(strings.ToUpper(p.forwardingType))
	if err != nil {
		return nil, usagef("--forwarding-type %s: there is no such type; there are %s", p.forwardingType, namesOf(openrconfig.PrefixForwardingTypeValues()))
	}
	algorithm, err := openrconfig.PrefixForwardingAlgorithmFromString(strings.ToUpper(p.forwardingAlgorithm))
	if err != nil {
		return nil, usagef("--forwarding-algo %s: there is no such algorithm; there are %s", p.forwardingAlgorithm, namesOf(openrconfig.PrefixForwardingAlgorithmValues()))
	}
	out := []*types.PrefixEntry{}
	for _, prefix := range prefixesThrift(prefixes) {
		e := types.NewPrefixEntry()
		e.Prefix, e.Type, e.ForwardingType, e.ForwardingAlgorithm = prefix, network.PrefixType(p.kind), forwarding, algorithm
		e.Metrics = types.NewPrefixMetrics()
		e.Metrics.PathPreference, e.Metrics.SourcePreference, e.Metrics.Distance = p.pathPreference, p.sourcePreference, p.distance
		e.Tags, e.AreaStack = p.tags, p.areaStack
		if p.minNextHops > 0 {
			e.MinNexthop = &p.minNextHops
		}
		if p.weight > 0 {
			e.Weight = &p.weight
		}
		out = append(out, e)
	}
	return out, nil
}

// namesOf lists the values of an enumeration.
func namesOf[E fmt.Stringer](all iter.Seq[E]) string {
	var out []string
	for v := range all {
		out = append(out, v.String())
	}
	return strings.Join(out, ", ")
}

// warnUnheeded says so if prefixes ask for a forwarding that they do not get.
func (a *app) warnUnheeded(p *prefixFlags) {
	for _, f := range []struct{ flag, value, heeded string }{
		{"forwarding-type", p.forwardingType, "IP"}, {"forwarding-algo", p.forwardingAlgorithm, "SP_ECMP"},
	} {
		if !strings.EqualFold(f.value, f.heeded) {
			a.warn("--%s %s is advertised and has no effect: today's Open/R routes as with %s, and so does this agent", f.flag, strings.ToUpper(f.value), f.heeded)
		}
	}
}

func (a *app) advertisePrefixes() *cobra.Command {
	var p prefixFlags
	cmd := &cobra.Command{
		Use:   "advertise PREFIX...",
		Short: "Advertise prefixes, until they are withdrawn or the agent stops",
		Args:  cobra.MinimumNArgs(1),
		RunE: a.run(func(s *session, args []string) error {
			entries, err := p.entries(args)
			if err != nil {
				return err
			}
			a.warnUnheeded(&p)
			if err := s.AdvertisePrefixes(s.ctx, entries); err != nil {
				return err
			}
			return a.done("Advertised %d prefixes with type %s.", len(entries), network.PrefixType(p.kind))
		}),
	}
	p.register(cmd)
	return cmd
}

func (a *app) syncPrefixes() *cobra.Command {
	var p prefixFlags
	cmd := &cobra.Command{
		Use:   "sync [PREFIX...]",
		Short: "Advertise prefixes, and no others of their type",
		RunE: a.run(func(s *session, args []string) error {
			entries, err := p.entries(args)
			if err != nil {
				return err
			}
			a.warnUnheeded(&p)
			if err := s.SyncPrefixesByType(s.ctx, network.PrefixType(p.kind), entries); err != nil {
				return err
			}
			return a.done("Synced %d prefixes with type %s.", len(entries), network.PrefixType(p.kind))
		}),
	}
	p.register(cmd)
	return cmd
}

func (a *app) withdrawPrefixes() *cobra.Command {
	kind := prefixTypeValue(network.PrefixType_BREEZE)
	var all bool
	cmd := &cobra.Command{
		Use:   "withdraw PREFIX...",
		Short: "Withdraw prefixes that were advertised by advertise",
		RunE: a.run(func(s *session, args []string) error {
			t := network.PrefixType(kind)
			if all == (len(args) > 0) {
				return usagef("say which prefixes to withdraw, or --all")
			}
			if all {
				if err := s.WithdrawPrefixesByType(s.ctx, t); err != nil {
					return err
				}
				return a.done("Withdrew all prefixes with type %s.", t)
			}
			p := prefixFlags{kind: kind, forwardingType: "IP", forwardingAlgorithm: "SP_ECMP"}
			entries, err := p.entries(args)
			if err != nil {
				return err
			}
			if err := s.WithdrawPrefixes(s.ctx, entries); err != nil {
				return err
			}
			return a.done("Withdrew %d prefixes with type %s.", len(entries), t)
		}),
	}
	cmd.Flags().Var(&kind, "prefix-type", "their type: breeze, bgp, vip ...")
	cmd.Flags().BoolVar(&all, "all", false, "all of the type")
	completePrefixTypes(cmd)
	return cmd
}

func (a *app) prefixView() *cobra.Command {
	var kind prefixTypeValue
	cmd := &cobra.Command{
		Use:   "view",
		Short: "Everything that there is reason to advertise, a line each",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			var (
				entries []*types.PrefixEntry
				err     error
			)
			if kind == 0 {
				entries, err = s.GetPrefixes(s.ctx)
			} else {
				entries, err = s.GetPrefixesByType(s.ctx, network.PrefixType(kind))
			}
			if err != nil {
				return err
			}
			slices.SortStableFunc(entries, func(x, y *types.PrefixEntry) int {
				return cmp.Or(comparePrefix(prefixOf(x.Prefix), prefixOf(y.Prefix)), cmp.Compare(x.Type, y.Type))
			})
			if a.json {
				return a.printJSON(entries)
			}
			return a.entryTable(entries)
		}),
	}
	cmd.Flags().Var(&kind, "prefix-type", "only prefixes of this type: loopback, config, rib ...")
	completePrefixTypes(cmd)
	return cmd
}

// entryTable prints advertisements, a line each.
func (a *app) entryTable(entries []*types.PrefixEntry) error {
	var rows [][]string
	for _, e := range entries {
		m := metrics(e)
		rows = append(rows, []string{
			prefixText(e.Prefix), e.Type.String(), e.ForwardingType.String(), e.ForwardingAlgorithm.String(),
			fmt.Sprintf("%d/%d/%d", m.PathPreference, m.SourcePreference, m.Distance), strings.Join(named(e.Tags, nil), ", "),
		})
	}
	return a.table([]string{"Prefix", "Client Type", "Forwarding Type", "Forwarding Algorithm", "PP/SP/D", "Tags"}, rows)
}
