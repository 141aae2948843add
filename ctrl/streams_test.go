package ctrl

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/config"
	"openr/fib"
	"openr/kvstore"
	"openr/lsdb"
	"openr/msg"
	"openr/queue"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
)

// feed is a subscription that gives what it is fed.
type feed[T any] struct {
	c      chan T
	closed int
}

func (f *feed[T]) Next(ctx context.Context) (v T, err error) {
	select {
	case v, ok := <-f.c:
		if !ok {
			return v, io.EOF
		}
		return v, nil
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

func (f *feed[T]) Close() { f.closed++ }

func TestStreamOfPublications(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := newTest()
		f := &feed[kvstore.Update]{c: make(chan kvstore.Update, 10)}
		items := stream(c, streamKvStore, f, publication)
		time.Sleep(time.Second)
		f.c <- kvstore.Update{Area: "0", NodeIDs: []string{"n2"}} // nothing that the client need know
		f.c <- kvstore.Update{Area: "0", KeyVals: map[string]lsdb.Value{"k": {Version: 1, Originator: "n2", Data: []byte("v"), TTL: 5}}, NodeIDs: []string{"n2", "node1"}}
		f.c <- kvstore.Update{Area: "0", Expired: []string{"k"}}
		sent := time.Now()
		next := func() *wire.Publication {
			t.Helper()
			v, err := items.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return v.(*wire.Publication)
		}
		p := next()
		if p.Area != "0" || string(p.KeyVals["k"].Value) != "v" || !slices.Equal(p.NodeIds, []string{"n2", "node1"}) || p.GetTimestampMs() != sent.UnixMilli() || p.ExpiredKeys == nil || p.TobeUpdatedKeys != nil {
			t.Errorf("%v", p)
		}
		if p = next(); !slices.Equal(p.ExpiredKeys, []string{"k"}) || p.KeyVals == nil || p.NodeIds != nil {
			t.Errorf("%v", p)
		}
		time.Sleep(time.Second)
		info, _ := c.GetSubscriberInfo(t.Context(), 0)
		if len(info) != 1 || info[0].Uptime != 2000 || info[0].TotalStreamedMsgs != 2 || info[0].LastMsgSentTime != sent.UnixMilli() {
			t.Errorf("%v", info)
		}
		if n, _ := c.Counters.Get("subscribers.kvstore"); n != 1 {
			t.Errorf("%d subscribers counted", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := items.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		close(f.c)
		if _, err := items.Next(t.Context()); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("the store stopped, and the client is told %v", err)
		}
		items.Close()
		items.Close()
		if n, _ := c.Counters.Get("subscribers.kvstore"); n != 0 || f.closed != 1 {
			t.Errorf("%d subscribers counted, closed %d times", n, f.closed)
		}
	})
}

func TestSubscriberInfo(t *testing.T) {
	c, _ := newTest()
	var all []invoke.Items
	for _, kind := range []streamKind{streamFibDetail, streamKvStore, streamFib} {
		all = append(all, stream(c, kind, &feed[int]{}, func(int, time.Time) thrift.TStruct { return nil }))
	}
	for kind, want := range map[int64][]int64{0: {2}, 1: {1, 3}, 2: {}, -1: {}} {
		info, err := c.GetSubscriberInfo(t.Context(), kind)
		ids := []int64{}
		for _, s := range info {
			ids = append(ids, s.SubscriberID)
		}
		if err != nil || info == nil || !slices.Equal(ids, want) {
			t.Errorf("type %d: %v, %v; want %v", kind, ids, err, want)
		}
	}
	for name, want := range map[string]int64{"subscribers.kvstore": 1, "subscribers.fib": 1, "subscribers.fibDetail": 1} {
		if n, ok := c.Counters.Get(name); n != want || !ok {
			t.Errorf("%s = %d", name, n)
		}
	}
	all[1].Close()
	if info, _ := c.GetSubscriberInfo(t.Context(), 0); len(info) != 0 {
		t.Errorf("a closed stream is listed: %v", info)
	}
}

// open opens a stream of the service as a transport does.
func open(t *testing.T, c *Ctrl, method string, args thrift.TStruct, first thrift.TStruct) invoke.Items {
	t.Helper()
	data, err := invoke.Marshal(invoke.Compact, nil, args)
	if err != nil {
		t.Fatal(err)
	}
	a, items := service(t, c).Open(t.Context(), invoke.Request{Method: method, Encoding: invoke.Compact, Args: data}, nil)
	if a.Status != invoke.OK || items == nil {
		t.Fatalf("%+v", a)
	}
	t.Cleanup(items.Close)
	if err := invoke.Unmarshal(invoke.Compact, a.Data, first); err != nil {
		t.Fatal(err)
	}
	return items
}

// element waits for the next element of a stream, and sends it over the wire.
func element[T thrift.TStruct](t *testing.T, items invoke.Items, into T) T {
	t.Helper()
	v, err := items.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := invoke.Marshal(invoke.Compact, nil, invoke.Element(v))
	if err != nil {
		t.Fatal(err)
	}
	if err := invoke.Unmarshal(invoke.Compact, data, invoke.Element(into)); err != nil {
		t.Fatal(err)
	}
	return into
}

func TestStreamsOfRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newTest()
		routes := queue.New(msg.MergeRoutes)
		module := fib.New(fib.Options{Config: config.Default("node1"), Routes: routes})
		m.fib.Real = module
		ctx, cancel := context.WithCancel(t.Context())
		go module.Run(ctx)
		defer synctest.Wait()
		defer cancel()
		route := func(p string) msg.Route {
			return msg.Route{
				Prefix: prefix(p), NextHops: []msg.NextHop{{Addr: netip.MustParseAddr("fe80::2"), IfName: "eth0", Metric: 1}},
				Best: lsdb.PrefixEntry{Prefix: prefix(p), Type: lsdb.PrefixConfig}, CounterID: "c",
			}
		}
		table := func(list ...string) map[netip.Prefix]msg.Route {
			out := map[netip.Prefix]msg.Route{}
			for _, p := range list {
				out[prefix(p)] = route(p)
			}
			return out
		}
		routes.Push(msg.RouteUpdate{Full: true, Update: table("10.0.0.0/8", "fd00::/64")})
		synctest.Wait()

		var first openrctrlcpp.OpenrCtrlCppSubscribeAndGetFibResult
		var detail openrctrlcpp.OpenrCtrlCppSubscribeAndGetFibDetailResult
		plain := open(t, c, "subscribeAndGetFib", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibArgs(), &first)
		detailed := open(t, c, "subscribeAndGetFibDetail", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibDetailArgs(), &detail)
		if db := first.GetSuccess(); db.ThisNodeName != "node1" || len(db.UnicastRoutes) != 2 || db.UnicastRoutes[0].GetCounterID() != "c" {
			t.Errorf("%v", db)
		}
		if db := detail.GetSuccess(); db.ThisNodeName != "node1" || len(db.UnicastRoutes) != 2 || db.UnicastRoutes[0].BestRoute.Type != lsdb.PrefixConfig {
			t.Errorf("%v", db)
		}

		routes.Push(msg.RouteUpdate{Update: table("10.2.0.0/16", "10.1.0.0/16"), Delete: map[netip.Prefix]msg.DeleteReason{prefix("10.0.0.0/8"): msg.Unreachable}})
		synctest.Wait()
		d := element(t, plain, types.NewRouteDatabaseDelta())
		for len(d.UnicastRoutesToDelete) == 0 { // what is taken out may be told apart
			next := element(t, plain, types.NewRouteDatabaseDelta())
			next.UnicastRoutesToUpdate = append(d.UnicastRoutesToUpdate, next.UnicastRoutesToUpdate...)
			d = next
		}
		if len(d.UnicastRoutesToUpdate) != 2 || d.UnicastRoutesToUpdate[0].Dest.PrefixAddress.Addr[1] != 1 || len(d.UnicastRoutesToDelete) != 1 || d.UnicastRoutesToDelete[0].PrefixLength != 8 {
			t.Errorf("%v", d)
		}
		x := element(t, detailed, openrctrl.NewRouteDatabaseDeltaDetail())
		if len(x.UnicastRoutesToUpdate) != 2 || x.UnicastRoutesToUpdate[0].BestRoute == nil {
			t.Errorf("%v", x)
		}
		if _, err := c.GetSubscriberInfo(t.Context(), 1); err != nil {
			t.Error(err)
		}
		cancel()
		synctest.Wait()
		for {
			if _, err := plain.Next(t.Context()); err != nil {
				if !strings.Contains(err.Error(), "terminated") {
					t.Errorf("fib has stopped, and the client is told %v", err)
				}
				break
			}
		}
	})
}

// store returns a running store with the given areas over a Ctrl. It ends with the test.
func store(t *testing.T, c *Ctrl, m *modules) *kvstore.KvStore {
	t.Helper()
	cfg := config.Default("node1")
	cfg.Areas = c.Config.Areas
	s, err := kvstore.New(kvstore.Options{Config: cfg, Counters: c.Counters, Dial: func(context.Context, msg.Peer) (kvstore.Client, error) { return nil, errors.New("no peers") }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	c.KvStore, m.kv.Real = s, s
	return s
}

// put stores a value under a key.
func put(t *testing.T, c *Ctrl, area, key, data string, version int64) {
	t.Helper()
	v := &wire.Value{Version: version, OriginatorId: "n2", Value: []byte(data), TTL: lsdb.TTLInfinite}
	if data == "" {
		v.Value, v.TtlVersion = nil, version
		v.Version = 1
	}
	if err := c.SetKvStoreKeyVals(t.Context(), &wire.KeySetParams{KeyVals: wire.KeyVals{key: v}, NodeIds: []string{"n2"}}, area); err != nil {
		t.Fatal(err)
	}
}

func filterArgs(f *wire.KeyDumpParams) thrift.TStruct {
	return &openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreFilteredArgs{Filter: f}
}

// TestStoreStreams: a client has the content of the store at one moment, and everything after it, once.
func TestStoreStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newTest()
		store(t, c, m)
		put(t, c, "0", "adj:n1", "a", 1)
		put(t, c, "0", "prefix:n1", "b", 1)

		for _, test := range []struct {
			name   string
			filter *wire.KeyDumpParams // nil: the method without filter
			first  []string
			then   []string
			value  bool // values carry data
		}{
			{"all", nil, []string{"adj:n1", "prefix:n1"}, []string{"adj:n1", "prefix:n1", "prefix:n2"}, true},
			{"a filter with nothing in it", &wire.KeyDumpParams{IgnoreTtl: true}, []string{"adj:n1", "prefix:n1"}, []string{"adj:n1", "prefix:n1", "prefix:n2"}, true},
			{"keys", &wire.KeyDumpParams{IgnoreTtl: true, Keys: []string{"adj:"}}, []string{"adj:n1"}, []string{"adj:n1"}, true},
			{"keys without values", &wire.KeyDumpParams{IgnoreTtl: true, Keys: []string{"prefix:"}, DoNotPublishValue: true}, []string{"prefix:n1"}, []string{"prefix:n1", "prefix:n2"}, false},
			{"originators", &wire.KeyDumpParams{IgnoreTtl: true, OriginatorIds: []string{"n2"}}, []string{"adj:n1", "prefix:n1"}, []string{"adj:n1", "prefix:n1", "prefix:n2"}, true},
		} {
			var items invoke.Items
			var p *wire.Publication
			if test.filter == nil {
				var first openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreResult
				items = open(t, c, "subscribeAndGetKvStore", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs(), &first)
				p = first.GetSuccess()
			} else {
				var first openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreFilteredResult
				items = open(t, c, "subscribeAndGetKvStoreFiltered", filterArgs(test.filter), &first)
				p = first.GetSuccess()
			}
			if got := slices.Sorted(maps.Keys(p.KeyVals)); !slices.Equal(slices.DeleteFunc(got, func(k string) bool { return k == "prefix:n2" }), test.first) || p.Area != "0" || p.GetTimestampMs() != time.Now().UnixMilli() {
				t.Errorf("%s: first %q, area %q, at %d", test.name, got, p.Area, p.GetTimestampMs())
			}
			version := p.KeyVals[test.first[0]].Version
			for _, key := range []string{"adj:n1", "prefix:n1", "prefix:n2"} {
				put(t, c, "0", key, "x", version+1)
			}
			got := map[string]*wire.Value{}
			for len(got) < len(test.then) {
				maps.Copy(got, element(t, items, wire.NewPublication()).KeyVals)
			}
			for key, v := range got {
				if !slices.Contains(test.then, key) || (v.Value != nil) != test.value || v.Version != version+1 {
					t.Errorf("%s: then %s: %v", test.name, key, v)
				}
			}
			items.Close()
		}
	})
}

func TestStoreStreamsOfSeveralAreas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, m := newTest("b", "a")
		store(t, c, m)
		put(t, c, "a", "k", "1", 1)
		for _, test := range []struct {
			areas, first []string
			sees         string
		}{
			{nil, []string{"b", "a"}, "a b"},
			{[]string{"a"}, []string{"a"}, "a"},
			{[]string{"a", "b"}, []string{"b", "a"}, "a b"},
		} {
			var first openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresResult
			items := open(t, c, "subscribeAndGetAreaKvStores", &openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresArgs{SelectAreas: test.areas}, &first)
			var got []string
			for _, p := range first.GetSuccess() {
				got = append(got, p.Area)
			}
			if !slices.Equal(got, test.first) {
				t.Errorf("%q: first %q, want %q", test.areas, got, test.first)
			}
			version := time.Now().UnixMilli()
			put(t, c, "b", "k", "2", version)
			put(t, c, "a", "k", "2", version)
			seen := map[string]bool{}
			for range strings.Fields(test.sees) {
				seen[element(t, items, wire.NewPublication()).Area] = true
			}
			if s := strings.Join(slices.Sorted(maps.Keys(seen)), " "); s != test.sees {
				t.Errorf("%q: then %q, want %q", test.areas, s, test.sees)
			}
			items.Close()
			time.Sleep(time.Second)
		}
		s := service(t, c)
		for method, args := range map[string]thrift.TStruct{
			"subscribeAndGetKvStore":         openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs(), // two areas
			"subscribeAndGetKvStoreFiltered": filterArgs(nil),
			"subscribeAndGetAreaKvStores":    &openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresArgs{SelectAreas: []string{"a", "nope"}},
		} {
			data, err := invoke.Marshal(invoke.Compact, nil, args)
			if err != nil {
				t.Fatal(err)
			}
			if a, items := s.Open(t.Context(), invoke.Request{Method: method, Encoding: invoke.Compact, Args: data}, nil); a.Status != invoke.Undeclared || items != nil {
				t.Errorf("%s: %+v", method, a)
			}
		}
		if _, _, err := c.subscribeKvStores(t.Context(), nil, &wire.KeyDumpParams{Keys: []string{"("}}); err == nil || !strings.Contains(err.Error(), `"("`) {
			t.Errorf("got %v", err)
		}
	})
}
