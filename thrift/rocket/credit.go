package rocket

import "errors"

// errEarlyCredit is a client that grants more before it has the first response. It costs the connection.
var errEarlyCredit = errors.New("REQUEST_N before the first response")

// credit is what a client has granted to a stream of the server: how many payloads it takes, the first response included.
type credit struct {
	left   uint64
	opened bool // the first response is on its way
}

// open takes the credit for the first response.
func (c *credit) open() {
	c.opened = true
	c.left--
}

// grant adds what a REQUEST_N brings; 0 means nothing.
func (c *credit) grant(n uint32) error {
	if !c.opened {
		return errEarlyCredit
	}
	c.left += uint64(n)
	return nil
}

// take uses one credit. It is false if there is none.
func (c *credit) take() bool {
	if c.left == 0 {
		return false
	}
	c.left--
	return true
}

// errOverrun is a server that sends more than was granted.
var errOverrun = errors.New("server sent more elements than the client asked for")

// window is what a client has granted to the server for a stream. Like fbthrift's C++ client it grants a buffer's worth
// and the first response at first, and grants again what was consumed when that is half a buffer.
type window struct {
	size     int
	granted  int // elements that the server may still send
	consumed int // elements consumed and not granted again
}

// initial returns what REQUEST_STREAM grants.
func (w *window) initial() uint32 {
	w.granted = w.size
	return uint32(w.size) + 1
}

// arrive notes an element from the server.
func (w *window) arrive() error {
	if w.granted == 0 {
		return errOverrun
	}
	w.granted--
	return nil
}

// consume notes that an element was taken from the buffer, and returns what to grant now; 0 is nothing.
func (w *window) consume() uint32 {
	w.consumed++
	if w.consumed < (w.size+1)/2 {
		return 0
	}
	n := w.consumed
	w.granted += n
	w.consumed = 0
	return uint32(n)
}
