package kvstore

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"openr/config"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	"openr/thrift/compress"
	"openr/thrift/invoke"
)

// mesh is a number of whole stores, each the peer of all others, joined by calls that are encoded and decoded as on the wire.
type mesh struct {
	stores                    []*KvStore
	calls, values, raw, zstds atomic.Int64 // floods, values in them, their bytes, and those after compression
	stop                      func()
}

// meshClient is a connection to one of the stores.
type meshClient struct {
	*mesh
	service *invoke.Service
}

func (c *meshClient) FullSync(_ context.Context, area string, d Digest) (SyncAnswer, error) {
	request, err := invoke.Marshal(invoke.Compact, nil, &syncCall{area, d})
	if err != nil {
		return SyncAnswer{}, err
	}
	a := c.service.Invoke(context.Background(), invoke.Request{Method: syncMethod, Encoding: invoke.Compact, Args: request}, nil)
	var reply syncReply
	if err := invoke.Unmarshal(invoke.Compact, a.Data, &reply); err != nil {
		return SyncAnswer{}, err
	}
	return reply.result()
}

func (c *meshClient) Flood(_ context.Context, f *Flood) error {
	args, err := f.call().Args(invoke.Compact)
	if err != nil {
		return err
	}
	packed, err := f.call().Compressed(invoke.Compact, compress.Zstd) // once for all peers
	if err != nil {
		return err
	}
	c.calls.Add(1)
	c.values.Add(int64(len(f.KeyVals)))
	c.raw.Add(int64(len(args)))
	c.zstds.Add(int64(len(packed)))
	if a := c.service.Invoke(context.Background(), invoke.Request{Method: setMethod, Encoding: invoke.Compact, Args: args}, nil); a.Status != invoke.OK {
		return fmt.Errorf("%+v", a)
	}
	return nil
}

func (c *meshClient) Link() Link   { return Link{Window: maxFlying} }
func (c *meshClient) Close() error { return nil }

func startMesh(b *testing.B, n int) *mesh {
	m := &mesh{}
	services := map[string]*invoke.Service{}
	ctx, cancel := context.WithCancel(context.Background())
	var ended []chan error
	var peers []*queue.Queue[msg.PeerUpdate]
	dial := func(_ context.Context, p msg.Peer) (Client, error) { return &meshClient{m, services[p.Node]}, nil }
	for i := range n {
		c := &config.Config{NodeName: fmt.Sprint("n", i), Areas: []config.Area{{ID: "0"}}}
		peers = append(peers, queue.New(msg.MergePeers))
		k, err := New(Options{
			Config: c, Counters: monitor.NewCounters(), Peers: peers[i], Dial: dial,
			Publish: []*queue.Queue[msg.Publication]{queue.New(msg.MergePublications), queue.New(msg.MergePublications), queue.New(msg.MergePublications)},
		})
		if err != nil {
			b.Fatal(err)
		}
		m.stores = append(m.stores, k)
		services[c.NodeName] = bulkService(Bulk{Set: k.Set, Dump: k.Dump, DumpHashes: k.Dump})
	}
	for i, k := range m.stores {
		done := make(chan error, 1)
		ended = append(ended, done)
		go func() { done <- k.Run(ctx) }()
		for _, q := range k.opts.Publish { // the modules
			go func() {
				for {
					select {
					case <-q.C():
						q.Take()
					case <-ctx.Done():
						return
					}
				}
			}()
		}
		add := map[msg.AreaNode]msg.Peer{}
		for j := range m.stores {
			if name := fmt.Sprint("n", j); j != i {
				add[msg.AreaNode{Area: "0", Node: name}] = msg.Peer{Node: name}
			}
		}
		peers[i].Push(msg.PeerUpdate{Initial: true, Add: add})
	}
	for _, k := range m.stores {
		eventually(b, "synchronized", func() bool {
			status, err := k.PeersOf(b.Context(), "0")
			for _, p := range status {
				if p.State != PeerInitialized {
					return false
				}
			}
			return err == nil && len(status) == n-1
		})
	}
	m.stop = func() {
		cancel()
		for _, done := range ended {
			if err := <-done; err != nil {
				b.Error(err)
			}
		}
	}
	return m
}

// BenchmarkMesh16 is 10,000 updates of keys that one of 16 stores, each the peer of all others, gets from a client, until all
// stores have them: as one set, as sets of 100, and one by one.
func BenchmarkMesh16(b *testing.B) {
	const n = 10000
	for _, each := range []int{n, 100, 1} {
		b.Run(fmt.Sprint("sets of ", each), func(b *testing.B) {
			m := startMesh(b, 16)
			defer m.stop()
			list := benchValues(n, 1)
			before := cpuTime()
			for b.Loop() {
				for i := range list {
					list[i].value.Version++
				}
				for at := 0; at < n; at += each {
					set := KeySet{list: append([]change{}, list[at:at+each]...)}
					if _, err := m.stores[0].Set(b.Context(), "0", set); err != nil {
						b.Fatal(err)
					}
				}
				for _, k := range m.stores {
					for !m.has(b, k, list) {
						time.Sleep(100 * time.Microsecond)
					}
				}
			}
			keys := float64(b.N) * n
			b.ReportMetric(keys/b.Elapsed().Seconds(), "keys/s")
			b.ReportMetric(float64((cpuTime()-before).Microseconds())/keys/16, "cpu-us/key/store")
			b.ReportMetric(float64(m.values.Load())/keys/15, "copies") // per key and store that has to get it
			b.ReportMetric(float64(m.calls.Load())/float64(b.N), "floods")
			b.ReportMetric(float64(m.raw.Load())/float64(b.N)/(1<<20), "MiB")
			b.ReportMetric(float64(m.zstds.Load())/float64(b.N)/(1<<20), "MiB-zstd")
		})
	}
}

// has reports whether a store has at least these versions; it looks at the whole list only if it has the last.
func (m *mesh) has(b *testing.B, k *KvStore, list []change) (all bool) {
	err := k.ask(b.Context(), func() error {
		t := k.core.areas["0"].table
		for i := range list {
			c := &list[len(list)-1-i]
			if v, ok := t.get(c.key); !ok || v.Version < c.value.Version {
				return nil
			}
		}
		all = true
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return all
}
