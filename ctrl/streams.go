package ctrl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/kvstore"
	"openr/msg"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
)

// source is where a stream's news come from: a subscription to a module. News that nobody has fetched yet are merged there,
// so a client that reads slowly costs the module nothing.
type source[T any] interface {
	Next(ctx context.Context) (T, error)
	Close()
}

// items is a stream, made of a subscription. convert returns nil for news that the client need not know.
type items[T any] struct {
	source      source[T]
	convert     func(T, time.Time) thrift.TStruct
	subscribers *subscribers
	subscriber  *subscriber
	close       sync.Once
}

var errModuleStopped = errors.New("publisher terminated") // as Open/R says it at shutdown

func stream[T any](c *Ctrl, kind streamKind, s source[T], convert func(T, time.Time) thrift.TStruct) invoke.Items {
	return &items[T]{source: s, convert: convert, subscribers: c.subscribers, subscriber: c.subscribers.add(kind)}
}

// Next implements invoke.Items.
func (i *items[T]) Next(ctx context.Context) (thrift.TStruct, error) {
	for {
		news, err := i.source.Next(ctx)
		switch {
		case errors.Is(err, io.EOF) && ctx.Err() == nil:
			return nil, errModuleStopped
		case err != nil:
			return nil, err
		}
		now := time.Now()
		if element := i.convert(news, now); element != nil {
			i.subscribers.sent(i.subscriber, now)
			return element, nil
		}
	}
}

// Close implements invoke.Items.
func (i *items[T]) Close() {
	i.close.Do(func() {
		i.source.Close()
		i.subscribers.remove(i.subscriber)
	})
}

// subscribeKvStore returns a dump of the only area, and what happens there from then on.
func (c *Ctrl) subscribeKvStore(ctx context.Context, caller string, filter *wire.KeyDumpParams) (*wire.Publication, invoke.Items, error) {
	area, err := c.singleArea(caller)
	if err != nil {
		return nil, nil, err
	}
	first, items, err := c.subscribeKvStores(ctx, []string{area}, filter)
	if err != nil {
		return nil, nil, err
	}
	return first[0], items, nil
}

// subscribeKvStores returns a dump of each of the given areas, in the order of the configuration, and what happens in any
// of them from then on; none given: all. (C++ Open/R has no dumps then, and streams all areas.)
func (c *Ctrl) subscribeKvStores(ctx context.Context, areas []string, filter *wire.KeyDumpParams) ([]*wire.Publication, invoke.Items, error) {
	if filter == nil {
		filter = wire.NewKeyDumpParams() // which leaves out refreshed TTLs
	}
	p := kvstore.DumpParamsFromThrift(filter)
	if err := checkFilter(p); err != nil {
		return nil, nil, err
	}
	type answer struct {
		first []kvstore.SyncAnswer
		sub   *kvstore.Subscription
	}
	a, err := askFor(ctx, "kvstore", dumpPatience, func(ctx context.Context) (a answer, err error) {
		a.first, a.sub, err = c.KvStore.Subscribe(ctx, areas, p)
		return a, err
	})
	if err != nil {
		return nil, nil, err
	}
	if len(a.first) == 0 {
		a.sub.Close()
		return nil, nil, errors.New("kvstore: no areas")
	}
	now := time.Now().UnixMilli()
	first := make([]*wire.Publication, len(a.first))
	for i, dump := range a.first {
		first[i] = kvstore.PublicationToThrift(dump)
		first[i].TimestampMs = &now
	}
	return first, stream(c, streamKvStore, a.sub, publication), nil
}

// checkFilter refuses expressions that are none. (C++ Open/R takes them for no filter at all.)
func checkFilter(p kvstore.DumpParams) error {
	for _, key := range p.Keys {
		if _, err := regexp.Compile(key); err != nil {
			return fmt.Errorf("key filter %q is not a regular expression: %w", key, err)
		}
	}
	return nil
}

// publication makes an element of a stream; nil if there is nothing to tell.
func publication(u kvstore.Update, now time.Time) thrift.TStruct {
	if len(u.KeyVals) == 0 && len(u.Expired) == 0 {
		return nil
	}
	u.Timestamp = now
	return kvstore.UpdateToThrift(u)
}

// subscribeFib returns the routes that stand in the forwarding table, and from then on those that change. A route that cannot
// be programmed is told as one that goes.
func (c *Ctrl) subscribeFib(ctx context.Context) (*types.RouteDatabase, invoke.Items, error) {
	routes, sub, err := c.watchFib(ctx)
	if err != nil {
		return nil, nil, err
	}
	return routeDatabase(c.Config.NodeName, routes), stream(c, streamFib, sub, func(u msg.RouteUpdate, _ time.Time) thrift.TStruct {
		update, del := changes(u)
		if len(update)+len(del) == 0 {
			return nil
		}
		t := types.NewRouteDatabaseDelta()
		t.UnicastRoutesToUpdate, t.UnicastRoutesToDelete = routesThrift(update), prefixesThrift(del)
		t.MplsRoutesToUpdate, t.MplsRoutesToDelete = noMplsRoutes(), []int32{}
		if u.PerfEvents != nil {
			t.PerfEvents = &types.PerfEvents{Events: perfEvents(u.PerfEvents)}
		}
		return t
	}), nil
}

// subscribeFibDetail is subscribeFib with the advertisement on which each route rests.
func (c *Ctrl) subscribeFibDetail(ctx context.Context) (*openrctrl.RouteDatabaseDetail, invoke.Items, error) {
	routes, sub, err := c.watchFib(ctx)
	if err != nil {
		return nil, nil, err
	}
	return routeDatabaseDetail(c.Config.NodeName, routes), stream(c, streamFibDetail, sub, func(u msg.RouteUpdate, _ time.Time) thrift.TStruct {
		update, del := changes(u)
		if len(update)+len(del) == 0 {
			return nil
		}
		return &openrctrl.RouteDatabaseDeltaDetail{
			UnicastRoutesToUpdate: routeDetails(update), UnicastRoutesToDelete: prefixesThrift(del),
			MplsRoutesToUpdate: []*openrctrl.MplsRouteDetail{}, MplsRoutesToDelete: []int32{},
		}
	}), nil
}

// watchFib subscribes to the routes.
func (c *Ctrl) watchFib(ctx context.Context) ([]msg.Route, source[msg.RouteUpdate], error) {
	var sub source[msg.RouteUpdate]
	first, err := ask(ctx, "fib", func(ctx context.Context) ([]msg.Route, error) {
		all, s, err := c.Fib.Subscribe(ctx)
		if err != nil {
			return nil, err
		}
		sub = s
		return wantedRoutes(all), nil
	})
	return first, sub, err
}
