package invoke

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compact"
)

// Marshal appends the encoding of s to dst: the bare struct, without a message envelope. It fails, and returns dst as it
// was, if s cannot be written: a set of it holds something twice, or structs are nested too deep.
func Marshal(e Encoding, dst []byte, s thrift.TStruct) ([]byte, error) {
	c, err := coderOf(e)
	if err != nil {
		return dst, err
	}
	c.memory.ResetWrite(dst)
	err = s.Write(c.ctx, c.protocol)
	b := c.memory.Written()
	c.release()
	if err != nil {
		return dst, fmt.Errorf("failed to encode %T: %w", s, err)
	}
	return b, nil
}

// Unmarshal decodes data, a bare struct, into s, which should be new. Unknown fields are skipped and bytes after the struct
// ignored. It keeps no part of data, and whatever lengths data claims, it allocates only a small multiple of its length.
func Unmarshal(e Encoding, data []byte, s thrift.TStruct) error {
	c, err := coderOf(e)
	if err != nil {
		return err
	}
	c.memory.ResetRead(data)
	err = s.Read(c.ctx, c.protocol)
	c.release()
	if err != nil {
		return fmt.Errorf("failed to decode %T: %w", s, err)
	}
	return nil
}

// coder reads and writes bare structs and the calls of a processor. It is used for one after another.
type coder struct {
	encoding Encoding
	memory   *compact.Protocol // the bytes
	protocol thrift.TProtocol  // over memory
	call     thrift.TProtocol  // protocol, with envelope in place of a message's
	envelope envelope
	ctx      context.Context // in which generated code finds its nesting counter and need not make one
}

var coders = map[Encoding]*sync.Pool{
	Binary:  {New: func() any { return newCoder(Binary) }},
	Compact: {New: func() any { return newCoder(Compact) }},
}

// coderOf returns a coder for use until release. One over which something has panicked is not released.
func coderOf(e Encoding) (*coder, error) {
	pool := coders[e]
	if pool == nil {
		return nil, fmt.Errorf("encoding %d is unknown; use binary (%d) or compact (%d)", e, Binary, Compact)
	}
	return pool.Get().(*coder), nil
}

func newCoder(e Encoding) *coder {
	c := &coder{encoding: e, memory: compact.New()}
	if e == Compact {
		c.protocol = c.memory
		c.call = &compactCall{&c.envelope, compactBase{c.memory}}
	} else {
		unlimited := &thrift.TConfiguration{MaxMessageSize: math.MaxInt32, MaxFrameSize: math.MaxInt32}
		c.protocol = &binaryReader{thrift.NewTBinaryProtocolConf(c.memory.Transport(), unlimited), c.memory}
		c.call = &binaryCall{&c.envelope, binaryBase{c.protocol}}
	}
	ctx, err := thrift.CheckRecursionDepth(context.Background())
	if err != nil {
		panic(err) // one level is always allowed
	}
	thrift.DecrementRecursionDepth(ctx)
	c.ctx = ctx
	return c
}

// binaryReader refuses too many structs, as the compact protocol does by itself.
type binaryReader struct {
	thrift.TProtocol
	memory *compact.Protocol
}

func (r *binaryReader) ReadStructBegin(ctx context.Context) (string, error) {
	if err := r.memory.CountStruct(); err != nil {
		return "", err
	}
	return r.TProtocol.ReadStructBegin(ctx)
}

func (c *coder) release() {
	c.memory.ResetRead(nil)
	c.memory.ResetWrite(nil)
	c.envelope = envelope{}
	coders[c.encoding].Put(c)
}

// envelope stands for the message around a call's arguments and around its answer: it tells the processor the method's
// name, and notes what the processor makes of it.
type envelope struct {
	method  string
	kind    thrift.TMessageType // of the answer
	structs int                 // how many structs the answer has begun
	second  string              // name of the second one: of the first field's value, if that is a struct
}

func (e *envelope) ReadMessageBegin(context.Context) (string, thrift.TMessageType, int32, error) {
	return e.method, thrift.CALL, 0, nil
}

func (e *envelope) ReadMessageEnd(context.Context) error { return nil }

func (e *envelope) WriteMessageBegin(_ context.Context, _ string, kind thrift.TMessageType, _ int32) error {
	e.kind = kind
	return nil
}

func (e *envelope) WriteMessageEnd(context.Context) error { return nil }

func (e *envelope) note(name string) {
	if e.structs++; e.structs == 2 {
		e.second = name
	}
}

// compactCall and binaryCall are protocols whose methods for messages are the envelope's: those lie nearer than the
// protocol's, which are one embedding deeper.
type (
	compactCall struct {
		*envelope
		compactBase
	}
	compactBase struct{ *compact.Protocol }
	binaryCall  struct {
		*envelope
		binaryBase
	}
	binaryBase struct{ thrift.TProtocol }
)

func (c *compactCall) WriteStructBegin(ctx context.Context, name string) error {
	c.note(name)
	return c.Protocol.WriteStructBegin(ctx, name)
}

func (c *binaryCall) WriteStructBegin(ctx context.Context, name string) error {
	c.note(name)
	return c.TProtocol.WriteStructBegin(ctx, name)
}
