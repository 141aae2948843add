package rpc

import (
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/internal/allocs"
	"openr/thrift/invoke"
)

// FuzzReceiveCost: a message in any framing costs what has come of it, not what it says that it will be.
func FuzzReceiveCost(f *testing.F) {
	f.Add(compactCall("key"))
	f.Add(call(invoke.Binary, 1, thrift.CALL, "key"))
	f.Add(call(invoke.Compact, 2, thrift.CALL, "key"))
	f.Add([]byte{0x01, 0x00, 0x00, 0x00, 0x80, 0x01, 0x00, 0x01})
	f.Add([]byte("BIGF\x00\x00\x00\x00\x10\x00\x00\x00\x82\x22\x00"))
	f.Add([]byte{0x02, 0x00, 0x00, 0x00, 0x0f, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01})
	f.Add([]byte{0x82, 0x22, 0, 1, 'x', 0x18, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 0, 64, func() { _, _, _ = receiveFrom(b, DefaultMaxFrame) })
	})
}
