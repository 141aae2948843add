package rpc

import (
	"context"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"
)

// gate lets no more requests into a processor than the server may work on, over all connections.
type gate struct {
	thrift.TProcessor
	server *Server
}

// Process works on the request, or answers it with an exception if there are too many.
func (g gate) Process(ctx context.Context, in, out thrift.TProtocol) (bool, thrift.TException) {
	s := g.server
	defer s.inFlight.Add(-1)
	if s.inFlight.Add(1) <= int64(s.MaxInFlight) {
		return g.TProcessor.Process(ctx, in, out)
	}
	s.Counters.Count(counterBusy)
	name, _, seq, err := in.ReadMessageBegin(ctx)
	if err != nil {
		return false, thrift.WrapTException(err)
	}
	x := thrift.NewTApplicationException(thrift.INTERNAL_ERROR,
		fmt.Sprintf("%s: the server is busy with %d requests; try again later", name, s.MaxInFlight))
	if err := out.WriteMessageBegin(ctx, name, thrift.EXCEPTION, seq); err != nil {
		return true, thrift.WrapTException(err)
	}
	if err := x.Write(ctx, out); err != nil {
		return true, thrift.WrapTException(err)
	}
	return true, x
}
