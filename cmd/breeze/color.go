package main

import (
	"errors"
	"os"
	"regexp"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// colorMode is the flag --color.
type colorMode string

func (c *colorMode) String() string {
	if *c == "" {
		return "auto"
	}
	return string(*c)
}

func (c *colorMode) Type() string { return "when" }

func (c *colorMode) Set(s string) error {
	switch s {
	case "auto", "always", "never":
		*c = colorMode(s)
		return nil
	}
	return errors.New("want auto, always or never")
}

// colour is a way to paint text: the parameters of the terminal's control sequence.
type colour string

const (
	red    colour = "31"
	green  colour = "32"
	yellow colour = "33"
	bold   colour = "1"
)

// paint colours text if colours are wanted: never in JSON, and by default only on terminals.
func (a *app) paint(c colour, text string) string {
	wanted := a.color == "always" || a.color != "never" && a.terminal && !a.noColor
	if !wanted || a.json || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// paintIf paints text if a condition holds.
func (a *app) paintIf(condition bool, c colour, text string) string {
	if condition {
		return a.paint(c, text)
	}
	return text
}

var painting = regexp.MustCompile("\x1b\\[[0-9;]*m")

// width is how many characters of text the terminal shows.
func width(text string) int { return utf8.RuneCountInString(painting.ReplaceAllString(text, "")) }

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
