package monitor

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"time"
)

// EventLog keeps the most recent events (neighbour up, interface down, full sync ...) as JSON text, oldest first, in the
// form of Open/R's log samples. A nil *EventLog drops everything.
type EventLog struct {
	node string
	max  int

	mu     sync.Mutex // guards what follows
	events []string   // a ring once it is full
	oldest int        // where the ring begins
}

// NewEventLog returns a log that keeps the last max events of a node; max 0 keeps none.
func NewEventLog(node string, max int) *EventLog { return &EventLog{node: node, max: max} }

// Add records an event by name with its text and number fields, which the log may keep. Fields take precedence over what
// the log itself says: the event's name, the node, the time in seconds since the epoch.
func (l *EventLog) Add(event string, text map[string]string, numbers map[string]int64) {
	if l == nil || l.max <= 0 {
		return
	}
	normal := map[string]string{"event": event, "node_name": l.node}
	maps.Copy(normal, text)
	ints := map[string]int64{"time": time.Now().Unix()}
	maps.Copy(ints, numbers)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // the names are for people
	if err := e.Encode(map[string]any{"int": ints, "normal": normal}); err != nil {
		return // maps of strings and integers always encode
	}
	line := strings.TrimSuffix(b.String(), "\n")
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.events) < l.max {
		l.events = append(l.events, line)
		return
	}
	l.events[l.oldest] = line
	l.oldest = (l.oldest + 1) % l.max
}

// Events returns the kept events, oldest first.
func (l *EventLog) Events() []string {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append(make([]string, 0, len(l.events)), l.events[l.oldest:]...), l.events[:l.oldest]...)
}
