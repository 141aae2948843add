package linkmonitor

import (
	"errors"
	"fmt"
	"sync"

	"openr/internal/crash"
)

// ErrNotStored is what a setter returns when its change is in effect but could not be stored.
var ErrNotStored = errors.New("in effect, but not stored: it will not survive a restart")

// saver stores the drain state on a goroutine of its own, so that a slow disk holds up nothing but who waits for it.
// Changes that wait are stored together, with the latest state. A nil *saver stores nothing, successfully.
type saver struct {
	store Store
	wake  chan struct{} // room for one
	stop  chan struct{}
	ended chan struct{}

	mu      sync.Mutex // guards what follows
	latest  []byte
	version uint64 // of latest
	saved   uint64 // the version in the store
	waiting []chan error
}

// newSaver returns a saver that runs until close.
func newSaver(store Store) *saver {
	if store == nil {
		return nil
	}
	s := &saver{store: store, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go func() { defer crash.Guard(); s.run() }()
	return s
}

// put gives the state to be stored. It does not block.
func (s *saver) put(state []byte) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.latest = state
	s.version++
	s.mu.Unlock()
}

// request has the latest state stored if it is not yet. The channel yields nil when it is, or the error.
func (s *saver) request() <-chan error {
	done := make(chan error, 1)
	if s == nil {
		done <- nil
		return done
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved == s.version {
		done <- nil
		return done
	}
	s.waiting = append(s.waiting, done)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return done
}

func (s *saver) run() {
	defer close(s.ended)
	for {
		select {
		case <-s.wake:
			s.save()
		case <-s.stop:
			s.save()
			return
		}
	}
}

// save stores the latest state, if it is asked for, and answers those who ask for it.
func (s *saver) save() {
	s.mu.Lock()
	state, version, waiting := s.latest, s.version, s.waiting
	s.waiting = nil
	s.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	err := s.store.Set(stateKey, state)
	if err != nil {
		err = fmt.Errorf("%w, unless this is put right before: %w", ErrNotStored, err)
	} else {
		s.mu.Lock()
		s.saved = version
		s.mu.Unlock()
	}
	for _, done := range waiting {
		done <- err
	}
}

// close answers what is still asked, and ends the goroutine.
func (s *saver) close() {
	if s != nil {
		close(s.stop)
		<-s.ended
	}
}
