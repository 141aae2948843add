package queue_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"

	"openr/queue"
)

func TestQueueMergesWhatWaits(t *testing.T) {
	q := queue.New(func(waiting, next []int) []int { return append(waiting, next...) })
	if _, ok := q.Take(); ok {
		t.Fatal("Take on an empty queue returned something")
	}
	q.Push([]int{1})
	q.Push([]int{2, 3})
	<-q.C()
	got, ok := q.Take()
	if !ok || len(got) != 3 || got[2] != 3 {
		t.Fatalf("Take = %v, %v; want [1 2 3], true", got, ok)
	}
	if _, ok := q.Take(); ok {
		t.Fatal("the same value was taken twice")
	}
	if pushed, merged := q.Stats(); pushed != 2 || merged != 1 {
		t.Errorf("Stats = %d, %d; want 2, 1", pushed, merged)
	}
	if n := q.Waiting(); n != 0 {
		t.Errorf("%d wait in a queue from which all was taken", n)
	}
	if q.Push([]int{1}); q.Waiting() != 1 {
		t.Errorf("%d wait, want 1", q.Waiting())
	}
}

// TestSharedValuesAreLeftAlone: what several queues are given is copied by those that have to change it.
func TestSharedValuesAreLeftAlone(t *testing.T) {
	merge := func(waiting, next map[string]int) map[string]int {
		maps.Copy(waiting, next)
		return waiting
	}
	slow, quick := queue.New(merge), queue.New(merge)
	clones := 0
	clone := func(m map[string]int) map[string]int {
		clones++
		return maps.Clone(m)
	}
	first, second := map[string]int{"a": 1}, map[string]int{"b": 2}
	slow.PushShared(first, clone)
	quick.PushShared(first, clone)
	if got, _ := quick.Take(); len(got) != 1 {
		t.Errorf("the quick one took %v", got)
	}
	slow.PushShared(second, clone)
	quick.PushShared(second, clone)
	slow.Push(map[string]int{"c": 3})
	if got, _ := slow.Take(); len(got) != 3 {
		t.Errorf("the slow one took %v", got)
	}
	if got, _ := quick.Take(); len(got) != 1 {
		t.Errorf("the quick one took %v", got)
	}
	if len(first) != 1 || len(second) != 1 || clones != 1 {
		t.Errorf("%v and %v were shared, and cloned %d times", first, second, clones)
	}
	quick.Push(map[string]int{"d": 4}) // one's own again
	quick.Push(map[string]int{"e": 5})
	if got, _ := quick.Take(); len(got) != 2 || clones != 1 {
		t.Errorf("took %v, %d clones", got, clones)
	}
}

func TestLatestReplaces(t *testing.T) {
	q := queue.Latest[string]()
	q.Push("old")
	q.Push("new")
	if got, _ := q.Take(); got != "new" {
		t.Errorf("Take = %q, want the newest", got)
	}
}

func TestNilQueueIsNeverReady(t *testing.T) {
	var q *queue.Queue[int]
	select {
	case <-q.C():
		t.Error("a nil queue was ready")
	default:
	}
	if _, ok := q.Take(); ok {
		t.Error("a nil queue held something")
	}
}

// TestNothingIsLost pushes from many goroutines while one takes: every value arrives, merged or not, and the last
// signal is never missed.
func TestNothingIsLost(t *testing.T) {
	const producers, each = 8, 2000
	q := queue.New(func(a, b int) int { return a + b })
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for range each {
				q.Push(1)
			}
		})
	}
	total := 0
	for total < producers*each {
		<-q.C()
		v, _ := q.Take()
		total += v
	}
	wg.Wait()
	if total != producers*each {
		t.Errorf("took %d, pushed %d", total, producers*each)
	}
}

func TestCallsRunOnTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := queue.NewCalls()
		state, stop := 0, make(chan struct{})
		go func() {
			defer calls.Stop()
			for {
				select {
				case f := <-calls.C():
					f()
				case <-stop:
					return
				}
			}
		}()
		for range 3 {
			if err := calls.Do(t.Context(), func() { state++ }); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		synctest.Wait()
		if state != 3 {
			t.Errorf("state = %d, want 3", state)
		}
		if err := calls.Do(t.Context(), func() { state++ }); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("Do after Stop = %v, want ErrStopped", err)
		}
	})
}

func TestCallsGiveUpWithTheContext(t *testing.T) {
	calls := queue.NewCalls() // nobody receives
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := calls.Do(ctx, func() { t.Error("ran") }); !errors.Is(err, context.Canceled) {
		t.Errorf("Do = %v, want context.Canceled", err)
	}
}
