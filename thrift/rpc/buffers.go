package rpc

import "sync"

// maxPooled is the longest buffer that is kept for whoever needs one next, in bytes.
const maxPooled = 4 << 20

// buffers are for messages that are written or read and then done with. The garbage collector takes those that lie idle.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// borrow returns an empty buffer of any capacity. The holder may replace its memory.
func borrow() *[]byte { return buffers.Get().(*[]byte) }

// giveBack ends the use of a buffer.
func giveBack(b *[]byte) {
	if cap(*b) > maxPooled {
		*b = nil
	}
	*b = (*b)[:0]
	buffers.Put(b)
}
