package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
)

func (a *app) ribPolicy() *cobra.Command {
	return &cobra.Command{
		Use:   "rib-policy",
		Short: "The policy that weighs next hops, if one is set",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			policy, err := s.GetRibPolicy(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(policy)
			}
			a.printPolicy(policy)
			return nil
		}),
	}
}

func (a *app) printPolicy(policy *openrctrl.RibPolicy) {
	a.printf("> RibPolicy\n  Validity: %ds\n", policy.TTLSecs)
	for _, st := range policy.Statements {
		a.printf("  Statement: %s\n", st.Name)
		if m := st.Matcher; m != nil {
			if len(m.Prefixes) > 0 {
				var prefixes []string
				for _, p := range m.Prefixes {
					prefixes = append(prefixes, prefixText(p))
				}
				a.printf("    Prefix Match List: %s\n", strings.Join(prefixes, ", "))
			}
			if len(m.Tags) > 0 {
				a.printf("    Tags Match List: %s\n", strings.Join(m.Tags, ", "))
			}
		}
		if st.CounterID != nil {
			a.printf("    Counter: %s\n", *st.CounterID)
		}
		if st.Action == nil || st.Action.SetWeight == nil {
			continue
		}
		w := st.Action.SetWeight
		a.printf("    Action Set Weight:\n      Default: %d\n", w.DefaultWeight)
		for _, group := range []struct {
			title   string
			weights map[string]int32
		}{{"Area", w.AreaToWeight}, {"Neighbor", w.NeighborToWeight}} {
			for _, name := range slices.SortedFunc(maps.Keys(group.weights), naturalCompare) {
				a.printf("      %s %s: %d\n", group.title, name, group.weights[name])
			}
		}
	}
}

// ribPolicyFile is a policy as `decision rib-policy --json` prints it.
type ribPolicyFile struct {
	TTL        int32 `json:"ttl_secs"`
	Statements []struct {
		Name    string `json:"name"`
		Counter string `json:"counterID"`
		Matcher struct {
			Prefixes []string `json:"prefixes"`
			Tags     []string `json:"tags"`
		} `json:"matcher"`
		Action struct {
			SetWeight *struct {
				Default   int32            `json:"default_weight"`
				Areas     map[string]int32 `json:"area_to_weight"`
				Neighbors map[string]int32 `json:"neighbor_to_weight"`
			} `json:"set_weight"`
		} `json:"action"`
	} `json:"statements"`
}

// readPolicy reads a policy. What it does not know it refuses: a misspelt matcher would match everything.
func readPolicy(text []byte) (*openrctrl.RibPolicy, error) {
	var file ribPolicyFile
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind the policy")
	}
	policy := &openrctrl.RibPolicy{TTLSecs: file.TTL}
	for i, st := range file.Statements {
		prefixes, err := parsePrefixes(st.Matcher.Prefixes)
		if err != nil {
			return nil, fmt.Errorf("statements[%d].matcher.prefixes: %w", i, err)
		}
		out := &openrctrl.RibPolicyStatement{
			Name: st.Name, Matcher: &openrctrl.RibRouteMatcher{Prefixes: prefixesThrift(prefixes), Tags: st.Matcher.Tags},
			Action: &openrctrl.RibRouteAction{},
		}
		if st.Counter != "" {
			counter := network.RouteCounterID(st.Counter)
			out.CounterID = &counter
		}
		if w := st.Action.SetWeight; w != nil {
			out.Action.SetWeight = &openrctrl.RibRouteActionWeight{DefaultWeight: w.Default, AreaToWeight: w.Areas, NeighborToWeight: w.Neighbors}
		}
		policy.Statements = append(policy.Statements, out)
	}
	return policy, nil
}

func (a *app) setRibPolicy() *cobra.Command {
	return &cobra.Command{
		Use:   "set-rib-policy FILE",
		Short: "Set the policy that weighs next hops",
		Long: "Sets the policy that weighs next hops, for a limited time, over restarts of the agent. FILE (- for the standard input) holds it as `breeze decision rib-policy --json` prints it:\n\n" +
			`{"ttl_secs": 600, "statements": [{"name": "s", "matcher": {"prefixes": ["10.0.0.0/8"], "tags": []},` + "\n" +
			` "action": {"set_weight": {"default_weight": 1, "area_to_weight": {"0": 2}, "neighbor_to_weight": {"node2": 3}}}}]}`,
		Args: cobra.ExactArgs(1),
		RunE: a.run(func(s *session, args []string) error {
			var (
				text []byte
				err  error
			)
			if args[0] == "-" {
				text, err = io.ReadAll(a.in)
			} else {
				text, err = os.ReadFile(args[0])
			}
			if err != nil {
				return fmt.Errorf("failed to read the policy: %w", err)
			}
			policy, err := readPolicy(text)
			if err != nil {
				return usagef("%s: %s", args[0], err)
			}
			if err := s.SetRibPolicy(s.ctx, policy); err != nil {
				return err
			}
			return a.done("The policy is set, with %d statements, for %d s.", len(policy.Statements), policy.TTLSecs)
		}),
	}
}

func (a *app) clearRibPolicy() *cobra.Command {
	return &cobra.Command{
		Use:   "clear-rib-policy",
		Short: "Remove the policy that weighs next hops",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			if err := s.ClearRibPolicy(s.ctx); err != nil {
				return err
			}
			return a.done("The policy is removed.")
		}),
	}
}
