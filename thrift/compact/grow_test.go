package compact_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"openr/thrift/compact"
	"openr/thrift/gen/kvstore"
)

// What is written does not depend on how the memory for it grows, and a long message takes little more memory than its length.
func TestRoomForLongMessages(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100, 5000, 60_000} {
		p := kvstore.NewPublication()
		p.KeyVals = kvstore.KeyVals{}
		for i := range n {
			p.KeyVals[fmt.Sprintf("prefix:%053d", i)] = &kvstore.Value{Version: 1, OriginatorId: "node", Value: bytes.Repeat([]byte{byte(i)}, 300)}
			p.ExpiredKeys = append(p.ExpiredKeys, fmt.Sprint(i))
		}
		c := compact.New()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := p.Write(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		b := c.Written()
		if took := after.TotalAlloc - before.TotalAlloc; n > 1000 && took > uint64(len(b))*2 {
			t.Errorf("%d keys: %d bytes allocated to write %d", n, took, len(b))
		}
		back := kvstore.NewPublication()
		if err := compact.Unmarshal(b, back); err != nil || !back.Equals(p) {
			t.Errorf("%d keys came back otherwise: %v", n, err)
		}
	}
}

// Elements that are not alike, and containers in containers, only make the guess wrong.
func TestRoomForUnlikeElements(t *testing.T) {
	set := &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: kvstore.NewKeySetParams()}
	set.SetParams.KeyVals = kvstore.KeyVals{}
	for i := range 300 {
		set.SetParams.KeyVals[fmt.Sprint("k", i)] = &kvstore.Value{Value: make([]byte, i*i)}
	}
	back := kvstore.NewKvStoreServiceSetKvStoreKeyValsArgs()
	if err := compact.Unmarshal(compact.Marshal(set), back); err != nil || !back.SetParams.Equals(set.SetParams) {
		t.Errorf("came back otherwise: %v", err)
	}
}
