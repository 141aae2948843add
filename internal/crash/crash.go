// Package crash catches the panics that no module's loop catches, so that an agent can tell its neighbours that it restarts
// before it ends.
//
// Owns: who is told of them. Reads and writes: nothing.
//
// Every goroutine of the agent begins with `defer crash.Guard()`; TestGoroutinesAreGuarded at the root of the repository
// insists. What the runtime itself ends the process for (concurrent map writes, no memory, a stack that overflows) cannot be
// caught.
package crash

import (
	"runtime/debug"
	"sync/atomic"
)

// handler is told of panics. It is the process's, as signal handlers are: whichever goroutine panics, all would end.
var handler atomic.Pointer[func(cause any, stack []byte)]

// Handle has f told of each panic that Guard catches, with the stack of the goroutine, until the returned function is called.
// f runs on that goroutine, which ends with it; the locks that the goroutine held without deferring their release stay locked.
// There can be one handler at a time: a second one panics.
func Handle(f func(cause any, stack []byte)) (stop func()) {
	if !handler.CompareAndSwap(nil, &f) {
		panic("crash.Handle: there is a handler already")
	}
	return func() { handler.CompareAndSwap(&f, nil) }
}

// Guard is to be deferred by a goroutine, before anything else. It tells the handler of a panic and ends the goroutine.
// Without a handler a panic takes its way and ends the process.
func Guard() {
	f := handler.Load()
	if f == nil {
		return
	}
	if cause := recover(); cause != nil {
		(*f)(cause, debug.Stack())
	}
}
