package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// record is what an event has cost.
type record struct {
	kind    string
	free    bool          // it must cost nothing
	settled time.Duration // until all was right again
	loss    loss
}

// report writes the table of what each kind of event has cost.
func (w *world) report() {
	byKind := map[string][]record{}
	var kinds []string
	for _, r := range w.records {
		if byKind[r.kind] == nil {
			kinds = append(kinds, r.kind)
		}
		byKind[r.kind] = append(byKind[r.kind], r)
	}
	slices.Sort(kinds)
	var out strings.Builder
	fmt.Fprintf(&out, "%-48s %5s  %23s  %8s  %22s\n", "", "", "lost by worst flow, ms", "packets", "right again after, ms")
	fmt.Fprintf(&out, "%-48s %5s  %11s  %10s  %8s  %11s %10s\n", "what happened (* must cost nothing)", "times", "median", "most", "lost",
		"median", "most")
	sent, lost := 0, 0
	for _, k := range kinds {
		var worst, settled []time.Duration
		packets, mark := 0, ""
		for _, r := range byKind[k] {
			worst, settled = append(worst, r.loss.worst), append(settled, r.settled)
			packets += r.loss.lost
			sent, lost = sent+r.loss.sent, lost+r.loss.lost
		}
		slices.Sort(worst)
		slices.Sort(settled)
		if byKind[k][0].free {
			mark = " *"
		}
		fmt.Fprintf(&out, "%-48s %5d  %11d  %10d  %8d  %11d %10d\n", k+mark, len(worst), median(worst), worst[len(worst)-1].Milliseconds(),
			packets, median(settled), settled[len(settled)-1].Milliseconds())
	}
	fmt.Fprintf(&out, "%d of %d packets lost", lost, sent)
	w.say("\n%s", out.String())
}

func median(sorted []time.Duration) int64 { return sorted[len(sorted)/2].Milliseconds() }
