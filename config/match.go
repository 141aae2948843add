package config

import (
	"fmt"
	"regexp"
	"strings"
)

// Match is a set of regular expressions (RE2 syntax). A name matches if one of them matches all of it, in upper or lower
// case (Open/R config/Config.cpp, compileRegexSet). The zero Match matches nothing.
type Match struct {
	patterns []string
	compiled *regexp.Regexp
}

// NewMatch compiles patterns. The error names the first one that is not a regular expression.
func NewMatch(patterns ...string) (Match, error) {
	parts := make([]string, len(patterns))
	for i, p := range patterns {
		if _, err := regexp.Compile(p); err != nil {
			return Match{}, fmt.Errorf("%q is not a regular expression (RE2 syntax): %w", p, err)
		}
		parts[i] = "(?:" + p + ")"
	}
	if len(parts) == 0 {
		return Match{}, nil
	}
	re, err := regexp.Compile("(?is)^(?:" + strings.Join(parts, "|") + ")$")
	if err != nil {
		return Match{}, err
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
