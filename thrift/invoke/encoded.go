package invoke

import (
	"fmt"
	"sync"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compress"
)

// Encoded is one call whose arguments are serialised at most once per encoding, and compressed at most once per encoding
// and algorithm, however many connections send it. Its methods may be called from any goroutine; the byte slices that they
// return are shared and must not be changed.
type Encoded struct {
	method string
	args   thrift.TStruct

	mu    sync.Mutex                               // guards forms
	forms map[form]func() (data []byte, err error) // each does its work once
}

// form is a form in which the arguments travel.
type form struct {
	encoding  Encoding
	algorithm compress.Algorithm
}

// NewEncoded returns the call of method with args, its generated argument struct, which must not change from now on.
func NewEncoded(method string, args thrift.TStruct) *Encoded {
	return &Encoded{method: method, args: args, forms: map[form]func() ([]byte, error){}}
}

// Method returns the name of the method.
func (e *Encoded) Method() string { return e.method }

// Args returns the bare argument struct.
func (e *Encoded) Args(enc Encoding) ([]byte, error) {
	return e.Compressed(enc, compress.None)
}

// Compressed returns the bare argument struct, compressed.
func (e *Encoded) Compressed(enc Encoding, a compress.Algorithm) ([]byte, error) {
	f := form{enc, a}
	e.mu.Lock()
	once := e.forms[f]
	if once == nil {
		once = sync.OnceValues(func() ([]byte, error) { return e.make(f) })
		e.forms[f] = once
	}
	e.mu.Unlock()
	return once()
}

func (e *Encoded) make(f form) ([]byte, error) {
	if f.algorithm == compress.None {
		return Marshal(f.encoding, nil, e.args)
	}
	plain, err := e.Args(f.encoding)
	if err != nil {
		return nil, err
	}
	packed, err := compress.Compress(f.algorithm, nil, plain)
	if err != nil {
		return nil, fmt.Errorf("failed to compress the arguments of %s: %w", e.method, err)
	}
	return packed, nil
}
