package rocket

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compress"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/invoke"
)

// publication has n keys of 60 bytes with values of 300.
func publication(n int) *kvstore.Publication {
	p := &kvstore.Publication{KeyVals: kvstore.KeyVals{}, ExpiredKeys: []string{}, Area: "0"}
	for i := range n {
		value := []byte(strings.Repeat(fmt.Sprintf("%06d", i), 50))
		hash := int64(i)
		p.KeyVals[fmt.Sprintf("prefix:%053d", i)] = &kvstore.Value{Version: 1, OriginatorId: "node-a", Value: value, TTL: 300000, Hash: &hash}
	}
	return p
}

// framed connects to apache/thrift's TSimpleServer, framed compact, for comparison.
func framed(b *testing.B, h *handler) *openrctrl.OpenrCtrlClient {
	b.Helper()
	conf := &thrift.TConfiguration{MaxFrameSize: 64 << 20, MaxMessageSize: 64 << 20}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr()
	l.Close()
	sock, err := thrift.NewTServerSocket(addr.String())
	if err != nil {
		b.Fatal(err)
	}
	server := thrift.NewTSimpleServer4(openrctrl.NewOpenrCtrlProcessor(h), sock,
		thrift.NewTFramedTransportFactoryConf(thrift.NewTTransportFactory(), conf), thrift.NewTCompactProtocolFactoryConf(conf))
	if err := server.Listen(); err != nil {
		b.Fatal(err)
	}
	go server.AcceptLoop()
	trans := thrift.NewTFramedTransportConf(thrift.NewTSocketFromAddrConf(addr, conf), conf)
	if err := trans.Open(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { trans.Close(); server.Stop() })
	return openrctrl.NewOpenrCtrlClientFactory(trans, thrift.NewTCompactProtocolFactoryConf(conf))
}

func benchPing(b *testing.B, c *openrctrl.OpenrCtrlClient) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.GetMyNodeName(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

func benchDump(b *testing.B, c *openrctrl.OpenrCtrlClient) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		p, err := c.GetKvStoreKeyValsFilteredArea(ctx, &kvstore.KeyDumpParams{}, "0")
		if err != nil || len(p.KeyVals) == 0 {
			b.Fatal(err, p)
		}
	}
}

const megabyte = 2750 // keys of publication that take about 1 MB

func BenchmarkPing(b *testing.B) {
	h := &handler{}
	b.Run("rocket", func(b *testing.B) {
		benchPing(b, openrctrl.NewOpenrCtrlClient(pair(b, service(h, nil), ServerOptions{}, compactClient())))
	})
	b.Run("rocket-timeout", func(b *testing.B) {
		o := compactClient()
		o.RequestTimeout = 2500e6
		benchPing(b, openrctrl.NewOpenrCtrlClient(pair(b, service(h, nil), ServerOptions{}, o)))
	})
	b.Run("rocket-zstd", func(b *testing.B) {
		o := compactClient()
		o.Compression = compress.Zstd
		benchPing(b, openrctrl.NewOpenrCtrlClient(pair(b, service(h, nil), ServerOptions{}, o)))
	})
	b.Run("framed-simple-server", func(b *testing.B) { benchPing(b, framed(b, h)) })
}

func BenchmarkPingPipelined(b *testing.B) {
	c := pair(b, service(&handler{}, nil), ServerOptions{}, compactClient())
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		mine := openrctrl.NewOpenrCtrlClient(c)
		for pb.Next() {
			if _, err := mine.GetMyNodeName(context.Background()); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkDump(b *testing.B) {
	h := &handler{dump: publication(megabyte)}
	size, err := invoke.Marshal(invoke.Compact, nil, h.dump)
	if err != nil {
		b.Fatal(err)
	}
	for name, compression := range map[string]compress.Algorithm{"rocket": compress.None, "rocket-zstd": compress.Zstd} {
		b.Run(name, func(b *testing.B) {
			o := compactClient()
			o.Compression = compression
			b.SetBytes(int64(len(size)))
			benchDump(b, openrctrl.NewOpenrCtrlClient(pair(b, service(h, nil), ServerOptions{}, o)))
		})
	}
	b.Run("framed-simple-server", func(b *testing.B) {
		b.SetBytes(int64(len(size)))
		benchDump(b, framed(b, h))
	})
}
