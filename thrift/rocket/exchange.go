package rocket

import (
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compress"
	"openr/thrift/invoke"
)

// reply is what a call got: a PAYLOAD or ERROR frame, or the reason why there is none.
type reply struct {
	frame frame
	err   error
}

// exchange is a request of a client and what comes back for it.
type exchange struct {
	id       uint32
	meta     requestMetadata
	body     []byte    // arguments as they go out
	deadline time.Time // zero: none but the context's
	stream   *Stream   // of REQUEST_STREAM
	answered bool      // the first response is there; used by the reader

	ready chan struct{} // has a token when reply is set
	reply reply

	out    []byte // memory for the body, with headroom
	plain  []byte // memory for the body before compression
	packed []byte // memory for metadata
	head   []byte // memory for the head of a frame
	in     []byte // memory for the reply, if it was copied
}

func (c *Client) newExchange() *exchange {
	if x, ok := c.pool.Get().(*exchange); ok {
		return x
	}
	return &exchange{ready: make(chan struct{}, 1)}
}

// free gives the exchange back for the next one. The table must not hold it any more.
func (c *Client) free(x *exchange) {
	if x.stream != nil {
		return // its stream may still be told of the connection's end
	}
	select {
	case <-x.ready:
	default:
	}
	*x = exchange{
		ready: x.ready, out: keep(x.out), plain: keep(x.plain), packed: keep(x.packed), head: keep(x.head), in: keep(x.in),
	}
	c.pool.Put(x)
}

// encode makes the body of a request from its arguments.
func (x *exchange) encode(c *Client, args thrift.TStruct) (err error) {
	if cap(x.out) < headroom {
		x.out = make([]byte, headroom, 2<<10)
	}
	space := x.out[:headroom]
	if c.o.Compression == compress.None {
		x.out, err = invoke.Marshal(c.o.Encoding, space, args)
	} else {
		x.meta.compression = c.o.Compression
		if x.plain, err = invoke.Marshal(c.o.Encoding, x.plain[:0], args); err != nil {
			return err
		}
		x.out, err = compress.Compress(c.o.Compression, space, x.plain)
		x.plain = keep(x.plain)
	}
	if err != nil {
		x.out = nil
		return err
	}
	x.body = x.out[headroom:]
	return nil
}

// answer gives the exchange its reply. It is called once, by whoever has taken the exchange from the client's table.
func (x *exchange) answer(r reply) {
	x.reply = r
	x.ready <- struct{}{}
}

// end tells the exchange that the connection is gone.
func (x *exchange) end(err error) {
	if x.stream != nil && x.answered {
		x.stream.end(err)
		return
	}
	x.answer(reply{err: err})
}
