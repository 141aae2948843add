package rocket

import (
	"fmt"
	"net"
	"time"
)

// dispatch deals with a frame after SETUP. It returns a request to run if the frame brings one; an error ends the
// connection.
func (c *serverConn) dispatch(f frame) (*request, error) {
	switch f.kind {
	case typeRequestResponse, typeRequestFNF, typeRequestStream, typeRequestChannel:
		if f.stream == 0 {
			return nil, fmt.Errorf("%w: a request on stream 0", errProtocol)
		}
		return c.assemble(f)
	case typePayload:
		if c.parts.incomplete(f.stream) {
			return c.assemble(f)
		}
		return nil, c.misplaced(f, "PAYLOAD")
	case typeError:
		if f.stream == 0 {
			c.end(nil)
			return nil, nil
		}
		return nil, c.misplaced(f, "ERROR")
	case typeRequestN:
		if s := c.stream(f.stream); s != nil {
			return nil, s.grant(f.n)
		}
	case typeCancel:
		c.parts.forget(f.stream)
		if s := c.stream(f.stream); s != nil {
			s.stop(errCanceled)
		}
	case typeKeepalive:
		if f.stream != 0 {
			return nil, fmt.Errorf("%w: KEEPALIVE on stream %d", errProtocol, f.stream)
		}
		if f.flags&flagRespond != 0 {
			return nil, c.w.send(appendFrame(nil, &frame{kind: typeKeepalive, data: f.data}), nil)
		}
	case typeMetadataPush: // the client's headers and interactions, which nobody uses
	case typeSetup:
		c.refuse(codeInvalidSetup, "More than one SETUP frame", fmt.Errorf("%w: a second SETUP", errProtocol))
	case typeExt:
		if f.flags&flagIgnore == 0 {
			return nil, fmt.Errorf("%w: EXT frame of type 0x%x that must not be ignored", errProtocol, f.n)
		}
	}
	return nil, nil
}

// misplaced judges a frame that a client has no reason to send on a stream, but does no harm where there is none.
func (c *serverConn) misplaced(f frame, name string) error {
	if c.stream(f.stream) == nil {
		return nil
	}
	return fmt.Errorf("%w: %s from the client on stream %d", errProtocol, name, f.stream)
}

func (c *serverConn) stream(id uint32) *liveStream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams[id]
}

// assemble waits for the last fragment of a request.
func (c *serverConn) assemble(f frame) (*request, error) {
	f, complete, err := c.parts.add(f)
	if err != nil || !complete {
		return nil, err
	}
	return c.accept(f)
}

// accept makes a request of a frame. What cannot run is answered here.
func (c *serverConn) accept(f frame) (*request, error) {
	c.o.Counters.Count(counterRequests)
	c.o.Counters.Sum(counterReceived, int64(len(f.data)))
	meta, err := readRequestMetadata(f.meta, c.session.binary)
	oneWay := f.kind == typeRequestFNF
	switch {
	case err != nil:
		c.o.Counters.Count(counterMalformed)
		return nil, c.reject(f.stream, oneWay, rpcParsingFailure, err.Error())
	case !meta.complete() || !agrees(f.kind, meta.kind):
		c.o.Counters.Count(counterMalformed)
		return nil, c.reject(f.stream, oneWay, rpcParsingFailure, "Invalid metadata object")
	}
	m := c.methods.find(meta.name)
	streaming := f.kind == typeRequestStream
	switch {
	case m == nil:
		c.o.Counters.Count(counterUnknown)
		return nil, c.reject(f.stream, oneWay, rpcUnknownMethod, fmt.Sprintf("Method name %s not found", meta.name))
	case streaming && !m.stream, !streaming && !m.single, f.kind == typeRequestChannel:
		c.o.Counters.Count(counterUnknown)
		return nil, c.reject(f.stream, oneWay, rpcWrongKind, fmt.Sprintf("Method %s is not of the kind that was asked for", m.name))
	case streaming && f.n == 0:
		c.o.Counters.Count(counterMalformed)
		return nil, c.reject(f.stream, oneWay, rpcParsingFailure, "The initial request n of a stream must be positive")
	}
	r := newRequest()
	r.stream, r.kind, r.initial, r.method, r.meta = f.stream, f.kind, f.n, m, meta
	r.meta.name = nil
	r.ordered = m.ordered && !streaming
	if meta.clientTimeout > 0 || meta.queueTimeout > 0 {
		r.arrived = time.Now()
	}
	if code, text, err := c.enter(r, streaming); code != rpcUnknown || err != nil {
		r.free()
		if err != nil {
			return nil, err
		}
		c.o.Counters.Count(counterRefused)
		return nil, c.reject(f.stream, oneWay, code, text)
	}
	r.take(&f)
	return r, nil
}

// enter checks the limits of the connection, and registers a stream, so that frames for it find it.
func (c *serverConn) enter(r *request, streaming bool) (rpcErrorCode, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over:
		return 0, "", net.ErrClosed
	case c.streams[r.stream] != nil:
		return 0, "", fmt.Errorf("%w: a request on stream %d, which is in use", errProtocol, r.stream)
	case c.draining:
		return rpcShutdown, "The server is shutting down", nil
	case !streaming:
		return 0, "", nil
	case len(c.streams) >= c.o.MaxStreams:
		return rpcOverload, fmt.Sprintf("More than %d streams on one connection", c.o.MaxStreams), nil
	}
	r.live = newLiveStream(c, r)
	c.streams[r.stream] = r.live
	return 0, "", nil
}

func agrees(t frameType, k rpcKind) bool {
	switch t {
	case typeRequestResponse:
		return k == kindSingle
	case typeRequestFNF:
		return k == kindNoAnswer
	case typeRequestStream:
		return k == kindStream
	}
	return k == kindSink || k == kindBidi
}

// reject answers a request by an ERROR frame.
func (c *serverConn) reject(stream uint32, oneWay bool, code rpcErrorCode, what string) error {
	if oneWay {
		return nil
	}
	data := appendResponseError(nil, code, what)
	err := c.w.send(appendFrame(nil, &frame{stream: stream, kind: typeError, n: uint32(rpcErrors[code].frame), data: data}), nil)
	if err != nil {
		return fmt.Errorf("failed to send: %w", err)
	}
	return nil
}
