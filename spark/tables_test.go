package spark

import (
	"net/netip"
	"testing"
	"time"

	"openr/config"
	"openr/thrift/gen/types"
)

// Every pair of state and event: those of the table lead where it says, all others are ignored.
func TestStateTable(t *testing.T) {
	want := map[transition]State{
		{Idle, HelloInfo}: Warm, {Idle, HelloNoInfo}: Warm,
		{Warm, HelloInfo}: Negotiate, {Warm, RestartTimeout}: Idle,
		{Negotiate, HandshakeReceived}: Established, {Negotiate, NegotiateTimeout}: Warm, {Negotiate, NegotiationFailed}: Warm, {Negotiate, RestartTimeout}: Idle,
		{Established, HelloNoInfo}: Idle, {Established, HelloRestart}: Restart, {Established, HeartbeatReceived}: Established, {Established, HeartbeatTimeout}: Idle,
		{Restart, HelloInfo}: Negotiate, {Restart, RestartTimeout}: Idle,
	}
	legal := 0
	for s := Idle; s <= Restart; s++ {
		for e := HelloInfo; e <= NegotiationFailed; e++ {
			to, ok := next(s, e)
			w, wantOK := want[transition{s, e}]
			if !wantOK {
				w = s
			} else {
				legal++
			}
			if to != w || ok != wantOK {
				t.Errorf("%v, %v: %v %t, want %v %t", s, e, to, ok, w, wantOK)
			}

			// The same through a core: counted, logged, and no more.
			p := newProbe(t, nil)
			n := &neighbor{ifc: p.node.core.ifs["e0"], node: "x", state: s}
			if got := p.node.core.step(n, e); got != wantOK || n.state != w {
				t.Errorf("step of %v, %v: %t, %v", s, e, got, n.state)
			}
			if invalid := p.node.count(cntFsmInvalid); (invalid == 1) == wantOK {
				t.Errorf("%v, %v: counted %d", s, e, invalid)
			}
		}
	}
	if legal != len(want) || len(table) != len(want) {
		t.Errorf("%d pairs tried, %d in the table, %d wanted", legal, len(table), len(want))
	}
	if _, ok := next(State(7), HelloInfo); ok {
		t.Error("a state that does not exist has a successor")
	}
}

// The names are those of Open/R's enums, in the same order.
func TestNames(t *testing.T) {
	for s := Idle; s <= Restart; s++ {
		if want := types.SparkNeighState(s).String(); s.String() != want {
			t.Errorf("%d is %s, want %s", s, s, want)
		}
	}
	for e := HelloInfo; e <= NegotiationFailed; e++ {
		if want := types.SparkNeighEvent(e).String(); e.String() != want {
			t.Errorf("%d is %s, want %s", e, e, want)
		}
	}
	if State(-1).String() != "UNKNOWN" || Event(9).String() != "UNKNOWN" {
		t.Error("names of nothing")
	}
}

func TestRateLimit(t *testing.T) {
	var r rateLimit
	a, b := netip.MustParseAddr("fe80::a"), netip.MustParseAddr("fe80::b")
	now := simStart
	admitted := func(src netip.Addr, n int, gap time.Duration) (ok int) {
		for range n {
			if yes, _ := r.admit(now, src); yes {
				ok++
			}
			now = now.Add(gap)
		}
		return ok
	}
	if n := admitted(a, 200, 0); n != 51 {
		t.Errorf("%d of a burst", n)
	}
	if n := admitted(b, 10, 0); n != 10 {
		t.Errorf("%d of another source", n)
	}
	now = now.Add(time.Second)
	if n := admitted(a, 200, 0); n != 51 {
		t.Errorf("%d of a burst one second later", n)
	}
	now = now.Add(10 * time.Second)
	if n := admitted(a, 500, 20*ms); n != 500 { // 50 a second
		t.Errorf("%d at an admissible rate", n)
	}
	now = now.Add(10 * time.Second)
	if n := admitted(a, 1000, 10*ms); n < 480 || n > 560 { // 100 a second for ten seconds
		t.Errorf("%d at twice the admissible rate", n)
	}
}

func TestRateLimitOfManySources(t *testing.T) {
	var r rateLimit
	own, shared := 0, 0
	for k := range 3 * maxSources {
		ok, mine := r.admit(simStart, netip.AddrFrom4([4]byte{10, 0, byte(k >> 8), byte(k)}))
		if mine {
			own++
		} else if ok {
			shared++
		}
	}
	if own != maxSources || shared != 51 || len(r.sources) != maxSources {
		t.Errorf("%d on their own, %d shared", own, shared)
	}
	// A second later they are forgotten.
	if ok, mine := r.admit(simStart.Add(time.Second+rateBucket), netip.MustParseAddr("fe80::1")); !ok || !mine || len(r.sources) != 1 {
		t.Errorf("%t %t, %d sources", ok, mine, len(r.sources))
	}
}

func TestBudget(t *testing.T) {
	var b budget
	now := simStart
	for k := range helloBurst {
		if ok, _ := b.take(now); !ok {
			t.Fatalf("refused after %d", k)
		}
	}
	ok, wait := b.take(now)
	if ok || wait != helloSpacing {
		t.Fatalf("%t, wait %v", ok, wait)
	}
	now = now.Add(wait)
	if ok, _ := b.take(now); !ok {
		t.Error("refused after waiting")
	}
	if ok, _ := b.take(now); ok {
		t.Error("two for one wait")
	}
	total := 0
	for range 1000 {
		now = now.Add(ms)
		if ok, _ := b.take(now); ok {
			total++
		}
	}
	if total < 24 || total > 26 {
		t.Errorf("%d in a second", total)
	}
	now = now.Add(time.Hour)
	for k := range helloBurst {
		if ok, _ := b.take(now); !ok {
			t.Fatalf("refused after %d when rested", k)
		}
	}
}

// feed gives the detector values one second apart and returns the levels that it reports with the index of the value.
func feed(d *stepDetector, now *time.Time, value int64, n int) (levels []int64, at []int) {
	for k := range n {
		*now = now.Add(time.Second)
		if level, ok := d.add(*now, value); ok {
			levels, at = append(levels, level), append(at, k)
		}
	}
	return levels, at
}

func TestStepDetector(t *testing.T) {
	conf := config.StepDetector{FastWindow: 10, SlowWindow: 60, LowerThreshold: 2, UpperThreshold: 5, AdsThreshold: 500}
	d := newStepDetector(conf, time.Second)
	now := simStart
	if levels, _ := feed(d, &now, 10_000, 100); len(levels) != 0 {
		t.Fatalf("reports %v of a constant", levels)
	}
	// A step: reported once, when the long window has come near the short one, at the new level.
	levels, at := feed(d, &now, 20_000, 100)
	if len(levels) == 0 || levels[0] != 20_000 || at[0] < 40 {
		t.Errorf("step up: %v at %v", levels, at)
	}
	feed(d, &now, 20_000, 100)
	if levels, _ := feed(d, &now, 20_000, 100); len(levels) != 0 {
		t.Errorf("reports %v after the step", levels)
	}
	if levels, _ = feed(d, &now, 5_000, 200); len(levels) == 0 || levels[0] != 5_000 {
		t.Errorf("step down: %v", levels)
	}
	// A single outlier is no step to be reported at another level.
	if levels, _ = feed(d, &now, 5_100, 1); len(levels) != 0 {
		t.Errorf("outlier: %v", levels)
	}
	// Slow drift is reported in portions of the absolute threshold.
	d, now = newStepDetector(conf, time.Second), simStart
	feed(d, &now, 100_000, 100)
	reports := 0
	for k := range 300 {
		l, _ := feed(d, &now, int64(100_000+20*k), 1)
		reports += len(l)
	}
	if reports < 5 || reports > 12 { // 6 ms of drift
		t.Errorf("%d reports of drift", reports)
	}
	// Windows of nothing do not divide by it.
	d = newStepDetector(config.StepDetector{}, 0)
	if _, ok := d.add(simStart, 0); ok {
		t.Error("report of nothing")
	}
}

func TestMovingAverage(t *testing.T) {
	m := newMovingAverage(3, time.Second)
	for k, want := range []int64{10, 15, 20, 30, 40} { // values 10, 20, 30, 40, 50
		m.add(simStart.Add(time.Duration(k)*time.Second), int64(10*(k+1)))
		if got := m.mean(); got != want {
			t.Errorf("after %d values: %d, want %d", k+1, got, want)
		}
	}
	m.add(simStart.Add(time.Hour), 7)
	if m.mean() != 7 || m.count() != 1 {
		t.Errorf("after a pause: %d of %d", m.mean(), m.count())
	}
	m.add(simStart, 9) // a clock set back
	if m.mean() != 9 {
		t.Errorf("after the clock was set back: %d", m.mean())
	}
}
