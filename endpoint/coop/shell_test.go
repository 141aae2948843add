package coop

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"openr/endpoint"
	"openr/monitor"
	"openr/zmtp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long tests wait for what has to come. It is no claim about speed.
const patience = time.Minute

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// fabric is real servers and clients over loopback.
type fabric struct {
	t       testing.TB
	ctx     context.Context
	servers []*Server
	clients []*fabricLeaf
	members []Member
	stop    func() // ends all, and waits for it
}

type fabricLeaf struct {
	*Client
	member    Member
	forgetful bool

	mu     sync.Mutex // guards what follows
	events []endpoint.Event
	stable map[endpoint.Key]bool
	answer []*Answer
}

// note keeps what the client told, unless this is a benchmark: nobody looks at it there.
func (l *fabricLeaf) note(keep func()) {
	if l.forgetful {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	keep()
}

func (l *fabricLeaf) has(match func(endpoint.Event) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if match(e) {
			return true
		}
	}
	return false
}

func (l *fabricLeaf) isStable(k endpoint.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stable[k]
}

type security struct {
	oracle, leaf zmtp.Mode
	keys         bool
}

func newFabric(t testing.TB, leaves, oracles int, sec security, counters *monitor.Counters) *fabric {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fabric{t: t, ctx: ctx}
	var wg sync.WaitGroup
	f.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(f.stop)
	_, benchmark := t.(*testing.B)
	transport := func(mode zmtp.Mode) Transport {
		tr := Transport{Mode: mode}
		if sec.keys {
			keys, err := zmtp.GenerateKeys(nil)
			if err != nil {
				t.Fatal(err)
			}
			tr.Keys = keys
		}
		return tr
	}
	keyOf := func(tr Transport) string {
		if tr.Keys.Public.IsZero() {
			return ""
		}
		return tr.Keys.Public.String()
	}
	for i := range oracles {
		tr := transport(sec.oracle)
		name := fmt.Sprintf("spine%d", i+1)
		s, err := NewServer(ctx, ServerOptions{Transport: tr, Session: "127.0.0.1:0", Feed: "127.0.0.1:0",
			Oracle: OracleOptions{Node: name, Area: "0", Epoch: uint64(time.Now().UnixNano()), Counters: counters}})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { s.Run(ctx) })
		f.servers = append(f.servers, s)
		f.members = append(f.members, Member{Node: name, Role: RoleOracle, Epoch: 1, Key: keyOf(tr), Session: s.SessionAddr.String(), Feed: s.FeedAddr.String()})
	}
	for i := range leaves {
		tr := transport(sec.leaf)
		l := &fabricLeaf{stable: map[endpoint.Key]bool{}, forgetful: benchmark}
		tep := netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})
		l.member = Member{Node: fmt.Sprintf("leaf%d", i+1), Role: RoleLeaf, TEPs: []netip.Addr{tep}, Key: keyOf(tr)}
		c, err := NewClient(ClientOptions{Transport: tr,
			Citizen:  CitizenOptions{Node: l.member.Node, Area: "0", Epoch: uint64(time.Now().UnixNano()), TEPs: []netip.Addr{tep}, Counters: counters},
			OnEvent:  func(e endpoint.Event) { l.note(func() { l.events = append(l.events, e) }) },
			OnStable: func(k endpoint.Key) { l.note(func() { l.stable[k] = true }) },
			OnAnswer: func(a *Answer) { l.note(func() { l.answer = append(l.answer, a) }) }})
		if err != nil {
			t.Fatal(err)
		}
		l.Client = c
		wg.Go(func() { c.Run(ctx) })
		f.clients = append(f.clients, l)
		f.members = append(f.members, l.member)
	}
	for _, s := range f.servers {
		for _, m := range f.members {
			f.must(s.SetMember(ctx, m))
		}
		f.must(s.SetMembersComplete(ctx))
	}
	for _, l := range f.clients {
		f.must(l.SetInterest(ctx, []endpoint.BD{100}))
		f.must(l.Complete(ctx))
		for _, m := range f.members[:oracles] {
			f.must(l.SetOracle(ctx, m))
		}
	}
	return f
}

func (f *fabric) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fabric) ready() {
	f.t.Helper()
	for i, s := range f.servers {
		eventually(f.t, fmt.Sprintf("oracle %d ready", i), func() (ready bool) {
			f.must(s.Do(f.ctx, func(o *Oracle) { ready = o.Ready() }))
			return ready
		})
	}
}

func (f *fabric) record(i int, k endpoint.Key, seq uint32) *endpoint.Record {
	now := time.Now().UnixNano()
	return &endpoint.Record{Key: k, VRF: 1, IPs: []endpoint.IP{{Addr: netip.AddrFrom4([4]byte{172, k.MAC[3], k.MAC[4], k.MAC[5]}), TS: now}},
		TEP: f.clients[i].member.TEPs[0], Port: "swp1", Seq: seq, TS: now, Publisher: f.clients[i].member.Node}
}

// Requirements A2 to A5, A7, A8 and A10 to A14, C12 to C14: a leaf registers an endpoint over ZeroMQ with every oracle, others
// hear of it by publish/subscribe and by asking, and a move is told to the leaf that had it.
func TestOverZeroMQ(t *testing.T) {
	for name, sec := range map[string]security{
		"clear":      {zmtp.NullOnly, zmtp.NullOnly, false},
		"strict":     {zmtp.Strict, zmtp.Strict, true},
		"compatible": {zmtp.Compatible, zmtp.NullOnly, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFabric(t, 2, 2, sec, monitor.NewCounters())
			f.ready()
			k := testKey(100, 7)
			a, b := f.clients[0], f.clients[1]
			a.Publish(f.record(0, k, 1), endpoint.CauseLearn)
			eventually(t, "all oracles have it", func() bool { return a.isStable(k) })
			eventually(t, "the other leaf hears of it", func() bool {
				return b.has(func(e endpoint.Event) bool {
					return e.Kind == endpoint.FromDirectory && e.Record.TEP == a.member.TEPs[0]
				})
			})
			f.must(b.Lookup(f.ctx, Query{VRF: 1, IP: netip.AddrFrom4([4]byte{172, 0, 0, 7})}))
			eventually(t, "an answer", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return len(b.answer) == 1 && b.answer[0].Found == FoundRecord && b.answer[0].Record.Key == k
			})
			b.Publish(f.record(1, k, 2), endpoint.CauseMove)
			eventually(t, "the old leaf is told", func() bool {
				return a.has(func(e endpoint.Event) bool { return e.Kind == endpoint.Moved && e.Record.TEP == b.member.TEPs[0] })
			})
			eventually(t, "the new leaf knows who had it", func() bool {
				return b.has(func(e endpoint.Event) bool {
					return e.Kind == endpoint.Acked && e.TEP == a.member.TEPs[0] && e.Seq == 2
				})
			})
		})
	}
}

// In strict mode nobody gets in whose key is not on the list, with another's name, or in the clear; the rest goes on.
func TestStrictKeepsOthersOut(t *testing.T) {
	f := newFabric(t, 1, 1, security{zmtp.Strict, zmtp.Strict, true}, nil)
	f.ready()
	oracle := f.members[0]
	serverKey, err := zmtp.ParseKey(oracle.Key)
	f.must(err)
	stranger, err := zmtp.GenerateKeys(nil)
	f.must(err)
	for name, o := range map[string]struct {
		options zmtp.Options
		key     zmtp.Key
	}{
		"in the clear":   {zmtp.Options{Identity: "leaf:leaf1"}, zmtp.Key{}},
		"another's name": {zmtp.Options{Identity: "leaf:leaf1", Keys: stranger}, serverKey},
		"no member":      {zmtp.Options{Identity: "leaf:stranger", Keys: stranger}, serverKey},
		"no name":        {zmtp.Options{Keys: stranger}, serverKey},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := zmtp.NewDealer(o.options)
			f.must(err)
			defer d.Close()
			before := f.servers[0].router.Stats().HandshakesBad
			f.must(d.Dial(zmtp.Endpoint{Address: oracle.Session, ServerKey: o.key}))
			eventually(t, "refused", func() bool { return f.servers[0].router.Stats().HandshakesBad > before })
			if len(d.Peers()) != 0 {
				t.Error("it has a session")
			}
		})
	}
	k := testKey(100, 1)
	f.clients[0].Publish(f.record(0, k, 1), endpoint.CauseLearn)
	eventually(t, "the member goes on", func() bool { return f.clients[0].isStable(k) })
}

// An oracle that goes away and comes back with an empty directory is told everything again.
func TestOracleRestartsOverZeroMQ(t *testing.T) {
	f := newFabric(t, 1, 1, security{}, nil)
	f.ready()
	l := f.clients[0]
	for i := range 1000 {
		l.Publish(f.record(0, testKey(100, i), 1), endpoint.CauseLearn)
	}
	eventually(t, "all known", func() (all bool) {
		f.must(f.servers[0].Do(f.ctx, func(o *Oracle) { all = o.Len() == 1000 }))
		return all
	})
	f.must(l.RemoveOracle(f.ctx, "spine1"))
	ctx, cancel := context.WithCancel(f.ctx)
	s, err := NewServer(ctx, ServerOptions{Session: "127.0.0.1:0", Feed: "127.0.0.1:0",
		Oracle: OracleOptions{Node: "spine1", Area: "0", Epoch: uint64(time.Now().UnixNano())}})
	f.must(err)
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	f.must(s.SetMember(ctx, l.member))
	f.must(s.SetMembersComplete(ctx))
	m := f.members[0]
	m.Session, m.Feed = s.SessionAddr.String(), s.FeedAddr.String()
	f.must(l.SetOracle(ctx, m))
	eventually(t, "the new one has all and is ready", func() (ok bool) {
		f.must(s.Do(ctx, func(o *Oracle) {
			h, n := o.Digest()
			ok = h != 0 && n == 1000 && o.Ready()
		}))
		return ok
	})
}

// Garbage on a session is answered with the reason, and costs nobody else anything.
func TestGarbageOverZeroMQ(t *testing.T) {
	f := newFabric(t, 1, 1, security{}, nil)
	f.ready()
	d, err := zmtp.NewDealer(zmtp.Options{Identity: "leaf:evil"})
	f.must(err)
	defer d.Close()
	f.must(d.Dial(zmtp.Endpoint{Address: f.members[0].Session}))
	good, err := Encode(&Message{Header{"0", 1, 1, 0}, &Publish{Items: []Item{{endpoint.CauseLearn, *f.record(0, testKey(100, 1), 9)}}}})
	f.must(err)
	for _, garbage := range []zmtp.Message{
		{[]byte("hello")},
		append(zmtp.Message{[]byte("COOQ\x01\x03\x00\x00")}, good[1:]...),
		append(append(zmtp.Message{}, good[:5]...), good[5][:20]),
		good, // no HELLO before
	} {
		f.must(d.SendWait(f.ctx, garbage))
		for {
			ctx, cancel := context.WithTimeout(f.ctx, patience)
			v, err := d.Recv(ctx)
			cancel()
			f.must(err)
			if v.Kind != zmtp.Received {
				continue
			}
			m, err := Decode(v.Message)
			f.must(err)
			if a, ok := m.Body.(*Ack); !ok || a.Refused == ReasonNone || a.Detail == "" {
				t.Errorf("%q was answered with %+v", garbage, m.Body)
			}
			break
		}
	}
	k := testKey(100, 1)
	f.clients[0].Publish(f.record(0, k, 1), endpoint.CauseLearn)
	eventually(t, "others go on", func() bool { return f.clients[0].isStable(k) })
}
