package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"openr/lsdb"
	"openr/thrift/gen/network"
)

// table prints rows under a header with a rule, columns as wide as they need to be. Rows may be shorter than the header.
func (a *app) table(header []string, rows [][]string) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	rule := make([]string, len(header))
	for i, h := range header {
		rule[i] = strings.Repeat("-", utf8.RuneCountInString(h))
	}
	for _, row := range append([][]string{header, rule}, rows...) {
		for _, cell := range append(row, make([]string, len(header)-len(row))...) {
			fmt.Fprint(w, cell, "\t")
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(a.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// printf prints, and leaves errors of the terminal alone.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// caption prints a heading in Open/R's way.
func (a *app) caption(format string, args ...any) {
	a.printf("\n== %s  ==\n\n", fmt.Sprintf(format, args...))
}

// printJSON prints v with sorted keys. Thrift structs are printed in Open/R's way (see plain).
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(plain(reflect.ValueOf(v)))
}

// plain makes maps, slices and scalars of v: structs by their Thrift field names, optional fields that are not set null,
// prefixes as "address/length", addresses as {addr, ifName}, enumerations as numbers, binary as text.
func plain(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	switch x := v.Interface().(type) {
	case *network.IpPrefix:
		return prefixText(x)
	case *network.BinaryAddress:
		if x == nil {
			return nil
		}
		return map[string]any{"addr": addrText(x), "ifName": plain(reflect.ValueOf(x.IfName))}
	case json.RawMessage:
		return x
	case []byte:
		return string(x)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if name != "" && name != "-" {
				out[name] = plain(v.Field(i))
			}
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			out[fmt.Sprint(it.Key())] = plain(it.Value())
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

// prefixText prints a prefix with its host bits, as the addresses of interfaces have them.
func prefixText(t *network.IpPrefix) string {
	if t == nil {
		return "?"
	}
	addr := lsdb.AddrFromThrift(t.PrefixAddress)
	if !addr.IsValid() {
		return "?"
	}
	return fmt.Sprintf("%s/%d", addr, t.PrefixLength)
}

// prefixOf is the prefix for sorting and looking up; invalid if t is.
func prefixOf(t *network.IpPrefix) netip.Prefix {
	p, _ := lsdb.PrefixFromThrift(t)
	return p
}

// comparePrefix puts IPv4 before IPv6, then orders by address and length.
func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

func addrText(t *network.BinaryAddress) string {
	if a := lsdb.AddrFromThrift(t); a.IsValid() {
		return a.String()
	}
	return ""
}

// duration prints hours, minutes and seconds, with days before if there are any.
func duration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	days, d := d/(24*time.Hour), d%(24*time.Hour)
	clock := fmt.Sprintf("%d:%02d:%02d", d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
	if days > 0 {
		return fmt.Sprintf("%dd %s", days, clock)
	}
	return clock
}

// size prints a number of bytes.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.2f KB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.2f MB", float64(n)/(1<<20))
}

// naturalCompare orders names so that eth2 comes before eth10.
func naturalCompare(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if c := strings.Compare(na, nb); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// digits returns how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func yes(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}
