package kvstore

import (
	"slices"
	"testing"
	"time"
)

func TestNextState(t *testing.T) {
	for _, tt := range []struct {
		state PeerState
		event peerEvent
		want  PeerState
		ok    bool
	}{
		{PeerIdle, peerAdd, PeerSyncing, true},
		{PeerIdle, peerSyncDone, PeerIdle, false},
		{PeerIdle, peerFailed, PeerIdle, true},
		{PeerIdle, peerDisagrees, PeerIdle, true},
		{PeerSyncing, peerAdd, PeerSyncing, false},
		{PeerSyncing, peerSyncDone, PeerInitialized, true},
		{PeerSyncing, peerFailed, PeerIdle, true},
		{PeerSyncing, peerDisagrees, PeerIdle, true},
		{PeerInitialized, peerAdd, PeerInitialized, false},
		{PeerInitialized, peerSyncDone, PeerInitialized, true},
		{PeerInitialized, peerFailed, PeerIdle, true},
		{PeerInitialized, peerDisagrees, PeerIdle, true},
	} {
		if got, ok := nextState(tt.state, tt.event); got != tt.want || ok != tt.ok {
			t.Errorf("%v, event %d: %v, %v; want %v, %v", tt.state, tt.event, got, ok, tt.want, tt.ok)
		}
	}
}

func TestFlaps(t *testing.T) {
	p := &peer{flaps: -1}
	var got []int
	for _, e := range []peerEvent{peerAdd, peerSyncDone, peerFailed, peerFailed, peerAdd, peerSyncDone} {
		p.to(start, e)
		got = append(got, p.flaps)
	}
	if want := []int{-1, 0, 1, 1, 1, 2}; !slices.Equal(got, want) {
		t.Errorf("flaps %v, want %v", got, want)
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{initial: 4 * time.Second, max: 10 * time.Second}
	for i, want := range []time.Duration{4, 8, 10, 10, 0, 4, 8} {
		if want == 0 {
			b.success()
		} else if got := b.failure(); got != want*time.Second {
			t.Errorf("failure %d: wait %v, want %v s", i, got, int(want))
		}
	}
	same := backoff{initial: time.Second, max: time.Second}
	for range 3 {
		if got := same.failure(); got != time.Second {
			t.Errorf("wait %v, want 1s", got)
		}
	}
}

func TestPendingCoalesces(t *testing.T) {
	var q pending
	path := []string{"a", "me"}
	q.add("k", false, path, "me")
	q.add("l", true, path, "me")
	if !slices.Equal(q.path, path) {
		t.Errorf("same path became %v", q.path)
	}
	q.add("k", true, []string{"b", "me"}, "me")
	q.add("k", false, []string{"b", "me"}, "me")
	if len(q.keys) != 2 || !q.keys["k"] || !slices.Equal(q.path, []string{"me"}) {
		t.Errorf("pending %+v", q)
	}
	q.drop("k", false)
	if len(q.keys) != 2 {
		t.Error("a refresh from the peer took data off the queue")
	}
	q.drop("k", true)
	q.drop("l", true)
	q.drop("m", true)
	if len(q.keys) != 0 {
		t.Errorf("left: %v", q.keys)
	}
	q.add("k", true, path, "me")
	if !slices.Equal(q.path, path) {
		t.Errorf("path after emptying is %v", q.path)
	}
}

func TestBucket(t *testing.T) {
	b := newBucket(10, 3, start)
	for i := range 3 {
		if ok, _ := b.take(start); !ok {
			t.Fatalf("no token %d of the burst", i)
		}
	}
	ok, retry := b.take(start)
	if ok || retry.Before(at(100*time.Millisecond)) || retry.After(at(101*time.Millisecond)) {
		t.Errorf("token %v, retry %v", ok, retry)
	}
	if ok, _ := b.take(retry); !ok {
		t.Error("no token when there should be one")
	}
	b.take(at(time.Hour))
	if b.tokens != 2 {
		t.Errorf("%v tokens after an hour, want the burst less one", b.tokens)
	}
	unlimited := newBucket(0, 0, start)
	for range 1000 {
		if ok, _ := unlimited.take(start); !ok {
			t.Fatal("no rate must mean no limit")
		}
	}
}

func TestAreaType(t *testing.T) {
	for area, want := range map[string]string{"x.p001": "POD", "x.s002": "SPINE", "x.slice003": "SLICE", "x.fa004": "HGRID", "0": "UNKNOWN", "p001": "UNKNOWN"} {
		if got := areaType(area); got != want {
			t.Errorf("areaType(%q) = %s, want %s", area, got, want)
		}
	}
}
