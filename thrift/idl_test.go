package thrift_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// declaration is one line of testdata/fields.tsv, or what an IDL file says in its place. Names of types are without the
// file they come from.
type declaration struct{ kind, owner, id, name, kindOf, required, preset string }

var qualifier = regexp.MustCompile(`\b[A-Za-z0-9_]+\.([A-Za-z])`)

// plainType removes the names of files and the spaces from a type, an argument list or a default.
func plainType(s string) string {
	return strings.ReplaceAll(qualifier.ReplaceAllString(s, "$1"), " ", "")
}

// preset brings a default value into one form: Open/R writes some booleans as numbers, and enumerations with their type.
func preset(value, kindOf string) string {
	switch {
	case kindOf == "bool" && value == "0":
		return "false"
	case kindOf == "bool" && value == "1":
		return "true"
	}
	return value[strings.LastIndex(value, ".")+1:]
}

func table(t *testing.T) []declaration {
	t.Helper()
	b, err := os.ReadFile("testdata/fields.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var out []declaration
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := append(strings.Split(strings.TrimSuffix(line, "\n"), "\t"), make([]string, 7)...)
		d := declaration{f[0], f[1], f[2], f[3], plainType(f[4]), f[5], f[6]}
		if d.kind == "service" {
			d.name, d.required = plainType(d.name), plainType(d.required)
		}
		d.preset = preset(d.preset, d.kindOf)
		out = append(out, d)
	}
	return out
}

var (
	opening  = regexp.MustCompile(`^(enum|struct|exception|service) (\w+)(?: extends ([\w.]+))? \{$`)
	enumItem = regexp.MustCompile(`^(\w+) = (-?\d+)[,;]$`)
	field    = regexp.MustCompile(`^(-?\d+): (optional )?(.+?) (\w+)(?: = (.+))?[,;]$`)
	method   = regexp.MustCompile(`^(.+?) (\w+)(\(.*?\))(?: throws \((.*)\))?[,;]$`)
	typedef  = regexp.MustCompile(`^typedef (.+) (\w+)$`)
)

// parse reads the IDL files, which are written one declaration per line.
func parse(t *testing.T, files ...string) []declaration {
	t.Helper()
	var out []declaration
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join("idl", file+".thrift"))
		if err != nil {
			t.Fatal(err)
		}
		var kind, owner string
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSpace(line)
			switch {
			case line == "}":
				if last := len(out) - 1; kind != "" && (last < 0 || out[last].owner != owner) {
					out = append(out, declaration{kind: kind, owner: owner, id: "(no fields)"})
				}
				kind = ""
			case strings.HasPrefix(line, "//"), line == "":
			case kind == "":
				if m := opening.FindStringSubmatch(line); m != nil {
					kind, owner = m[1], m[2]
					if kind == "service" {
						extends := ""
						if m[3] != "" {
							extends = plainType("extends " + m[3])
						}
						out = append(out, declaration{kind: kind, owner: owner, id: "(service)", required: extends})
					}
				} else if m := typedef.FindStringSubmatch(line); m != nil {
					out = append(out, declaration{kind: "typedef", owner: m[2], kindOf: plainType(m[1])})
				}
			case kind == "enum":
				m := enumItem.FindStringSubmatch(line)
				if m == nil {
					t.Fatalf("%s: %s: %q", file, owner, line)
				}
				out = append(out, declaration{kind: kind, owner: owner, id: m[2], name: m[1]})
			case kind == "service":
				m := method.FindStringSubmatch(line)
				if m == nil {
					t.Fatalf("%s: %s: %q", file, owner, line)
				}
				d := declaration{kind: kind, owner: owner, id: m[2], name: numbered(plainType(m[3])), kindOf: plainType(m[1])}
				if m[4] != "" {
					d.required = plainType("throws " + m[4])
				}
				out = append(out, d)
			default:
				m := field.FindStringSubmatch(line)
				if m == nil {
					t.Fatalf("%s: %s: %q", file, owner, line)
				}
				d := declaration{kind, owner, m[1], m[4], plainType(m[3]), "default", ""}
				if m[2] != "" {
					d.required = "optional"
				}
				d.preset = preset(m[5], d.kindOf)
				out = append(out, d)
			}
		}
	}
	return out
}

// TestIDL compares the interface definitions with the table: every declaration has to be there, the same in every
// respect and in the same place among its siblings, and nothing else. Streams are no part of either: Apache Thrift does
// not know them.
func TestIDL(t *testing.T) {
	want, got := table(t), parse(t, "Types", "Network", "KvStore", "OpenrConfig", "OpenrCtrl", "Platform")
	if len(want) < 600 {
		t.Fatalf("the table has only %d lines", len(want))
	}
	group := func(all []declaration) (order []string, byOwner map[string][]declaration) {
		byOwner = map[string][]declaration{}
		for _, d := range all {
			name := d.kind + " " + d.owner
			if byOwner[name] == nil {
				order = append(order, name)
			}
			byOwner[name] = append(byOwner[name], d)
		}
		return order, byOwner
	}
	names, wanted := group(want)
	has, have := group(got)
	for _, name := range names {
		if slices.Equal(wanted[name], have[name]) {
			continue
		}
		for i := range max(len(wanted[name]), len(have[name])) {
			var w, h declaration
			if i < len(wanted[name]) {
				w = wanted[name][i]
			}
			if i < len(have[name]) {
				h = have[name][i]
			}
			if w != h {
				t.Errorf("%s, place %d:\n\thave %+v\n\twant %+v", name, i+1, h, w)
			}
		}
	}
	for _, name := range has {
		if wanted[name] == nil {
			t.Errorf("%s is not in the table", name)
		}
	}
}

// numbered gives an argument without id the one that it gets: the first is -1.
func numbered(arguments string) string {
	if len(arguments) > 2 && !strings.Contains(arguments, ":") {
		return "(-1:" + arguments[1:]
	}
	return arguments
}
