package rpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/invoke"
	"openr/thrift/theader"
)

// upgradeMethod is fbthrift's method by which a THeader connection becomes a Rocket connection.
const upgradeMethod = "upgradeToRocket"

// joinBelow is up to which length a message is copied behind its envelope, rather than written as a piece of its own.
const joinBelow = 16 << 10

// respond runs one request and sends what there is to answer, framed as the request was. An error ends the connection.
// upgrade says that from now on the client speaks Rocket. in is reset before the answer is sent.
func (c *connection) respond(ctx context.Context, how message, in *inbox) (upgrade bool, err error) {
	s := c.server
	data := in.data
	frame := theader.Frame{Payload: data}
	if how.framing == header {
		if frame, err = theader.ParseFrame(data, s.MaxFrame); err != nil {
			return false, fmt.Errorf("%w: %w", errMalformed, err)
		}
		if len(frame.Transforms) > 0 {
			if err := c.share.hold(len(data) + len(frame.Payload)); err != nil {
				return false, err
			}
			c.share.received()
		}
	}
	request, err := theader.ParseMessage(frame.Payload)
	if err == nil && request.Type != thrift.CALL && request.Type != thrift.ONEWAY {
		err = fmt.Errorf("message type %d where a call was expected", request.Type)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if how.framing == header && request.Name == upgradeMethod {
		body, err := invoke.Marshal(request.Encoding, nil, nothing{})
		if err == nil {
			err = c.send(how, frame, request, invoke.Answer{Data: body})
		}
		return true, err
	}
	space := borrow()
	defer giveBack(space)
	a := c.run(ctx, request, space)
	if a.Status == invoke.Malformed {
		err = fmt.Errorf("%w: %s: %s", errMalformed, request.Name, a.What)
	}
	request.Body, frame.Payload, data = nil, nil, nil
	in.reset() // a client that does not take its answer does not keep room from requests
	if len(a.Data) > joinBelow {
		if err := c.work.add(len(a.Data)); err != nil {
			return false, err
		}
		defer c.work.add(-len(a.Data))
	}
	if request.Type != thrift.ONEWAY {
		if failed := c.send(how, frame, request, a); failed != nil {
			return false, failed
		}
	}
	return false, err
}

// run has the service work on the request. The answer's data stand in space.
func (c *connection) run(ctx context.Context, request theader.Message, space *[]byte) invoke.Answer {
	s := c.server
	a := c.service.Invoke(ctx, invoke.Request{
		Method: request.Name, Encoding: request.Encoding, Args: request.Body, OneWay: request.Type == thrift.ONEWAY,
	}, *space)
	if cap(a.Data) > cap(*space) {
		*space = a.Data
	}
	if a.Status == invoke.UnknownMethod {
		if _, stream := c.service.Kind(request.Name); stream {
			a.What = fmt.Sprintf("%s is a stream, which only Rocket carries", request.Name)
		}
	}
	if len(a.Data) > s.MaxFrame {
		s.Counters.Count(counterReplySize)
		a = invoke.Answer{Status: invoke.Internal, What: fmt.Sprintf("%s: the answer has %d bytes, more than the limit of %d; ask for less", request.Name, len(a.Data), s.MaxFrame)}
	}
	return a
}

// send writes an answer in the manner of the request.
func (c *connection) send(how message, frame theader.Frame, request theader.Message, a invoke.Answer) error {
	reply, info := theader.Answer(request, a)
	if how.framing == header {
		head, body, err := headerFrame(frame, info, reply)
		if err != nil {
			return err
		}
		return c.write(head, body)
	}
	room := 64 + len(reply.Name)
	if len(reply.Body) <= joinBelow {
		room += len(reply.Body)
	}
	head := theader.AppendEnvelope(make([]byte, how.prefix, room), reply)
	size := len(head) - how.prefix + len(reply.Body)
	switch how.prefix {
	case prefixShort:
		binary.BigEndian.PutUint32(head, uint32(size))
	case prefixLong:
		copy(head, bigMark)
		binary.BigEndian.PutUint64(head[4:], uint64(size))
	}
	return c.write(head, reply.Body)
}

// headerFrame puts a message into a THeader frame like the one it answers. What it returns is to be written in turn.
func headerFrame(frame theader.Frame, info map[string]string, m theader.Message) (head, body []byte, err error) {
	frame.Info = info
	if len(frame.Transforms) > 0 {
		frame.Payload = theader.AppendMessage(nil, m)
		head, err = theader.AppendFrame(nil, frame)
		return head, nil, err
	}
	// The length is that of a frame without the body, until it is mended: so the body need not be copied.
	frame.Payload = theader.AppendEnvelope(nil, m)
	if head, err = theader.AppendFrame(nil, frame); err == nil {
		binary.BigEndian.PutUint32(head, uint32(len(head)-prefixShort+len(m.Body)))
	}
	return head, m.Body, err
}

// write sends head and body. A deadline that is still far enough away is not set anew: that costs more than a short write.
func (c *connection) write(head, body []byte) error {
	if err := c.writeWithin(c.server.WriteTimeout); err != nil {
		return err
	}
	return writeTwo(c.conn, head, body)
}

func (c *connection) writeWithin(d time.Duration) error {
	now := time.Now()
	if c.writes.Sub(now) >= d {
		return nil
	}
	c.writes = now.Add(2 * d)
	return c.raw.SetWriteDeadline(c.writes)
}

// writeTwo writes head and body, in one packet if they are short. head may be changed.
func writeTwo(conn net.Conn, head, body []byte) error {
	if len(body) <= joinBelow {
		_, err := conn.Write(append(head, body...))
		return err
	}
	_, err := (&net.Buffers{head, body}).WriteTo(conn)
	return err
}

// nothing is the result of a method that returns nothing.
type nothing struct{}

func (nothing) Write(ctx context.Context, p thrift.TProtocol) error {
	if err := p.WriteStructBegin(ctx, "result"); err != nil {
		return err
	}
	if err := p.WriteFieldStop(ctx); err != nil {
		return err
	}
	return p.WriteStructEnd(ctx)
}

func (nothing) Read(context.Context, thrift.TProtocol) error { return nil }
