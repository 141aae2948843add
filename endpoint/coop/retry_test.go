package coop

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"openr/endpoint"
)

// An oracle that answers is at work: what was sent after the message that it answers has its time from then on, so that one with much
// to do is not told everything twice. What was sent before is lost, and repeated when it is due.
func TestRepeatsOnlyWhatIsLate(t *testing.T) {
	tep := netip.MustParseAddr("10.0.0.1")
	c, err := NewCitizen(CitizenOptions{Node: "leaf1", Area: "0", Epoch: 1, TEPs: []netip.Addr{tep}})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Unix(1_767_225_600, 0)
	from := func(ack uint64, b Body) *Message { return &Message{Header{"0", 9, 1, ack}, b} }
	published := func(effects []Effect) (seqs []uint64) {
		for _, e := range effects {
			if e.Kind == Send && e.Message.Body.Type() == TypePublish {
				seqs = append(seqs, e.Message.Seq)
			}
		}
		return seqs
	}
	c.Up(begin, "spine1")
	c.Receive(begin, "spine1", from(1, &HelloAck{Ready: true}))
	var sent []uint64
	for i := range 3 {
		rec := endpoint.Record{Key: testKey(100, i), VRF: 1, TEP: tep, Port: "swp1", Seq: 1, TS: begin.UnixNano()}
		sent = append(sent, published(c.Publish(begin, &rec, endpoint.CauseLearn))...)
	}
	if len(sent) != 3 {
		t.Fatalf("%d messages for three publications", len(sent))
	}
	at := func(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }
	c.Receive(at(150), "spine1", from(sent[1], &Ack{Results: []Result{{Outcome: OutcomeOK, Seq: 1}}}))
	for _, tt := range []struct {
		ms   int
		want []uint64
	}{{199, nil}, {200, sent[:1]}, {349, nil}, {350, sent[2:]}, {600, sent[:1]}} {
		if got := published(c.Tick(at(tt.ms))); !slices.Equal(got, tt.want) {
			t.Errorf("after %d ms messages %v are repeated, want %v of %v", tt.ms, got, tt.want, sent)
		}
	}
}

// Of what waits for the citizen the newest statement counts, in the order of time; a claim that it replaces stays a claim.
func TestStatementsMerge(t *testing.T) {
	s := statements{wake: make(chan struct{}, 1), at: map[endpoint.Key]int{}}
	put := func(i int, seq uint32, c endpoint.Cause) { s.put(&endpoint.Record{Key: testKey(1, i), Seq: seq}, c) }
	for round := range 3 {
		many := 10
		if round == 1 {
			many = 1000
		}
		for i := range many {
			put(i, 1, endpoint.CauseLearn)
		}
		put(0, 2, endpoint.CauseRefresh)
		put(1, 2, endpoint.CauseAge)
		all := s.take()
		if len(all) != many || all[many-2].rec.Seq != 2 || all[many-2].cause != endpoint.CauseLearn || all[many-1].cause != endpoint.CauseAge {
			t.Fatalf("round %d: %d statements, the last are %+v", round, len(all), all[max(0, len(all)-2):])
		}
		if rest := s.take(); len(rest) != 0 {
			t.Fatalf("round %d: %d statements are taken twice", round, len(rest))
		}
	}
}
