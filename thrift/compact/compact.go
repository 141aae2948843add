package compact

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/apache/thrift/lib/go/thrift"
)

// coder is a Protocol that can be used again, with a context in which generated code finds its nesting counter, so that it
// need not make one for each struct.
type coder struct {
	Protocol
	ctx     context.Context
	scratch []byte
}

var coders = sync.Pool{New: func() any {
	ctx, err := thrift.CheckRecursionDepth(context.Background())
	if err != nil {
		panic(err) // one level is always allowed
	}
	thrift.DecrementRecursionDepth(ctx)
	c := &coder{ctx: ctx}
	c.init()
	return c
}}

// maxScratch is the largest scratch buffer that is kept for later, in bytes.
const maxScratch = 64 << 10

// release keeps the coder for later. One whose struct panicked is not released: its nesting counter is off.
func (c *coder) release() {
	c.ResetRead(nil)
	c.ResetWrite(nil)
	coders.Put(c)
}

// Marshal returns the compact encoding of s. It panics if s itself cannot be written: a set of it holds something twice, or
// structs are nested too deep.
func Marshal(s thrift.TStruct) []byte {
	c := coders.Get().(*coder)
	c.ResetWrite(c.scratch[:0])
	if err := s.Write(c.ctx, &c.Protocol); err != nil {
		panic(fmt.Sprintf("compact: writing %T to memory: %v", s, err))
	}
	b := c.Written()
	if cap(b) > maxScratch {
		c.scratch = nil
	} else {
		c.scratch = b
		b = bytes.Clone(b)
	}
	c.release()
	return b
}

// Unmarshal decodes b into s, which should be new. Unknown fields are skipped; bytes after the struct are ignored, as
// Open/R does. Nothing of b is kept. Memory use is bounded by a small multiple of len(b), whatever lengths b claims.
func Unmarshal(b []byte, s thrift.TStruct) error {
	if len(b) == 0 {
		return fmt.Errorf("compact: no bytes for %T", s)
	}
	c := coders.Get().(*coder)
	c.ResetRead(b)
	err := s.Read(c.ctx, &c.Protocol)
	c.release()
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}
