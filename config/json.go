package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// kind is what a JSON value is.
type kind string

const (
	object  kind = "an object"
	list    kind = "a list"
	text    kind = "a string"
	number  kind = "a number"
	boolean kind = "true or false"
	null    kind = "null"
)

// node is a JSON value with its place: src[off:end].
type node struct {
	kind     kind
	off, end int
	text     string   // of text: the characters; of number and boolean: as written
	members  []member // of object, in the order of the file
	items    []*node  // of list
}

type member struct {
	key   string
	off   int // of the key
	value *node
}

// maxDepth bounds how deep values may be nested; routing policies, the deepest part of a configuration, need 9.
const maxDepth = 64

// syntaxError is the first place where a file stops being JSON.
type syntaxError struct {
	off  int
	want string
}

func (e *syntaxError) Error() string { return e.want }

// parser reads JSON (RFC 8259) and, each with one warning, what people write into configuration files: comments
// (// and # to the end of the line, /* */) and a comma behind the last element.
type parser struct {
	src  []byte
	pos  int
	warn func(off int, format string, args ...any)

	comments, commas bool // warned already
}

// parseJSON returns the only value in src. The error is a *syntaxError.
func parseJSON(src []byte, warn func(off int, format string, args ...any)) (*node, error) {
	p := &parser{src: src, warn: warn}
	if bytes.HasPrefix(src, []byte("\xef\xbb\xbf")) { // byte order mark
		p.pos = 3
	}
	n, err := p.value(0)
	if err != nil {
		return nil, err
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	if p.pos < len(src) {
		return nil, p.wrong(p.pos, "nothing behind the end of the configuration, which begins at %s", p.at(n.off))
	}
	return n, nil
}

func (p *parser) wrong(off int, format string, args ...any) error {
	return &syntaxError{off, fmt.Sprintf(format, args...)}
}

func (p *parser) at(off int) string {
	line, col := position(p.src, off)
	return fmt.Sprintf("%d:%d", line, col)
}

// peek returns the next byte, 0 at the end. A zero byte is not JSON either.
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

// space skips white space and comments.
func (p *parser) space() error {
	for {
		rest := p.src[p.pos:]
		switch {
		case len(rest) == 0:
			return nil
		case bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0:
			p.pos++
		case rest[0] == '#' || bytes.HasPrefix(rest, []byte("//")):
			p.comment()
			if i := bytes.IndexByte(rest, '\n'); i >= 0 {
				p.pos += i + 1
			} else {
				p.pos = len(p.src)
			}
		case bytes.HasPrefix(rest, []byte("/*")):
			p.comment()
			i := bytes.Index(rest[2:], []byte("*/"))
			if i < 0 {
				return p.wrong(p.pos, "*/ at the end of the comment that begins here")
			}
			p.pos += 2 + i + 2
		default:
			return nil
		}
	}
}

func (p *parser) comment() {
	if !p.comments {
		p.warn(p.pos, "comments are not JSON: other programs may refuse this file")
		p.comments = true
	}
}

func (p *parser) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, p.wrong(p.pos, "values nested at most %d deep", maxDepth)
	}
	if err := p.space(); err != nil {
		return nil, err
	}
	n := &node{off: p.pos}
	var err error
	switch c := p.peek(); {
	case c == '{':
		n.kind = object
		err = p.elements('}', n.off, func() error { return p.member(n, depth) })
	case c == '[':
		n.kind = list
		err = p.elements(']', n.off, func() error {
			item, err := p.value(depth + 1)
			n.items = append(n.items, item)
			return err
		})
	case c == '"':
		n.kind = text
		n.text, err = p.str()
	case c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		err = p.word(n)
	case p.pos == len(p.src):
		err = p.wrong(p.pos, "a value, not the end of the file")
	case c == '\'':
		err = p.wrong(p.pos, `text in double quotes ("), not single ones`)
	default:
		r, _ := utf8.DecodeRune(p.src[p.pos:])
		err = p.wrong(p.pos, "a value, not %q", r)
	}
	n.end = p.pos
	return n, err
}

// elements reads what stands between brackets: one element after the other, commas between them.
func (p *parser) elements(end byte, open int, element func() error) error {
	p.pos++
	for comma := -1; ; {
		if err := p.space(); err != nil {
			return err
		}
		if p.peek() == end {
			if comma >= 0 && !p.commas {
				p.warn(comma, "a comma behind the last element is not JSON: other programs may refuse this file")
				p.commas = true
			}
			p.pos++
			return nil
		}
		if p.pos == len(p.src) {
			return p.wrong(p.pos, "%c to close what begins at %s, not the end of the file", end, p.at(open))
		}
		if err := element(); err != nil {
			return err
		}
		if err := p.space(); err != nil {
			return err
		}
		switch c := p.peek(); {
		case c == ',':
			comma = p.pos
			p.pos++
		case c == end:
			comma = -1
		case p.pos == len(p.src):
			return p.wrong(p.pos, "%c to close what begins at %s, not the end of the file", end, p.at(open))
		default:
			r, _ := utf8.DecodeRune(p.src[p.pos:])
			return p.wrong(p.pos, ", or %c, not %q", end, r)
		}
	}
}

func (p *parser) member(n *node, depth int) error {
	m := member{off: p.pos}
	if p.peek() != '"' {
		r, _ := utf8.DecodeRune(p.src[p.pos:])
		return p.wrong(p.pos, "a key in double quotes, not %q", r)
	}
	var err error
	if m.key, err = p.str(); err != nil {
		return err
	}
	if err := p.space(); err != nil {
		return err
	}
	if p.peek() != ':' {
		return p.wrong(p.pos, "a colon behind the key %q", m.key)
	}
	p.pos++
	m.value, err = p.value(depth + 1)
	n.members = append(n.members, m)
	return err
}

func (p *parser) str() (string, error) {
	start := p.pos
	for p.pos++; p.pos < len(p.src) && p.src[p.pos] != '"'; p.pos++ {
		switch p.src[p.pos] {
		case '\\':
			p.pos++
		case '\n':
			return "", p.wrong(start, `" at the end of the text that begins here`)
		}
	}
	if p.pos >= len(p.src) {
		p.pos = len(p.src)
		return "", p.wrong(start, `" at the end of the text that begins here`)
	}
	p.pos++
	var s string
	if err := json.Unmarshal(p.src[start:p.pos], &s); err != nil {
		return "", p.wrong(start, "a JSON string (a backslash is written \\\\): %v", err)
	}
	if !utf8.Valid(p.src[start:p.pos]) {
		return "", p.wrong(start, "text in UTF-8")
	}
	return s, nil
}

// word reads a number or a literal.
func (p *parser) word(n *node) error {
	for p.pos < len(p.src) && bytes.IndexByte([]byte(" \t\r\n,:]}[{\"#/"), p.src[p.pos]) < 0 {
		p.pos++
	}
	n.text = string(p.src[n.off:p.pos])
	switch {
	case n.text == "null":
		n.kind = null
	case n.text == "true" || n.text == "false":
		n.kind = boolean
	case json.Valid([]byte(n.text)):
		n.kind = number
	default:
		return p.wrong(n.off, "a number, true, false, or text in double quotes, not %s", excerpt([]byte(n.text)))
	}
	return nil
}
