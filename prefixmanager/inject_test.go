package prefixmanager

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	"openr/thrift/gen/network"

	"pgregory.net/rapid"
)

func entry(p string, t lsdb.PrefixType, edit ...func(*lsdb.PrefixEntry)) lsdb.PrefixEntry {
	e := lsdb.PrefixEntry{Prefix: prefix(p), Type: t}
	for _, f := range edit {
		f(&e)
	}
	return e
}

func entries(e ...lsdb.PrefixEntry) []lsdb.PrefixEntry { return e }

func preference(n int32) func(*lsdb.PrefixEntry) {
	return func(e *lsdb.PrefixEntry) { e.Metrics.PathPreference = n }
}

func (b *bench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Error(err)
	}
}

func TestInject(t *testing.T) {
	const breeze, bgp = lsdb.PrefixBreeze, network.PrefixType_BGP
	b := newBench(t, testConfig("A", "B"))
	b.ok(b.inject(entries(entry("10.0.0.0/8", breeze))))
	if b.pending() {
		t.Error("keys are to be written before the forwarding table is known")
	}
	b.full()
	b.want("+A 10.0.0.0/8 BREEZE", "+B 10.0.0.0/8 BREEZE")
	b.ok(b.inject(entries(entry("10.1.2.3/8", breeze)))) // host bits do not matter
	if b.pending() {
		t.Error("the same again is a change")
	}
	b.ok(b.inject(entries(entry("10.0.0.0/8", breeze, preference(1)), entry("2001:db8::/32", breeze, func(e *lsdb.PrefixEntry) { e.AreaStack = []string{"A"} }))))
	b.want("+A 10.0.0.0/8 BREEZE", "+B 10.0.0.0/8 BREEZE", "+B 2001:db8::/32 BREEZE")

	b.ok(b.inject(entries(entry("10.0.0.0/8", bgp), entry("10.0.0.0/8", bgp, preference(9))))) // the last counts
	b.want("+A 10.0.0.0/8 BGP", "+B 10.0.0.0/8 BGP")
	b.ok(b.eject(entries(entry("10.3.0.0/8", bgp), entry("10.0.0.0/9", bgp)))) // one of them is there
	b.want("+A 10.0.0.0/8 BREEZE", "+B 10.0.0.0/8 BREEZE")
	b.ok(b.eject(nil))
	b.ok(b.replace(breeze, entries(entry("10.0.0.0/8", breeze, preference(1)), entry("10.9.0.0/16", breeze))))
	b.want("+A 10.9.0.0/16 BREEZE", "+B 10.9.0.0/16 BREEZE", "-B 2001:db8::/32")
	b.ok(b.replace(bgp, nil)) // there is none
	b.want()
	b.ok(b.replace(breeze, nil))
	b.want("-A 10.0.0.0/8", "-A 10.9.0.0/16", "-B 10.0.0.0/8", "-B 10.9.0.0/16")
	if len(b.injected)+len(b.origins) != 0 {
		t.Errorf("left: %v %v", b.injected, b.origins)
	}
}

func TestInjectRefuses(t *testing.T) {
	const breeze, bgp = lsdb.PrefixBreeze, network.PrefixType_BGP
	for _, tt := range []struct {
		name string
		do   func(b *bench) error
		want error
		says string
	}{
		{"RIB", func(b *bench) error { return b.inject(entries(entry("10.0.0.0/8", lsdb.PrefixRIB))) }, ErrTypeRefused, "10.0.0.0/8"},
		{"CONFIG", func(b *bench) error { return b.inject(entries(entry("10.0.0.0/8", lsdb.PrefixConfig))) }, ErrTypeRefused, "originated_prefixes"},
		{"no such type", func(b *bench) error { return b.inject(entries(entry("10.0.0.0/8", 77))) }, ErrTypeRefused, "77"},
		{"no type", func(b *bench) error { return b.inject(entries(entry("10.0.0.0/8", 0))) }, ErrTypeRefused, "use BREEZE, 5"},
		{"address of an interface", func(b *bench) error { return b.inject(entries(entry("192.0.2.1/32", lsdb.PrefixLoopback))) }, ErrTypeRefused, "192.0.2.1/32 (LOOPBACK)"},
		{"no prefix", func(b *bench) error { return b.inject(entries(lsdb.PrefixEntry{Type: breeze})) }, ErrBadPrefix, "prefix length"},
		{"mapped", func(b *bench) error {
			p := netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104)
			return b.inject(entries(lsdb.PrefixEntry{Prefix: p, Type: breeze}))
		}, ErrBadPrefix, "::ffff:"},
		{"link-local", func(b *bench) error { return b.inject(entries(entry("fe80::1/64", breeze))) }, ErrBadPrefix, "fe80::1/64"},
		{"link-local, IPv4", func(b *bench) error { return b.inject(entries(entry("169.254.0.0/16", breeze))) }, ErrBadPrefix, "link-local"},
		{"multicast", func(b *bench) error { return b.inject(entries(entry("ff00::/8", breeze))) }, ErrBadPrefix, "multicast"},
		{"forwarding type", func(b *bench) error {
			return b.inject(entries(entry("10.0.0.0/8", breeze, func(e *lsdb.PrefixEntry) { e.ForwardingType = 2 })))
		}, ErrBadPrefix, "forwardingType is 2: want 0 (IP) or 1 (SR_MPLS)"},
		{"forwarding algorithm", func(b *bench) error {
			return b.inject(entries(entry("10.0.0.0/8", breeze, func(e *lsdb.PrefixEntry) { e.ForwardingAlgorithm = -1 })))
		}, ErrBadPrefix, "forwardingAlgorithm is -1: want 0 (SP_ECMP) or 1 (KSP2_ED_ECMP)"},
		{"min next hops", func(b *bench) error {
			return b.inject(entries(entry("10.0.0.0/8", breeze, func(e *lsdb.PrefixEntry) { e.MinNexthop = -1 })))
		}, ErrBadPrefix, "minNexthop is -1"},
		{"weight", func(b *bench) error {
			return b.replace(breeze, entries(entry("10.0.0.0/8", breeze, func(e *lsdb.PrefixEntry) { e.Weight = -1 })))
		}, ErrBadPrefix, "weight is -1"},
		{"sync RIB", func(b *bench) error { return b.replace(lsdb.PrefixRIB, nil) }, ErrTypeRefused, "RIB"},
		{"sync CONFIG", func(b *bench) error { return b.replace(lsdb.PrefixConfig, nil) }, ErrTypeRefused, "CONFIG"},
		{"sync another type", func(b *bench) error { return b.replace(breeze, entries(entry("10.0.0.0/8", bgp))) }, ErrTypeRefused, "10.0.0.0/8 is of type BGP"},
		{"sync something bad", func(b *bench) error { return b.replace(breeze, entries(entry("ff02::1/128", breeze))) }, ErrBadPrefix, "ff02::1"},
		{"withdraw what is not there", func(b *bench) error {
			return b.eject(entries(entry("10.0.0.0/8", bgp), lsdb.PrefixEntry{}, entry("192.0.2.1/32", lsdb.PrefixLoopback)))
		}, ErrUnknownPrefix, "10.0.0.0/8 (BGP), "},
		{"withdraw much that is not there", func(b *bench) error { return b.eject(make([]lsdb.PrefixEntry, 1000)) }, ErrUnknownPrefix, "and 995 more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, testConfig("A"))
			b.loopbacks("192.0.2.1/32")
			b.ok(b.inject(entries(entry("10.0.0.0/8", breeze))))
			b.full()
			b.sync()
			err := tt.do(b)
			if !errors.Is(err, tt.want) || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("got %v", err)
			}
			// What is good beside it does not count.
			if err := b.inject(entries(entry("10.7.0.0/16", breeze), entry("ff02::1/128", breeze))); err == nil {
				t.Error("accepted")
			}
			if b.want(); len(b.injected) != 1 {
				t.Errorf("injected: %v", b.injected)
			}
		})
	}
}

func TestInjectedAreBounded(t *testing.T) {
	b := newBench(t, testConfig("A"))
	many := func(n int, t lsdb.PrefixType) []lsdb.PrefixEntry {
		list := make([]lsdb.PrefixEntry, n)
		for i := range list {
			list[i] = lsdb.PrefixEntry{Type: t, Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)}
		}
		return list
	}
	b.ok(b.inject(many(maxInjected, lsdb.PrefixBreeze)))
	b.ok(b.inject(many(1, lsdb.PrefixBreeze))) // it is there already
	if err := b.inject(many(1, network.PrefixType_BGP)); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if err := b.replace(network.PrefixType_BGP, many(1, network.PrefixType_BGP)); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if err := b.replace(lsdb.PrefixBreeze, many(maxInjected+1, lsdb.PrefixBreeze)); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	b.ok(b.replace(lsdb.PrefixBreeze, many(maxInjected-1, lsdb.PrefixBreeze)))
	b.ok(b.inject(many(1, network.PrefixType_BGP)))
}

// TestInjectedBesideInterfaces: the API and linkmonitor do not take each other's prefixes away, even of the same type.
func TestInjectedBesideInterfaces(t *testing.T) {
	b := newBench(t, testConfig("A"))
	b.full()
	b.ok(b.inject(entries(entry("192.0.2.7/32", lsdb.PrefixLoopback, preference(3)))))
	b.loopbacks("192.0.2.1/32")
	b.want("+A 192.0.2.1/32 LOOPBACK", "+A 192.0.2.7/32 LOOPBACK")
	b.ok(b.replace(lsdb.PrefixLoopback, entries(entry("192.0.2.8/32", lsdb.PrefixLoopback, preference(3)))))
	b.want("+A 192.0.2.8/32 LOOPBACK", "-A 192.0.2.7/32")
	b.loopbacks("192.0.2.8/32") // an interface has it now
	b.want("+A 192.0.2.8/32 LOOPBACK", "-A 192.0.2.1/32")
	if all := b.list(); len(all) != 1 || all[0].Injected || all[0].Entry.Metrics.PathPreference != 0 {
		t.Errorf("list: %+v", all)
	}
	b.loopbacks()
	b.want("+A 192.0.2.8/32 LOOPBACK") // and the injected one comes forth again
	if all := b.list(); len(all) != 1 || !all[0].Injected || all[0].Entry.Metrics.PathPreference != 3 {
		t.Errorf("list: %+v", all)
	}
	b.loopbacks("192.0.2.8/32")
	b.ok(b.eject(entries(entry("192.0.2.8/32", lsdb.PrefixLoopback)))) // hidden, but there
	b.want("+A 192.0.2.8/32 LOOPBACK")
	b.loopbacks()
	b.want("-A 192.0.2.8/32")
}

// TestInjectedAddUp: whatever is called, what is listed is what a plain model says.
func TestInjectedAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(testing.TB(nil), testConfig("A"))
		types := []lsdb.PrefixType{lsdb.PrefixLoopback, lsdb.PrefixBreeze}
		model, interfaces := map[injectedKey]int32{}, map[netip.Prefix]bool{}
		draw := func() lsdb.PrefixEntry {
			return entry(fmt.Sprintf("10.%d.0.0/16", rapid.IntRange(0, 4).Draw(t, "prefix")), rapid.SampledFrom(types).Draw(t, "type"), preference(rapid.Int32Range(1, 2).Draw(t, "preference")))
		}
		taken := func(e lsdb.PrefixEntry) bool { return e.Type == lsdb.PrefixLoopback && interfaces[e.Prefix] }
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			e := draw()
			k := injectedKey{e.Prefix, e.Type}
			_, had := model[k]
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				if err := b.inject(entries(e)); (err != nil) != taken(e) {
					t.Fatalf("inject %v: %v", k, err)
				} else if err == nil {
					model[k] = e.Metrics.PathPreference
				}
			case 1:
				if err := b.eject(entries(e)); (err == nil) != had {
					t.Fatalf("eject %v: %v", k, err)
				}
				delete(model, k)
			case 2:
				if err := b.replace(e.Type, entries(e)); (err != nil) != taken(e) {
					t.Fatalf("replace %v: %v", k, err)
				} else if err == nil {
					for k := range model {
						if k.kind == e.Type {
							delete(model, k)
						}
					}
					model[k] = e.Metrics.PathPreference
				}
			case 3:
				clear(interfaces)
				interfaces[e.Prefix] = true
				b.loopbacks(e.Prefix.String())
			}
			want := map[injectedKey]int32{}
			for k, v := range model {
				want[k] = v
			}
			for p := range interfaces {
				want[injectedKey{p, lsdb.PrefixLoopback}] = 0
			}
			all := b.list()
			for _, a := range all {
				if v, ok := want[injectedKey{a.Entry.Prefix, a.Entry.Type}]; !ok || v != a.Entry.Metrics.PathPreference || a.Injected != (v != 0) {
					t.Fatalf("listed %+v, want %v", a, want)
				}
			}
			if len(all) != len(want) || len(b.injected) != len(model) {
				t.Fatalf("listed %v, want %v", all, want)
			}
		}
	})
}

// TestCalls asks a running PrefixManager everything.
func TestCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := parse(t, `{"node_name": "me", "areas": [{"area_id": "A"}, {"area_id": "B", "import_policy_name": "p"}],
			"originated_prefixes": [{"prefix": "10.0.0.0/8", "minimum_supporting_routes": 2, "tags": ["x"]}, {"prefix": "2001:db8::/32"}],
			"area_policies": {"filters": {"routePropagationPolicy": {"objects": {"p": {
				"ruleset": [{"_name": "far", "criteria": [{"basePrefixIPv4": "10.1.0.0/16"}], "ruleMatchAction": "deny"}], "rulesetMissAction": "allow"}}}}}}`)
		counters := monitor.NewCounters()
		m := New(Options{
			Config: cfg, Counters: counters,
			Programmed: queue.New(msg.MergeProgrammed), KeyRequests: queue.New(msg.MergeKeyRequests),
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.Run(ctx) }()
		originated := func(want ...string) {
			t.Helper()
			all, err := m.Originated(ctx)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range all {
				got = append(got, fmt.Sprintf("%v%v%v%v", o.Prefix.Prefix, o.Prefix.Tags, o.Supporting, o.Installed))
			}
			if !slices.Equal(got, want) {
				t.Errorf("originated %q, want %q", got, want)
			}
		}
		originated("10.0.0.0/8[x][]false", "2001:db8::/32[][]false")
		far := via("10.1.0.0/16", "A")
		far.IGPCost = 7
		m.Programmed.Push(msg.Programmed{Full: true, Update: table(far, via("192.0.2.0/24", "A"))})
		synctest.Wait()
		originated("10.0.0.0/8[x][10.1.0.0/16]false", "2001:db8::/32[][]true")
		m.Programmed.Push(msg.Programmed{Update: table(via("10.0.0.0/9", "A"))})
		synctest.Wait()
		originated("10.0.0.0/8[x][10.0.0.0/9 10.1.0.0/16]true", "2001:db8::/32[][]true")

		e := entries(entry("192.0.2.128/25", lsdb.PrefixBreeze))
		for name, f := range map[string]func() error{
			"advertise": func() error { return m.Advertise(ctx, e) },
			"sync":      func() error { return m.SyncByType(ctx, lsdb.PrefixBreeze, e) },
		} {
			time.Sleep(time.Second)
			m.KeyRequests.Take()
			if err := f(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			synctest.Wait()
			if r, _ := m.KeyRequests.Take(); !slices.Equal(text(t, r), []string{"+A 192.0.2.128/25 BREEZE", "+B 192.0.2.128/25 BREEZE"}) {
				t.Errorf("%s: %q", name, text(t, r))
			}
			if n, _ := counters.Get(counterInjected); n != 1 {
				t.Errorf("%s: %s = %d", name, counterInjected, n)
			}
			if name == "advertise" {
				if err := m.Withdraw(ctx, e); err != nil {
					t.Error(err)
				}
			} else if err := m.WithdrawByType(ctx, lsdb.PrefixBreeze); err != nil {
				t.Error(err)
			}
		}
		if err := m.Withdraw(ctx, e); !errors.Is(err, ErrUnknownPrefix) {
			t.Error(err)
		}

		routes := func(area string, stage Stage, want ...string) {
			t.Helper()
			all, err := m.AreaRoutes(ctx, area, stage)
			var got []string
			for _, r := range all {
				got = append(got, fmt.Sprintf("%v%v %d%s", r.Entry.Prefix, r.Entry.Type, r.IGPCost, r.HitPolicy))
			}
			if !slices.Equal(got, want) || err != nil {
				t.Errorf("area %s, stage %d: %q, want %q; %v", area, stage, got, want, err)
			}
		}
		routes("A", BeforePolicy, "10.0.0.0/8CONFIG 0", "2001:db8::/32CONFIG 0")
		routes("A", AfterPolicy, "10.0.0.0/8CONFIG 0", "2001:db8::/32CONFIG 0")
		routes("B", BeforePolicy, "10.0.0.0/8CONFIG 0", "10.0.0.0/9RIB 0", "10.1.0.0/16RIB 7", "192.0.2.0/24RIB 0", "2001:db8::/32CONFIG 0")
		const p = "p: no rule, rulesetMissAction"
		routes("B", AfterPolicy, "10.0.0.0/8CONFIG 0"+p, "10.0.0.0/9RIB 0"+p, "192.0.2.0/24RIB 0"+p, "2001:db8::/32CONFIG 0"+p)
		routes("B", Rejected, "10.1.0.0/16RIB 7p: far")
		routes("A", Rejected)
		if _, err := m.AreaRoutes(ctx, "C", AfterPolicy); !errors.Is(err, ErrUnknownArea) {
			t.Error(err)
		}
		if _, err := m.AreaRoutes(ctx, "A", 3); err == nil {
			t.Error("no such stage")
		}
		for name, want := range map[string]int64{
			counterRejected + ".B.sum": 1, counterRejected + ".A.sum": 0, counterPolicyRejected + "p.far.sum": 1,
		} {
			if n, ok := counters.Get(name); n != want || !ok {
				t.Errorf("%s is %d, %v", name, n, ok)
			}
		}
		if n, _ := counters.Get(counterPolicyAccepted + "p.rulesetMissAction.sum"); n < 4 {
			t.Errorf("%d accepted", n)
		}

		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"Advertise": m.Advertise(t.Context(), e), "Withdraw": m.Withdraw(t.Context(), e),
			"SyncByType": m.SyncByType(t.Context(), lsdb.PrefixBreeze, e), "WithdrawByType": m.WithdrawByType(t.Context(), lsdb.PrefixBreeze),
		} {
			if !errors.Is(err, queue.ErrStopped) {
				t.Errorf("%s after the end: %v", name, err)
			}
		}
		if _, err := m.Originated(t.Context()); !errors.Is(err, queue.ErrStopped) {
			t.Error(err)
		}
		if _, err := m.AreaRoutes(t.Context(), "A", Rejected); !errors.Is(err, queue.ErrStopped) {
			t.Error(err)
		}
	})
}
