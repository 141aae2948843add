package compact_test

import (
	"fmt"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compact"
	"openr/thrift/gen/kvstore"
)

// dump is a publication of 10,000 keys, about 1 MB encoded.
func dump() *kvstore.Publication {
	p := kvstore.NewPublication()
	p.KeyVals = map[string]*kvstore.Value{}
	for i := range 10_000 {
		hash := int64(i) * 0x1e3779b97f4a7c15
		p.KeyVals[fmt.Sprintf("prefix:node-%05d:[fd00:%x::/64]", i, i)] = &kvstore.Value{
			Version: int64(i), OriginatorId: fmt.Sprintf("node-%05d", i), Value: make([]byte, 30), TTL: 300_000, TtlVersion: int64(i), Hash: &hash,
		}
	}
	p.Area = "0"
	return p
}

// BenchmarkWrite and BenchmarkRead compare the protocol with Apache's, in memory.
func BenchmarkWrite(b *testing.B) {
	p := dump()
	size := int64(len(compact.Marshal(p)))
	b.Run("compact", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(size)
		c, dst := compact.New(), []byte(nil)
		for b.Loop() {
			c.ResetWrite(dst[:0])
			if err := p.Write(b.Context(), c); err != nil {
				b.Fatal(err)
			}
			dst = c.Written()
		}
	})
	b.Run("apache", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(size)
		buf := thrift.NewTMemoryBufferLen(int(size))
		c := thrift.NewTCompactProtocolConf(buf, nil)
		for b.Loop() {
			buf.Reset()
			if err := p.Write(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	data := compact.Marshal(dump())
	b.Run("compact", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		c := compact.New()
		for b.Loop() {
			c.ResetRead(data)
			if err := kvstore.NewPublication().Read(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("apache", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			_, c := overMemory(data)
			if err := kvstore.NewPublication().Read(b.Context(), c); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkMarshal encodes and decodes something as small as a hello.
func BenchmarkMarshal(b *testing.B) {
	args := &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{}
	data := unhex(b, capturedSet)
	if err := compact.Unmarshal(data, args); err != nil {
		b.Fatal(err)
	}
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			compact.Marshal(args)
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := compact.Unmarshal(data, kvstore.NewKvStoreServiceSetKvStoreKeyValsArgs()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
