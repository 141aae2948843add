package main

import (
	"slices"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
)

// difference is how two stores differ in one key.
type difference struct {
	key          string
	here, there  *kvstore.Value // nil: that store lacks the key
	head         []string       // which of version and originator differ
	data         []change       // how the data differs
	sameVersions bool           // the worst case: no flooding will ever repair it
}

// storeDifferences compares two stores. How long keys live is no difference.
func storeDifferences(here, there kvstore.KeyVals) []difference {
	var out []difference
	for _, key := range unionKeys(here, there) {
		a, b := here[key], there[key]
		d := difference{key: key, here: a, there: b}
		if a != nil && b != nil {
			d.head, d.data = headDelta(a, b, false), dataDelta(key, a, b)
			if len(d.head) == 0 && len(d.data) == 0 {
				continue
			}
			d.sameVersions = len(d.head) == 0
		}
		out = append(out, d)
	}
	return out
}

func (k *kvCommands) compare() *cobra.Command {
	var nodes string
	cmd := &cobra.Command{
		Use:   "kv-compare",
		Short: "Compare this node's store with those of other nodes",
		Long: "Compares this node's store of an area with those of other nodes, which are asked at the loopback addresses that they\n" +
			"advertise, at the same port. It exits with 1 if a node could not be asked.",
		Args: cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			area, err := s.oneArea(k.area)
			if err != nil {
				return err
			}
			own, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			mine, err := s.GetKvStoreKeyValsFilteredArea(s.ctx, keysOf(), area)
			if err != nil {
				return err
			}
			var entries []entry
			for key, v := range mine.KeyVals {
				entries = append(entries, entry{area, key, v})
			}
			view := newView(entries)
			known := map[string]bool{}
			for _, node := range view.nodes() {
				known[node] = true
			}
			if err := unknownNodes(nodes, known); err != nil {
				return err
			}
			out, failed := map[string]any{}, false
			for _, node := range view.nodes() {
				if node == own || !selected(nodes, node) {
					continue
				}
				theirs, err := k.storeOf(s, view, node, area)
				if err != nil {
					s.warn("cannot compare with %s: %s", node, err)
					failed = true
					continue
				}
				differences := storeDifferences(mine.KeyVals, theirs)
				out[node] = differencesJSON(differences)
				if !k.json {
					k.printDifferences(own, node, differences)
				}
			}
			if k.json {
				if err := k.printJSON(out); err != nil {
					return err
				}
			}
			if failed {
				k.flush()
				return exitCode(1)
			}
			return nil
		}),
	}
	cmd.Flags().StringVar(&nodes, "nodes", "all", "only with these nodes, separated by commas")
	return cmd
}

// storeOf asks another node for its store.
func (k *kvCommands) storeOf(s *session, view lsdbView, node, area string) (kvstore.KeyVals, error) {
	address := view.address(node)
	if !address.IsValid() {
		return nil, &explained{text: "it advertises no loopback address to ask it at"}
	}
	other, err := s.connect(s.ctx, address.String())
	if err != nil {
		return nil, err
	}
	defer other.Close()
	p, err := other.GetKvStoreKeyValsFilteredArea(s.ctx, keysOf(), area)
	if err != nil {
		return nil, s.explain("openr", other.link.addr, err)
	}
	return p.KeyVals, nil
}

func (k *kvCommands) printDifferences(own, node string, differences []difference) {
	k.caption("kv-compare between %s and %s", own, node)
	if len(differences) == 0 {
		k.printf("%s\n", k.paint(green, "the same"))
	}
	for _, d := range differences {
		switch {
		case d.there == nil:
			k.printf("key: %s only in %s kv store\n", d.key, own)
		case d.here == nil:
			k.printf("key: %s only in %s kv store\n", d.key, node)
		default:
			k.printf("key: %s differs, %s --> %s\n", d.key, own, node)
			for _, line := range d.head {
				k.printf("%s", indent(line))
			}
			for _, c := range d.data {
				k.printf("%s", indent(c.line()))
			}
			if d.sameVersions {
				k.printf("%s", indent(k.paint(red, "same version and originator with different data")))
			}
		}
	}
}

// differencesJSON is {"only_here": [key], "only_there": [key], "differ": {key: [line]}}.
func differencesJSON(differences []difference) map[string]any {
	here, there, differ := []string{}, []string{}, map[string]any{}
	for _, d := range differences {
		switch {
		case d.there == nil:
			here = append(here, d.key)
		case d.here == nil:
			there = append(there, d.key)
		default:
			lines := slices.Clone(d.head)
			for _, c := range d.data {
				lines = append(lines, c.line())
			}
			differ[d.key] = lines
		}
	}
	return map[string]any{"only_here": here, "only_there": there, "differ": differ}
}
