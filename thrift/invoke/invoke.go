package invoke

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"
)

// Encoding is how structs are written as bytes; the numbers are fbthrift's ProtocolId.
type Encoding int

// The encodings.
const (
	Binary  Encoding = 0
	Compact Encoding = 2
)

// Request is a call as a transport has read it.
type Request struct {
	Method   string
	Encoding Encoding
	Args     []byte // the argument struct without message envelope, decompressed; not kept after Invoke has returned
	OneWay   bool   // the caller wants no answer
}

// Status says what became of a call.
type Status int

// The outcomes of a call.
const (
	OK            Status = iota // Data is the result struct with its field 0, or empty if the method returns nothing
	Declared                    // Data is the result struct with an exception that the method declares; Name and What describe it
	Undeclared                  // the handler failed with an error that the method does not declare; What is its text
	UnknownMethod               // the service has no such method
	Malformed                   // the arguments do not decode
	Internal                    // the handler panicked, or its answer cannot be encoded; What says so
)

// Answer is what became of a Request. Transports dress it as their protocol prescribes.
type Answer struct {
	Status Status
	Data   []byte // encoded as the request was
	Name   string // type name of an exception
	What   string // text of an exception or failure
}

// Service is what a server offers: the methods of a generated processor, and streams.
type Service struct {
	Processor thrift.TProcessor       // required
	Streams   map[string]StreamMethod // by method name; nil: none

	// Ordered, if set, tells methods whose calls on one connection must run one after another, in the order in which
	// they were sent. Other calls that were sent without waiting run side by side.
	Ordered func(method string) bool

	// Panicked, if set, is told of each panic of a handler, with its stack.
	Panicked func(method string, value any, stack []byte)
}

// StreamMethod is a method that returns a first response and then a stream of elements.
type StreamMethod struct {
	// NewArgs returns an empty argument struct.
	NewArgs func() thrift.TStruct
	// Open starts a stream. first is the method's generated result struct; if an exception is set in it, or err is not
	// nil, there is no stream and items is nil. ctx ends with the stream.
	Open func(ctx context.Context, args thrift.TStruct) (first thrift.TStruct, items Items, err error)
}

// Items is a running stream, seen from the server. It is used by one goroutine.
type Items interface {
	// Next waits for the next element and returns it; io.EOF ends the stream in good order, ctx's error when ctx is done,
	// any other error is told to the client.
	Next(ctx context.Context) (thrift.TStruct, error)
	// Close frees what the stream holds. It is called exactly once, when the stream has ended for whatever reason.
	Close()
}
