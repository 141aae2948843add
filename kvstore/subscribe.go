package kvstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"openr/lsdb"
	"openr/queue"
)

// Limits on those who watch.
const (
	maxSubscriptions = 1000
	maxLongPolls     = 1000
	// longPollTime is when an unanswered long poll is answered with no (Open/R Constants::kLongPollReqHoldTime).
	longPollTime = 20 * time.Second
)

var (
	// ErrTooMany is returned (wrapped) when more clients want to watch the store than it lets.
	ErrTooMany = errors.New("too many at the same time")
	// ErrTooSlow is returned by Subscription.Next when so many keys have expired unread that it cannot be told any more
	// which. The subscription is over; the reader has to subscribe again.
	ErrTooSlow = errors.New("subscription has fallen too far behind")
)

// Update is what has changed in one area.
type Update struct {
	Area      string
	KeyVals   map[string]lsdb.Value // what was set, or refreshed: then without Data. TTLs are what is left, less the decrement of one hop
	Expired   []string
	NodeIDs   []string  // nodes that have seen the change, the latest, this one, last; nil if several changes were merged
	Timestamp time.Time // when the store changed, or of the merging
}

func (u *Update) empty() bool { return len(u.KeyVals) == 0 && len(u.Expired) == 0 }

// Subscription tells of the changes of a store since it was made. Use it from one goroutine; Close may come from any.
type Subscription struct {
	k      *KvStore
	view   view
	areas  []string // as the store calls them, in configured order
	seen   uint64   // number of the latest change that was shown
	merged []Update // to be shown before anything else
	closed chan struct{}
	close  func()
}

// Subscribe returns what the store holds of the areas (none: all; in configured order), and what changes from there on,
// without a gap and without repetition. p selects keys as for Dump and applies to both; with p.IgnoreTTL updates without
// content are left out of what follows.
//
// Errors: ErrUnknownArea; ErrTooMany; a key filter that is no regular expression; ctx's error or queue.ErrStopped.
func (k *KvStore) Subscribe(ctx context.Context, areas []string, p DumpParams) (first []SyncAnswer, s *Subscription, err error) {
	f, err := newFilter(p)
	if err != nil {
		return nil, nil, fmt.Errorf("keys: %w", err)
	}
	s, parts, err := k.watch(ctx, k.subscriptions, "subscribeAndGetAreaKvStores", areas, view{filter: f, noTTL: p.IgnoreTTL, noValue: p.DoNotPublishValue})
	if err != nil {
		return nil, nil, err
	}
	for i, part := range parts {
		answer := SyncAnswer{Area: s.areas[i]}
		err := k.dumping(ctx, part.n, p.compares(), func() { part.answer(time.Now(), f, p, &answer) })
		if err != nil {
			s.Close()
			return nil, nil, err
		}
		first = append(first, answer)
	}
	return first, s, nil
}

// watch makes a subscription and returns the tables of its areas as they stand when it begins. places bounds how many there
// are.
func (k *KvStore) watch(ctx context.Context, places chan struct{}, caller string, areas []string, v view) (*Subscription, []snapshot, error) {
	select {
	case places <- struct{}{}:
	default:
		return nil, nil, fmt.Errorf("%w: %d", ErrTooMany, cap(places))
	}
	s := &Subscription{k: k, view: v, closed: make(chan struct{})}
	s.close = sync.OnceFunc(func() {
		close(s.closed)
		k.core.watched.Add(-1)
		k.feed.leave()
		<-places
	})
	k.feed.join()
	k.core.watched.Add(1)
	var parts []snapshot
	err := k.ask(ctx, func() error {
		want := map[*area]bool{}
		for _, id := range areas {
			a, err := k.core.area(id, caller)
			if err != nil {
				return err
			}
			want[a] = true
		}
		for _, id := range k.configured() {
			if a := k.core.areas[id]; len(areas) == 0 || want[a] {
				a.table.watched = true
				s.areas = append(s.areas, id)
				parts = append(parts, a.table.snapshot())
			}
		}
		s.seen = k.core.changes
		return nil
	})
	if err != nil {
		s.close()
		return nil, nil, err
	}
	return s, parts, nil
}

// configured returns the areas in the order of the configuration.
func (k *KvStore) configured() []string { return k.opts.Config.AreaIDs() }

// Next waits for the next change and returns it. Changes that nobody reads are merged: the latest of each key is shown, per
// area. Updates are never empty.
//
// Errors: ctx's; io.EOF when the store has stopped or the subscription was closed; ErrTooSlow.
func (s *Subscription) Next(ctx context.Context) (Update, error) {
	for {
		if len(s.merged) > 0 {
			u := s.merged[0]
			s.merged = s.merged[1:]
			return u, nil
		}
		b, wait, behind, err := s.k.feed.after(s.seen)
		switch {
		case err != nil:
			return Update{}, err
		case behind:
			if err := s.catchUp(ctx); err != nil {
				return Update{}, err
			}
		case wait == nil:
			s.seen = b.n
			if slices.Contains(s.areas, b.area) {
				if u := s.view.batch(time.Now(), &b); !u.empty() {
					return u, nil
				}
			}
		default:
			select {
			case <-wait:
			case <-s.closed:
				return Update{}, io.EOF
			case <-ctx.Done():
				return Update{}, ctx.Err()
			}
		}
	}
}

// catchUp finds in the tables what the feed no longer keeps.
func (s *Subscription) catchUp(ctx context.Context) error {
	type part struct {
		s    snapshot
		gone []removal
	}
	var parts []part
	seen, forgotten := s.seen, false
	err := s.k.ask(ctx, func() error {
		for _, id := range s.areas {
			t := s.k.core.areas[id].table
			forgotten = forgotten || seen < t.forgotten
			parts = append(parts, part{t.snapshot(), t.gone})
		}
		s.seen = s.k.core.changes
		return nil
	})
	switch {
	case errors.Is(err, queue.ErrStopped):
		return io.EOF
	case err != nil:
		return err
	case forgotten:
		s.k.opts.Counters.Count(cntLostReaders)
		return ErrTooSlow
	}
	s.k.opts.Counters.Count(cntSlowReaders)
	for i, p := range parts {
		if u := s.view.merged(time.Now(), seen, s.areas[i], p.s, p.gone); !u.empty() {
			s.merged = append(s.merged, u)
		}
	}
	return nil
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() { s.close() }

// LongPollAdj waits until the adjacencies of an area are not, or no longer, those of snapshot, which the asker got from an
// earlier dump: keys that begin with "adj:", with their hashes. It returns false if nothing has happened for 20 s. TTL
// updates do not count.
//
// Errors: ErrUnknownArea; ErrTooMany; ctx's error or queue.ErrStopped.
func (k *KvStore) LongPollAdj(ctx context.Context, area string, snapshot map[string]lsdb.Value) (changed bool, err error) {
	adjacencies := filter{prefix: lsdb.AdjKey("")}
	s, parts, err := k.watch(ctx, k.longPolls, "longPollKvStoreAdjArea", []string{area}, view{filter: adjacencies, noTTL: true, noValue: true})
	if err != nil {
		return false, err
	}
	defer s.Close()
	digest := make(map[string]lsdb.Value, len(snapshot))
	for key, v := range snapshot {
		if strings.HasPrefix(key, adjacencies.prefix) {
			digest[key] = v
		}
	}
	if parts[0].differs(adjacencies, digest) {
		return true, nil
	}
	wait, cancel := context.WithTimeout(ctx, longPollTime)
	defer cancel()
	_, err = s.Next(wait)
	switch {
	case err == nil || errors.Is(err, ErrTooSlow):
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return false, nil
	case errors.Is(err, io.EOF):
		err = queue.ErrStopped
	}
	return false, err
}
