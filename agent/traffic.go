package agent

import "openr/monitor"

// traffic is what counters tell of a queue.
type traffic interface {
	Stats() (pushed, merged uint64)
	Waiting() int
}

// reader is one end of what Open/R calls a replicate queue.
type reader struct {
	id    string
	queue traffic
}

// countTraffic makes counters of the queues between modules, under the names of Open/R's messaging library: each message
// goes to all readers of its queue, and here each reader merges what it has not taken yet.
func countTraffic(c *monitor.Counters, queues map[string][]reader) {
	c.Source(func(set func(name string, v int64)) {
		for name, readers := range queues {
			var most uint64
			for _, r := range readers {
				pushed, merged := r.queue.Stats()
				waiting := r.queue.Waiting()
				most = max(most, pushed)
				of := "messaging.rw_queue." + name + "-" + r.id + "."
				set(of+"sent", int64(pushed))
				set(of+"read", max(0, int64(pushed-merged)-int64(waiting)))
				set(of+"merged", int64(merged)) // own name: messages that came while one waited
				set(of+"size", int64(waiting))
			}
			set("messaging.replicate_queue."+name+".messages_sent", int64(most))
			set("messaging.replicate_queue."+name+".readers", int64(len(readers)))
		}
	})
}
