package linkmonitor

import (
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"openr/msg"
	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

func TestDrainAtStart(t *testing.T) {
	const flag = "/undrained"
	soft, hard, other := Drain{MetricIncrement: 100}, Drain{Overloaded: true}, Drain{MetricIncrement: 7}
	stored := func(d Drain) []byte { return drained(d).marshal() }
	for _, tc := range []struct {
		name         string
		assume, soft bool
		path         string
		exists       bool
		stored       []byte
		want         Drain
		store        bool // the state is not in the store so
	}{
		{name: "clean", soft: true, store: true},
		{name: "assumed, soft", assume: true, soft: true, want: soft, store: true},
		{name: "assumed, hard", assume: true, want: hard, store: true},
		{name: "flag missing, soft", soft: true, path: flag, want: soft, store: true},
		{name: "flag missing, hard", path: flag, want: hard, store: true},
		{name: "flag present", soft: true, path: flag, exists: true, store: true},
		{name: "flag present beats assume", assume: true, soft: true, path: flag, exists: true, store: true},

		{name: "store clean beats assume", assume: true, soft: true, stored: stored(Drain{})},
		{name: "store hard", soft: true, stored: stored(hard), want: hard},
		{name: "store soft", stored: stored(other), want: other},
		{name: "store both", stored: stored(Drain{true, 7}), want: Drain{true, 7}},
		{name: "flag present beats store", path: flag, exists: true, stored: stored(Drain{true, 7}), store: true},
		{name: "flag missing, soft, beats store", soft: true, path: flag, stored: stored(hard), want: soft, store: true},
		{name: "flag missing, hard, beats store", path: flag, stored: stored(other), want: hard, store: true},
		{name: "flag missing beats store clean", path: flag, stored: stored(Drain{}), want: hard, store: true},
		{name: "flag and store agree", path: flag, stored: stored(hard), want: hard},

		{name: "store broken, nothing assumed", stored: []byte{0xff, 0xff, 0xff}, store: true},
		{name: "store broken, drain assumed", assume: true, stored: []byte{0xff, 0xff, 0xff}, want: hard, store: true},
		{name: "store empty, drain assumed", assume: true, stored: []byte{}, want: hard, store: true},
	} {
		cfg := testConfig()
		cfg.AssumeDrained, cfg.SoftDrain, cfg.SoftDrainIncrement, cfg.UndrainedFlagPath = tc.assume, tc.soft, 100, tc.path
		got, problems := drainAtStart(cfg, tc.stored, tc.stored != nil, func(p string) bool { return p == flag && tc.exists })
		if got.Drain != tc.want || got.neverStored != tc.store {
			t.Errorf("%s: %+v, want %+v, to be stored %v", tc.name, got, tc.want, tc.store)
		}
		if broken := strings.HasPrefix(tc.name, "store broken") || strings.HasPrefix(tc.name, "store empty"); broken != (len(problems) > 0) {
			t.Errorf("%s: problems %q", tc.name, problems)
		}
	}

	d := newDriver(t, testConfig(), soft)
	if db := d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0")).database(t, area); db.MetricIncrement != 100 || db.Overloaded || db.Adjacencies[0].Metric != 101 {
		t.Errorf("soft drain: %+v", db)
	}
	d = newDriver(t, testConfig(), hard)
	if db := d.neighbors(neighbor(msg.NeighborUp, "n1", "eth0")).database(t, area); db.MetricIncrement != 0 || !db.Overloaded || db.Adjacencies[0].Metric != 1 {
		t.Errorf("hard drain: %+v", db)
	}
}

func TestFlagLeavesTheRestOfTheStoredState(t *testing.T) {
	s := drained(Drain{Overloaded: true})
	s.overloaded["eth0"], s.metrics["eth1"], s.increments["eth2"], s.adjMetrics[adjKey{"n1", "eth3"}] = true, 5, 6, 7
	cfg := testConfig()
	cfg.UndrainedFlagPath = "/undrained"
	got, problems := drainAtStart(cfg, s.marshal(), true, func(string) bool { return true })
	s.Overloaded = false
	if !got.equal(s) || len(problems) != 0 {
		t.Errorf("%+v %q, want %+v", got, problems, s)
	}
}

// The bytes of LinkMonitorState, written by hand from the compact protocol: field headers are (difference of ids) << 4 | type,
// numbers are zigzag varints.
func TestStoredStateByHand(t *testing.T) {
	for _, tc := range []struct {
		name, hex string
		want      drainState
	}{
		{name: "undrained, all maps empty", hex: "12" + "1a08" + "1b00" + "2b00" + "1b00" + "1500" + "1b00" + "00"},
		{name: "hard", hex: "11" + "00", want: drainState{Drain: Drain{Overloaded: true}}},
		{name: "soft 100", hex: "12" + "65c801" + "00", want: drainState{Drain: Drain{MetricIncrement: 100}}},
		{
			name: "everything",
			hex: "11" + // 1: isOverloaded true
				"1a18" + "0465746830" + // 2: set of one string, eth0
				"1b0185" + "0465746831" + "0a" + // 3: eth1 -> 5
				"2b01c5" + "18026e31" + "180465746832" + "00" + "0c" + // 5: {n1, eth2} -> 6
				"1b0185" + "0131" + "02" + // 6: "1" -> 1
				"150e" + // 7: 7
				"1b0185" + "0465746833" + "10" + // 8: eth3 -> 8
				"00",
			want: drainState{
				Drain: Drain{Overloaded: true, MetricIncrement: 7}, overloaded: map[string]bool{"eth0": true}, metrics: map[string]int32{"eth1": 5},
				adjMetrics: map[adjKey]int32{{"n1", "eth2"}: 6}, increments: map[string]int32{"eth3": 8}, labels: map[string]int32{"1": 1},
			},
		},
	} {
		b, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatal(err)
		}
		got, problems, err := unmarshalDrain(b)
		if err != nil || len(problems) != 0 {
			t.Errorf("%s: %v %q", tc.name, err, problems)
			continue
		}
		tc.want.fill()
		if !got.equal(&tc.want) || len(got.labels) != len(tc.want.labels) || got.labels["1"] != tc.want.labels["1"] {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
		if tc.name == "everything" && hex.EncodeToString(got.marshal()) != tc.hex {
			t.Errorf("written %x, want %s", got.marshal(), tc.hex)
		}
	}
}

func TestStoredNonsenseIsLeftOut(t *testing.T) {
	b := compact.Marshal(&types.LinkMonitorState{
		IsOverloaded: true, NodeMetricIncrementVal: -5, OverloadedLinks: []string{"eth0"},
		LinkMetricOverrides: map[string]int32{"eth0": 0, "eth1": 9}, LinkMetricIncrementMap: map[string]int32{"eth0": -1, "eth1": 8},
		AdjMetricOverrides: map[*types.AdjKey]int32{{NodeName: "a", IfName: "eth0"}: -1, {NodeName: "b", IfName: "eth0"}: 7},
		NodeLabelMap:       map[string]int32{"x": -1},
	})
	got, problems, err := unmarshalDrain(b)
	if err != nil {
		t.Fatal(err)
	}
	want := &drainState{
		Drain: Drain{Overloaded: true}, overloaded: map[string]bool{"eth0": true}, metrics: map[string]int32{"eth1": 9},
		increments: map[string]int32{"eth1": 8}, adjMetrics: map[adjKey]int32{{"b", "eth0"}: 7}, labels: map[string]int32{"x": -1},
	}
	if !reflect.DeepEqual(got, want) || len(problems) != 4 {
		t.Errorf("%+v\nwant %+v\nproblems %q", got, want, problems)
	}
}

func TestStoredStateRoundTrip(t *testing.T) {
	name := rapid.StringN(0, 20, 40)
	positive := rapid.Int32Min(1)
	rapid.Check(t, func(t *rapid.T) {
		want := drained(Drain{Overloaded: rapid.Bool().Draw(t, "overloaded"), MetricIncrement: rapid.Int32Min(0).Draw(t, "increment")})
		for _, n := range rapid.SliceOf(name).Draw(t, "overloaded links") {
			want.overloaded[n] = true
		}
		want.metrics = rapid.MapOf(name, positive).Draw(t, "metrics")
		want.increments = rapid.MapOf(name, positive).Draw(t, "increments")
		want.labels = rapid.MapOf(name, rapid.Int32()).Draw(t, "labels")
		for range rapid.IntRange(0, 5).Draw(t, "adjacencies") {
			want.adjMetrics[adjKey{name.Draw(t, "node"), name.Draw(t, "if")}] = positive.Draw(t, "metric")
		}
		got, problems, err := unmarshalDrain(want.marshal())
		if err != nil || len(problems) != 0 || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v %q %v, want %+v", got, problems, err, want)
		}
	})
}

func FuzzStoredState(f *testing.F) {
	s := drained(Drain{true, 7})
	s.overloaded["eth0"], s.metrics["eth1"], s.increments["eth2"], s.adjMetrics[adjKey{"n1", "eth3"}] = true, 5, 6, 7
	f.Add(s.marshal())
	f.Add([]byte{0x11, 0})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, err := unmarshalDrain(b)
		if err != nil {
			return
		}
		again, problems, err := unmarshalDrain(s.marshal())
		if err != nil || len(problems) != 0 || !again.equal(s) {
			t.Fatalf("%+v, again %+v %q %v", s, again, problems, err)
		}
	})
}
