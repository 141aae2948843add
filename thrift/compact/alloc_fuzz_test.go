package compact_test

import (
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/internal/allocs"
	"openr/thrift/compact"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrconfig"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/platform"
	"openr/thrift/gen/types"
)

// FuzzCost: no bytes make a struct that takes more memory than so much for each of them, whatever lengths they claim.
func FuzzCost(f *testing.F) {
	structs := []func() thrift.TStruct{
		func() thrift.TStruct { return types.NewSparkHelloPacket() },
		func() thrift.TStruct { return types.NewAdjacencyDatabase() },
		func() thrift.TStruct { return types.NewPrefixDatabase() },
		func() thrift.TStruct { return types.NewRouteDatabase() },
		func() thrift.TStruct { return kvstore.NewKvStoreServiceSetKvStoreKeyValsArgs() },
		func() thrift.TStruct { return kvstore.NewKvStoreServiceGetKvStoreKeyValsFilteredAreaArgs() },
		func() thrift.TStruct { return kvstore.NewPublication() },
		func() thrift.TStruct { return openrctrl.NewRibPolicy() },
		func() thrift.TStruct { return openrconfig.NewOpenrConfig() },
		func() thrift.TStruct { return platform.NewFibServiceAddUnicastRoutesArgs() },
	}
	for i := range structs {
		for _, seed := range []string{capturedSet, capturedAdjacencies, capturedPrefix} {
			f.Add(uint8(i), unhex(f, seed))
		}
		f.Add(uint8(i), []byte{0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07})
		f.Add(uint8(i), []byte{0x1b, 0xff, 0xff, 0xff, 0xff, 0x07, 0x8c})
		f.Add(uint8(i), []byte{0x18, 0xff, 0xff, 0xff, 0xff, 0x07})
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		allocs.Bound(t, len(b), 0, 2<<10, func() { _ = compact.Unmarshal(b, structs[int(which)%len(structs)]()) })
	})
}
