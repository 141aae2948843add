package agent

import (
	"testing"

	"openr/monitor"
	"openr/queue"
)

func TestCountTraffic(t *testing.T) {
	c := monitor.NewCounters()
	fast, slow := queue.Latest[int](), queue.Latest[int]()
	countTraffic(c, map[string][]reader{"kvStorePublicationsQueue": {{"decision", fast}, {"prefixManager", slow}}})
	for i := range 3 {
		fast.Push(i)
		fast.Take()
		slow.Push(i)
	}
	const replicate, rw = "messaging.replicate_queue.kvStorePublicationsQueue.", "messaging.rw_queue.kvStorePublicationsQueue-"
	snapshot := c.Snapshot()
	for name, want := range map[string]int64{
		replicate + "messages_sent": 3, replicate + "readers": 2,
		rw + "decision.sent": 3, rw + "decision.read": 3, rw + "decision.merged": 0, rw + "decision.size": 0,
		rw + "prefixManager.sent": 3, rw + "prefixManager.read": 0, rw + "prefixManager.merged": 2, rw + "prefixManager.size": 1,
	} {
		if got, ok := snapshot[name]; !ok || got != want {
			t.Errorf("%s is %d (there: %v), want %d", name, got, ok, want)
		}
	}
}
