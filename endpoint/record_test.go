package endpoint

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseMAC(t *testing.T) {
	want := MAC{0x02, 0, 0x5e, 0x10, 0xab, 0xcd}
	for _, s := range []string{"02:00:5e:10:ab:cd", "02-00-5E-10-AB-CD", "0200.5e10.abcd"} {
		if m, err := ParseMAC(s); err != nil || m != want {
			t.Errorf("%s: %v %v", s, m, err)
		}
	}
	for _, s := range []string{"", "02:00:5e:10:ab", "02:00:5e:10:ab:cg", "02:00:5e:10:ab:cd:ef", "0200:5e10:abcd", "02:00-5e:10:ab:cd", "02005e10abcd", "02::0:5e:10:abcd",
		":::::::::::::::::", "................."} {
		if m, err := ParseMAC(s); err == nil {
			t.Errorf("%q is taken for %v", s, m)
		}
	}
	if MAC(want).IsHost() != true || (MAC{}).IsHost() || (MAC{1}).IsHost() {
		t.Error("IsHost")
	}
}

func TestParseKey(t *testing.T) {
	k := Key{10100, mac(7)}
	if got, err := ParseKey(k.String()); err != nil || got != k {
		t.Errorf("%v: %v %v", k, got, err)
	}
	for _, s := range []string{"", "1", "0/02:00:00:00:00:01", "16777216/02:00:00:00:00:01", "x/02:00:00:00:00:01", "1/02:00"} {
		if got, err := ParseKey(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

// FuzzParse: what is read is written the same way, and nothing else is read.
func FuzzParse(f *testing.F) {
	f.Add("10100/02:00:00:00:00:01")
	f.Add("1/0200.5e10.abcd")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err != nil {
			return
		}
		if again, err := ParseKey(k.String()); err != nil || again != k {
			t.Fatalf("%q: %v, then %v %v", s, k, again, err)
		}
		text, _ := k.MAC.MarshalText()
		var m MAC
		if err := m.UnmarshalText(text); err != nil || m != k.MAC {
			t.Fatalf("%s: %v %v", text, m, err)
		}
	})
}

func drawRecord(t *rapid.T) Record {
	return Record{Key: key(1), Seq: rapid.Uint32Range(0, 2).Draw(t, "seq"), TS: rapid.Int64Range(0, 2).Draw(t, "ts"),
		Publisher: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "publisher"), Epoch: rapid.Uint64Range(0, 1).Draw(t, "epoch"),
		TEP: rapid.SampledFrom([]netip.Addr{leaf1, leaf2}).Draw(t, "tep"), Status: rapid.SampledFrom([]Status{Active, Stale, Tombstone}).Draw(t, "status")}
}

// TestCompareOrders: Compare is an order, so that oracles which merge the same records in any order end with the same one.
func TestCompareOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawRecord(t), drawRecord(t), drawRecord(t)
		if Compare(&a, &b) != -Compare(&b, &a) || Compare(&a, &a) != 0 {
			t.Fatalf("%v and %v", &a, &b)
		}
		if Compare(&a, &b) >= 0 && Compare(&b, &c) >= 0 && Compare(&a, &c) < 0 {
			t.Fatalf("%v, %v and %v", &a, &b, &c)
		}
		records := []*Record{&a, &b, &c}
		best := slices.MaxFunc(records, Compare)
		slices.Reverse(records)
		if again := slices.MaxFunc(records, Compare); Compare(best, again) != 0 {
			t.Fatalf("%v or %v", best, again)
		}
	})
}

// TestCompareFields: sequence number, time stamp, publisher, epoch, in this order.
func TestCompareFields(t *testing.T) {
	base := Record{Seq: 5, TS: 5, Publisher: "m", Epoch: 5, TEP: leaf2}
	for i, change := range []func(r *Record, by int64, name string){
		func(r *Record, by int64, _ string) { r.Seq = uint32(int64(r.Seq) + by) },
		func(r *Record, by int64, _ string) { r.TS += by },
		func(r *Record, _ int64, name string) { r.Publisher = name },
		func(r *Record, by int64, _ string) { r.Epoch = uint64(int64(r.Epoch) + by) },
	} {
		newer, older := base, base
		change(&newer, 1, "z")
		change(&older, -1, "a")
		if Compare(&newer, &base) <= 0 || Compare(&older, &base) >= 0 || Compare(&newer, &older) <= 0 {
			t.Errorf("field %d", i)
		}
	}
	gone := base
	gone.Status = Tombstone
	if Compare(&gone, &base) <= 0 {
		t.Error("a withdrawal does not win")
	}
}

func TestValidate(t *testing.T) {
	good := Record{Key: key(1), TEP: leaf1, Publisher: "a", IPs: []IP{{Addr: ip4(1)}, {Addr: ip6(1)}}}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Record){
		"bridge domain":  func(r *Record) { r.BD = MaxBD + 1 },
		"MAC address":    func(r *Record) { r.MAC[0] = 1 },
		"tunnel address": func(r *Record) { r.TEP = netip.MustParseAddr("fe80::1") },
		"VLAN":           func(r *Record) { r.VLAN = 4095 },
		"status":         func(r *Record) { r.Status = 9 },
		"port name":      func(r *Record) { r.Port = strings.Repeat("x", 256) },
		"publisher name": func(r *Record) { r.Publisher = "" },
		"addresses":      func(r *Record) { r.IPs = make([]IP, MaxIPs+1) },
		"ascending":      func(r *Record) { r.IPs = []IP{{Addr: ip4(2)}, {Addr: ip4(1)}} },
		"each address":   func(r *Record) { r.IPs = []IP{{Addr: ip4(1)}, {Addr: ip4(1)}} },
		"unicast":        func(r *Record) { r.IPs = []IP{{Addr: netip.MustParseAddr("ff02::1")}} },
	} {
		r := good.Clone()
		change(&r)
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if !good.HasIP(ip6(1)) || good.HasIP(ip4(2)) {
		t.Error("HasIP")
	}
}

// TestNames: everything that operators see has a name, and what does not exist does not panic.
func TestNames(t *testing.T) {
	for _, s := range []string{Status(200).String(), State(200).String(), Cause(200).String(), EventKind(200).String(), ActionKind(200).String(),
		ChangeKind(200).String(), FaultKind(200).String()} {
		if s != "unknown 200" {
			t.Error(s)
		}
	}
	for i, last := range map[string]string{Freeze.String(): "freeze", Frozen.String(): "frozen", CauseWithdrawn.String(): "withdrawn",
		EnableLearning.String(): "enable learning", Notify.String(): "notify", RogueEnd.String(): "rogue end"} {
		if i != last {
			t.Errorf("%s, want %s", i, last)
		}
	}
	if s := (Event{Kind: Moved, Record: &Record{Key: key(1)}}).String() + (Event{Key: key(1)}).String(); strings.Contains(s, "%!") {
		t.Error(s)
	}
	for _, a := range []Action{{Record: &Record{}}, {Fault: &Fault{}}, {Change: &Change{}}, {}} {
		if s := a.String(); strings.Contains(s, "%!") {
			t.Error(s)
		}
	}
}
