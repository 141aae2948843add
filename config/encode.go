package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"

	"openr/thrift/gen/openrconfig"
)

// Thrift returns the effective configuration in Open/R's own type: what the file said, defaults filled in, with what the
// agent accepts but does not use yet. The caller owns the answer. Durations are rounded to the unit of the file.
func (c *Config) Thrift() *openrconfig.OpenrConfig { return c.file().OpenrConfig }

// JSON returns the effective configuration as a file (SimpleJSON: field names, enumerations as integers), defaults filled
// in. Parsing it gives an equal Config.
func (c *Config) JSON() []byte {
	var b bytes.Buffer
	encode(&b, reflect.ValueOf(c.file()))
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		panic("config: encoded no JSON: " + err.Error()) // encode writes nothing else
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// Equal reports whether both configurations say the same.
func (c *Config) Equal(o *Config) bool { return bytes.Equal(c.JSON(), o.JSON()) }

// file returns c in the terms of a file.
func (c *Config) file() *file {
	f := newFile()
	if c.rest != nil {
		f.OpenrConfig = clone(reflect.ValueOf(c.rest)).Interface().(*openrconfig.OpenrConfig)
	}
	store(reflect.ValueOf(*c), reflect.ValueOf(f).Elem())
	return f
}

// clone copies a value of the file with everything below it.
func clone(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			c.FieldByIndex([]int{i}).Set(clone(v.FieldByIndex([]int{i})))
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		c.Set(reflect.New(v.Type().Elem()))
		c.Elem().Set(clone(v.Elem()))
	case v.Kind() == reflect.Slice && !v.IsNil():
		c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			c.Index(i).Set(clone(v.Index(i)))
		}
	case v.Kind() == reflect.Map && !v.IsNil():
		c.Set(reflect.MakeMap(v.Type()))
		for k, e := range v.Seq2() {
			c.SetMapIndex(k, clone(e))
		}
	default:
		c.Set(v)
	}
	return c
}

// encode writes v as JSON.
func encode(b *bytes.Buffer, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		encode(b, v.Elem())
	case reflect.Struct:
		sep := byte('{')
		for _, k := range keysOf(v.Type()) {
			f := v.FieldByIndex(k.index)
			if f.Kind() == reflect.Pointer && f.IsNil() || k.optional && f.IsZero() {
				continue
			}
			if e, ok := f.Interface().(enum); ok && f.Kind() != reflect.Pointer && !e.IsDefined() {
				continue // not given, and zero has no name
			}
			b.WriteByte(sep)
			sep = ','
			quote(b, k.name)
			b.WriteByte(':')
			encode(b, f)
		}
		if sep == '{' {
			b.WriteByte(sep)
		}
		b.WriteByte('}')
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			encode(b, v.Index(i))
		}
		b.WriteByte(']')
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int { return bytes.Compare([]byte(x.String()), []byte(y.String())) })
		b.WriteByte('{')
		for i, k := range keys {
			if i > 0 {
				b.WriteByte(',')
			}
			quote(b, k.String())
			b.WriteByte(':')
			encode(b, v.MapIndex(k))
		}
		b.WriteByte('}')
	case reflect.String:
		quote(b, v.String())
	case reflect.Bool:
		bare(b, v.Bool())
	default:
		bare(b, v.Int()) // an enumeration too
	}
}

func bare(b *bytes.Buffer, v any) {
	text, _ := json.Marshal(v) // a bool or an int64
	b.Write(text)
}

// quote writes s as a JSON string, with regular expressions left readable.
func quote(b *bytes.Buffer, s string) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string into memory
	b.Truncate(b.Len() - 1)
}
