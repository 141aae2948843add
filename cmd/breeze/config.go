package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/spf13/cobra"

	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

// The keys under which agents keep what has to survive a restart (Open/R, link-monitor/LinkMonitor.cpp and prefix-manager).
const (
	linkMonitorKey   = "link-monitor-config"
	prefixManagerKey = "prefix-manager-config"
)

func (a *app) config() *cobra.Command {
	return group("config", "The agent's configuration, and what it keeps over restarts",
		a.showConfig(), a.dryrunConfig(), a.compareConfig(), a.linkMonitorConfig(), a.prefixManagerConfig(), a.eraseConfig(), a.storeConfig())
}

func (a *app) showConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "The effective configuration",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			text, err := s.GetRunningConfig(s.ctx)
			if err != nil {
				return err
			}
			return a.printConfig(text)
		}),
	}
}

// printConfig prints a configuration that is JSON already.
func (a *app) printConfig(text string) error {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(strings.TrimSpace(text)), "", "  "); err != nil {
		return fmt.Errorf("the agent's configuration is not JSON: %w", err)
	}
	a.printf("%s\n", b.String())
	return nil
}

// absolute makes a path absolute: the agent, which is to open the file, does not work where breeze does.
func absolute(path string) (string, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("failed to complete the path %s: %w", path, err)
	}
	return full, nil
}

const fileOfAgent = "The agent reads the file, on the machine that it runs on, and as the user that it runs as."

func (a *app) dryrunConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "dryrun FILE",
		Short: "What the effective configuration would be with another file",
		Long:  "Prints what the effective configuration would be with another file, or everything that is wrong with the file.\n" + fileOfAgent,
		Args:  cobra.ExactArgs(1),
		RunE: a.run(func(s *session, args []string) error {
			path, err := absolute(args[0])
			if err != nil {
				return err
			}
			text, err := s.DryrunConfig(s.ctx, path)
			if err != nil {
				return err
			}
			return a.printConfig(text)
		}),
	}
}

func (a *app) compareConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "compare FILE",
		Short: "In what the effective configuration would differ with another file",
		Long:  "Prints in what the effective configuration would differ with another file.\n" + fileOfAgent,
		Args:  cobra.ExactArgs(1),
		RunE: a.run(func(s *session, args []string) error {
			path, err := absolute(args[0])
			if err != nil {
				return err
			}
			running, err := s.GetRunningConfig(s.ctx)
			if err != nil {
				return err
			}
			file, err := s.DryrunConfig(s.ctx, path)
			if err != nil {
				return err
			}
			differences, err := configDifferences(running, file)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"same": len(differences) == 0, "differences": slices.Concat([]configDifference{}, differences)})
			}
			if len(differences) == 0 {
				a.printf("%s\n", a.paint(green, "SAME"))
				return nil
			}
			a.printf("%s\n", a.paint(red, "DIFF FOUND!"))
			for _, d := range differences {
				a.printf("%s\n", d.Path)
				if d.Running != nil {
					a.printf("  %s\n", a.paint(red, "- "+string(d.Running)))
				}
				if d.File != nil {
					a.printf("  %s\n", a.paint(green, "+ "+string(d.File)))
				}
			}
			return nil
		}),
	}
}

// configDifference is a value in which two configurations differ.
type configDifference struct {
	Path    string          `json:"path"`    // areas[0].area_id
	Running json.RawMessage `json:"running"` // nil: it is not there
	File    json.RawMessage `json:"file"`    // nil: it is not there
}

// configDifferences compares two JSON documents.
func configDifferences(running, file string) ([]configDifference, error) {
	var x, y any
	for _, doc := range []struct {
		text string
		into *any
	}{{running, &x}, {file, &y}} {
		d := json.NewDecoder(strings.NewReader(doc.text))
		d.UseNumber()
		if err := d.Decode(doc.into); err != nil {
			return nil, fmt.Errorf("the agent's configuration is not JSON: %w", err)
		}
	}
	var out []configDifference
	diffValues("", x, y, &out)
	return out, nil
}

// absent stands for what only the other document has.
type absent struct{}

func diffValues(path string, x, y any, out *[]configDifference) {
	switch a := x.(type) {
	case map[string]any:
		if b, ok := y.(map[string]any); ok {
			for _, key := range unionKeys(a, b) {
				diffValues(strings.TrimPrefix(path+"."+key, "."), member(a, key), member(b, key), out)
			}
			return
		}
	case []any:
		if b, ok := y.([]any); ok {
			for i := range max(len(a), len(b)) {
				diffValues(fmt.Sprintf("%s[%d]", path, i), element(a, i), element(b, i), out)
			}
			return
		}
	}
	left, right := rawText(x), rawText(y)
	if !bytes.Equal(left, right) {
		*out = append(*out, configDifference{cmp.Or(path, "."), left, right})
	}
}

func member(m map[string]any, key string) any {
	if v, ok := m[key]; ok {
		return v
	}
	return absent{}
}

func element(list []any, i int) any {
	if i < len(list) {
		return list[i]
	}
	return absent{}
}

func rawText(v any) json.RawMessage {
	if _, ok := v.(absent); ok {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil // what was decoded can be encoded
	}
	return b
}

// configStruct reads a Thrift struct that the agent keeps under a key.
func (s *session) configStruct(key string, v thrift.TStruct) error {
	data, err := s.GetConfigKey(s.ctx, key)
	if err != nil {
		return err
	}
	if err := compact.Unmarshal(data, v); err != nil {
		return fmt.Errorf("what the agent keeps under key %s does not decode: %w", key, err)
	}
	return nil
}

func (a *app) linkMonitorConfig() *cobra.Command {
	return &cobra.Command{
		Use:   linkMonitorKey,
		Short: "What the link monitor keeps over restarts: the drain state",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			state := types.NewLinkMonitorState()
			if err := s.configStruct(linkMonitorKey, state); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(state)
			}
			a.printf("Node Overload: %s\nNode Metric Increment: %d\n", yes(state.IsOverloaded), state.NodeMetricIncrementVal)
			if links := slices.SortedFunc(slices.Values(state.OverloadedLinks), naturalCompare); len(links) > 0 {
				a.printf("Overloaded Links: %s\n", strings.Join(links, ", "))
			}
			adjacencies := map[string]int32{}
			for key, metric := range state.AdjMetricOverrides {
				adjacencies[key.NodeName+"%"+key.IfName] = metric
			}
			for _, list := range []struct {
				title  string
				values map[string]int32
			}{
				{"Link Metric Overrides", state.LinkMetricOverrides}, {"Link Metric Increments", state.LinkMetricIncrementMap},
				{"Adjacency Metric Overrides", adjacencies}, {"Node Labels", state.NodeLabelMap},
			} {
				if len(list.values) > 0 {
					a.printf("%s:\n", list.title)
				}
				for _, name := range slices.SortedFunc(maps.Keys(list.values), naturalCompare) {
					a.printf("  %s: %d\n", name, list.values[name])
				}
			}
			return nil
		}),
	}
}

func (a *app) prefixManagerConfig() *cobra.Command {
	return &cobra.Command{
		Use:   prefixManagerKey,
		Short: "What the prefix manager keeps over restarts; agents of today keep nothing",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			db := types.NewPrefixDatabase()
			if err := s.configStruct(prefixManagerKey, db); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(db)
			}
			return a.entryTable(db.PrefixEntries)
		}),
	}
}

func (a *app) eraseConfig() *cobra.Command {
	return &cobra.Command{
		Use:               "erase KEY",
		Short:             "Forget a key that the agent keeps over restarts; it takes effect with the next start",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeConfigKeys,
		RunE: a.run(func(s *session, args []string) error {
			if err := s.EraseConfigKey(s.ctx, args[0]); err != nil {
				return err
			}
			return a.done("Key:%s erased", args[0])
		}),
	}
}

func (a *app) storeConfig() *cobra.Command {
	return &cobra.Command{
		Use:               "store KEY VALUE",
		Short:             "Have the agent keep a value under a key over restarts",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeConfigKeys,
		RunE: a.run(func(s *session, args []string) error {
			if args[0] == "" {
				return &usageError{errors.New("the key is empty")}
			}
			if err := s.SetConfigKey(s.ctx, args[0], []byte(args[1])); err != nil {
				return err
			}
			return a.done("Key:%s, value:%s stored", args[0], args[1])
		}),
	}
}

func completeConfigKeys(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{linkMonitorKey, prefixManagerKey}, cobra.ShellCompDirectiveNoFileComp
}
