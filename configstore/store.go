package configstore

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/internal/crash"
	"openr/monitor"
)

// How long after a failed write the next attempt is made: twice as long each time (Open/R common/Constants.h,
// kPersistentStoreInitialBackoff and kPersistentStoreMaxBackoff).
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
)

// ErrClosed is returned by Set and Erase after Close.
var ErrClosed = errors.New("the configuration store is closed")

// Options is what a Store needs. Path is required.
type Options struct {
	Path     string // of the file; its folder must exist for writes to succeed
	Log      *zap.Logger
	Counters *monitor.Counters
}

// Store is the map and its file. Its methods may be called from any goroutine.
type Store struct {
	o     Options
	write func(path string, b []byte) error // writeFile, or what a test puts in its place

	writing chan struct{} // holds a token while the file is written; taken before mu

	mu      sync.Mutex // guards what follows
	content map[string][]byte
	size    int    // of the file that holds content
	version uint64 // counts changes of content
	saved   uint64 // the version that the file holds
	closed  bool

	failed chan error    // why a write has failed; room for one
	stop   chan struct{} // closed by Close
	ended  chan struct{} // the retrying goroutine has ended
}

// New reads the file and returns the store, which must be closed. A missing file is an empty store. Of a file that is bad
// in part, what precedes the bad part is used; it is kept as <path>.bad-<n>, and the store starts all the same. The only
// error is a missing path.
func New(o Options) (*Store, error) { return open(o, writeFile) }

func open(o Options, write func(string, []byte) error) (*Store, error) {
	if o.Path == "" {
		return nil, errors.New("the configuration store needs a file; set persistent_config_store_path")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	s := &Store{o: o, write: write, writing: make(chan struct{}, 1), failed: make(chan error, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	if replace := s.load(); replace {
		s.version++
		_ = s.flush() // a failure is logged and tried again
	}
	s.gauges()
	go func() { defer crash.Guard(); s.retry() }()
	return s, nil
}

// load reads the file and reports whether it is to be replaced: it was bad and is kept under another name.
func (s *Store) load() (replace bool) {
	b, existed, readErr := readFile(s.o.Path)
	s.content = map[string][]byte{}
	var problem error
	if existed && (readErr == nil || len(b) > 0) {
		s.content, problem = parse(b)
	}
	s.size = fileSize(s.content)
	problem = errors.Join(readErr, problem)
	if problem == nil {
		return false
	}
	s.o.Counters.Sum(counterBadFile, 1)
	log := s.o.Log.With(zap.String("path", s.o.Path), zap.NamedError("problem", problem), zap.Int("keys_read", len(s.content)))
	aside, err := keepAside(s.o.Path)
	if err != nil {
		log.Warn("the configuration store's file is bad and cannot be kept aside", zap.Error(err))
		return false
	}
	log.Warn("the configuration store's file is bad; it is kept aside and what could be read of it is used", zap.String("kept_as", aside))
	return true
}

// Get returns a copy of a key's value.
func (s *Store) Get(key string) (value []byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok = s.content[key]
	return bytes.Clone(value), ok
}

// Set gives a key a value and returns when it is on disk. If it cannot be written the error says why: the value holds
// nevertheless, and is written as soon as that succeeds, by a later call, in the background, or by Close. A key or value beyond
// the limits is refused and changes nothing.
func (s *Store) Set(key string, value []byte) error {
	return s.change(func() error {
		old, known := s.content[key]
		if known && bytes.Equal(old, value) {
			return nil
		}
		size := s.size + len(value) - len(old)
		if !known {
			size += recordHeader + len(key)
		}
		cause, err := checkLimits(len(key), len(value), known, len(s.content))
		if err == nil && size > maxFileSize {
			cause, err = causeSize, fmt.Errorf("the file would have %d bytes; at most %d are written; erase some keys", size, maxFileSize)
		}
		if err != nil {
			s.o.Counters.Sum(counterRefused+cause, 1)
			return fmt.Errorf("the configuration store cannot take %.64q: %w", key, err)
		}
		s.content[key] = append([]byte{}, value...)
		s.size = size
		s.version++
		return nil
	})
}

// Erase removes a key, if it is there, and returns when that is on disk. Errors are those of Set.
func (s *Store) Erase(key string) error {
	return s.change(func() error {
		if old, known := s.content[key]; known {
			delete(s.content, key)
			s.size -= recordHeader + len(key) + len(old)
			s.version++
		}
		return nil
	})
}

// change has f change the content and writes the file if it is behind, even if f has changed nothing.
func (s *Store) change(f func() error) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	if err := f(); err != nil {
		s.mu.Unlock()
		return err
	}
	mine := s.version
	s.mu.Unlock()
	return s.flushTo(mine)
}

// flush writes the file if it is behind.
func (s *Store) flush() error {
	s.mu.Lock()
	version := s.version
	s.mu.Unlock()
	return s.flushTo(version)
}

// flushTo returns when the file holds at least the given version. Of several callers that wait for a write under way, the
// next writes for all.
func (s *Store) flushTo(version uint64) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.mu.Lock()
	if s.saved >= version {
		s.mu.Unlock()
		return nil
	}
	version = s.version
	file := appendFile(make([]byte, 0, s.size), s.content)
	s.mu.Unlock()

	err := s.write(s.o.Path, file)
	if err != nil {
		s.o.Counters.Sum(counterWriteFailure, 1)
		select {
		case s.failed <- err:
		default:
		}
		err = fmt.Errorf("the configuration store cannot write %s: %w", s.o.Path, err)
	} else {
		s.o.Counters.Sum(counterWrites, 1)
		s.mu.Lock()
		s.saved = version
		s.mu.Unlock()
	}
	s.gauges()
	return err
}

func (s *Store) gauges() {
	unsaved := int64(0)
	if s.behind() {
		unsaved = 1
	}
	s.mu.Lock()
	keys := len(s.content)
	s.mu.Unlock()
	s.o.Counters.Set(counterKeys, int64(keys))
	s.o.Counters.Set(counterUnsaved, unsaved)
}

// retry writes what could not be written, until Close.
func (s *Store) retry() {
	defer close(s.ended)
	for {
		var why error
		select {
		case <-s.stop:
			return
		case why = <-s.failed:
		}
		if !s.behind() {
			continue // written meanwhile
		}
		s.o.Log.Warn("the configuration store's file cannot be written; trying again until it can", zap.String("path", s.o.Path), zap.Error(why))
		for backoff := minBackoff; s.behind(); backoff = min(2*backoff, maxBackoff) {
			select {
			case <-s.stop:
				return
			case <-time.After(backoff):
			}
			_ = s.flush() // counted
		}
		s.o.Log.Info("the configuration store's file is written again", zap.String("path", s.o.Path))
	}
}

// behind reports whether the file lacks something.
func (s *Store) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved < s.version
}

// Close writes what is not on disk yet and ends the store. It returns the error if that fails; what was set then is
// lost. Later calls return nil.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	<-s.ended
	return s.flush()
}
