package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"openr/lsdb"
	"openr/thrift/gen/network"
)

// table prints rows under a header with a rule, columns as wide as they need to be. Rows may be shorter than the header.
// Without a header there is no rule either.
func (a *app) table(header []string, rows [][]string) error {
	all := slices.Concat([][]string{header, nil}, rows) // the rule comes when it is known how long it is
	if header == nil {
		all = rows
	}
	var widths []int
	for _, row := range all {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if len(row) > 1 || len(header) < 2 { // a lone cell may run over all columns
				widths[i] = max(widths[i], width(cell))
			}
		}
	}
	for i := range header {
		all[1] = append(all[1], strings.Repeat("-", widths[i]))
	}
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", max(0, widths[i]-width(cell))+2))
			}
		}
		if _, err := fmt.Fprintln(a.out, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// printf prints, and leaves errors of the terminal alone.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.out, format, args...) }

// caption prints a heading in Open/R's way.
func (a *app) caption(format string, args ...any) {
	a.printf("\n%s\n\n", a.paint(bold, fmt.Sprintf("== %s  ==", fmt.Sprintf(format, args...))))
}

// warn says something on the error output, once.
func (a *app) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if a.warned[text] {
		return
	}
	if a.warned == nil {
		a.warned = map[string]bool{}
	}
	a.warned[text] = true
	fmt.Fprintln(a.errOut, "breeze: warning:", text)
}

// prefixText prints a prefix with its host bits, as the addresses of interfaces have them.
func prefixText(t *network.IpPrefix) string {
	if t == nil {
		return "?"
	}
	addr := lsdb.AddrFromThrift(t.PrefixAddress)
	if !addr.IsValid() {
		return "?"
	}
	return fmt.Sprintf("%s/%d", addr, t.PrefixLength)
}

// prefixOf is the prefix for sorting and looking up; invalid if t is.
func prefixOf(t *network.IpPrefix) netip.Prefix {
	p, _ := lsdb.PrefixFromThrift(t)
	return p
}

// comparePrefix puts IPv4 before IPv6, then orders by address and length.
func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

func addrText(t *network.BinaryAddress) string {
	if a := lsdb.AddrFromThrift(t); a.IsValid() {
		return a.String()
	}
	return ""
}

// duration prints hours, minutes and seconds, with days before if there are any.
func duration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	days, d := d/(24*time.Hour), d%(24*time.Hour)
	clock := fmt.Sprintf("%d:%02d:%02d", d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
	if days > 0 {
		return fmt.Sprintf("%dd %s", days, clock)
	}
	return clock
}

// clock prints a point in time to the millisecond, as Open/R's breeze does.
func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05.000") }

// size prints a number of bytes.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.2f KB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.2f MB", float64(n)/(1<<20))
}

// naturalCompare orders names so that eth2 comes before eth10.
func naturalCompare(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if len(na) != len(nb) {
				return len(na) - len(nb)
			}
			if c := strings.Compare(na, nb); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// digits returns how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

func yes(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}
