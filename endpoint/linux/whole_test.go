package linux

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/queue"
)

// directory is what leaves are told of each other, without the network between. Leaves in quiet are only answered, not told.
type directory struct {
	t testing.TB

	mu      sync.Mutex // guards what follows
	records map[endpoint.Key]*endpoint.Record
	minds   []*mind
	waiting map[netip.Addr][]*mind
	quiet   bool
	lookups int
}

func newDirectory(t testing.TB) *directory {
	return &directory{t: t, records: map[endpoint.Key]*endpoint.Record{}, waiting: map[netip.Addr][]*mind{}}
}

// publish takes what a leaf says. The caller holds the mutex.
func (d *directory) publish(from *mind, r endpoint.Record) {
	old := d.records[r.Key]
	moved := old != nil && old.TEP != r.TEP && old.Status != endpoint.Tombstone
	if moved && r.Status != endpoint.Tombstone {
		r.Seq = max(r.Seq, old.Seq+1)
	}
	if old != nil && endpoint.Compare(&r, old) <= 0 {
		return
	}
	d.records[r.Key] = &r
	ack := endpoint.Event{Kind: endpoint.Acked, Key: r.Key, Seq: r.Seq}
	for _, m := range d.minds {
		switch {
		case m == from:
		case moved && m.leaf.tep == old.TEP:
			ack.TEP = old.TEP
			m.tell(endpoint.Event{Kind: endpoint.Moved, Record: &r})
		case !d.quiet:
			m.tell(endpoint.Event{Kind: endpoint.FromDirectory, Record: &r})
		}
	}
	from.tell(ack)
	for _, ip := range r.IPs {
		for _, m := range d.waiting[ip.Addr] {
			m.tell(endpoint.Event{Kind: endpoint.FromDirectory, Record: &r})
		}
		delete(d.waiting, ip.Addr)
	}
}

// lookup answers a leaf that asks for an address, or has all look for it. The caller holds the mutex.
func (d *directory) lookup(from *mind, bd endpoint.BD, ip netip.Addr) {
	d.lookups++
	for _, r := range d.records {
		if r.Status != endpoint.Tombstone && r.HasIP(ip) {
			from.tell(endpoint.Event{Kind: endpoint.FromDirectory, Record: r})
			return
		}
	}
	d.waiting[ip] = append(d.waiting[ip], from)
	for _, m := range d.minds {
		m.tell(endpoint.Event{Kind: endpoint.Glean, Key: endpoint.Key{BD: bd}, IP: ip})
	}
}

// mind is the core of a leaf, which runs until it is stopped or the test is over.
type mind struct {
	leaf *leaf
	d    *directory
	news *queue.Queue[[]endpoint.Event]
	stop func()

	mu   sync.Mutex // guards core
	core *endpoint.Core
}

func (m *mind) tell(e endpoint.Event) { m.news.Push([]endpoint.Event{e}) }

// think gives a leaf a core.
func (d *directory) think(l *leaf, change func(*endpoint.Config)) *mind {
	d.t.Helper()
	cfg := endpoint.Default()
	cfg.Domains = []endpoint.Domain{{BD: testBD}}
	if change != nil {
		change(&cfg)
	}
	m := &mind{leaf: l, d: d, news: queue.New(func(a, b []endpoint.Event) []endpoint.Event { return append(a, b...) })}
	var err error
	m.core, err = endpoint.New(endpoint.Options{Config: cfg, Node: fmt.Sprint("leaf", l.i), TEP: l.tep, Epoch: uint64(time.Now().UnixNano()), Counters: l.counters})
	must(d.t, err)
	d.mu.Lock()
	d.minds = append(d.minds, m)
	d.mu.Unlock()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticks := time.NewTicker(50 * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-stop:
				return
			case <-l.events.C():
				if list, ok := l.events.Take(); ok {
					m.handle(list)
				}
			case <-m.news.C():
				if list, ok := m.news.Take(); ok {
					m.handle(list)
				}
			case <-ticks.C:
				m.handle([]endpoint.Event{{}})
			}
		}
	}()
	m.stop = sync.OnceFunc(func() {
		close(stop)
		<-done
	})
	d.t.Cleanup(m.stop)
	return m
}

func (m *mind) handle(events []endpoint.Event) {
	var todo []endpoint.Action
	m.mu.Lock()
	for _, e := range events {
		todo = append(todo, m.core.Handle(time.Now(), e)...)
	}
	m.mu.Unlock()
	if failed, err := m.leaf.k.Apply(m.d.t.Context(), todo); (err != nil || len(failed) > 0) && m.d.t.Context().Err() == nil {
		m.d.t.Errorf("leaf %d: %v, %v", m.leaf.i, failed, err)
	}
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	for _, a := range todo {
		switch a.Kind {
		case endpoint.Publish, endpoint.Withdraw:
			m.d.publish(m, *a.Record)
		case endpoint.Lookup:
			m.d.lookup(m, a.BD, a.IP)
		}
	}
}

// knows returns the core's view of a host, and whether it has one.
func (m *mind) knows(i int) (endpoint.View, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.core.Lookup(hostKey(i))
}

// count returns a counter of events.
func (l *leaf) count(name string) int64 {
	v, _ := l.counters.Get(name + ".count")
	return v
}

// patient has a host repeat no question within the time of a test.
func (h *host) patient() *host {
	h.t.Helper()
	for _, family := range []string{"ipv4", "ipv6"} {
		h.sysctl(family+"/neigh/eth0/retrans_time_ms", "600000")
	}
	return h
}

// neighbour returns the MAC address that a host has for an address, empty if it has none.
func (h *host) neighbour(ip netip.Addr) string {
	h.t.Helper()
	list, err := h.NeighList(h.index, unix.AF_UNSPEC)
	must(h.t, err)
	for _, n := range list {
		if a, _ := netip.AddrFromSlice(n.IP); a.Unmap() == ip && n.State&(unix.NUD_FAILED|unix.NUD_INCOMPLETE) == 0 {
			return n.HardwareAddr.String()
		}
	}
	return ""
}

// farRecord is the record of host i behind another leaf.
func farRecord(i int, tep netip.Addr) *endpoint.Record {
	now := time.Now().UnixNano()
	return &endpoint.Record{Key: hostKey(i), TEP: tep, Port: "p1", Seq: 1, TS: now, Publisher: "leaf9",
		IPs: []endpoint.IP{{Addr: host4(i), TS: now}, {Addr: host6(i), TS: now}}}
}

// TestFirstContact (requirements A6, C1.2, C1.5): a host asks for one that its leaf does not know, once and never again: it is
// answered as soon as the directory is, and the packet that waited for that goes through. So does the answer, for which the other
// host asks in the same way. A host that has never said a word is found as well.
func TestFirstContact(t *testing.T) {
	for _, silent := range []bool{false, true} {
		t.Run(map[bool]string{false: "known", true: "silent"}[silent], func(t *testing.T) {
			f := newFabric(t, false, 2)
			d := newDirectory(t)
			d.quiet = true // as if what they were told had gone with its age
			var minds []*mind
			for i := 1; i <= 2; i++ {
				h := f.hosts[i].patient()
				must(t, h.NeighDel(&vnl.Neigh{LinkIndex: h.index, Family: unix.AF_INET, IP: host4(3 - i).AsSlice()}))
				minds = append(minds, d.think(f.leaves[i], nil))
			}
			if !silent {
				for i, h := range f.hosts {
					h.raw(appendProbe(nil, hostMAC(i), endpoint.MAC{}, host4(i), host4(i)))
				}
				eventually(t, "both are in the directory", func() bool {
					d.mu.Lock()
					defer d.mu.Unlock()
					return d.records[hostKey(1)] != nil && d.records[hostKey(1)].HasIP(host4(1)) && d.records[hostKey(2)] != nil && d.records[hostKey(2)].HasIP(host4(2))
				})
			}
			out := f.hosts[1].run("ping", "-n", "-c", "1", "-W", "30", host4(2).String())
			if !strings.Contains(out, "1 received") {
				t.Fatalf("the first packet gets lost: %s", out)
			}
			_, rtt, _ := strings.Cut(out, "time=")
			t.Logf("first ping, with both questions, after %s; a host repeats its question after 1 s", strings.SplitN(rtt, "\n", 2)[0])
			for i, m := range minds {
				if v, there := m.knows(2 - i); !there || v.State != endpoint.Remote {
					t.Errorf("leaf %d has %v", i+1, v.State)
				}
				eventually(t, "the answer is counted", func() bool { return m.leaf.counter(counterReplies) > 0 })
				if n := m.leaf.counter(counterReplies); n != 1 {
					t.Errorf("leaf %d has answered %d times, want once", i+1, n)
				}
			}
			noSumErrors(t, f.leaves[1], f.leaves[2])
		})
	}
}

// TestAnswersQuestion: ARP and neighbour solicitations alike, also where the bridge has no IPv6; and only what the domain would
// learn.
func TestAnswersQuestion(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h := plug(l.node, "p1", 1).patient()
	h.sysctl("ipv6/conf/eth0/disable_ipv6", "0")
	d := newDirectory(t)
	d.records[hostKey(2)] = farRecord(2, leafTEP(2, false))
	d.records[hostKey(3)] = farRecord(3, leafTEP(2, false))
	d.think(l, func(c *endpoint.Config) {
		b := &c.Domains[0]
		b.EnforceSubnet = true
		b.Subnets = []netip.Prefix{netip.PrefixFrom(host4(0), 30).Masked(), netip.MustParsePrefix("fd00:100::/64")}
	})
	h.addresses()
	for i, to := range []netip.Addr{2: host4(2), 3: host6(3)} {
		if to.IsValid() {
			h.run("ping", "-n", "-c", "1", "-W", "1", to.String())
			eventually(t, fmt.Sprint(to, " is known to the host"), func() bool { return h.neighbour(to) == hostMAC(i).String() })
		}
	}
	outside := netip.MustParseAddr("192.168.100.9")
	d.mu.Lock()
	d.records[hostKey(9)] = farRecord(9, leafTEP(2, false))
	before := d.lookups
	d.mu.Unlock()
	h.run("ping", "-n", "-c", "1", "-W", "1", outside.String())
	eventually(t, "the question is refused", func() bool { return l.count("endpoint.refused.ip_learning") > 0 })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lookups != before || h.neighbour(outside) != "" {
		t.Errorf("an address outside the subnets: %d look-ups, neighbour %q", d.lookups-before, h.neighbour(outside))
	}
}

// TestWiped: whatever makes the kernel forget remote endpoints or the addresses for which the leaf answers, they stand again
// afterwards.
func TestWiped(t *testing.T) {
	l := newLeaf(t, 1, false)
	l.sysctl("ipv6/conf/br100/disable_ipv6", "0")
	l.o.Domains[0].Proxy = proxyTEP[false]
	l.open()
	d := newDirectory(t)
	m := d.think(l, nil)
	far := leafTEP(2, false)
	m.tell(endpoint.Event{Kind: endpoint.FromDirectory, Record: farRecord(2, far)})
	stands := func() bool {
		n := strings.Split(l.neighbours(), "; ")
		return l.fdb(hostMAC(2)) == "dev vx100 dst "+far.String()+" self extern_learn\ndev vx100 extern_learn master br100" && len(n) == 2 &&
			l.fdb(endpoint.MAC{}) == "dev vx100 dst 10.255.255.1 self permanent"
	}
	eventually(t, "it is programmed", stands)
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"another MAC address of the bridge", func() {
			must(t, l.LinkSetHardwareAddr(l.link("br100"), net.HardwareAddr{2, 0, 0, 0, 9, 9}))
		}},
		{"the bridge down and up", func() { l.down("br100"); l.up("br100") }},
		{"the vxlan device down and up", func() { l.down("vx100"); l.up("vx100") }},
		{"without its master", func() {
			must(t, l.LinkSetNoMaster(l.link("vx100")))
			must(t, l.LinkSetMaster(l.link("vx100"), l.link("br100")))
		}},
		{"deleted and made again", func() {
			must(t, l.LinkDel(l.link("vx100")))
			attrs := vnl.NewLinkAttrs()
			attrs.Name = "vx100"
			must(t, l.LinkAdd(&vnl.Vxlan{LinkAttrs: attrs, VxlanId: int(testBD), SrcAddr: l.tep.AsSlice(), Port: VXLANPort, Learning: false}))
			must(t, l.LinkSetMaster(l.link("vx100"), l.link("br100")))
			l.up("vx100")
		}},
	} {
		before := l.count("endpoint.wiped")
		c.do()
		eventually(t, c.name+": noticed", func() bool { return l.count("endpoint.wiped") > before })
		eventually(t, c.name+": it stands again", stands)
	}
}

// TestHoldSurvives (requirement C49): what a run has pinned, here or behind another leaf, the next run keeps pinned; with rogue
// control off it does not.
func TestHoldSurvives(t *testing.T) {
	l := newLeaf(t, 1, false).open()
	h1, h2 := plug(l.node, "p1", 1), plug(l.node, "p2", 2)
	h1.say()
	h2.say()
	l.hears(learned(1, "p1"))
	far := leafTEP(2, false)
	l.apply(endpoint.Action{Kind: endpoint.FreezeMAC, Key: hostKey(1), Port: "p1"},
		endpoint.Action{Kind: endpoint.FreezeMAC, Key: hostKey(5), TEP: far, IPs: []netip.Addr{host4(5)}})
	l.shut()
	for _, rogue := range []bool{true, false} {
		l.open()
		found, err := l.k.Found()
		must(t, err)
		at := slices.IndexFunc(found, func(a endpoint.Action) bool { return a.Key == hostKey(5) })
		if at < 0 || found[at].Kind != endpoint.FreezeMAC || found[at].TEP != far || found[at].For < 0 || found[at].For > time.Hour || len(found[at].IPs) != 1 {
			t.Fatalf("found %+v", found)
		}
		d := newDirectory(t)
		m := d.think(l, func(c *endpoint.Config) { c.Rogue.Enabled = rogue })
		m.tell(endpoint.Event{Kind: endpoint.Pinned, Key: hostKey(5), TEP: far, For: found[at].For, Record: farRecord(5, far)})
		want := endpoint.Frozen
		if !rogue {
			want = endpoint.Local
		}
		eventually(t, fmt.Sprint("host 1 is ", want), func() bool { v, _ := m.knows(1); return v.State == want && v.Place.Port == "p1" })
		if !rogue {
			eventually(t, "it is pinned no more", func() bool { return l.fdb(hostMAC(1)) == "dev p1 master br100 static" })
			break
		}
		eventually(t, "host 5 is frozen", func() bool { v, _ := m.knows(5); return v.State == endpoint.Frozen && v.Place.TEP == far })
		h2.send(hostMAC(1), broadcast)
		h2.say()
		eventually(t, "the next is learned", func() bool { v, _ := m.knows(2); return v.State == endpoint.Local })
		l.wants(hostMAC(1), "dev p1 sticky master br100 static")
		m.stop()
		l.shut()
	}
}
