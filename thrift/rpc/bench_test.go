package rpc

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compress"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/invoke"
)

// dump answers with a publication of about a megabyte: 2800 keys of 60 bytes with values of 300.
type dump struct {
	openrctrl.OpenrCtrl
	publication *wire.Publication
}

func (d dump) GetMyNodeName(context.Context) (string, error) { return "node-a", nil }

func (d dump) GetKvStoreKeyVals(context.Context, []string) (*wire.Publication, error) {
	return d.publication, nil
}

func newDump() dump {
	p := wire.NewPublication()
	p.KeyVals = map[string]*wire.Value{}
	for i := range 2800 {
		v := wire.NewValue()
		v.Version, v.OriginatorId, v.TTL, v.TtlVersion = int64(i), "node-a", 300000, 1
		v.Value = []byte(strings.Repeat("v", 300))
		hash := int64(i) << 40
		v.Hash = &hash
		p.KeyVals[fmt.Sprintf("prefix:%053d", i)] = v
	}
	return dump{publication: p}
}

// simpleServer is apache/thrift's own server, framed compact.
func simpleServer(b testing.TB, p thrift.TProcessor) (addr string) {
	b.Helper()
	thrift.ServerConnectivityCheckInterval, thrift.ServerStopTimeout = 0, time.Millisecond
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		b.Fatal(err)
	}
	conf := &thrift.TConfiguration{MaxFrameSize: DefaultMaxFrame, MaxMessageSize: DefaultMaxFrame}
	socket := thrift.NewTServerSocketFromFactoryTimeout(func(net.Addr) (net.Listener, error) { return l, nil }, l.Addr(), 0)
	s := thrift.NewTSimpleServer4(p, socket, thrift.NewTFramedTransportFactoryConf(thrift.NewTTransportFactory(), conf), thrift.NewTCompactProtocolFactoryConf(conf))
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	b.Cleanup(func() {
		l.Close()
		s.Stop()
		<-done
	})
	return l.Addr().String()
}

// apacheClient is apache/thrift's own client, framed compact.
func apacheClient(b testing.TB, addr string) thrift.TClient {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	conf := &thrift.TConfiguration{MaxFrameSize: DefaultMaxFrame, MaxMessageSize: DefaultMaxFrame}
	transport := thrift.NewTFramedTransportConf(thrift.NewTSocketFromConnConf(c, conf), conf)
	p := thrift.NewTCompactProtocolConf(transport, conf)
	return thrift.NewTStandardClient(p, p)
}

// contenders are the clients that are measured, each with its server: TSimpleServer first, which the others are compared
// with.
func contenders(b testing.TB) (names []string, clients []thrift.TClient) {
	processor := openrctrl.NewOpenrCtrlProcessor(newDump())
	f := serveService(b, &invoke.Service{Processor: processor}, nil)
	open := func(o DialOptions) thrift.TClient {
		o.RequestTimeout = time.Minute
		return f.dial(b, o).Client()
	}
	simple := simpleServer(b, processor)
	return []string{"TSimpleServer framed", "framed, apache client", "framed", "THeader", "Rocket", "Rocket zstd"},
		[]thrift.TClient{
			apacheClient(b, simple), apacheClient(b, f.addr), open(DialOptions{Dialect: Framed}), open(DialOptions{Dialect: THeader}),
			open(DialOptions{}), open(DialOptions{Compression: compress.Zstd}),
		}
}

func ping(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
	_, err := c.GetMyNodeName(ctx)
	return err
}

func fetch(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
	p, err := c.GetKvStoreKeyVals(ctx, nil)
	if err == nil && len(p.KeyVals) != 2800 {
		err = fmt.Errorf("got %d keys", len(p.KeyVals))
	}
	return err
}

var workloads = []struct {
	name string
	run  func(context.Context, *openrctrl.OpenrCtrlClient) error
}{{"ping", ping}, {"dump", fetch}}

// BenchmarkCalls measures calls one after another, client and server together.
func BenchmarkCalls(b *testing.B) {
	names, clients := contenders(b)
	for _, w := range workloads {
		for i, name := range names {
			b.Run(w.name+"/"+strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
				c := openrctrl.NewOpenrCtrlClient(clients[i])
				b.ReportAllocs()
				for b.Loop() {
					if err := w.run(b.Context(), c); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
			})
		}
	}
}

// BenchmarkPipelinedPings has eight callers share a connection, as floods to a peer do.
func BenchmarkPipelinedPings(b *testing.B) {
	names, clients := contenders(b)
	for i, name := range names {
		if strings.Contains(name, "apache") || strings.Contains(name, "TSimple") {
			continue // these clients are not for several callers
		}
		b.Run(strings.ReplaceAll(name, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(1, 8/runtime.GOMAXPROCS(0)))
			b.RunParallel(func(pb *testing.PB) {
				c := openrctrl.NewOpenrCtrlClient(clients[i])
				for pb.Next() {
					if err := ping(b.Context(), c); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
		})
	}
}

// TestBesideTSimpleServer prints how each dialect compares with apache/thrift's server in the same run. The rounds of all
// take turns, and the best of each counts, so that a busy machine hurts none more than the others.
//
//	OPENR_COMPARE=1 go test -run TestBesideTSimpleServer -v ./thrift/rpc
//
// Without the variable it makes a few calls only, to see that all are answered.
func TestBesideTSimpleServer(t *testing.T) {
	rounds, spell := 1, time.Duration(0)
	if os.Getenv("OPENR_COMPARE") != "" {
		rounds, spell = 15, 100*time.Millisecond
	}
	names, clients := contenders(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, load := range workloads {
		type result struct {
			each   time.Duration
			allocs float64
		}
		best := make([]result, len(names))
		for range rounds {
			for i, client := range clients {
				c := openrctrl.NewOpenrCtrlClient(client)
				var before, after runtime.MemStats
				runtime.GC()
				runtime.ReadMemStats(&before)
				n, begin := 0, time.Now()
				for n == 0 || time.Since(begin) < spell {
					if err := load.run(t.Context(), c); err != nil {
						t.Fatalf("%s, %s: %v", load.name, names[i], err)
					}
					n++
				}
				each := time.Since(begin) / time.Duration(n)
				runtime.ReadMemStats(&after)
				if best[i].each == 0 || each < best[i].each {
					best[i] = result{each, float64(after.Mallocs-before.Mallocs) / float64(n)}
				}
			}
		}
		fmt.Fprintf(w, "\n%s\ttime\trequests/s\tallocations\tspeed\n", load.name)
		for i, name := range names {
			r := best[i]
			fmt.Fprintf(w, "%s\t%v\t%.0f\t%.0f\t%.2fx\n", name, r.each, float64(time.Second)/float64(r.each), r.allocs, float64(best[0].each)/float64(r.each))
		}
	}
	w.Flush()
	t.Log(table.String())
}
