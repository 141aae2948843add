package invoke

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/apache/thrift/lib/go/thrift"
)

func init() {
	// A generated processor would start a goroutine for each call that asks the transport every 5 ms whether the client is
	// still there. The transports here cancel the context instead.
	thrift.ServerConnectivityCheckInterval = 0
}

// Kind tells as which kinds of call the method exists: answered once, as a stream, neither, or both.
func (s *Service) Kind(method string) (single, stream bool) {
	_, single = s.Processor.ProcessorMap()[method]
	_, stream = s.Streams[method]
	return single, stream
}

// Invoke runs a single call and returns what became of it, with Answer.Data appended to dst[:0]. ctx is the handler's. A
// panic of the handler makes the answer Internal. It may be called from any goroutine.
func (s *Service) Invoke(ctx context.Context, r Request, dst []byte) (a Answer) {
	if single, stream := s.Kind(r.Method); !single {
		return unknown(r.Method, stream, "a stream")
	}
	c, err := coderOf(r.Encoding)
	if err != nil {
		return Answer{Status: Malformed, What: err.Error()}
	}
	defer func() {
		if v := recover(); v != nil {
			a = s.panicked(r.Method, v)
		}
	}()
	c.envelope.method = r.Method
	c.memory.ResetRead(r.Args)
	c.memory.ResetWrite(dst[:0])
	understood, failure := s.Processor.Process(ctx, c.call, c.call)
	data, note := c.memory.Written(), c.envelope
	c.release()

	unwritten := (*thrift.ProcessorError)(nil)
	switch {
	case errors.As(failure, &unwritten):
		return Answer{Status: Internal, What: fmt.Sprintf("the answer to %s cannot be encoded: %v", r.Method, failure)}
	case !understood && failure != nil:
		return Answer{Status: Malformed, What: fmt.Sprintf("the arguments of %s do not decode: %v", r.Method, failure)}
	case note.kind == thrift.EXCEPTION && failure != nil:
		return Answer{Status: Undeclared, What: failure.Error()}
	case note.kind == thrift.EXCEPTION:
		return Answer{Status: Undeclared, What: "unknown error"} // not what generated processors do
	case len(data) == 0:
		return Answer{} // a method without an answer
	}
	return classify(r.Encoding, data, note.second)
}

// unknown is the answer to a call of a method that does not exist in the way it was called; other says whether it does in
// the other way.
func unknown(method string, other bool, otherWay string) Answer {
	what := fmt.Sprintf("method %q does not exist", method)
	if other {
		what = fmt.Sprintf("method %q exists only as %s", method, otherWay)
	}
	return Answer{Status: UnknownMethod, What: what}
}

// panicked reports a panic, with the stack of the goroutine it is called on.
func (s *Service) panicked(method string, value any) Answer {
	if s.Panicked != nil {
		s.Panicked(method, value, debug.Stack())
	}
	return Answer{Status: Internal, What: fmt.Sprintf("internal error in %s: %v", method, value)}
}

// classify tells a result from a declared exception, which is a field other than 0 of the result struct. exception is its
// type name, if it is one; its text is its first string.
func classify(e Encoding, data []byte, exception string) Answer {
	a := Answer{Data: data}
	c, err := coderOf(e)
	if err != nil {
		return Answer{Status: Internal, What: err.Error()}
	}
	defer c.release()
	c.memory.ResetRead(data)
	p, ctx := c.protocol, c.ctx
	p.ReadStructBegin(ctx)
	_, kind, id, err := p.ReadFieldBegin(ctx)
	if err != nil || kind != thrift.STRUCT || id == 0 {
		return a
	}
	a.Status, a.Name = Declared, exception
	p.ReadStructBegin(ctx)
	for {
		_, kind, _, err := p.ReadFieldBegin(ctx)
		if err != nil || kind == thrift.STOP {
			return a
		}
		if kind == thrift.STRING {
			a.What, _ = p.ReadString(ctx)
			return a
		}
		if p.Skip(ctx, kind) != nil {
			return a
		}
	}
}

// Open starts a stream method. The answer is the first response, with Answer.Data appended to dst[:0]. items is nil if
// there is no stream, as after an exception; otherwise the caller closes it. ctx is the stream's. Panics, of items too,
// become Internal answers and errors.
func (s *Service) Open(ctx context.Context, r Request, dst []byte) (a Answer, items Items) {
	method, ok := s.Streams[r.Method]
	if !ok {
		single, _ := s.Kind(r.Method)
		return unknown(r.Method, single, "a single call"), nil
	}
	args := method.NewArgs()
	if err := Unmarshal(r.Encoding, r.Args, args); err != nil {
		return Answer{Status: Malformed, What: err.Error()}, nil
	}
	var running Items
	defer func() {
		if v := recover(); v != nil {
			a, items = s.panicked(r.Method, v), nil
		}
		if running != nil && items == nil {
			(&guarded{running, s, r.Method}).Close()
		}
	}()
	first, running, err := method.Open(ctx, args)
	if err != nil {
		return Answer{Status: Undeclared, What: err.Error()}, nil
	}
	if first == nil {
		return Answer{Status: Internal, What: fmt.Sprintf("stream method %s has no first response", r.Method)}, nil
	}
	if a = respond(r.Encoding, first, dst[:0]); a.Status != OK || running == nil {
		return a, nil
	}
	return a, &guarded{running, s, r.Method}
}

// respond encodes a result struct and classifies it.
func respond(e Encoding, result thrift.TStruct, dst []byte) Answer {
	c, err := coderOf(e)
	if err != nil {
		return Answer{Status: Malformed, What: err.Error()}
	}
	c.memory.ResetWrite(dst)
	err = result.Write(c.ctx, c.call)
	data, note := c.memory.Written(), c.envelope
	c.release()
	if err != nil {
		return Answer{Status: Internal, What: fmt.Sprintf("the first response cannot be encoded: %v", err)}
	}
	return classify(e, data, note.second)
}

// guarded recovers the panics of a stream.
type guarded struct {
	items   Items
	service *Service
	method  string
}

func (g *guarded) Next(ctx context.Context) (v thrift.TStruct, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, errors.New(g.service.panicked(g.method, p).What)
		}
	}()
	return g.items.Next(ctx)
}

func (g *guarded) Close() {
	defer func() {
		if p := recover(); p != nil {
			g.service.panicked(g.method, p)
		}
	}()
	g.items.Close()
}
