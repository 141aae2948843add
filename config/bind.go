package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"
)

// load puts what section says into the struct dst of Config by the tags of dst.
func (d *decoder) load(path string, dst, section reflect.Value) {
	for _, b := range bindings[dst.Type()] {
		if b.key == "" {
			d.load(path, dst.Field(b.index), section)
			continue
		}
		if src, _ := walk(section, b.key, false); src.IsValid() {
			d.loadField(join(path, b.key), dst.Field(b.index), src, b)
		}
	}
}

func (d *decoder) loadField(path string, dst, src reflect.Value, b binding) {
	if src.Kind() == reflect.Pointer {
		if src.IsNil() {
			return
		}
		src = src.Elem()
	}
	if d.bad[path] || src.Kind() == reflect.Slice && src.Len() == 0 {
		return
	}
	switch dst.Interface().(type) {
	case time.Duration:
		dst.SetInt(src.Int() * int64(b.unit))
	case Match:
		m, err := NewMatch(slices.Clone(src.Interface().([]string))...)
		if err != nil {
			d.badPattern(path, src.Interface().([]string), err)
		}
		dst.Set(reflect.ValueOf(m))
	case netip.Prefix:
		dst.Set(reflect.ValueOf(d.prefix(path, src.String())))
	case []netip.Prefix:
		dst.Set(reflect.ValueOf(parsed(d, path, src, d.prefix)))
	case []netip.Addr:
		dst.Set(reflect.ValueOf(parsed(d, path, src, d.address)))
	case []string:
		dst.Set(reflect.ValueOf(slices.Clone(src.Interface().([]string))))
	default:
		switch {
		case dst.CanInt():
			dst.SetInt(src.Int())
		case dst.Kind() == reflect.Slice:
			s := reflect.MakeSlice(dst.Type(), src.Len(), src.Len())
			for i := range src.Len() {
				d.load(path+"["+strconv.Itoa(i)+"]", s.Index(i), src.Index(i).Elem())
			}
			dst.Set(s)
		case dst.Kind() == reflect.Pointer:
			dst.Set(reflect.New(dst.Type().Elem()))
			d.load(path, dst.Elem(), src)
		case dst.Kind() == reflect.Struct:
			d.load(path, dst, src)
		default: // a bool or a string
			dst.Set(src)
		}
	}
}

// parsed reads a list of texts.
func parsed[T any](d *decoder, path string, src reflect.Value, parse func(path, s string) T) []T {
	all := make([]T, src.Len())
	for i := range all {
		if at := path + "[" + strconv.Itoa(i) + "]"; !d.bad[at] {
			all[i] = parse(at, src.Index(i).String())
		}
	}
	return all
}

// badPattern notes each pattern that is no regular expression; if each is one, that err names why all are none.
func (d *decoder) badPattern(path string, patterns []string, err error) {
	const want = "a regular expression (RE2 syntax)"
	n := len(d.errs)
	for i, p := range patterns {
		if _, err := NewMatch(p); err != nil {
			d.refuseAs(path+"["+strconv.Itoa(i)+"]", want+": "+errors.Unwrap(err).Error())
		}
	}
	if len(d.errs) == n {
		d.refuseAs(path, want+": "+errors.Unwrap(err).Error())
	}
}

// prefix reads an IP prefix. As in Open/R an address stands for itself alone, and host bits are dropped.
func (d *decoder) prefix(path, s string) netip.Prefix {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			d.refuseAs(path, "an IPv4 or IPv6 prefix, as in 2001:db8::/32")
			return netip.Prefix{}
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4In6() {
		d.refuseAs(path, "an IPv4 prefix without ::ffff:")
		return netip.Prefix{}
	}
	if p != p.Masked() {
		d.warn(d.place(path), path, "bits behind the prefix length are dropped: %v is taken as %v", p, p.Masked())
	}
	return p.Masked()
}

// store puts the struct src of Config into section: the inverse of load. What is not set and may be absent stays absent.
func store(src, section reflect.Value) {
	for _, b := range bindings[src.Type()] {
		v := src.Field(b.index)
		if b.key == "" {
			store(v, section)
			continue
		}
		dst, k := walk(section, b.key, false)
		if v.IsZero() && v.Kind() != reflect.Bool && !b.zero {
			if !dst.IsValid() || k.optional && dst.IsNil() {
				continue
			}
			if k.optional && !v.CanInt() { // no text and no list: not given. Zero is a number like others.
				dst.SetZero()
				continue
			}
		}
		dst, _ = walk(section, b.key, true)
		storeField(v, dst, b)
	}
}

func storeField(v, dst reflect.Value, b binding) {
	if dst.Kind() == reflect.Pointer {
		if dst.IsNil() {
			dst.Set(fresh(dst.Type().Elem()))
		}
		dst = dst.Elem()
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		dst.SetInt(int64(x.Round(b.unit) / b.unit))
	case Match:
		dst.Set(reflect.ValueOf(slices.Clone(x.patterns)))
	case netip.Prefix:
		dst.SetString(x.String())
	case []netip.Prefix:
		dst.Set(reflect.ValueOf(printed(x)))
	case []netip.Addr:
		dst.Set(reflect.ValueOf(printed(x)))
	case []string:
		dst.Set(reflect.ValueOf(slices.Clone(x)))
	default:
		switch {
		case v.CanInt():
			dst.SetInt(v.Int())
		case v.Kind() == reflect.Slice:
			storeList(v, dst)
		case v.Kind() == reflect.Pointer:
			store(v.Elem(), dst)
		case v.Kind() == reflect.Struct:
			store(v, dst)
		default:
			dst.Set(v)
		}
	}
}

// printed is the inverse of parsed.
func printed[T fmt.Stringer](all []T) []string {
	texts := make([]string, len(all))
	for i, x := range all {
		texts[i] = x.String()
	}
	return texts
}

// storeList writes a list of sections. An element that was there already keeps what Config has no field for.
func storeList(v, dst reflect.Value) {
	s := reflect.MakeSlice(dst.Type(), v.Len(), v.Len())
	for i := range v.Len() {
		e := fresh(dst.Type().Elem().Elem())
		if i < dst.Len() && v.Len() == dst.Len() {
			e = dst.Index(i)
		}
		store(v.Index(i), e.Elem())
		s.Index(i).Set(e)
	}
	dst.Set(s)
}
