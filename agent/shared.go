package agent

import (
	"maps"
	"slices"
	"sync"
)

// nameSet is a set of names that several goroutines change. The zero nameSet is empty.
type nameSet struct {
	mu  sync.Mutex
	all map[string]bool
}

func (s *nameSet) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]bool{}
	}
	s.all[name] = true
}

func (s *nameSet) remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, name)
}

// names returns them sorted.
func (s *nameSet) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.all))
}

// firstError keeps the first error that it is given.
type firstError struct {
	mu  sync.Mutex
	err error
}

// set reports whether err is the first.
func (f *firstError) set(err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return false
	}
	f.err = err
	return true
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// text is what the forwarding agent is said to do.
type text struct {
	mu   sync.Mutex
	said string
}

func (t *text) set(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said = s
}

func (t *text) get() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.said
}
