package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/gen/types"
	"openr/thrift/invoke"
)

// watched is a store that changes in every way there is.
func watched(asked func(*openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresArgs)) *fakeAgent {
	first := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetAreaKvStoresResult()
	first.Success = []*kvstore.Publication{{Area: "0", KeyVals: store()}}
	dbs := adjacencies()
	node2 := dbs[1]
	node2.IsOverloaded, node2.Adjacencies[0].Metric = true, 30
	node2.Adjacencies = append(node2.Adjacencies, adjacency("node3", "eth3", "eth7", 4))
	node10 := &types.AdjacencyDatabase{ThisNodeName: "node10", Area: "0", Adjacencies: []*types.Adjacency{adjacency("node1", "eth0", "eth10", 1)}}
	written := func(version int64, v *kvstore.Value) *kvstore.Value {
		v.Version, v.TtlVersion = version, 0
		return v
	}
	withdrawn := advertisements()[4]
	withdrawn.DeletePrefix = true
	changed := advertisements()[5]
	changed.PrefixEntries[0].Metrics.PathPreference = 900
	changes := []thrift.TStruct{
		&kvstore.Publication{Area: "0", NodeIds: []string{"node2", "node1"}, KeyVals: kvstore.KeyVals{"adj:node2": written(2, value("node2", compactBytes(node2)))}},
		&kvstore.Publication{Area: "0", KeyVals: kvstore.KeyVals{
			"adj:node10":                     written(1, value("node10", compactBytes(node10))),
			"prefix:node10:[10.10.0.0/16]":   written(1, value("node10", compactBytes(&types.PrefixDatabase{ThisNodeName: "node10", PrefixEntries: []*types.PrefixEntry{prefixEntry("10.10.0.0/16", 8)}}))),
			"prefix:node2:[10.2.0.0/16]":     written(2, value("node2", compactBytes(withdrawn))),
			"prefix:node2:[2001:db8::2/128]": written(2, value("node2", compactBytes(changed))),
		}},
		&kvstore.Publication{Area: "0", KeyVals: kvstore.KeyVals{"adj:node1": {Version: 1, OriginatorId: "node1", TTL: 300_000, TtlVersion: 8}}},
		&kvstore.Publication{Area: "0", KeyVals: kvstore.KeyVals{"motto": {Version: 4, OriginatorId: "me", Value: []byte("calm seas"), TTL: lsdb.TTLInfinite}}},
		&kvstore.Publication{Area: "0", ExpiredKeys: []string{"motto", "never known"}},
		&kvstore.Publication{Area: "1", KeyVals: kvstore.KeyVals{"noise": {Version: 1, OriginatorId: "me", Value: []byte{0}, TTL: 1000}}},
	}
	return &fakeAgent{streams: map[string]invoke.StreamMethod{"subscribeAndGetAreaKvStores": scripted(first, asked, changes...)}}
}

func TestSnoop(t *testing.T) {
	golden(t, "snoop", serve(t, watched(nil)), "kvstore snoop", "kvstore snoop --ttl --no-delta -r motto", "kvstore snoop --json", "kvstore snoop --json --no-delta --ttl",
		"kvstore snoop -a nowhere")
	out := breeze(t, "--port", serve(t, watched(nil)), "kvstore", "snoop", "--print-initial")
	if !strings.Contains(out, "> Key: motto, added\n    version: 3, originatorId: breeze\n    VALUE  \"fair winds\"\n") {
		t.Errorf("--print-initial printed\n%s", out)
	}
}

// TestSnoopAsks checks what is asked of the agent: always for areas by name, because Open/R sends no snapshot otherwise.
func TestSnoopAsks(t *testing.T) {
	asked := make(chan *openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresArgs, 1)
	port := serve(t, watched(func(args *openrctrlcpp.OpenrCtrlCppSubscribeAndGetAreaKvStoresArgs) { asked <- args }))
	breeze(t, "--port", port, "kvstore", "snoop")
	args := <-asked
	if f := args.Filter; !slices.Equal(args.SelectAreas, []string{"0"}) || !f.IgnoreTtl || f.GetOper() != kvstore.FilterOperator_AND || len(f.Keys) > 0 {
		t.Errorf("asked %+v", args)
	}
	breeze(t, "--port", port, "kvstore", "snoop", "--ttl", "-r", "adj:.*", "-r", "x", "-o", "node1", "--match-any", "-a", "0")
	args = <-asked
	if f := args.Filter; f.IgnoreTtl || f.GetOper() != kvstore.FilterOperator_OR || !slices.Equal(f.Keys, []string{"adj:.*", "x"}) || !slices.Equal(f.OriginatorIds, []string{"node1"}) {
		t.Errorf("asked %+v", args)
	}
}

// silence is a stream that sends nothing.
type silence struct{}

func (silence) Next(ctx context.Context) (thrift.TStruct, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (silence) Close() {}

// TestSnoopEnds: after --duration, without an error.
func TestSnoopEnds(t *testing.T) {
	first := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetAreaKvStoresResult()
	first.Success = []*kvstore.Publication{{Area: "0"}}
	f := &fakeAgent{streams: map[string]invoke.StreamMethod{"subscribeAndGetAreaKvStores": {
		NewArgs: func() thrift.TStruct { return openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetAreaKvStoresArgs() },
		Open: func(context.Context, thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
			return first, silence{}, nil
		},
	}}}
	if out, code := typed(t, "", "--port", serve(t, f), "kvstore", "snoop", "--duration", "1"); code != 0 || out != "Snapshot of area 0: 0 keys\n" {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
