package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/types"
)

// keysOf selects the keys that begin with one of some prefixes; all of them if there is none.
func keysOf(prefixes ...string) *kvstore.KeyDumpParams {
	p := kvstore.NewKeyDumpParams()
	p.Keys = prefixes
	return p
}

func (k *kvCommands) adj() *cobra.Command {
	var nodes string
	cmd := &cobra.Command{
		Use:   "adj",
		Short: "Adjacencies as they stand in the store",
		Args:  cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			entries, err := k.dump(s, keysOf(lsdb.AdjPrefix))
			if err != nil {
				return err
			}
			var dbs []*types.AdjacencyDatabase
			known := map[string]bool{}
			for _, e := range entries {
				db, ok := decodedStruct(e.key, e.value.Value).(*types.AdjacencyDatabase)
				if !ok {
					continue
				}
				known[db.ThisNodeName] = true
				if selected(nodes, db.ThisNodeName) {
					db.Area = e.area
					dbs = append(dbs, db)
				}
			}
			if err := unknownNodes(nodes, known); err != nil {
				return err
			}
			if k.json {
				return k.printJSON(adjacenciesJSON(dbs))
			}
			for i, db := range dbs {
				if i == 0 || dbs[i-1].Area != db.Area {
					k.caption("Area: %s", db.Area)
				}
				if err := k.nodeAdjacencies(db); err != nil {
					return err
				}
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&nodes, "nodes", "all", "only these nodes, separated by commas")
	return cmd
}

func (k *kvCommands) prefixes() *cobra.Command {
	var nodes, prefix, client string
	cmd := &cobra.Command{
		Use:   "prefixes",
		Short: "Prefixes as they stand in the store",
		Args:  cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			own, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			wanted := cmp.Or(nodes, own)
			if client != "" {
				if _, err := network.PrefixTypeFromString(strings.ToUpper(client)); err != nil {
					return usagef("--client-type %s: there is no such type", client)
				}
			}
			exact, err := parsePrefixes(slices.DeleteFunc([]string{prefix}, func(s string) bool { return s == "" }))
			if err != nil {
				return err
			}
			entries, err := k.dump(s, keysOf(lsdb.PrefixPrefix))
			if err != nil {
				return err
			}
			byNode := map[string][]*types.PrefixEntry{}
			known := map[string]bool{own: true}
			for _, e := range entries {
				db, ok := decodedStruct(e.key, e.value.Value).(*types.PrefixDatabase)
				if !ok || db.DeletePrefix {
					continue
				}
				if known[db.ThisNodeName] = true; !selected(wanted, db.ThisNodeName) {
					continue
				}
				for _, p := range db.PrefixEntries {
					if (len(exact) == 0 || prefixOf(p.Prefix) == exact[0]) && (client == "" || strings.EqualFold(p.Type.String(), client)) {
						byNode[db.ThisNodeName] = append(byNode[db.ThisNodeName], p)
					}
				}
			}
			if err := unknownNodes(wanted, known); err != nil {
				return err
			}
			return k.printPrefixes(byNode)
		}),
	}
	cmd.Flags().StringVar(&nodes, "nodes", "", "of these nodes, separated by commas, or all; default: the agent's own")
	cmd.Flags().StringVarP(&prefix, "prefix", "p", "", "only this prefix")
	cmd.Flags().StringVarP(&client, "client-type", "c", "", "only prefixes of this type: loopback, config, rib ...")
	return cmd
}

func (k *kvCommands) printPrefixes(byNode map[string][]*types.PrefixEntry) error {
	if len(byNode) == 0 && !k.json {
		k.printf("none\n")
		return nil
	}
	out := map[string]any{}
	for _, node := range slices.SortedFunc(maps.Keys(byNode), naturalCompare) {
		entries := byNode[node]
		slices.SortStableFunc(entries, func(x, y *types.PrefixEntry) int { return comparePrefix(prefixOf(x.Prefix), prefixOf(y.Prefix)) })
		if k.json {
			out[node] = map[string]any{"prefixEntries": entries}
			continue
		}
		var rows [][]string
		for _, p := range entries {
			rows = append(rows, []string{prefixText(p.Prefix), p.Type.String(), p.ForwardingType.String(), p.ForwardingAlgorithm.String()})
		}
		k.printf("> %s\n", node)
		if err := k.table([]string{"Prefix", "Client Type", "Forwarding Type", "Forwarding Algorithm"}, rows); err != nil {
			return err
		}
		k.printf("\n")
	}
	if k.json {
		return k.printJSON(out)
	}
	return nil
}
