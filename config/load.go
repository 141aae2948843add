package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"openr/thrift/gen/openrconfig"
)

// Load reads and parses a configuration file. The error is what the operating system says about the file, or Errors.
func Load(path string) (*Config, []Warning, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to read the configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads a configuration in Open/R's format: OpenrConfig in JSON, field names as keys, enumerations as integers or by
// name, true and false also as 1 and 0. The name is for messages. The error is Errors: everything that is wrong. What is
// merely odd (unknown keys, settings without effect, comments) is in the warnings, which are there with an error too.
func Parse(name string, data []byte) (*Config, []Warning, error) {
	d := &decoder{report: newReport(name, data), at: map[string]*node{}}
	root, err := parseJSON(data, func(off int, format string, args ...any) { d.warn(off, "", format, args...) })
	if err != nil {
		var syntax *syntaxError
		errors.As(err, &syntax)
		d.fail(syntax.off, "", "", "JSON: "+syntax.want)
		return nil, d.warns, d.sorted()
	}
	if root.kind != object {
		d.fail(root.off, "", excerpt(data[root.off:root.end]), "the configuration as one JSON object {...}")
		return nil, d.warns, d.sorted()
	}

	f := newFile()
	d.at[""] = root
	d.object("", root, reflect.ValueOf(f).Elem())
	if d.at["node_name"] == nil {
		f.NodeName = hostNode()
	}
	if len(f.Areas) == 0 && !d.bad["areas"] {
		f.Areas = []*openrconfig.AreaConfig{defaultArea()}
		d.warn(d.place("areas"), "areas", `none given: one area "0" on all interfaces but %v (Open/R would look for neighbours on none)`, defaultExclude)
	}
	f.complete()
	c := d.config(f)
	if err := d.sorted(); err != nil {
		return nil, d.warns, err
	}
	c.rest = c.Thrift() // in the one form that all files with the same meaning have
	return c, d.warns, nil
}

// Check writes every mistake and every warning about a configuration file to w, or that there is none, and reports whether
// an agent would start with it.
func Check(path string, w io.Writer) (ok bool) {
	_, warnings, err := Load(path)
	if err != nil {
		fmt.Fprintln(w, err)
	}
	for _, warning := range warnings {
		fmt.Fprintln(w, warning)
	}
	if err != nil {
		return false
	}
	fmt.Fprintf(w, "%s: configuration is valid\n", path)
	return true
}
