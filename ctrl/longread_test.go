package ctrl

import (
	"context"
	"fmt"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/kvstore"
	"openr/lsdb"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrlcpp"
)

// stuck is an output that stands still where the values of a dump begin, until it is released.
type stuck struct {
	thrift.TProtocol
	reached chan<- struct{}
	release <-chan struct{}
}

func (s *stuck) WriteMapBegin(ctx context.Context, key, value thrift.TType, size int) error {
	s.reached <- struct{}{}
	<-s.release
	return s.TProtocol.WriteMapBegin(ctx, key, value, size)
}

// TestALongReadLeavesTheStoreAlone: while the answer to a dump of a large store is being made, however long that takes, the
// store takes new values and answers others; the dump shows the store as it was.
func TestALongReadLeavesTheStoreAlone(t *testing.T) {
	const keys = 20_000
	c, m := newTest()
	s := store(t, c, m)
	vals := make(map[string]lsdb.Value, keys)
	for i := range keys {
		vals[fmt.Sprintf("prefix:node%d", i)] = lsdb.Value{Version: 1, Originator: "n2", Data: []byte("value"), TTL: lsdb.TTLInfinite}
	}
	if _, err := s.Set(t.Context(), "0", kvstore.KeySet{KeyVals: vals, NodeIDs: []string{"n2"}}); err != nil {
		t.Fatal(err)
	}

	args := wire.NewKvStoreServiceGetKvStoreKeyValsFilteredAreaArgs()
	args.Filter, args.Area = wire.NewKeyDumpParams(), "0"
	in, out := thrift.NewTMemoryBuffer(), thrift.NewTMemoryBuffer()
	if err := args.Write(t.Context(), thrift.NewTCompactProtocolConf(in, nil)); err != nil {
		t.Fatal(err)
	}
	reached, release, done := make(chan struct{}), make(chan struct{}), make(chan error)
	method := service(t, c).Processor.ProcessorMap()["getKvStoreKeyValsFilteredArea"]
	go func() {
		_, err := method.Process(t.Context(), 1, thrift.NewTCompactProtocolConf(in, nil), &stuck{thrift.NewTCompactProtocolConf(out, nil), reached, release})
		done <- err
	}()
	<-reached

	put(t, c, "0", "prefix:node1", "new", 2)
	put(t, c, "0", "adj:n2", "new", 1)
	if p, err := c.GetKvStoreKeyValsArea(t.Context(), []string{"adj:n2", "prefix:node1"}, "0"); err != nil || len(p.KeyVals) != 2 || p.KeyVals["prefix:node1"].Version != 2 {
		t.Errorf("the store says %v, %v", p, err)
	}
	if p, err := c.GetKvStoreHashFiltered(t.Context(), nil); err != nil || len(p.KeyVals) != keys+1 {
		t.Errorf("another dump has %d keys, %v", len(p.GetKeyVals()), err)
	}
	if a, err := c.GetKvStoreAreaSummary(t.Context(), nil); err != nil || a[0].KeyValsCount != keys+1 {
		t.Errorf("the summary is %v, %v", a, err)
	}

	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r := thrift.NewTCompactProtocolConf(out, nil)
	if _, _, _, err := r.ReadMessageBegin(t.Context()); err != nil {
		t.Fatal(err)
	}
	var result wire.KvStoreServiceGetKvStoreKeyValsFilteredAreaResult
	if err := result.Read(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if p := result.GetSuccess(); len(p.KeyVals) != keys || p.KeyVals["prefix:node1"].Version != 1 {
		t.Errorf("the dump has %d keys, and the changed one in version %d", len(p.KeyVals), p.KeyVals["prefix:node1"].Version)
	}
}

// TestASlowClientOfAStream costs the store nothing, and is told at last how things stand.
func TestASlowClientOfAStream(t *testing.T) {
	const changes = 5000
	c, m := newTest()
	store(t, c, m)
	var first openrctrlcpp.OpenrCtrlCppSubscribeAndGetKvStoreResult
	items := open(t, c, "subscribeAndGetKvStore", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs(), &first)
	for i := range changes {
		put(t, c, "0", "k", "v", int64(i+1))
	}
	elements := 0
	for version := int64(0); version < changes; elements++ {
		version = element(t, items, wire.NewPublication()).KeyVals["k"].Version
	}
	if elements > changes/2 {
		t.Errorf("%d changes that nobody fetched came as %d elements", changes, elements)
	}
}
