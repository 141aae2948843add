package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/invoke"
	"openr/thrift/rocket"
)

// rocketSpeaker is the client's side of a Rocket connection.
type rocketSpeaker struct {
	client *rocket.Client
	addr   string
}

func newRocket(conn net.Conn, addr string, o DialOptions) *rocketSpeaker {
	encoding := invoke.Compact
	if o.Binary {
		encoding = invoke.Binary
	}
	return &rocketSpeaker{addr: addr, client: rocket.NewClient(conn, rocket.ClientOptions{
		MaxMessage: o.MaxFrame, RequestTimeout: o.RequestTimeout, Encoding: encoding, Compression: o.Compression, Agent: o.Agent,
	})}
}

func (s *rocketSpeaker) Call(ctx context.Context, method string, args, result thrift.TStruct) (thrift.ResponseMeta, error) {
	meta, err := s.client.Call(ctx, method, args, result)
	return meta, s.explain(method, err)
}

func (s *rocketSpeaker) Send(ctx context.Context, e *invoke.Encoded, result thrift.TStruct) error {
	return s.explain(e.Method(), s.client.Send(ctx, e, result))
}

func (s *rocketSpeaker) Subscribe(ctx context.Context, method string, args, first thrift.TStruct) (Stream, error) {
	stream, err := s.client.Stream(ctx, method, args, first)
	if err != nil {
		return nil, s.explain(method, err)
	}
	return stream, nil
}

func (s *rocketSpeaker) Heard() bool  { return s.client.Heard() }
func (s *rocketSpeaker) Close() error { return s.client.Close() }

// explain says where a call failed, and what may be the reason if the server closed the connection without a word.
func (s *rocketSpeaker) explain(method string, err error) error {
	exception := thrift.TApplicationException(nil)
	switch {
	case err == nil || errors.As(err, &exception):
		return err
	case errors.Is(err, rocket.ErrClosed):
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	silent := !s.client.Heard() && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, rocket.ErrTimeout)
	if silent {
		return fmt.Errorf("%s at %s: %w (the server said nothing: it may not speak Rocket, or want TLS, or none)", method, s.addr, err)
	}
	return fmt.Errorf("%s at %s: %w", method, s.addr, err)
}
