package crash

import (
	"strings"
	"sync"
	"testing"
)

func panics() { panic("no such thing") }

func TestGuard(t *testing.T) {
	var cause any
	var where string
	stop := Handle(func(c any, stack []byte) { cause, where = c, string(stack) })
	defer stop()
	var others sync.WaitGroup
	released := false
	others.Go(func() {
		defer Guard()
		defer func() { released = true }()
		panics()
	})
	others.Wait()
	if cause != "no such thing" || !strings.Contains(where, "crash.panics(") || !released {
		t.Errorf("told of %v at\n%s\nreleased %t", cause, where, released)
	}

	cause = nil
	others.Go(func() { defer Guard() })
	others.Wait()
	if cause != nil {
		t.Errorf("told of %v where nothing was wrong", cause)
	}

	defer func() {
		if recover() == nil {
			t.Error("a second handler is taken")
		}
	}()
	Handle(func(any, []byte) {})
}

// TestNoHandler: a panic that nobody is to be told of is not swallowed.
func TestNoHandler(t *testing.T) {
	Handle(func(any, []byte) { t.Error("told after the end") })()
	defer func() {
		if cause := recover(); cause != "no such thing" {
			t.Errorf("recovered %v", cause)
		}
	}()
	func() {
		defer Guard()
		panics()
	}()
}
