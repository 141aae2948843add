package ctrl

import (
	"maps"
	"slices"
	"sync"
	"time"

	"openr/monitor"
	"openr/thrift/gen/openrctrl"
)

// streamKind is what a stream carries.
type streamKind int

const (
	streamKvStore streamKind = iota
	streamFib
	streamFibDetail
	streamEndpoints
)

var streamCounters = [...]string{streamKvStore: cntSubKvStore, streamFib: cntSubFib, streamFibDetail: cntSubFibDetail, streamEndpoints: cntSubEndpoints}

// subscribers knows the streams that are open.
type subscribers struct {
	counters *monitor.Counters

	mu   sync.Mutex // guards what follows
	last int64      // id given last
	open map[int64]*subscriber
	n    [len(streamCounters)]int64
}

// subscriber is one open stream.
type subscriber struct {
	id    int64
	kind  streamKind
	since time.Time

	// Guarded by subscribers.mu.
	messages int64
	sent     time.Time // zero: nothing yet
}

func newSubscribers(c *monitor.Counters) *subscribers {
	for _, name := range streamCounters {
		c.Set(name, 0)
	}
	return &subscribers{counters: c, open: map[int64]*subscriber{}}
}

func (s *subscribers) add(kind streamKind) *subscriber {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	sub := &subscriber{id: s.last, kind: kind, since: time.Now()}
	s.open[sub.id] = sub
	s.n[kind]++
	s.counters.Set(streamCounters[kind], s.n[kind])
	return sub
}

// sent notes that the stream carries one more element.
func (s *subscribers) sent(sub *subscriber, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.messages, sub.sent = sub.messages+1, now
}

func (s *subscribers) remove(sub *subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[sub.id] == nil {
		return
	}
	delete(s.open, sub.id)
	s.n[sub.kind]--
	s.counters.Set(streamCounters[sub.kind], s.n[sub.kind])
}

// info returns the open streams of some kinds, sorted by id. Times are milliseconds: the uptime since the stream was
// opened, the last message since the epoch, 0 if there was none.
func (s *subscribers) info(now time.Time, kinds ...streamKind) []*openrctrl.StreamSubscriberInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []*openrctrl.StreamSubscriberInfo{}
	for _, id := range slices.Sorted(maps.Keys(s.open)) {
		sub := s.open[id]
		if !slices.Contains(kinds, sub.kind) {
			continue
		}
		t := &openrctrl.StreamSubscriberInfo{SubscriberID: sub.id, Uptime: now.Sub(sub.since).Milliseconds(), TotalStreamedMsgs: sub.messages}
		if !sub.sent.IsZero() {
			t.LastMsgSentTime = sub.sent.UnixMilli()
		}
		out = append(out, t)
	}
	return out
}
