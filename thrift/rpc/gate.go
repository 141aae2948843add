package rpc

import (
	"context"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/invoke"
)

// gate lets no more requests of a host into a processor than the server may work on, over all connections, nor more than are
// left for others: so requests that wait for something for long keep nobody else's out.
type gate struct {
	thrift.TProcessor
	server *Server
	host   *host
}

// serviceFor returns the service as a host gets it.
func (s *Server) serviceFor(who *host) *invoke.Service {
	service := *s.service
	service.Processor = gate{service.Processor, s, who}
	return &service
}

type callerKey struct{}

// Caller returns, in a handler, the address from which the request came, with its zone but without port. It is empty if the
// request did not come through a Server.
func Caller(ctx context.Context) string {
	if h, ok := ctx.Value(callerKey{}).(*host); ok {
		return h.name
	}
	return ""
}

// Process works on the request, or answers it with an exception if there are too many.
func (g gate) Process(ctx context.Context, in, out thrift.TProtocol) (bool, thrift.TException) {
	s := g.server
	all, theirs := s.inFlight.Add(1), g.host.inFlight.Add(1)
	defer func() {
		s.inFlight.Add(-1)
		g.host.inFlight.Add(-1)
	}()
	if left := int64(s.MaxInFlight) - all; theirs <= left+1 { // this one is counted in both
		return g.TProcessor.Process(context.WithValue(ctx, callerKey{}, g.host), in, out)
	}
	s.Counters.Count(counterBusy)
	s.offends(g.host.name, g.host.network, "too many requests", nil)
	name, _, seq, err := in.ReadMessageBegin(ctx)
	if err != nil {
		return false, thrift.WrapTException(err)
	}
	x := thrift.NewTApplicationException(thrift.INTERNAL_ERROR,
		fmt.Sprintf("%s: the server is busy with %d requests, %d of them from you; try again later", name, all-1, theirs-1))
	if err := out.WriteMessageBegin(ctx, name, thrift.EXCEPTION, seq); err != nil {
		return true, thrift.WrapTException(err)
	}
	if err := x.Write(ctx, out); err != nil {
		return true, thrift.WrapTException(err)
	}
	return true, x
}
