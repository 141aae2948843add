package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/rpc"
)

// snooper shows how the stores change.
type snooper struct {
	*app
	delta, ttl bool
	stores     map[string]kvstore.KeyVals // what is known, by area
}

func (k *kvCommands) snoop() *cobra.Command {
	var (
		n                      = &snooper{app: k.app}
		regexes, origins, only []string
		duration               int
		all, initial           bool
	)
	cmd := &cobra.Command{
		Use:   "snoop",
		Short: "Watch the store change",
		Long: "Prints what is in the store, in figures, and then each change as it happens, until it is interrupted.\n\n" +
			"With --json: a line of JSON for each.",
		Args: cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			areas, err := s.areaNames()
			if err != nil {
				return err
			}
			if len(only) > 0 {
				var chosen []string
				for _, name := range only {
					match, err := s.matchAreas(name)
					if err != nil {
						return err
					}
					chosen = append(chosen, match...)
				}
				areas = slices.Compact(slices.Sorted(slices.Values(chosen)))
			}
			filter := kvstore.NewKeyDumpParams()
			filter.Keys, filter.OriginatorIds, filter.IgnoreTtl = regexes, origins, !n.ttl
			oper := kvstore.FilterOperator_OR
			if all {
				oper = kvstore.FilterOperator_AND
			}
			filter.Oper = &oper
			return n.run(s, filter, areas, time.Duration(duration)*time.Second, initial)
		}),
	}
	f := cmd.Flags()
	pair(cmd, &n.delta, "delta", "", true, "of a value that changes show what changes; --no-delta: the value as it is now")
	f.BoolVar(&n.ttl, "ttl", false, "show when lives are prolonged, too")
	f.StringSliceVarP(&regexes, "regexes", "r", nil, "only keys that match one of these regular expressions")
	f.IntVarP(&duration, "duration", "d", 0, "seconds after which to stop; 0: never")
	f.BoolVar(&all, "match-all", true, "with --regexes and --originator-ids: only keys that satisfy both")
	either := f.VarPF((*negation)(&all), "match-any", "", "with --regexes and --originator-ids: keys that satisfy one of them")
	either.NoOptDefVal, either.DefValue = "true", "false"
	f.StringSliceVarP(&origins, "originator-ids", "o", nil, "only keys that one of these nodes wrote")
	f.StringSliceVarP(&only, "area", "a", nil, "only these areas")
	f.BoolVar(&initial, "print-initial", false, "print what is in the store at the beginning")
	return cmd
}

// run prints the stores at the beginning and then what changes.
func (n *snooper) run(s *session, filter *kvstore.KeyDumpParams, areas []string, duration time.Duration, initial bool) error {
	ctx := s.ctx
	if duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, duration)
		defer stop()
	}
	first := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetAreaKvStoresResult()
	args := &openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresArgs{Filter: filter, SelectAreas: areas}
	stream, err := s.subscribe("subscribeAndGetAreaKvStores", args, first)
	if err != nil {
		return err
	}
	defer stream.Close()
	n.stores = map[string]kvstore.KeyVals{}
	for _, area := range areas {
		n.stores[area] = kvstore.KeyVals{}
	}
	for _, p := range first.Success {
		n.snapshot(p)
	}
	if initial {
		for _, p := range first.Success {
			known := n.stores[p.Area]
			n.stores[p.Area] = kvstore.KeyVals{}
			n.publication(p)
			n.stores[p.Area] = known
		}
	}
	for {
		n.flush()
		p := kvstore.NewPublication()
		if ended, err := next(ctx, stream, p); ended {
			return err
		}
		n.publication(p)
	}
}

// next waits for the next element of a stream. When there is none any more, err is nil if the time is up or the operator has
// seen enough.
func next(ctx context.Context, stream rpc.Stream, element thrift.TStruct) (ended bool, err error) {
	switch err := stream.Next(ctx, element); {
	case err == nil:
		return false, nil
	case ctx.Err() != nil:
		return true, nil
	case errors.Is(err, io.EOF):
		return true, errors.New("the agent has ended the stream")
	default:
		return true, err
	}
}

// snapshot takes in what a store holds at the beginning.
func (n *snooper) snapshot(p *kvstore.Publication) {
	n.stores[p.Area] = maps.Clone(p.KeyVals)
	if n.stores[p.Area] == nil {
		n.stores[p.Area] = kvstore.KeyVals{}
	}
	if n.json {
		n.line(map[string]any{"event": "SNAPSHOT", "area": p.Area, "keys": len(p.KeyVals)})
		return
	}
	n.printf("Snapshot of area %s: %d keys\n", p.Area, len(p.KeyVals))
}

// line prints JSON on one line, with the time.
func (n *snooper) line(v map[string]any) {
	v["timestamp_ms"] = n.now().UnixMilli()
	e := json.NewEncoder(n.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(plain(reflect.ValueOf(v))) // as printf, it leaves errors of the terminal alone
}

// publication prints what changes, and takes it in.
func (n *snooper) publication(p *kvstore.Publication) {
	known := n.stores[p.Area]
	if known == nil {
		known = kvstore.KeyVals{}
		n.stores[p.Area] = known
	}
	for _, key := range slices.SortedFunc(maps.Keys(p.KeyVals), naturalCompare) {
		v, old := p.KeyVals[key], known[key]
		if v == nil {
			continue
		}
		if old != nil && sameWriting(old, v) { // at most its life is prolonged
			if n.ttl && v.TtlVersion != old.TtlVersion {
				n.refreshed(p, key, old, v)
			}
			refreshed := *v
			refreshed.Value = old.Value
			known[key] = &refreshed
			continue
		}
		known[key] = v
		n.written(p, key, old, v)
	}
	for _, key := range p.ExpiredKeys {
		if known[key] == nil {
			continue // not one that was asked for
		}
		delete(known, key)
		if n.json {
			n.line(map[string]any{"event": "EXPIRED", "area": p.Area, "key": key})
			continue
		}
		n.block(p, n.paint(red, "Key: "+key+" got expired"))
	}
}

// sameWriting reports whether a value differs from what is known in its life only. It need not come with its data then.
func sameWriting(old, v *kvstore.Value) bool {
	return v.Version == old.Version && v.OriginatorId == old.OriginatorId && (v.Value == nil || slices.Equal(v.Value, old.Value))
}

// refreshed prints that the life of a key is prolonged.
func (n *snooper) refreshed(p *kvstore.Publication, key string, old, v *kvstore.Value) {
	if n.json {
		n.line(map[string]any{
			"event": "TTL_UPDATE", "area": p.Area, "key": key, "originatorId": v.OriginatorId, "version": v.Version,
			"ttlVersion": v.TtlVersion, "ttl": v.TTL, "nodeIds": p.NodeIds,
		})
		return
	}
	n.block(p, append([]string{"Key: " + key + ", ttl update"}, headDelta(old, v, true)...)...)
}

// written prints that a key has a new version.
func (n *snooper) written(p *kvstore.Publication, key string, old, v *kvstore.Value) {
	changes := dataDelta(key, old, v)
	if n.json {
		event := "UPDATE"
		if old == nil {
			event = "ADDED"
		}
		out := map[string]any{
			"event": event, "area": p.Area, "key": key, "originatorId": v.OriginatorId, "version": v.Version,
			"ttlVersion": v.TtlVersion, "ttl": v.TTL, "nodeIds": p.NodeIds,
		}
		if n.delta {
			out["changes"] = slices.Concat([]change{}, changes)
		} else {
			out["value"] = decoded(key, v.Value)
		}
		n.line(out)
		return
	}
	title, lines := "Key: "+key+", update", []string{}
	if old == nil {
		title = "Key: " + key + ", added"
		lines = append(lines, "version: "+fieldText(v.Version)+", originatorId: "+v.OriginatorId)
		if n.ttl {
			lines = append(lines, "ttl: "+ttlText(v.TTL)+", ttlVersion: "+fieldText(v.TtlVersion))
		}
	} else {
		lines = append(lines, headDelta(old, v, n.ttl)...)
	}
	if n.delta {
		for _, c := range changes {
			lines = append(lines, n.paintChange(c))
		}
	} else {
		lines = append(lines, "value:\n"+valueText(key, v.Value))
	}
	n.block(p, append([]string{title}, lines...)...)
}

func (n *snooper) paintChange(c change) string {
	switch {
	case strings.HasSuffix(c.Event, "_UP"), strings.HasSuffix(c.Event, "_ADVERTISED"), strings.HasSuffix(c.Event, "_ADDED"):
		return n.paint(green, c.line())
	case strings.HasSuffix(c.Event, "_DOWN"), strings.HasSuffix(c.Event, "_WITHDRAWN"):
		return n.paint(red, c.line())
	}
	return n.paint(yellow, c.line())
}

// block prints a title and lines below the time, the area, and the nodes that the publication has come through.
func (n *snooper) block(p *kvstore.Publication, lines ...string) {
	n.printf("\nTimestamp: %s  Area: %s\n> %s\n", clock(n.now()), p.Area, lines[0])
	for _, line := range lines[1:] {
		n.printf("%s", indent(line))
	}
	if len(p.NodeIds) > 0 {
		n.printf("%s", indent("Traversal List: ["+strings.Join(p.NodeIds, ", ")+"]"))
	}
}
