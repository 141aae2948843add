package config

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Match is a set of regular expressions (RE2 syntax). A name matches if one of them matches all of it, in upper or lower
// case (Open/R config/Config.cpp, compileRegexSet). The zero Match matches nothing.
type Match struct {
	patterns []string
	compiled *regexp.Regexp
}

// NewMatch compiles patterns. The error names the first one that is not a regular expression and wraps why.
func NewMatch(patterns ...string) (Match, error) {
	if len(patterns) == 0 {
		return Match{}, nil
	}
	parts := make([]string, len(patterns))
	for i, p := range patterns {
		// The parsed form is joined, not the text: a text like `\Qa` is right on its own but would swallow its neighbours.
		re, err := syntax.Parse(p, syntax.Perl|syntax.FoldCase|syntax.DotNL)
		if err != nil {
			return Match{}, fmt.Errorf("%q is not a regular expression (RE2 syntax): %w", p, err)
		}
		parts[i] = "(?:" + re.String() + ")"
	}
	re, err := regexp.Compile(`\A(?:` + strings.Join(parts, "|") + `)\z`)
	if err != nil {
		return Match{}, fmt.Errorf("%q together are no regular expression (RE2 syntax): %w", patterns, err)
	}
	return Match{patterns: patterns, compiled: re}, nil
}

// MustMatch is NewMatch for patterns that are known to be right.
func MustMatch(patterns ...string) Match {
	m, err := NewMatch(patterns...)
	if err != nil {
		panic(err)
	}
	return m
}

// Match reports whether name matches.
func (m Match) Match(name string) bool { return m.compiled != nil && m.compiled.MatchString(name) }

// Patterns returns the expressions as they were given.
func (m Match) Patterns() []string { return m.patterns }
