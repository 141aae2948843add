package coop

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"openr/endpoint"
	"openr/zmtp"
)

const manyEndpoints = 200_000

// crowd returns the i-th of many endpoints: over 100 bridge domains, with an IPv4 and an IPv6 address.
func crowd(i int, leaf string, tep netip.Addr, epoch uint64) endpoint.Record {
	return endpoint.Record{Key: testKey(endpoint.BD(1+i%100), i), VRF: 1, TEP: tep, Port: fmt.Sprintf("swp%d", i%48), VLAN: 10, Seq: 1,
		TS: time.Now().UnixNano(), Publisher: leaf, Epoch: epoch,
		IPs: []endpoint.IP{{Addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), TS: 1},
			{Addr: netip.AddrFrom16([16]byte{0x20, 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}), TS: 1}}}
}

// leafOf opens a session of one of ten leaves with an oracle.
func benchOracle(b *testing.B, name string) *Oracle {
	o, err := NewOracle(OracleOptions{Node: name, Area: "0", Epoch: 1})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	o.SetMembersComplete(now)
	for i := range 10 {
		id := Session{fmt.Sprintf("leaf%d", i), RoleLeaf, false}
		o.Up(now, id)
		o.Receive(now, id, &Message{Header{"0", 1, 1, 0}, &Hello{Node: id.Node, Role: RoleLeaf, TEPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})}}})
	}
	return o
}

// publications are the crowd in encoded messages, by leaf.
func publications(b *testing.B) (ids []Session, frames [][][]byte) {
	for l := range 10 {
		id := Session{fmt.Sprintf("leaf%d", l), RoleLeaf, false}
		var p *Publish
		for i := range manyEndpoints / 10 {
			if p == nil {
				p = &Publish{}
			}
			p.Items = append(p.Items, Item{endpoint.CauseLearn, crowd(l*manyEndpoints/10+i, id.Node, netip.AddrFrom4([4]byte{10, 0, 0, byte(l)}), 1)})
			if len(p.Items) == MaxRecords || i == manyEndpoints/10-1 {
				f, err := Encode(&Message{Header{"0", 1, 2, 0}, p})
				if err != nil {
					b.Fatal(err)
				}
				ids, frames, p = append(ids, id), append(frames, f), nil
			}
		}
	}
	return ids, frames
}

func fill(b *testing.B, o *Oracle, ids []Session, frames [][][]byte) {
	for i := range frames {
		m, err := Decode(frames[i])
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range o.Receive(time.Now(), ids[i], m) {
			if _, err := Encode(e.Message); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPublishCore: 200k endpoints through decoding, the oracle and the encoding of what it sends; how much they need.
func BenchmarkPublishCore(b *testing.B) {
	ids, frames := publications(b)
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		begin := time.Now()
		o := benchOracle(b, "spine1")
		fill(b, o, ids, frames)
		took := time.Since(begin)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if _, n := o.Digest(); n != manyEndpoints {
			b.Fatalf("%d records", n)
		}
		b.ReportMetric(float64(manyEndpoints)/took.Seconds(), "records/s")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB")
		runtime.KeepAlive(o)
	}
}

// BenchmarkSnapshotCore: an empty oracle takes 200k endpoints from another, through the codec.
func BenchmarkSnapshotCore(b *testing.B) {
	ids, frames := publications(b)
	from := benchOracle(b, "spine1")
	fill(b, from, ids, frames)
	for b.Loop() {
		to, err := NewOracle(OracleOptions{Node: "spine2", Area: "0", Epoch: 2})
		if err != nil {
			b.Fatal(err)
		}
		now := time.Now()
		in, out := Session{"spine2", RoleOracle, false}, Session{"spine1", RoleOracle, true}
		to.SetMember(now, Member{Node: "spine1", Role: RoleOracle})
		from.ready = true
		from.Up(now, in)
		var queue []*Message
		take := func(effects []Effect) {
			for _, e := range effects {
				if e.Kind == Send && e.To.Role == RoleOracle {
					f, err := Encode(e.Message)
					if err != nil {
						b.Fatal(err)
					}
					m, err := Decode(f)
					if err != nil {
						b.Fatal(err)
					}
					queue = append(queue, m)
				}
			}
		}
		take(to.Up(now, out))
		to.SetMembersComplete(now)
		for len(queue) > 0 && !to.synced {
			m := queue[0]
			queue = queue[1:]
			if m.Epoch == 2 {
				take(from.Receive(time.Now(), in, m))
			} else {
				take(to.Receive(time.Now(), out, m))
			}
		}
		if _, n := to.Digest(); n != manyEndpoints || !to.synced {
			b.Fatalf("%d records, synced %v, greeted %v, fetch %+v", n, to.synced, to.sessions[out].greeted, to.fetch)
		}
	}
	b.ReportMetric(float64(manyEndpoints)/(b.Elapsed().Seconds()/float64(b.N)), "records/s")
}

// BenchmarkPublishZeroMQ: four leaves publish 200k endpoints over loopback TCP to two oracles, until both have all. All of them
// share this process, so that the processor time per endpoint is that of a leaf and two oracles together.
func BenchmarkPublishZeroMQ(b *testing.B) {
	for name, sec := range map[string]security{"clear": {}, "strict": {zmtp.Strict, zmtp.Strict, true}} {
		b.Run(name, func(b *testing.B) { benchPublish(b, sec) })
	}
}

func benchPublish(b *testing.B, sec security) {
	var rate, cpu float64
	for b.Loop() {
		b.StopTimer()
		f := newFabric(b, 4, 2, sec, nil)
		f.ready()
		records := make([]endpoint.Record, manyEndpoints)
		for i := range records {
			l := f.clients[i%4]
			records[i] = crowd(i, l.member.Node, l.member.TEPs[0], 0)
		}
		runtime.GC()
		b.StartTimer()
		begin, used := time.Now(), processorTime(b)
		for i := range records {
			f.clients[i%4].Publish(&records[i], endpoint.CauseLearn)
		}
		f.allHave(b, manyEndpoints)
		rate += manyEndpoints / time.Since(begin).Seconds()
		cpu += float64((processorTime(b) - used).Nanoseconds()) / manyEndpoints / 1000
		b.StopTimer()
		if sec == (security{}) {
			begin = time.Now()
			f.fresh(b)
			b.ReportMetric(time.Since(begin).Seconds(), "s/resync")
		}
		f.stop()
		b.StartTimer()
	}
	b.ReportMetric(rate/float64(b.N), "records/s")
	b.ReportMetric(cpu/float64(b.N), "cpu-µs/record")
}

// allHave waits until all oracles have n records.
func (f *fabric) allHave(b *testing.B, n int) {
	for _, s := range f.servers {
		eventually(b, "all known", func() (all bool) {
			f.must(s.Do(context.Background(), func(o *Oracle) { _, have := o.Digest(); all = have == n }))
			return all
		})
	}
}

// processorTime returns what this process has used of the processors.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fresh starts a third, empty oracle, and returns when it has what the others have.
func (f *fabric) fresh(b *testing.B) {
	ctx, cancel := context.WithCancel(f.ctx)
	s, err := NewServer(ctx, ServerOptions{Session: "127.0.0.1:0", Feed: "127.0.0.1:0", Oracle: OracleOptions{Node: "spine3", Area: "0", Epoch: 1}})
	f.must(err)
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	for _, m := range f.members {
		f.must(s.SetMember(ctx, m))
	}
	f.must(s.SetMembersComplete(ctx))
	eventually(b, "all fetched", func() (all bool) {
		f.must(s.Do(ctx, func(o *Oracle) { _, n := o.Digest(); all = n == manyEndpoints && o.synced }))
		return all
	})
}
