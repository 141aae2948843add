package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/types"
)

// change is one difference between two states of something.
type change struct {
	Event string `json:"event"` // NEIGHBOR_UP, PREFIX_WITHDRAWN ...
	What  string `json:"what"`  // which neighbour, which prefix; "" for the thing itself
	// Details says which fields differ, as "field: old --> new".
	Details []string `json:"details"`
}

// line is a change as a line of text.
func (c change) line() string {
	text := c.Event
	if c.What != "" {
		text += ": " + c.What
	}
	for i, d := range c.Details {
		if i > 0 {
			text += ", "
		} else {
			text += "  "
		}
		text += d
	}
	return text
}

// adjacencyDelta compares two adjacency databases of a node; old is nil if there was none.
func adjacencyDelta(old, now *types.AdjacencyDatabase) []change {
	var out []change
	if old == nil {
		old = &types.AdjacencyDatabase{ThisNodeName: now.ThisNodeName, Area: now.Area, NodeLabel: now.NodeLabel}
		c := change{Event: "ADJ_DB_ADDED", What: now.ThisNodeName}
		if now.IsOverloaded {
			c.Details = append(c.Details, "isOverloaded: true")
		}
		if now.NodeMetricIncrementVal != 0 {
			c.Details = append(c.Details, fmt.Sprintf("nodeMetricIncrementVal: %d", now.NodeMetricIncrementVal))
		}
		out = append(out, c)
	} else if d := fieldDelta(old, now, "adjacencies", "perfEvents", "linkStatusRecords"); len(d) > 0 {
		out = append(out, change{"ADJ_DB_UPDATE", now.ThisNodeName, d})
	}
	name := func(x *types.Adjacency) string { return x.OtherNodeName + " via " + x.IfName }
	before, after := map[string]*types.Adjacency{}, map[string]*types.Adjacency{}
	for _, x := range old.Adjacencies {
		before[name(x)] = x
	}
	for _, x := range now.Adjacencies {
		after[name(x)] = x
	}
	for _, n := range unionKeys(before, after) {
		was, is := before[n], after[n]
		switch {
		case is == nil:
			out = append(out, change{Event: "NEIGHBOR_DOWN", What: n})
		case was == nil:
			d := []string{fmt.Sprintf("metric: %d", is.Metric)}
			if is.IsOverloaded {
				d = append(d, "isOverloaded: true")
			}
			out = append(out, change{"NEIGHBOR_UP", n, d})
		default:
			if d := fieldDelta(was, is); len(d) > 0 {
				out = append(out, change{"NEIGHBOR_UPDATE", n, d})
			}
		}
	}
	return out
}

// prefixDelta compares two prefix databases of one key; old is nil if there was none.
func prefixDelta(old, now *types.PrefixDatabase) []change {
	entries := func(db *types.PrefixDatabase) map[string]*types.PrefixEntry {
		m := map[string]*types.PrefixEntry{}
		if db != nil && !db.DeletePrefix {
			for _, e := range db.PrefixEntries {
				m[prefixText(e.Prefix)] = e
			}
		}
		return m
	}
	before, after := entries(old), entries(now)
	var out []change
	for _, p := range unionKeys(before, after) {
		was, is := before[p], after[p]
		switch {
		case is == nil:
			out = append(out, change{Event: "PREFIX_WITHDRAWN", What: p})
		case was == nil:
			out = append(out, change{"PREFIX_ADVERTISED", p, []string{"type: " + is.Type.String()}})
		default:
			if d := fieldDelta(was, is); len(d) > 0 {
				out = append(out, change{"PREFIX_UPDATE", p, d})
			}
		}
	}
	return out
}

// dataDelta compares the data of a key that was written anew. It returns nothing if the data is the same.
func dataDelta(key string, old, now *kvstore.Value) []change {
	if old != nil && slices.Equal(old.Value, now.Value) {
		return nil
	}
	var was any
	if old != nil {
		was = decodedStruct(key, old.Value)
	}
	switch db := decodedStruct(key, now.Value).(type) {
	case *types.AdjacencyDatabase:
		before, _ := was.(*types.AdjacencyDatabase)
		return adjacencyDelta(before, db)
	case *types.PrefixDatabase:
		before, _ := was.(*types.PrefixDatabase)
		return prefixDelta(before, db)
	}
	if old == nil {
		return []change{{"VALUE", "", []string{shortValue(now.Value)}}}
	}
	return []change{{"VALUE", "", []string{shortValue(old.Value) + " --> " + shortValue(now.Value)}}}
}

// shortValue is data on one line.
func shortValue(data []byte) string {
	const most = 80
	if printable(data) && len(data) <= most {
		return fmt.Sprintf("%q", data)
	}
	return fmt.Sprintf("(%d bytes)", len(data))
}

// headDelta compares what a store knows about a value besides its data.
func headDelta(old, now *kvstore.Value, ttl bool) []string {
	var out []string
	add := func(field string, was, is any) {
		if was != is {
			out = append(out, fmt.Sprintf("%s: %v --> %v", field, was, is))
		}
	}
	add("version", old.Version, now.Version)
	add("originatorId", old.OriginatorId, now.OriginatorId)
	if ttl {
		add("ttlVersion", old.TtlVersion, now.TtlVersion)
		add("ttl", ttlText(old.TTL), ttlText(now.TTL))
	}
	return out
}

// fieldDelta compares the fields of two Thrift structs of one type, but for some.
func fieldDelta(old, now any, but ...string) []string {
	before, after := plain(reflect.ValueOf(old)).(map[string]any), plain(reflect.ValueOf(now)).(map[string]any)
	return mapDelta("", before, after, but)
}

func mapDelta(path string, before, after map[string]any, but []string) []string {
	var out []string
	for _, field := range unionKeys(before, after) {
		was, is := before[field], after[field]
		if slices.Contains(but, field) || reflect.DeepEqual(was, is) {
			continue
		}
		wasStruct, ok := was.(map[string]any)
		isStruct, both := is.(map[string]any)
		if _, address := wasStruct["addr"]; ok && both && !address {
			out = append(out, mapDelta(path+field+".", wasStruct, isStruct, nil)...)
			continue
		}
		out = append(out, fmt.Sprintf("%s%s: %s --> %s", path, field, fieldText(was), fieldText(is)))
	}
	return out
}

// fieldText is a value that plain has made, on one line.
func fieldText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		texts := make([]string, len(v))
		for i, element := range v {
			texts[i] = fieldText(element)
		}
		return "[" + strings.Join(texts, ", ") + "]"
	case map[string]any:
		if addr, ok := v["addr"].(string); ok {
			return addr
		}
	}
	return fmt.Sprint(v)
}

func unionKeys[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return slices.SortedFunc(maps.Keys(all), naturalCompare)
}
