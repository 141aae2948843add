package monitor

import (
	"encoding/json"
	"sync"
	"time"
)

// EventLog keeps the most recent events (neighbour up, interface down, full sync ...) as JSON text, oldest first, in the
// form of Open/R's log samples. A nil *EventLog drops everything.
type EventLog struct {
	node string
	max  int

	mu     sync.Mutex // guards what follows
	events []string
}

// NewEventLog returns a log that keeps the last max events of a node; max 0 keeps none.
func NewEventLog(node string, max int) *EventLog { return &EventLog{node: node, max: max} }

// Add records an event by name with its text and number fields, which the log may keep.
func (l *EventLog) Add(event string, text map[string]string, numbers map[string]int64) {
	if l == nil || l.max <= 0 {
		return
	}
	normal := map[string]string{"event": event, "node_name": l.node}
	for k, v := range text {
		normal[k] = v
	}
	ints := map[string]int64{"time": time.Now().Unix()}
	for k, v := range numbers {
		ints[k] = v
	}
	b, err := json.Marshal(map[string]any{"int": ints, "normal": normal})
	if err != nil {
		return // maps of strings and integers always encode
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) >= l.max {
		l.events = append(l.events[:0:0], l.events[len(l.events)-l.max+1:]...)
	}
	l.events = append(l.events, string(b))
}

// Events returns the kept events, oldest first.
func (l *EventLog) Events() []string {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.events...)
}
