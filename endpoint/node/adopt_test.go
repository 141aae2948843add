package node

import (
	"slices"
	"testing"
	"time"

	"openr/endpoint"
)

func key(i byte) endpoint.Key {
	return endpoint.Key{BD: 1, MAC: endpoint.MAC{2, 0, 0, 0, 0, i}}
}

// TestAdopt: what was found stays until the core or the directory says otherwise, and nobody is asked before there is an
// oracle that knows all.
func TestAdopt(t *testing.T) {
	leaf2 := addr("10.0.0.2")
	a, todo := adopt([]endpoint.Action{
		{Kind: endpoint.ProgramRemote, Key: key(1), TEP: leaf2}, {Kind: endpoint.ProgramRemote, Key: key(2), TEP: leaf2},
		{Kind: endpoint.FreezeMAC, Key: key(3), TEP: leaf2}, {Kind: endpoint.BounceOn, Key: key(4), TEP: leaf2},
		{Kind: endpoint.BounceOn, Key: key(5), TEP: leaf2}, {Kind: endpoint.BounceOn, Key: key(6), TEP: leaf2},
	})
	if len(todo) != 2 || todo[0].Kind != endpoint.UnfreezeMAC || todo[1].Kind != endpoint.ProgramRemote || todo[1].TEP != leaf2 {
		t.Errorf("at once: %v", todo)
	}
	todo = a.heed([]endpoint.Action{
		{Kind: endpoint.ProgramRemote, Key: key(1), TEP: leaf2}, {Kind: endpoint.ProgramRemote, Key: key(4), TEP: leaf2},
		{Kind: endpoint.ProgramLocal, Key: key(5)}, {Kind: endpoint.BounceOn, Key: key(6)}, {Kind: endpoint.ProgramLocal, Key: key(6)},
	})
	if len(todo) != 1 || todo[0].Kind != endpoint.BounceOff || todo[0].Key != key(5) {
		t.Errorf("bounces that end: %v", todo)
	}
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		after time.Duration
		ready bool
		want  []endpoint.Key
	}{
		{0, false, nil}, {0, true, nil}, {settleTime - 1, true, nil}, {settleTime, false, nil}, {settleTime, true, nil},
		{2 * settleTime, true, []endpoint.Key{key(2), key(3)}}, {2*settleTime + 1, true, nil}, {2*settleTime + askAgain, true, []endpoint.Key{key(2), key(3)}},
	} {
		if got := a.ask(now.Add(c.after), c.ready); !slices.Equal(got, c.want) {
			t.Errorf("after %v: asks for %v, want %v", c.after, got, c.want)
		}
	}
	if todo := a.nobody(key(2)); len(todo) != 1 || todo[0].Kind != endpoint.Remove {
		t.Errorf("nobody has it: %v", todo)
	}
	if todo := a.nobody(key(1)); len(todo) != 0 {
		t.Errorf("the core has it: %v", todo)
	}
}

// TestProgramOf: what the kernel refused is asked of it again as the core has it by then.
func TestProgramOf(t *testing.T) {
	now := time.Unix(1000, 0)
	leaf2 := addr("10.0.0.2")
	remote := endpoint.Place{TEP: leaf2}
	for _, c := range []struct {
		v     endpoint.View
		there bool
		want  []endpoint.ActionKind
	}{
		{endpoint.View{}, false, []endpoint.ActionKind{endpoint.Remove}},
		{endpoint.View{State: endpoint.Local, Place: endpoint.Place{Port: "p"}}, true, []endpoint.ActionKind{endpoint.ProgramLocal}},
		{endpoint.View{State: endpoint.Probing, Place: endpoint.Place{Port: "p"}}, true, []endpoint.ActionKind{endpoint.ProgramLocal}},
		{endpoint.View{State: endpoint.Remote, Place: remote}, true, []endpoint.ActionKind{endpoint.ProgramRemote}},
		{endpoint.View{State: endpoint.Frozen, Place: remote}, true, []endpoint.ActionKind{endpoint.FreezeMAC}},
		{endpoint.View{State: endpoint.Bounce, Place: remote, Until: now.Add(time.Second)}, true, []endpoint.ActionKind{endpoint.ProgramRemote, endpoint.BounceOn}},
		{endpoint.View{State: endpoint.Bounce, Place: remote, Until: now}, true, []endpoint.ActionKind{endpoint.ProgramRemote}},
	} {
		var kinds []endpoint.ActionKind
		for _, a := range programOf(key(1), c.v, c.there, now) {
			kinds = append(kinds, a.Kind)
			if a.Key != key(1) || a.TEP != c.v.Place.TEP || a.Port != c.v.Place.Port {
				t.Errorf("%v of %+v", a, c.v)
			}
		}
		if !slices.Equal(kinds, c.want) {
			t.Errorf("%+v: %v, want %v", c.v, kinds, c.want)
		}
	}
}

// TestLatest: of each endpoint the newest of each kind stays, in order.
func TestLatest(t *testing.T) {
	e := func(k endpoint.EventKind, i byte, seq uint32) endpoint.Event {
		return endpoint.Event{Kind: k, Key: key(i), Seq: seq}
	}
	got := latest([]endpoint.Event{
		e(endpoint.Acked, 1, 1), e(endpoint.FromDirectory, 1, 2), e(endpoint.FromDirectory, 2, 3), e(endpoint.FromDirectory, 1, 4),
		{Kind: endpoint.Glean, Key: key(1), IP: addr("10.0.0.1")}, {Kind: endpoint.Glean, Key: key(1), IP: addr("10.0.0.2")}, e(endpoint.Acked, 1, 5),
	})
	var seqs []uint32
	for _, e := range got {
		seqs = append(seqs, e.Seq)
	}
	if !slices.Equal(seqs, []uint32{3, 4, 0, 0, 5}) {
		t.Errorf("kept %v", got)
	}
}
