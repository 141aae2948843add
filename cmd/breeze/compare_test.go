package main

import (
	"context"
	"testing"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/network"
	"openr/thrift/gen/types"
)

// twins is an agent that says it is node1 and also answers at the loopback addresses of node2 and node3, where its store looks
// different each time it is read.
type twins struct {
	*fakeAgent
	reads int
}

func (f *twins) GetKvStoreKeyValsFilteredArea(ctx context.Context, filter *kvstore.KeyDumpParams, area string) (*kvstore.Publication, error) {
	p, err := f.fakeAgent.GetKvStoreKeyValsFilteredArea(ctx, filter, area)
	if err != nil {
		return nil, err
	}
	for node, address := range map[string]string{"node2": "::1/128", "node3": "127.0.0.1/32"} {
		db := &types.PrefixDatabase{ThisNodeName: node, PrefixEntries: []*types.PrefixEntry{prefixEntry(address, network.PrefixType_LOOPBACK)}}
		p.KeyVals[lsdb.PrefixKey(node, prefixOf(ipPrefix(address)))] = value(node, compactBytes(db))
	}
	delete(p.KeyVals, lsdb.PrefixKey("node2", prefixOf(ipPrefix("2001:db8::2/128"))))
	if f.reads++; f.reads%2 == 0 {
		delete(p.KeyVals, "motto")
		db := adjacencies()[0]
		db.Adjacencies[0].Metric = 77
		p.KeyVals["adj:node1"].Value = compactBytes(db) // same version: flooding never repairs it
		p.KeyVals["noise"].Version = 2
		p.KeyVals["tune"] = &kvstore.Value{Version: 1, OriginatorId: "me", Value: []byte("la la"), TTL: lsdb.TTLInfinite}
	}
	return p, nil
}

func TestCompare(t *testing.T) {
	golden(t, "compare", serve(t, &twins{fakeAgent: &fakeAgent{}}),
		"kvstore kv-compare --nodes node2", "kvstore kv-compare --nodes node2 --json", "kvstore kv-compare --nodes node3", "kvstore kv-compare --nodes nobody")
}

func TestStoreDifferences(t *testing.T) {
	if d := storeDifferences(store(), store()); len(d) != 0 {
		t.Errorf("a store differs from itself: %+v", d)
	}
	older := store()
	older["adj:node1"].TTL, older["adj:node1"].TtlVersion = 1, 1
	if d := storeDifferences(store(), older); len(d) != 0 {
		t.Errorf("how long keys live is a difference: %+v", d)
	}
}
