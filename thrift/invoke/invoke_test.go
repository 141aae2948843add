package invoke_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compress"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
)

var encodings = map[string]invoke.Encoding{"binary": invoke.Binary, "compact": invoke.Compact}

// handler answers in each way in which a handler can.
type handler struct {
	openrctrl.OpenrCtrl // the methods that no test calls
	set                 map[string]int32
}

func (h *handler) GetMyNodeName(context.Context) (string, error) { return "node-a", nil }
func (h *handler) SetNodeOverload(context.Context) error         { return nil }
func (h *handler) UnsetNodeOverload(context.Context) error       { panic("no such register") }
func (h *handler) GetRunningConfig(context.Context) (string, error) {
	return "", errors.New("the disk is gone")
}

func (h *handler) SetInterfaceMetric(_ context.Context, ifName string, metric int32) error {
	if metric < 1 {
		return &openrctrl.OpenrError{Message: "metric of " + ifName + " is not positive"}
	}
	h.set[ifName] = metric
	return nil
}

func (h *handler) GetKvStoreKeyValsArea(_ context.Context, keys []string, area string) (*kvstore.Publication, error) {
	switch area {
	case "":
		return nil, &kvstore.KvStoreError{Message: "no such area"}
	}
	return &kvstore.Publication{KeyVals: map[string]*kvstore.Value{keys[0]: {Version: 1, OriginatorId: area}}}, nil
}

// GetPrefixes returns what cannot be written: a set with something in it twice.
func (h *handler) GetPrefixes(context.Context) ([]*types.PrefixEntry, error) {
	return []*types.PrefixEntry{{Prefix: network.NewIpPrefix(), Tags: []string{"twice", "twice"}}}, nil
}

func (h *handler) GetKvStorePeers(ctx context.Context) (kvstore.PeersMap, error) {
	return nil, ctx.Err()
}

// service returns a service of the handler and what its panics report.
func service(t *testing.T) (*invoke.Service, *handler, *[]string) {
	t.Helper()
	h, reports := &handler{set: map[string]int32{}}, &[]string{}
	return &invoke.Service{
		Processor: openrctrl.NewOpenrCtrlProcessor(h),
		Streams:   map[string]invoke.StreamMethod{"subscribe": {NewArgs: newArgs, Open: open}},
		Panicked: func(method string, value any, stack []byte) {
			*reports = append(*reports, method)
			if !bytes.Contains(stack, []byte("invoke_test.go")) {
				t.Errorf("the stack of a panic in %s does not show where it was: %s", method, stack)
			}
		},
	}, h, reports
}

func marshal(t testing.TB, e invoke.Encoding, s thrift.TStruct) []byte {
	t.Helper()
	b, err := invoke.Marshal(e, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestInvoke(t *testing.T) {
	type result = thrift.TStruct
	name := "node-a"
	none := openrctrl.NewOpenrCtrlGetMyNodeNameArgs()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		method    string
		args      thrift.TStruct
		raw       []byte // in place of args
		ctx       context.Context
		status    invoke.Status
		data      result // nil: no data
		name      string
		what      string // what the text contains
		recovered bool
	}{
		{method: "getMyNodeName", args: none, data: &openrctrl.OpenrCtrlGetMyNodeNameResult{Success: &name}},
		{method: "setNodeOverload", args: none, data: openrctrl.NewOpenrCtrlSetNodeOverloadResult()},
		{method: "setInterfaceMetric", args: &openrctrl.OpenrCtrlSetInterfaceMetricArgs{InterfaceName: "eth0", OverrideMetric: 7},
			data: openrctrl.NewOpenrCtrlSetInterfaceMetricResult()},
		{method: "getKvStoreKeyValsArea", args: &kvstore.KvStoreServiceGetKvStoreKeyValsAreaArgs{FilterKeys: []string{"k"}, Area: "0"},
			data: &kvstore.KvStoreServiceGetKvStoreKeyValsAreaResult{Success: &kvstore.Publication{
				KeyVals: map[string]*kvstore.Value{"k": {Version: 1, OriginatorId: "0"}}}}},
		{method: "setInterfaceMetric", args: &openrctrl.OpenrCtrlSetInterfaceMetricArgs{InterfaceName: "eth0"}, status: invoke.Declared,
			data: &openrctrl.OpenrCtrlSetInterfaceMetricResult{Error: &openrctrl.OpenrError{Message: "metric of eth0 is not positive"}},
			name: "OpenrError", what: "metric of eth0 is not positive"},
		{method: "getKvStoreKeyValsArea", args: none, status: invoke.Declared, name: "KvStoreError", what: "no such area",
			data: &kvstore.KvStoreServiceGetKvStoreKeyValsAreaResult{Error: &kvstore.KvStoreError{Message: "no such area"}}},
		{method: "getRunningConfig", args: none, status: invoke.Undeclared, what: "the disk is gone"},
		{method: "getKvStorePeers", args: none, ctx: cancelled, status: invoke.Undeclared, what: "context canceled"},
		{method: "noSuchMethod", args: none, status: invoke.UnknownMethod, what: `"noSuchMethod"`},
		{method: "subscribe", args: none, status: invoke.UnknownMethod, what: "only as a stream"},
		{method: "getMyNodeName", raw: []byte{}, status: invoke.Malformed, what: "arguments of getMyNodeName"},
		{method: "setInterfaceMetric", raw: []byte{0x18, 0x7f, 0x40}, status: invoke.Malformed, what: "arguments of setInterfaceMetric"},
		{method: "unsetNodeOverload", args: none, status: invoke.Internal, what: "no such register", recovered: true},
		{method: "getPrefixes", args: none, status: invoke.Internal, what: "the answer to getPrefixes cannot be encoded"},
	} {
		for encoding, e := range encodings {
			s, _, reports := service(t)
			r := invoke.Request{Method: c.method, Encoding: e, Args: c.raw}
			if c.args != nil {
				r.Args = marshal(t, e, c.args)
			}
			ctx := c.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			a := s.Invoke(ctx, r, []byte("to be overwritten"))
			if a.Status != c.status || a.Name != c.name || !strings.Contains(a.What, c.what) || (a.What == "") != (c.what == "") {
				t.Errorf("%s, %s: status %d, name %q, text %q; want %d, %q, %q", c.method, encoding, a.Status, a.Name, a.What, c.status, c.name, c.what)
			}
			if (len(*reports) == 1) != c.recovered {
				t.Errorf("%s, %s: reported panics: %v", c.method, encoding, *reports)
			}
			if c.data == nil {
				if len(a.Data) > 0 {
					t.Errorf("%s, %s: data %x", c.method, encoding, a.Data)
				}
				continue
			}
			if want := marshal(t, e, c.data); !bytes.Equal(a.Data, want) {
				t.Errorf("%s, %s: data\n%x, want\n%x", c.method, encoding, a.Data, want)
			}
		}
	}
}

// TestInvokeReachesHandler sees the arguments arrive.
func TestInvokeReachesHandler(t *testing.T) {
	s, h, _ := service(t)
	args := &openrctrl.OpenrCtrlSetInterfaceMetricArgs{InterfaceName: "eth0", OverrideMetric: 7}
	s.Invoke(t.Context(), invoke.Request{Method: "setInterfaceMetric", Encoding: invoke.Compact, Args: marshal(t, invoke.Compact, args)}, nil)
	if h.set["eth0"] != 7 {
		t.Errorf("the handler has %v", h.set)
	}
}

func TestUnknownEncoding(t *testing.T) {
	s, _, _ := service(t)
	if a := s.Invoke(t.Context(), invoke.Request{Method: "getMyNodeName", Encoding: 1}, nil); a.Status != invoke.Malformed {
		t.Errorf("invoked: %+v", a)
	}
	if _, err := invoke.Marshal(1, nil, newArgs()); err == nil {
		t.Error("marshalled")
	}
	if err := invoke.Unmarshal(1, []byte{0}, newArgs()); err == nil {
		t.Error("unmarshalled")
	}
}

func TestInvokeConcurrently(t *testing.T) {
	s, _, _ := service(t)
	want := s.Invoke(t.Context(), invoke.Request{Method: "getMyNodeName", Encoding: invoke.Compact, Args: []byte{0}}, nil).Data
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var dst []byte
			for range 100 {
				a := s.Invoke(t.Context(), invoke.Request{Method: "getMyNodeName", Encoding: invoke.Compact, Args: []byte{0}}, dst)
				if dst = a.Data; !bytes.Equal(dst, want) {
					t.Errorf("%x, want %x", dst, want)
				}
			}
		})
	}
	wg.Wait()
}

func TestKind(t *testing.T) {
	s, _, _ := service(t)
	for _, c := range []struct {
		method         string
		single, stream bool
	}{{"getMyNodeName", true, false}, {"setKvStoreKeyVals", true, false}, {"getCounters", true, false}, {"subscribe", false, true}, {"", false, false}} {
		if single, stream := s.Kind(c.method); single != c.single || stream != c.stream {
			t.Errorf("%q: %v, %v", c.method, single, stream)
		}
	}
}

// The stream method of the tests: its area says how it behaves.
type items struct {
	area   string
	sent   int
	closed *int
}

var closedItems int

func newArgs() thrift.TStruct { return kvstore.NewKvStoreServiceGetKvStoreKeyValsAreaArgs() }

func open(_ context.Context, args thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
	area := args.(*kvstore.KvStoreServiceGetKvStoreKeyValsAreaArgs).Area
	it := &items{area: area, closed: &closedItems}
	first := &kvstore.KvStoreServiceGetKvStoreKeyValsAreaResult{Success: &kvstore.Publication{Area: area}}
	switch area {
	case "panics":
		panic("in the middle of opening")
	case "fails":
		return nil, nil, errors.New("publisher terminated")
	case "throws":
		first = &kvstore.KvStoreServiceGetKvStoreKeyValsAreaResult{Error: &kvstore.KvStoreError{Message: "no such area"}}
	case "nothing":
		return nil, it, nil
	case "unwritable":
		return &counted{fails: true}, it, nil
	case "unwritten":
		return (*counted)(nil), it, nil
	case "ends":
		return first, nil, nil
	}
	return first, it, nil
}

func (i *items) Next(context.Context) (thrift.TStruct, error) {
	if i.area == "next panics" {
		panic("in the middle of the stream")
	}
	if i.sent++; i.sent > 2 {
		return nil, io.EOF
	}
	return &kvstore.Publication{Area: i.area}, nil
}

func (i *items) Close() {
	*i.closed++
	if i.area == "close panics" {
		panic("at the end of the stream")
	}
}

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		area    string
		status  invoke.Status
		stream  bool
		closed  int // how often the items were closed already
		reports int
		what    string
	}{
		{"0", invoke.OK, true, 0, 0, ""},
		{"ends", invoke.OK, false, 0, 0, ""},
		{"throws", invoke.Declared, false, 1, 0, "no such area"},
		{"fails", invoke.Undeclared, false, 0, 0, "publisher terminated"},
		{"panics", invoke.Internal, false, 0, 1, "in the middle of opening"},
		{"nothing", invoke.Internal, false, 1, 0, "no first response"},
		{"unwritable", invoke.Internal, false, 1, 0, "cannot be written"},
		{"unwritten", invoke.Internal, false, 1, 1, "nil pointer"},
	} {
		for encoding, e := range encodings {
			s, _, reports := service(t)
			closedItems = 0
			args := &kvstore.KvStoreServiceGetKvStoreKeyValsAreaArgs{Area: c.area}
			a, it := s.Open(t.Context(), invoke.Request{Method: "subscribe", Encoding: e, Args: marshal(t, e, args)}, nil)
			if a.Status != c.status || (it != nil) != c.stream || !strings.Contains(a.What, c.what) || closedItems != c.closed || len(*reports) != c.reports {
				t.Errorf("%s, %s: %+v, stream %v, closed %d times, panics %v", c.area, encoding, a, it != nil, closedItems, *reports)
			}
			if a.Status == invoke.OK {
				first := kvstore.NewKvStoreServiceGetKvStoreKeyValsAreaResult()
				if err := invoke.Unmarshal(e, a.Data, first); err != nil || first.Success.GetArea() != c.area {
					t.Errorf("%s, %s: first response %v, %v", c.area, encoding, first, err)
				}
			}
		}
	}
	s, _, _ := service(t)
	if a, it := s.Open(t.Context(), invoke.Request{Method: "getMyNodeName", Encoding: invoke.Compact, Args: []byte{0}}, nil); a.Status != invoke.UnknownMethod || it != nil ||
		!strings.Contains(a.What, "only as a single call") {
		t.Errorf("a single call as a stream: %+v", a)
	}
	if a, _ := s.Open(t.Context(), invoke.Request{Method: "subscribe", Encoding: invoke.Compact, Args: []byte{0x18}}, nil); a.Status != invoke.Malformed {
		t.Errorf("bad arguments: %+v", a)
	}
}

// TestItems reads streams to the end, and those that panic on the way.
func TestItems(t *testing.T) {
	for _, area := range []string{"0", "next panics", "close panics"} {
		s, _, reports := service(t)
		args := &kvstore.KvStoreServiceGetKvStoreKeyValsAreaArgs{Area: area}
		_, it := s.Open(t.Context(), invoke.Request{Method: "subscribe", Encoding: invoke.Compact, Args: marshal(t, invoke.Compact, args)}, nil)
		n := 0
		var err error
		for ; err == nil; n++ {
			_, err = it.Next(t.Context())
		}
		it.Close()
		switch area {
		case "0":
			if n != 3 || err != io.EOF || len(*reports) != 0 {
				t.Errorf("%d elements, %v, panics %v", n-1, err, *reports)
			}
		case "next panics":
			if err == nil || err == io.EOF || len(*reports) != 1 {
				t.Errorf("%s: %v, panics %v", area, err, *reports)
			}
		case "close panics":
			if len(*reports) != 1 {
				t.Errorf("%s: panics %v", area, *reports)
			}
		}
	}
}

func TestElement(t *testing.T) {
	for encoding, e := range encodings {
		sent := &kvstore.Publication{Area: "0", ExpiredKeys: []string{"adj:node-b"}}
		b := marshal(t, e, invoke.Element(sent))
		// A generated result struct has the same form.
		if want := marshal(t, e, &kvstore.KvStoreServiceGetKvStoreKeyValsAreaResult{Success: sent}); !bytes.Equal(b, want) {
			t.Errorf("%s:\n%x, want\n%x", encoding, b, want)
		}
		got := kvstore.NewPublication()
		if err := invoke.Unmarshal(e, b, invoke.Element(got)); err != nil || !got.Equals(sent) {
			t.Errorf("%s: read %v, %v; want %v", encoding, got, err, sent)
		}
		foreign := marshal(t, e, &kvstore.KvStoreServiceGetKvStoreKeyValsAreaResult{Error: &kvstore.KvStoreError{Message: "x"}})
		if err := invoke.Unmarshal(e, foreign, invoke.Element(kvstore.NewPublication())); err == nil {
			t.Errorf("%s: an element without field 0 was read", encoding)
		}
		for n := range b {
			if err := invoke.Unmarshal(e, b[:n], invoke.Element(kvstore.NewPublication())); err == nil {
				t.Errorf("%s: the first %d of %d bytes were read", encoding, n, len(b))
			}
		}
	}
}

func TestMarshalAppends(t *testing.T) {
	for encoding, e := range encodings {
		dst, err := invoke.Marshal(e, []byte("before"), &openrctrl.OpenrCtrlSetInterfaceMetricArgs{InterfaceName: "eth0"})
		if b, ok := bytes.CutPrefix(dst, []byte("before")); err != nil || !ok || !bytes.Equal(b, marshal(t, e, &openrctrl.OpenrCtrlSetInterfaceMetricArgs{InterfaceName: "eth0"})) {
			t.Errorf("%s: %x, %v", encoding, dst, err)
		}
	}
}

// counted is an argument struct that counts how often it is written.
type counted struct {
	kvstore.KvStoreServiceGetKvStoreKeyValsAreaArgs
	times int
	fails bool
}

func (c *counted) Write(ctx context.Context, p thrift.TProtocol) error {
	c.times++
	if c.fails {
		return errors.New("cannot be written")
	}
	return c.KvStoreServiceGetKvStoreKeyValsAreaArgs.Write(ctx, p)
}

// TestEncodedOnce has many goroutines ask for the same forms of a call: each is made once.
func TestEncodedOnce(t *testing.T) {
	args := &counted{KvStoreServiceGetKvStoreKeyValsAreaArgs: kvstore.KvStoreServiceGetKvStoreKeyValsAreaArgs{Area: strings.Repeat("area", 100)}}
	e := invoke.NewEncoded("getKvStoreKeyValsArea", args)
	if e.Method() != "getKvStoreKeyValsArea" || args.times != 0 {
		t.Errorf("method %q, written %d times before anybody asked", e.Method(), args.times)
	}
	var mu sync.Mutex
	first := map[int]*byte{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i, get := range []func() ([]byte, error){
				func() ([]byte, error) { return e.Compressed(invoke.Compact, compress.Zstd) },
				func() ([]byte, error) { return e.Compressed(invoke.Compact, compress.LZ4) },
				func() ([]byte, error) { return e.Args(invoke.Compact) },
				func() ([]byte, error) { return e.Compressed(invoke.Compact, compress.None) },
			} {
				b, err := get()
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if first[i] == nil {
					first[i] = &b[0]
				} else if first[i] != &b[0] {
					t.Errorf("form %d was made twice", i)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if args.times != 1 || first[2] != first[3] {
		t.Errorf("written %d times", args.times)
	}
	packed, _ := e.Compressed(invoke.Compact, compress.Zstd)
	plain, err := compress.Decompress(compress.Zstd, packed, 1000)
	if want, _ := e.Args(invoke.Compact); err != nil || !bytes.Equal(plain, want) || len(packed) >= len(plain) {
		t.Errorf("%d bytes packed, %x, %v", len(packed), plain, err)
	}
}

func TestEncodedErrors(t *testing.T) {
	e := invoke.NewEncoded("m", &counted{fails: true})
	if _, err := e.Compressed(invoke.Binary, compress.Zstd); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("unwritable: %v", err)
	}
	if _, err := invoke.NewEncoded("m", newArgs()).Compressed(invoke.Compact, 99); !errors.Is(err, compress.ErrUnknown) {
		t.Errorf("unknown algorithm: %v", err)
	}
}

// FuzzInvoke gives arbitrary bytes to a method with nested arguments. Whatever decodes is the handler's affair.
func FuzzInvoke(f *testing.F) {
	for _, e := range encodings {
		f.Add(int(e), marshal(f, e, &kvstore.KvStoreServiceGetKvStoreKeyValsAreaArgs{FilterKeys: []string{"adj:"}, Area: "0"}))
		f.Add(int(e), marshal(f, e, newArgs()))
	}
	f.Add(int(invoke.Compact), []byte{0x1b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x8c})
	f.Add(int(invoke.Binary), []byte{0x0d, 0, 1, 0x0b, 0x0c, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, e int, b []byte) {
		s := &invoke.Service{Processor: openrctrl.NewOpenrCtrlProcessor(filter{})}
		a := s.Invoke(t.Context(), invoke.Request{Method: "getKvStoreKeyValsArea", Encoding: invoke.Encoding(e), Args: b}, nil)
		if a.Status != invoke.OK && a.Status != invoke.Malformed {
			t.Errorf("%+v", a)
		}
		if a.Status != invoke.OK {
			return
		}
		result := kvstore.NewKvStoreServiceGetKvStoreKeyValsAreaResult()
		if err := invoke.Unmarshal(invoke.Encoding(e), a.Data, result); err != nil {
			t.Errorf("the answer does not decode: %v", err)
		}
	})
}

// filter returns what it is asked for.
type filter struct{ openrctrl.OpenrCtrl }

func (filter) GetKvStoreKeyValsArea(_ context.Context, keys []string, area string) (*kvstore.Publication, error) {
	return &kvstore.Publication{ExpiredKeys: keys, Area: area}, nil
}

// TestClaims gives short arguments that claim to hold much; they cost little.
func TestClaims(t *testing.T) {
	for name, c := range map[string]struct {
		e invoke.Encoding
		b []byte
	}{
		"compact list":   {invoke.Compact, []byte{0x19, 0xf8, 0xff, 0xff, 0xff, 0xff, 0x07}},
		"compact string": {invoke.Compact, []byte{0x28, 0xff, 0xff, 0xff, 0xff, 0x07}},
		"binary list":    {invoke.Binary, []byte{0x0f, 0, 1, 0x0b, 0x7f, 0xff, 0xff, 0xff}},
		"binary string":  {invoke.Binary, []byte{0x0b, 0, 2, 0x7f, 0xff, 0xff, 0xff}},
	} {
		invoke.Unmarshal(c.e, c.b, newArgs())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const times = 20
		for range times {
			if err := invoke.Unmarshal(c.e, c.b, newArgs()); err == nil {
				t.Errorf("%s was read", name)
			}
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 64<<10 {
			t.Errorf("%s: %d bytes took %d of memory", name, len(c.b), each)
		}
	}
}

func BenchmarkInvoke(b *testing.B) {
	s := &invoke.Service{Processor: openrctrl.NewOpenrCtrlProcessor(&handler{})}
	for encoding, e := range encodings {
		b.Run(encoding, func(b *testing.B) {
			b.ReportAllocs()
			args := marshal(b, e, openrctrl.NewOpenrCtrlGetMyNodeNameArgs())
			dst := make([]byte, 0, 256)
			for b.Loop() {
				if a := s.Invoke(b.Context(), invoke.Request{Method: "getMyNodeName", Encoding: e, Args: args}, dst); a.Status != invoke.OK {
					b.Fatal(a)
				}
			}
		})
	}
}
