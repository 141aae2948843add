package ctrl

import (
	"context"
	"slices"

	"github.com/apache/thrift/lib/go/thrift"
	"go.uber.org/zap"

	"openr/kvstore"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/gen/openrendpoint"
	"openr/thrift/invoke"
)

// ordered are the methods whose calls on one connection must not overtake each other: a peer floods with them, and does
// not wait for answers.
var ordered = []string{"setKvStoreKeyVals", "setKvStoreKeyValues"}

// dumps are the methods whose answers may be as large as the store; it bounds how many are made at a time.
var dumps = []string{"getKvStoreKeyValsFiltered", "getKvStoreKeyValsFilteredArea", "getKvStoreHashFiltered", "getKvStoreHashFilteredArea"}

// Service returns the service as package rpc serves it.
func (c *Ctrl) Service() *invoke.Service {
	p := openrendpoint.NewOpenrEndpointProcessor(c)
	for name, f := range c.bulk() {
		p.AddToProcessorMap(name, f)
	}
	for _, name := range dumps {
		p.AddToProcessorMap(name, kvstore.HoldDumps(name, p.ProcessorMap()[name]))
	}
	for name, f := range p.ProcessorMap() {
		p.AddToProcessorMap(name, &measured{f, c.profiler, c.profiler.method(name)})
	}
	return &invoke.Service{
		Processor: p,
		Streams:   c.streams(),
		Ordered:   func(method string) bool { return slices.Contains(ordered, method) },
		Panicked: func(method string, value any, stack []byte) {
			c.Counters.Count(cntPanics)
			c.Log.Error("a call ended in a panic", zap.String("method", method), zap.Any("value", value), zap.ByteString("stack", stack))
		},
	}
}

// measured is a method of the processor under the profiler.
type measured struct {
	thrift.TProcessorFunction
	profiler *profiler
	times    *histogram
}

// Process implements thrift.TProcessorFunction.
func (m *measured) Process(ctx context.Context, seq int32, in, out thrift.TProtocol) (bool, thrift.TException) {
	defer m.profiler.start(m.times)()
	return m.TProcessorFunction.Process(ctx, seq, in, out)
}

// streams returns the methods of OpenrCtrlCpp, and the stream of our own.
func (c *Ctrl) streams() map[string]invoke.StreamMethod {
	streams := map[string]invoke.StreamMethod{
		"subscribeAndGetKvStore": {
			NewArgs: func() thrift.TStruct { return openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs() },
			Open: func(ctx context.Context, _ thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
				first, items, err := c.subscribeKvStore(ctx, "subscribeAndGetKvStore", nil)
				return &openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreResult{Success: first}, items, err
			},
		},
		"subscribeAndGetKvStoreFiltered": {
			NewArgs: func() thrift.TStruct { return openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreFilteredArgs() },
			Open: func(ctx context.Context, args thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
				a := args.(*openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreFilteredArgs)
				first, items, err := c.subscribeKvStore(ctx, "subscribeAndGetKvStoreFiltered", a.Filter)
				return &openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreFilteredResult{Success: first}, items, err
			},
		},
		"subscribeAndGetAreaKvStores": {
			NewArgs: func() thrift.TStruct { return openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetAreaKvStoresArgs() },
			Open: func(ctx context.Context, args thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
				a := args.(*openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresArgs)
				first, items, err := c.subscribeKvStores(ctx, a.SelectAreas, a.Filter)
				return &openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresResult{Success: first}, items, err
			},
		},
		"subscribeAndGetFib": {
			NewArgs: func() thrift.TStruct { return openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibArgs() },
			Open: func(ctx context.Context, _ thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
				first, items, err := c.subscribeFib(ctx)
				return &openrctrlcpp.OpenrCtrlCppSubscribeAndGetFibResult{Success: first}, items, err
			},
		},
		"subscribeAndGetFibDetail": {
			NewArgs: func() thrift.TStruct { return openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibDetailArgs() },
			Open: func(ctx context.Context, _ thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
				first, items, err := c.subscribeFibDetail(ctx)
				return &openrctrlcpp.OpenrCtrlCppSubscribeAndGetFibDetailResult{Success: first}, items, err
			},
		},
	}
	streams[endpointChangesStream] = c.endpointStream()
	for name, m := range streams {
		open, times := m.Open, c.profiler.method(name)
		m.Open = func(ctx context.Context, args thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
			defer c.profiler.start(times)()
			return open(ctx, args)
		}
		streams[name] = m
	}
	return streams
}
