package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/types"
)

// printJSON prints v as Open/R's breeze does: two spaces for each level, keys sorted. Thrift structs: see plain.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(plain(reflect.ValueOf(v)))
}

// set is a field of a Thrift struct that is a set, which Go's types do not tell from a list.
type set struct {
	owner reflect.Type
	field string // its name in Thrift
}

// sets are all of them in structs that are printed. A test compares this with the interface definitions.
var sets = map[set]bool{
	{reflect.TypeFor[types.PrefixEntry](), "tags"}:                 true,
	{reflect.TypeFor[types.LinkMonitorState](), "overloadedLinks"}: true,
	{reflect.TypeFor[openrconfig.OriginatedPrefix](), "tags"}:      true,
}

// plain makes maps, slices and scalars of v, with the schema of Open/R's breeze (serialize_json): structs by their Thrift
// field names, optional fields that are not set null, prefixes as "address/length", addresses as {addr, ifName}, enumerations
// as numbers, sets as sorted lists, binary as text.
func plain(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	switch x := v.Interface().(type) {
	case *network.IpPrefix:
		if x == nil {
			return nil
		}
		return prefixText(x)
	case *network.BinaryAddress:
		if x == nil {
			return nil
		}
		return map[string]any{"addr": addrText(x), "ifName": plain(reflect.ValueOf(x.IfName))}
	case json.RawMessage:
		return x
	case []byte:
		if x == nil {
			return nil
		}
		return string(x)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		return plainStruct(v)
	case reflect.Map:
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			out[keyText(it.Key())] = plain(it.Value())
		}
		return out
	case reflect.Slice, reflect.Array:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = plain(v.Index(i))
		}
		return out
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int() // an enumeration would print its name
	}
	return v.Interface()
}

func plainStruct(v reflect.Value) map[string]any {
	out := map[string]any{}
	for i := range v.NumField() {
		tags := v.Type().Field(i).Tag
		name, _, _ := strings.Cut(tags.Get("thrift"), ",")
		if name == "" {
			name, _, _ = strings.Cut(tags.Get("json"), ",")
		}
		if name == "" || name == "-" {
			continue
		}
		value := plain(v.Field(i))
		if list, ok := value.([]any); ok && sets[set{v.Type(), name}] {
			slices.SortFunc(list, func(x, y any) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
		}
		out[name] = value
	}
	return out
}

// keyText is the key of a map in JSON: enumerations are numbers here too, adjacencies node%interface.
func keyText(key reflect.Value) string {
	switch k := key.Interface().(type) {
	case types.AdjKey:
		return k.NodeName + "%" + k.IfName
	case *types.AdjKey:
		return k.NodeName + "%" + k.IfName
	}
	if key.CanInt() {
		return fmt.Sprint(key.Int())
	}
	return fmt.Sprint(key)
}
