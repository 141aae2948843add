package watchdog

import (
	"bytes"
	"runtime/pprof"
	"strings"
)

// Label is the goroutine label (runtime/pprof) that names the module for which a goroutine works. Goroutines inherit it from
// those that start them.
const Label = "module"

// Stacks returns where the goroutines of a module stand, those in the same place together, cut to about limit bytes. An
// empty name means all goroutines, each with its state and for how long it waits.
func Stacks(module string, limit int) string {
	var b bytes.Buffer
	w := &limited{&b, limit}
	if module == "" {
		_ = pprof.Lookup("goroutine").WriteTo(w, 2) // fails as w does, which is full then
		return w.text()
	}
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
	label := `"` + Label + `":"` + module + `"`
	for block := range strings.SplitSeq(all.String(), "\n\n") {
		header, stack, _ := strings.Cut(block, "# labels: ")
		labels, stack, _ := strings.Cut(stack, "\n")
		if !strings.Contains(labels, label) {
			continue
		}
		count, _, _ := strings.Cut(header[strings.LastIndexByte("\n"+strings.TrimRight(header, "\n"), '\n'):], " ")
		_, _ = w.Write([]byte(count + " goroutine(s) of " + module + ":\n" + stack + "\n"))
	}
	return w.text()
}

// limited keeps the first left bytes that are written to it.
type limited struct {
	*bytes.Buffer
	left int
}

// Write takes what there is room for, and never fails: the rest is dropped.
func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), max(l.left, 0))
	l.left -= len(p)
	l.Buffer.Write(p[:n])
	return len(p), nil
}

func (l *limited) text() string {
	if l.left < 0 {
		l.WriteString("\n(the rest is left out)")
	}
	return strings.TrimRight(l.String(), "\n")
}
