package queue

import (
	"context"
	"errors"
)

// ErrStopped is returned by Calls.Do when the module that should answer has stopped.
var ErrStopped = errors.New("module has stopped")

// Calls lets other goroutines run a function on the goroutine that owns a module's state. It carries questions from the
// side (RPC, tests); the modules themselves talk through Queue. The owner receives from C and calls what it gets.
type Calls struct {
	c    chan func()
	done chan struct{}
}

// NewCalls returns a Calls. The owner must call Stop when it no longer receives.
func NewCalls() *Calls { return &Calls{c: make(chan func()), done: make(chan struct{})} }

// C is where the owner of the state receives functions to call, one at a time.
func (c *Calls) C() <-chan func() { return c.c }

// Stop makes all present and future Do return ErrStopped. Call it once.
func (c *Calls) Stop() { close(c.done) }

// Do runs f on the owner's goroutine and returns when it has run. It returns ctx's error or ErrStopped when f did not
// start; f must not block and must not keep references to the owner's state.
func (c *Calls) Do(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case c.c <- func() { defer close(ran); f() }:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return ErrStopped
	}
	<-ran
	return nil
}
