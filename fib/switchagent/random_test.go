package switchagent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/lab/fakeswitch"
	"openr/msg"
)

// TestAnyFaults lets an agent fail in random ways while random routes are wanted. Afterwards it has those that are wanted.
func TestAnyFaults(t *testing.T) {
	unreadable := false
	rapid.Check(t, func(r *rapid.T) {
		unreadable = !unreadable
		a, addr, stop := start(t, fakeswitch.Options{NoDump: unreadable})
		defer stop()
		p, err := New(Options{Addr: addr, PollInterval: 5 * time.Millisecond, RequestTimeout: 100 * time.Millisecond, ConnectTimeout: 10 * time.Second})
		must(t, err)
		defer p.Close()
		c, end := begin(t, p, nil)
		defer end()
		prefixes := rapid.IntRange(0, 9)
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			switch rapid.IntRange(0, 7).Draw(r, "step") {
			case 0, 1, 2:
				var wanted []msg.Route
				for _, i := range rapid.SliceOfNDistinct(prefixes, 0, 9, rapid.ID).Draw(r, "prefixes") {
					wanted = append(wanted, route(fmt.Sprintf("10.%d.0.0/16", i), fmt.Sprintf("fe80::%d fboss2001 0", 1+prefixes.Draw(r, "next hop"))))
				}
				c.want(wanted...)
			case 3:
				must(t, a.Restart(t.Context(), fakeswitch.Restart{Warm: rapid.Bool().Draw(r, "warm"), Down: time.Duration(prefixes.Draw(r, "ms")) * time.Millisecond}))
			case 4:
				a.Fail(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(prefixes.Draw(r, "fail"))}), 16))
			case 5:
				a.Fail()
			case 6:
				a.Refuse(rapid.Bool().Draw(r, "refuse"))
			case 7:
				a.Hang(rapid.Bool().Draw(r, "hang"))
			}
		}
		a.Fail()
		a.Refuse(false)
		a.Hang(false)
		c.converged(a)
	})
}
