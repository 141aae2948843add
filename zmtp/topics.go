package zmtp

import (
	"slices"
	"sync"
)

// topics is a set of subscriptions, each counted as often as it was made (29/PUBSUB). A message matches if its first part
// begins with one of them.
type topics struct {
	mu      sync.RWMutex // guards what follows
	count   map[string]int
	lengths []length // of the subscriptions, growing
	bytes   int
}

type length struct{ octets, subscriptions int }

// topicBytes is how long a subscription may be on average.
const topicBytes = 64

// add makes a subscription; first tells that there was none like it. Without ok it would be one too many. limit 0 is none.
func (t *topics) add(topic string, limit int) (first, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count[topic] > 0 {
		t.count[topic]++
		return false, true
	}
	if limit > 0 && (len(t.count) >= limit || t.bytes+len(topic) > limit*topicBytes) {
		return false, false
	}
	if t.count == nil {
		t.count = map[string]int{}
	}
	t.count[topic] = 1
	t.bytes += len(topic)
	i, found := t.find(len(topic))
	if !found {
		t.lengths = slices.Insert(t.lengths, i, length{octets: len(topic)})
	}
	t.lengths[i].subscriptions++
	return true, true
}

// remove cancels a subscription that was made; last tells that it was not made more than once.
func (t *topics) remove(topic string) (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch t.count[topic] {
	case 0:
		return false
	case 1:
	default:
		t.count[topic]--
		return false
	}
	delete(t.count, topic)
	t.bytes -= len(topic)
	i, _ := t.find(len(topic))
	if t.lengths[i].subscriptions--; t.lengths[i].subscriptions == 0 {
		t.lengths = slices.Delete(t.lengths, i, i+1)
	}
	return true
}

func (t *topics) find(octets int) (i int, found bool) {
	return slices.BinarySearchFunc(t.lengths, octets, func(l length, n int) int { return l.octets - n })
}

// match tells whether a message that begins so is wanted.
func (t *topics) match(first []byte) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, l := range t.lengths {
		if l.octets > len(first) {
			return false
		}
		if t.count[string(first[:l.octets])] > 0 {
			return true
		}
	}
	return false
}

// all returns each subscription once.
func (t *topics) all() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]string, 0, len(t.count))
	for topic := range t.count {
		all = append(all, topic)
	}
	return all
}
