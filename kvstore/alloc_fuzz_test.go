package kvstore

import (
	"context"
	"testing"

	"openr/internal/allocs"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/invoke"
)

// FuzzCost: no call of a peer, and no answer, costs more memory to read than so much for each of its bytes.
func FuzzCost(f *testing.F) {
	for _, data := range recorded(f) {
		f.Add(data)
	}
	f.Add([]byte{0x0c, 0x00, 0x2b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x8c})
	f.Add([]byte{0x1c, 0x2b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x8c, 1, 'k', 0})
	nothing := func(context.Context, string, DumpParams) (SyncAnswer, error) { return SyncAnswer{}, nil }
	b := Bulk{Dump: nothing, DumpHashes: nothing, Set: func(_ context.Context, _ string, set KeySet) (map[string]NoMergeReason, error) {
		set.changes()
		return nil, nil
	}}
	f.Fuzz(func(t *testing.T, data []byte) {
		allocs.Bound(t, len(data), 0, 4<<10, func() {
			for _, method := range []string{setMethod, setReasonMethod, syncMethod, hashMethod} {
				bulkCallBytes(b, invoke.Compact, method, data)
			}
			var reply syncReply
			_ = invoke.Unmarshal(invoke.Compact, data, &reply)
			args := &wire.KvStoreServiceSetKvStoreKeyValsArgs{}
			if invoke.Unmarshal(invoke.Compact, data, args) == nil {
				KeySetFromThrift(args.SetParams)
			}
		})
	})
}
