package main

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/types"
)

// drainChange is what became of one value that an operator wanted changed.
type drainChange struct {
	Object string `json:"object"` // the node, an interface, or neighbour%interface
	Field  string `json:"field"`  // overload, metric increment, metric override, metric
	Before any    `json:"before"`
	After  any    `json:"after"`
}

// drainState is all that the commands below change, as the agent has it at one time. Values are keyed by field, then
// object; a metric override that is not set is nil.
type drainState map[string]map[string]any

const (
	fieldOverload  = "overload"
	fieldIncrement = "metric increment"
	fieldOverride  = "metric override"
	fieldMetric    = "metric"
)

// drainNow asks the agent for its drain state.
func (s *session) drainNow() (drainState, *types.DumpLinksReply, error) {
	reply, err := s.GetInterfaces(s.ctx)
	if err != nil {
		return nil, nil, err
	}
	d := drainState{fieldOverload: {}, fieldIncrement: {}, fieldOverride: {}, fieldMetric: {}}
	d[fieldOverload][reply.ThisNodeName] = reply.IsOverloaded
	d[fieldIncrement][reply.ThisNodeName] = reply.NodeMetricIncrementVal
	for name, link := range reply.InterfaceDetails {
		name = "interface " + name
		d[fieldOverload][name], d[fieldIncrement][name], d[fieldOverride][name] = link.IsOverloaded, link.LinkMetricIncrementVal, any(nil)
		if link.MetricOverride != nil {
			d[fieldOverride][name] = *link.MetricOverride
		}
	}
	dbs, err := s.ownAdjacencies()
	if err != nil {
		return nil, nil, err
	}
	for _, db := range dbs {
		for _, x := range db.Adjacencies {
			d[fieldMetric][adjacencyObject(x.OtherNodeName, x.IfName)] = x.Metric
		}
	}
	return d, reply, nil
}

func adjacencyObject(node, ifName string) string { return "adjacency " + node + "%" + ifName }

// drain is one request to change a value of the drain state, of one or more objects.
type drain struct {
	field    string
	objects  []string // empty: the node
	want     any      // value that field has afterwards; anyValue: the agent decides
	question string   // to ask before
	success  string   // what to say afterwards
	clears   bool     // want is what an object has that nothing is set for
	count    bool     // say how many objects were changed, and how many had the value already
	set      func(s *session, objects []string) error
}

// anyValue stands for a value that is not known beforehand.
type anyValue struct{}

// drainFlags are --yes and --quiet.
type drainFlags struct {
	yes   *bool
	quiet bool
	table bool // show the adjacencies afterwards, unless --quiet
}

func newDrainFlags(cmd *cobra.Command, table bool) *drainFlags {
	f := &drainFlags{yes: yesFlag(cmd), table: table}
	usage := "do not say what changed"
	if table {
		usage = "do not say what changed, nor show the adjacencies afterwards"
	}
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, usage)
	return f
}

// do carries out a request: unless there is nothing to change it asks, has the agent change it, looks whether it did, and
// says what changed.
func (d drain) do(s *session, f *drainFlags) error {
	before, reply, err := s.drainNow()
	if err != nil {
		return err
	}
	objects := d.objects
	if len(objects) == 0 {
		objects = []string{reply.ThisNodeName}
	}
	var todo, skipped []string
	for _, o := range objects {
		if there, known := before[d.field][o]; known && there == d.want {
			skipped = append(skipped, o)
			continue
		}
		todo = append(todo, o)
	}
	if len(todo) == 0 {
		return s.drained(fmt.Sprintf("Nothing to do: %s: %s is %s already.", strings.Join(skipped, ", "), d.field, drainText(d.want)), nil, skipped, f)
	}
	if err := s.confirm(strings.ReplaceAll(d.question, "%NODE", reply.ThisNodeName), *f.yes); err != nil {
		return err
	}
	if err := d.set(s, todo); err != nil {
		return err
	}
	after, _, err := s.drainNow()
	if err != nil {
		return fmt.Errorf("the agent has taken the request, but does not say what it did: %w", err)
	}
	var changes []drainChange
	var ignored []string
	for _, o := range todo {
		v, known := after[d.field][o]
		switch {
		case !known && d.clears: // what is gone has nothing set that shows
			changes = append(changes, drainChange{o, d.field, before[d.field][o], nil})
		case !known || d.want != (anyValue{}) && v != d.want: // agents of C++ say nothing about requests that make no sense
			ignored = append(ignored, o)
		default:
			changes = append(changes, drainChange{o, d.field, before[d.field][o], v})
		}
	}
	if len(ignored) > 0 {
		return fmt.Errorf("the agent has taken the request, but has not changed %s - does it know %s? it has the interfaces %s",
			strings.Join(ignored, ", "), it(ignored), strings.Join(slices.SortedFunc(maps.Keys(reply.InterfaceDetails), naturalCompare), ", "))
	}
	success := strings.ReplaceAll(d.success, "%NODE", reply.ThisNodeName)
	if d.count {
		success += fmt.Sprintf(" Success %d, Skipped %d", len(changes), len(skipped))
	}
	return s.drained(success, changes, skipped, f)
}

func it(list []string) string {
	if len(list) == 1 {
		return "it"
	}
	return "them"
}

// drained says what became of a request.
func (s *session) drained(message string, changes []drainChange, skipped []string, f *drainFlags) error {
	if s.json {
		return s.printJSON(map[string]any{
			"success": true, "message": message, "changes": slices.Concat([]drainChange{}, changes), "skipped": slices.Concat([]string{}, skipped),
		})
	}
	s.printf("%s\n", message)
	if f.quiet || len(changes) == 0 {
		return nil
	}
	for _, c := range changes {
		text := drainText(c.Before) + " -> " + s.paint(bold, drainText(c.After))
		if c.Before == c.After {
			text = "stays " + drainText(c.After)
		}
		s.printf("  %s: %s %s\n", c.Object, c.Field, text)
	}
	if !f.table {
		return nil
	}
	dbs, err := s.ownAdjacencies()
	if err != nil {
		return err
	}
	s.printf("\n")
	return s.printOwnAdjacencies(dbs)
}

func drainText(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case bool:
		return yes(v)
	}
	return fmt.Sprint(v)
}

// metricArgument reads a metric, or what is to be added to one.
func metricArgument(text string) (int32, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt32 {
		return 0, usagef("%q: want a whole number, 1 or more", text)
	}
	return int32(n), nil
}

// interfaceObjects are the objects that interfaces are in a drainState, each once.
func interfaceObjects(names []string) []string {
	var out []string
	for _, name := range names {
		if o := "interface " + name; !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}

// interfaceNamesOf is the inverse of interfaceObjects.
func interfaceNamesOf(objects []string) []string {
	var out []string
	for _, o := range objects {
		out = append(out, strings.TrimPrefix(o, "interface "))
	}
	return out
}
