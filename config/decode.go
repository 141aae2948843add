package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decoder puts the values of a file into a section and checks type and range of each on the way.
type decoder struct {
	*report
	at map[string]*node // every value in the file by its path
}

// enum is a generated Thrift enumeration.
type enum interface {
	IsDefined() bool
	String() string
}

var enumType = reflect.TypeFor[enum]()

// object puts the members of n into section, a struct with defaults.
func (d *decoder) object(path string, n *node, section reflect.Value) {
	keys := keysOf(section.Type())
	for _, m := range d.members(path, n) {
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == m.key })
		if i < 0 {
			d.unknown(path, m, keys)
			continue
		}
		d.member(join(path, m.key), m, section.FieldByIndex(keys[i].index))
	}
	for _, k := range keys {
		at := join(path, k.name)
		if d.at[at] == nil && limits[pattern(at)].required {
			d.fail(n.off, at, "", d.want(at, k.typ))
		}
	}
}

// members are those of n that count: of several with the same key the last.
func (d *decoder) members(path string, n *node) []member {
	last := map[string]int{}
	for i, m := range n.members {
		last[m.key] = i
	}
	var ms []member
	for i, m := range n.members {
		if l := last[m.key]; l != i {
			line, _ := position(d.src, n.members[l].off)
			d.warn(m.off, join(path, m.key), "given again in line %d: this one is ignored", line)
			continue
		}
		ms = append(ms, m)
	}
	return ms
}

// member puts one value into its field and warns if it has no effect.
func (d *decoder) member(at string, m member, v reflect.Value) {
	if m.value.kind == null {
		d.warn(m.value.off, at, "null counts as not given")
		return
	}
	d.at[at] = m.value
	before := reflect.New(v.Type()).Elem()
	before.Set(v)
	d.value(at, m.value, v)
	p := pattern(at)
	above := p[:max(0, strings.LastIndexByte(p, '.'))]
	if !covered[p] && p != "area_policies" && (covered[above] || above == "") && !d.bad[at] && !sameSetting(before, v) {
		text := "accepted, not yet acted upon"
		if note := notes[p]; note != "" {
			text = note
		}
		d.warn(m.off, at, "%s", text)
	}
}

// sameSetting reports whether two values of a field mean the same. An absent one means zero, or for a section its defaults.
func sameSetting(a, b reflect.Value) bool {
	return reflect.DeepEqual(plain(a), plain(b))
}

func plain(v reflect.Value) any {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return fresh(v.Type().Elem()).Elem().Interface()
	case v.Kind() == reflect.Pointer:
		return v.Elem().Interface()
	case (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0:
		return nil
	}
	return v.Interface()
}

// value puts n into v, or notes what is wrong with it and leaves v alone.
func (d *decoder) value(at string, n *node, v reflect.Value) {
	t := v.Type()
	switch {
	case t.Kind() == reflect.Pointer:
		p := fresh(t.Elem())
		d.value(at, n, p.Elem())
		v.Set(p)
	case t.Implements(enumType):
		if i, ok := enumValue(n, t); ok {
			v.SetInt(i)
			return
		}
		d.refuse(at, n, t)
	case t.Kind() == reflect.Struct && n.kind == object:
		d.object(at, n, v)
	case t.Kind() == reflect.Slice && n.kind == list:
		s := reflect.MakeSlice(t, len(n.items), len(n.items))
		for i, item := range n.items {
			d.element(fmt.Sprintf("%s[%d]", at, i), item, s.Index(i))
		}
		v.Set(s)
	case t.Kind() == reflect.Map && n.kind == object:
		m := reflect.MakeMapWithSize(t, len(n.members))
		for _, e := range d.members(at, n) {
			item := reflect.New(t.Elem()).Elem()
			d.element(join(at, e.key), e.value, item)
			m.SetMapIndex(reflect.ValueOf(e.key), item)
		}
		v.Set(m)
	case t.Kind() == reflect.String && n.kind == text:
		v.SetString(n.text)
	case t.Kind() == reflect.Bool && (n.kind == boolean || n.text == "0" && n.kind == number || n.text == "1" && n.kind == number):
		v.SetBool(n.text == "true" || n.text == "1")
	case v.CanInt() && n.kind == number:
		i, err := strconv.ParseInt(n.text, 10, 64)
		if lo, hi := d.bounds(at, t); err != nil || (i < lo || i > hi) && !(i == 0 && limits[pattern(at)].orZero) {
			d.refuse(at, n, t)
			return
		}
		v.SetInt(i)
	default:
		d.refuse(at, n, t)
	}
}

// element is value for what may not be null.
func (d *decoder) element(at string, n *node, v reflect.Value) {
	d.at[at] = n
	d.value(at, n, v)
}

func (d *decoder) refuse(at string, n *node, t reflect.Type) {
	d.fail(n.off, at, excerpt(d.src[n.off:n.end]), d.want(at, t))
}

// bounds are the smallest and largest value allowed at a path whose type is t.
func (d *decoder) bounds(at string, t reflect.Type) (lo, hi int64) {
	lo, hi = widthOf(t)
	if l, ok := limits[pattern(at)]; ok {
		lo, hi = max(lo, l.min), min(hi, l.max)
	}
	return lo, hi
}

// want says what is allowed at a path whose type is t.
func (d *decoder) want(at string, t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Implements(enumType):
		return "one of " + strings.Join(enumNames(t), ", ")
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		return "a section {...}"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return `a list of texts, as in ["a", "b"]`
	case t.Kind() == reflect.Slice:
		return "a list [...]"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return `text in double quotes`
	}
	lo, hi := d.bounds(at, t)
	s := fmt.Sprintf("an integer from %d to %d", lo, hi)
	switch {
	case lo == math.MinInt64 && hi == math.MaxInt64:
		s = "an integer of 64 bits"
	case hi == math.MaxInt64:
		s = fmt.Sprintf("an integer, at least %d", lo)
	}
	if limits[pattern(at)].orZero {
		s += " or 0"
	}
	return s + unitName(at)
}

// unitName names the unit of a duration in brackets, by the ending of its key.
func unitName(path string) string {
	switch {
	case strings.HasSuffix(path, "_ms"):
		return " (milliseconds)"
	case strings.HasSuffix(path, "_s"):
		return " (seconds)"
	}
	return ""
}

// mostEnum is above the largest value of any enumeration of the configuration.
const mostEnum = 32

// enumValue reads an enumeration by number or by name.
func enumValue(n *node, t reflect.Type) (int64, bool) {
	v := reflect.New(t).Elem()
	for i := range int64(mostEnum) {
		v.SetInt(i)
		e := v.Interface().(enum)
		if e.IsDefined() && (n.kind == text && n.text == e.String() || n.kind == number && n.text == strconv.FormatInt(i, 10)) {
			return i, true
		}
	}
	return 0, false
}

func enumNames(t reflect.Type) []string {
	var names []string
	v := reflect.New(t).Elem()
	for i := range int64(mostEnum) {
		v.SetInt(i)
		if e := v.Interface().(enum); e.IsDefined() {
			names = append(names, fmt.Sprintf("%d (%v)", i, e))
		}
	}
	return names
}
