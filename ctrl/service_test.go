package ctrl

import (
	_ "embed"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/queue"
	"openr/thrift/invoke"
)

// methodList holds the methods of Open/R's services and of our own, from their interface definitions: service, method,
// declared exception.
//
//go:embed testdata/methods.tsv
var methodList string

// declaredMethods returns the declared exception of each method, "" if it declares none; streams are apart.
func declaredMethods(t testing.TB) (single, streams map[string]string) {
	t.Helper()
	single, streams = map[string]string{}, map[string]string{}
	for line := range strings.Lines(methodList) {
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) != 3 {
			t.Fatalf("line %q", line)
		}
		if strings.HasPrefix(f[1], "subscribeAndGet") {
			streams[f[1]] = f[2]
		} else {
			single[f[1]] = f[2]
		}
	}
	return single, streams
}

// empty is an argument struct without fields in both encodings, as a careless client would send it.
var empty = []byte{0}

// invoked runs a method in both encodings, and fails the test if that panics or ends in an answer that cannot be written.
func invoked(t *testing.T, s *invoke.Service, method string, args []byte) (a invoke.Answer) {
	t.Helper()
	for _, e := range []invoke.Encoding{invoke.Binary, invoke.Compact} {
		a = s.Invoke(t.Context(), invoke.Request{Method: method, Encoding: e, Args: args}, nil)
		if a.Status == invoke.Internal {
			t.Errorf("%s: %s", method, a.What)
		}
	}
	return a
}

func service(t testing.TB, c *Ctrl) *invoke.Service {
	s := c.Service()
	report := s.Panicked
	s.Panicked = func(method string, value any, stack []byte) {
		report(method, value, stack)
		t.Errorf("%s: panic: %v\n%s", method, value, stack)
	}
	return s
}

func TestTheServiceHasEveryMethod(t *testing.T) {
	c, _ := newTest()
	s := service(t, c)
	single, streams := declaredMethods(t)
	if got, want := slices.Sorted(maps.Keys(s.Processor.ProcessorMap())), slices.Sorted(maps.Keys(single)); !slices.Equal(got, want) {
		t.Errorf("the service has the methods\n%q, want\n%q", got, want)
	}
	if got, want := slices.Sorted(maps.Keys(s.Streams)), slices.Sorted(maps.Keys(streams)); !slices.Equal(got, want) {
		t.Errorf("the service has the streams\n%q, want\n%q", got, want)
	}
	for _, method := range []string{"setKvStoreKeyVals", "setKvStoreKeyValues"} {
		if !s.Ordered(method) {
			t.Errorf("%s: calls may overtake each other", method)
		}
	}
	if s.Ordered("getCounters") {
		t.Error("getCounters: calls wait for each other")
	}
}

// TestEmptyArguments calls every method as a client that sends no arguments at all.
func TestEmptyArguments(t *testing.T) {
	c, _ := newTest()
	s := service(t, c)
	single, streams := declaredMethods(t)
	for method := range single {
		if a := invoked(t, s, method, empty); a.Status == invoke.OK && len(a.Data) < 1 || a.Status == invoke.Malformed || a.Status == invoke.UnknownMethod {
			t.Errorf("%s: %+v", method, a)
		}
	}
	for method := range streams {
		a, items := s.Open(t.Context(), invoke.Request{Method: method, Encoding: invoke.Compact, Args: empty}, nil)
		want := invoke.Undeclared
		if streams[method] != "" {
			want = invoke.Declared
		}
		if a.Status != want || items != nil || a.What != errNoStreams.Error() {
			t.Errorf("%s: %+v", method, a)
		}
	}
}

// TestFailuresOfModules: what a module cannot do is told with the exception that the method declares, or if it declares
// none, as an undeclared one. No method makes up an answer.
func TestFailuresOfModules(t *testing.T) {
	broken := func() *invoke.Service {
		c, m := newTest()
		failure := queue.ErrStopped
		m.kv.Err, m.spark.Err, m.lm.Err, m.dec.Err, m.fib.Err, m.prefix.Err, m.config.Err = failure, failure, failure, failure, failure, failure, failure
		m.endpoints.Err = failure
		return service(t, c)
	}
	single, _ := declaredMethods(t)
	alone := []string{ // need no module, or fail for want of arguments already
		"getStatus", "getName", "getVersion", "getStatusDetails", "aliveSince", "getCounters", "getRegexCounters", "getSelectedCounters",
		"setOption", "getOptions", "getMyNodeName", "getOpenrVersion", "getBuildInfo", "getRunningConfig", "getRunningConfigThrift",
		"getInitializationEvents", "initializationConverged", "getEventLogs", "getDispatcherFilters", "getSubscriberInfo",
		"startProfiler", "setProfilerFilter", "getProfilerStats", "clearProfilerStats", "resetRecvToAdvertiseMax",
		"getMplsRoutes", "getMplsRoutesFiltered", "getAgentStatus", // which is for when modules hang
	}
	for method, exception := range single {
		a := invoked(t, broken(), method, empty)
		want := invoke.Undeclared
		switch {
		case slices.Contains(alone, method):
			want = invoke.OK
		case exception != "":
			want = invoke.Declared
		}
		if a.Status != want || want == invoke.Declared && a.Name != exception {
			t.Errorf("%s: status %d, exception %q %q; want status %d, exception %q", method, a.Status, a.Name, a.What, want, exception)
		}
	}
	if a := invoked(t, broken(), "getNeighbors", empty); a.What != "spark: module has stopped" {
		t.Errorf("the exception says %q", a.What)
	}
}

func TestAPanicCostsOneCall(t *testing.T) {
	c, _ := newTest()
	c.LinkMonitor = nil // a mistake in the making of the agent
	s := c.Service()
	a := s.Invoke(t.Context(), invoke.Request{Method: "setNodeOverload", Encoding: invoke.Compact, Args: empty}, nil)
	if n, _ := c.Counters.Get(cntPanics + ".count"); a.Status != invoke.Internal || n != 1 {
		t.Errorf("%+v, %d panics counted", a, n)
	}
}

// FuzzArguments calls every method with arguments that are anything.
func FuzzArguments(f *testing.F) {
	single, streams := declaredMethods(f)
	names := slices.Concat(slices.Sorted(maps.Keys(single)), slices.Sorted(maps.Keys(streams)))
	for i := range names {
		for _, args := range [][]byte{
			empty,
			{0x1c, 0},                            // field 1: an empty struct
			{0x19, 0x1c, 0, 0},                   // a list with one empty struct
			{0x19, 0x18, 1, 'a', 0},              // a list with one name
			{0x18, 1, 'a', 0x15, 2, 0},           // a name and a number
			{0x18, 1, '0', 0x1c, 0, 0},           // a name and an empty struct
			{0x15, 8, 0x19, 0x1c, 0, 0},          // a number and a list with one empty struct
			{0x1c, 0x19, 0x1c, 0, 0, 0},          // a struct that holds such a list
			{0x1c, 0x19, 0x1c, 0x1c, 0, 0, 0, 0}, // and one that holds an empty struct
			{0x1b, 1, 0x8c, 1, 'k', 0, 0},        // a map from a name to an empty struct
			{0x1c, 0x2b, 1, 0x8c, 1, 'k', 0, 0, 0x18, 1, '0', 0}, // parameters with such a map, and a name
		} {
			f.Add(uint8(i), args)
		}
	}
	c, _ := newTest()
	f.Fuzz(func(t *testing.T, which uint8, args []byte) {
		s := service(t, c)
		method := names[int(which)%len(names)]
		if method == "dryrunConfig" {
			return // would read whatever file the fuzzer makes up
		}
		invoked(t, s, method, args)
		if _, stream := s.Kind(method); stream {
			if a, items := s.Open(t.Context(), invoke.Request{Method: method, Encoding: invoke.Compact, Args: args}, nil); items != nil || a.Status == invoke.Internal {
				t.Errorf("%s: %+v", method, a)
			}
		}
	})
}

// TestProcessorFunctionsAreWrapped: the profiler stands before every method.
func TestProcessorFunctionsAreWrapped(t *testing.T) {
	c, _ := newTest()
	for name, f := range c.Service().Processor.ProcessorMap() {
		if _, ok := f.(*measured); !ok {
			t.Errorf("%s is %T", name, f)
		}
	}
}

var _ thrift.TProcessorFunction = (*measured)(nil)
