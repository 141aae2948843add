package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// FieldError is one mistake in a configuration file.
type FieldError struct {
	File   string
	Path   string // where in the configuration, as in areas[1].area_id; empty: the file as a whole
	Value  string // what stands there, as in the file; empty: nothing
	Want   string // what is allowed there, or what to do
	Line   int    // of the value, or of what encloses it if it is missing; from 1, 0 when there is no text
	Column int    // in characters, from 1
}

// Error is "file:line:col: path: value X: want ...".
func (e FieldError) Error() string {
	parts := []string{place(e.File, e.Line, e.Column)}
	if e.Path != "" {
		parts = append(parts, e.Path)
	}
	switch {
	case e.Value != "":
		parts = append(parts, "value "+e.Value)
	case e.Path != "":
		parts = append(parts, "missing")
	}
	return strings.Join(append(parts, "want "+e.Want), ": ")
}

// Errors is every mistake in a configuration file, in the order of the file. As an error it is never empty.
type Errors []FieldError

// Error is one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Warning is something in a configuration file that is probably not meant so, or has no effect.
type Warning struct {
	File   string
	Path   string // empty: the file as a whole
	Text   string
	Line   int
	Column int
}

// String is "file:line:col: warning: path: text".
func (w Warning) String() string {
	s := place(w.File, w.Line, w.Column) + ": warning: "
	if w.Path != "" {
		s += w.Path + ": "
	}
	return s + w.Text
}

func place(file string, line, col int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d:%d", file, line, col)
}

// report collects what there is to say about one file.
type report struct {
	file  string
	src   []byte
	errs  Errors
	warns []Warning
	bad   map[string]bool // paths with an error
}

func newReport(file string, src []byte) *report {
	return &report{file: file, src: src, bad: map[string]bool{}}
}

// fail notes a mistake at byte off of the file.
func (r *report) fail(off int, path, value, want string) {
	line, col := position(r.src, off)
	r.bad[path] = true
	r.errs = append(r.errs, FieldError{File: r.file, Path: path, Value: value, Want: want, Line: line, Column: col})
}

func (r *report) warn(off int, path, format string, args ...any) {
	line, col := position(r.src, off)
	r.warns = append(r.warns, Warning{File: r.file, Path: path, Text: fmt.Sprintf(format, args...), Line: line, Column: col})
}

// sorted puts errors and warnings into the order of the file and returns the errors as an error, nil if there are none.
func (r *report) sorted() error {
	slices.SortStableFunc(r.errs, func(a, b FieldError) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	slices.SortStableFunc(r.warns, func(a, b Warning) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if len(r.errs) == 0 {
		return nil
	}
	return r.errs
}

// position turns a byte offset into line and column, both from 1; the column counts characters.
func position(src []byte, off int) (line, col int) {
	off = min(off, len(src))
	start := bytes.LastIndexByte(src[:off], '\n') + 1
	return 1 + bytes.Count(src[:start], []byte{'\n'}), 1 + utf8.RuneCount(src[start:off])
}

// excerpt is text of the file short enough for a message.
func excerpt(src []byte) string {
	const most = 60
	s := strings.Join(strings.Fields(string(src)), " ")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
