package rpc

import (
	"fmt"
	"testing"
	"time"
)

// TestOffences: each network's offences are told at once and then once a minute for each cause, and there is an end to how
// many networks are kept apart.
func TestOffences(t *testing.T) {
	var o offences
	now := time.Unix(1, 0)
	note := func(network, cause string, wantCount int, wantDue bool) {
		t.Helper()
		name, count, due := o.note(now, offence{network, cause})
		if name != network || count != wantCount || due != wantDue {
			t.Errorf("%s %s: %s, %d times, due %v", network, cause, name, count, due)
		}
	}
	note("eth0", "silent", 1, true)
	note("eth0", "silent", 0, false)
	note("eth0", "timeout", 1, true)
	note("eth1", "silent", 1, true)
	now = now.Add(offenceGap)
	note("eth0", "silent", 2, true)
	for i := range 2 * maxNetworks {
		o.note(now, offence{fmt.Sprint(i), "silent"})
	}
	if name, _, _ := o.note(now, offence{"one more", "silent"}); name != "others" || len(o.nets) > maxNetworks+1 || len(o.seen) > 2*maxNetworks {
		t.Errorf("%s; %d networks, %d entries", name, len(o.nets), len(o.seen))
	}
	note("eth0", "silent", 0, false)
}
