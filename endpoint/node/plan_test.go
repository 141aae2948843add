package node

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/lsdb"
	"openr/msg"

	"pgregory.net/rapid"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func leafMember(node string) coop.Member {
	return coop.Member{Node: node, Role: coop.RoleLeaf, TEPs: []netip.Addr{addr("10.0.0.1")}, Epoch: 1, Domains: []endpoint.BD{1}}
}

func oracleMember(node string) coop.Member {
	return coop.Member{Node: node, Role: coop.RoleOracle, TEPs: []netip.Addr{addr("10.0.0.2")}, Epoch: 1, Session: "10.0.0.2:1", Feed: "10.0.0.2:2"}
}

func publication(t *testing.T, originator string, members ...coop.Member) msg.Publication {
	t.Helper()
	p := msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{}}
	for _, m := range members {
		data, err := m.Value()
		if err != nil {
			t.Fatal(err)
		}
		from := originator
		if from == "" {
			from = m.Node
		}
		p.KeyVals[msg.AreaKey{Area: "0", Key: coop.MemberKey(m.Role, m.Node)}] = lsdb.Value{Originator: from, Data: data}
	}
	return p
}

// TestRoster: members come, change and go with their keys; nobody speaks for another; other areas and TTLs say nothing.
func TestRoster(t *testing.T) {
	r := newRoster("n1", "0")
	must := func(what string, p msg.Publication, changed bool, wrong, members int) {
		t.Helper()
		c, w := r.apply(p)
		if c != changed || len(w) != wrong || len(r.sorted()) != members {
			t.Errorf("%s: changed %v, wrong %v, %d members", what, c, w, len(r.sorted()))
		}
	}
	leaf, spine := leafMember("n1"), oracleMember("n2")
	must("two members", publication(t, "", leaf, spine), true, 0, 2)
	must("the same", publication(t, "", leaf, spine), false, 0, 2)
	if s := r.sorted(); s[0].Node != "n1" || s[1].Node != "n2" {
		t.Errorf("in the order %v", s)
	}
	spine.Ready = true
	must("one is ready", publication(t, "", spine), true, 0, 2)
	must("forged", publication(t, "n3", spine), true, 1, 1)
	must("again", publication(t, "", spine), true, 0, 2)
	elsewhere := spine
	for _, at := range []string{"10.0.0.3:1", "example.net:1", "10.0.0.2"} {
		elsewhere.Feed = at
		must("listens elsewhere", publication(t, "", elsewhere), true, 1, 1)
		must("again", publication(t, "", spine), true, 0, 2)
	}
	key := msg.AreaKey{Area: "0", Key: coop.MemberKey(coop.RoleOracle, "n2")}
	must("a TTL", msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{key: {Originator: "n2"}}}, false, 0, 2)
	must("another area", msg.Publication{Expired: map[msg.AreaKey]bool{{Area: "1", Key: key.Key}: true}}, false, 0, 2)
	must("garbage", msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{key: {Originator: "n2", Data: []byte("{")}}}, true, 1, 1)
	must("the last word", msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{{Area: "0", Key: "coop:leaf:n1"}: {Originator: "n1", Data: []byte{}}}}, true, 0, 0)
	must("back", publication(t, "", leaf), true, 0, 1)
	must("expired", msg.Publication{Expired: map[msg.AreaKey]bool{{Area: "0", Key: "coop:leaf:n1"}: true}}, true, 0, 0)
	must("synced", msg.Publication{Synced: true}, true, 0, 0)
	must("synced still", msg.Publication{Synced: true}, false, 0, 0)
	for _, db := range []lsdb.AdjacencyDatabase{{Overloaded: true}, {MetricIncrement: 5}} {
		db.Node = "n1"
		must("drained", msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{{Area: "0", Key: "adj:n1"}: {Data: db.Marshal()}}}, true, 0, 0)
		if !r.drained {
			t.Error("not drained")
		}
		db.Overloaded, db.MetricIncrement = false, 0
		must("undrained", msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{{Area: "0", Key: "adj:n1"}: {Data: db.Marshal()}}}, true, 0, 0)
	}
}

func routes(prefixes ...string) msg.RouteUpdate {
	u := msg.RouteUpdate{Update: map[netip.Prefix]msg.Route{}, Delete: map[netip.Prefix]msg.DeleteReason{}}
	for _, p := range prefixes {
		if p[0] == '-' {
			u.Delete[netip.MustParsePrefix(p[1:])] = msg.Withdrawn
		} else {
			u.Update[netip.MustParsePrefix(p)] = msg.Route{}
		}
	}
	return u
}

// TestReach: an address is out of reach when the last route to it has gone, and not before there was one.
func TestReach(t *testing.T) {
	r := newReach()
	teps := []netip.Addr{addr("10.0.0.1"), addr("2001:db8::1")}
	step := func(u msg.RouteUpdate, changed bool, want ...string) {
		t.Helper()
		r.apply(u)
		down, c := r.look(teps, []netip.Addr{addr("10.9.9.9")})
		var got []string
		for _, a := range down {
			got = append(got, a.String())
		}
		if c != changed || !slices.Equal(got, want) {
			t.Errorf("down %v, changed %v; want %v, %v", got, c, want, changed)
		}
	}
	step(routes(), false)
	step(routes("0.0.0.0/0", "::/0"), false)
	step(routes("-0.0.0.0/0"), false)
	step(routes("10.0.0.1/32", "2001:db8::/32", "2001:db8::1/128"), false)
	step(routes("10.0.0.1/32"), false)
	step(routes("-10.0.0.1/32"), true, "10.0.0.1")
	step(routes("-10.0.0.1/32", "-2001:db8::1/128"), false, "10.0.0.1")
	step(routes("10.0.0.0/8", "-2001:db8::/32"), true, "2001:db8::1")
	all := routes("2001:db8::1/128")
	all.Full = true
	step(all, true, "10.0.0.1")
	teps = teps[1:]
	step(routes(), true) // no member any more
	teps = append(teps, addr("10.9.9.9"), addr("10.8.8.8"))
	step(routes("-2001:db8::1/128"), true, "2001:db8::1") // an own address, and one that never had a route
}

// TestDiffer: what a role is told takes it from what it knew to what is so.
func TestDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(what string) *facts {
			f := &facts{complete: rapid.Bool().Draw(t, what), drained: rapid.Bool().Draw(t, what)}
			for i, node := range []string{"a", "b", "c"} {
				if rapid.Bool().Draw(t, what) {
					m := oracleMember(node)
					m.Ready = rapid.Bool().Draw(t, what)
					if rapid.Bool().Draw(t, what) {
						m.Session = ""
					}
					f.members = append(f.members, m)
				}
				if rapid.Bool().Draw(t, what) {
					f.down = append(f.down, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
				}
			}
			return f
		}
		told, now := draw("told"), draw("now")
		wanted := func(m *coop.Member) bool { return dials(m, false) }
		know := func(f *facts) (map[string]coop.Member, []netip.Addr) {
			out := map[string]coop.Member{}
			for _, m := range f.members {
				if wanted(&m) {
					out[m.Node] = m
				}
			}
			return out, slices.Clone(f.down)
		}
		members, down := know(told)
		d := differ(told, now, wanted)
		for _, m := range d.remove {
			delete(members, m.Node)
		}
		for _, m := range d.set {
			members[m.Node] = m
		}
		down = append(slices.DeleteFunc(down, func(a netip.Addr) bool { return slices.Contains(d.up, a) }), d.down...)
		slices.SortFunc(down, netip.Addr.Compare)
		wantMembers, wantDown := know(now)
		if !reflect.DeepEqual(members, wantMembers) || !slices.Equal(down, wantDown) {
			t.Fatalf("knows %v, %v; want %v, %v", members, down, wantMembers, wantDown)
		}
		if d.complete != (now.complete && !told.complete) || d.drained != (now.drained != told.drained) {
			t.Fatalf("%+v from %+v to %+v", d, told, now)
		}
		if again := differ(now, now, wanted); len(again.set)+len(again.remove)+len(again.up)+len(again.down) > 0 {
			t.Fatalf("%+v although nothing is new", again)
		}
	})
}

func TestDials(t *testing.T) {
	keyed, mute := oracleMember("a"), oracleMember("a")
	keyed.Key, mute.Feed = "key", ""
	for _, c := range []struct {
		m      coop.Member
		strict bool
		want   bool
	}{{keyed, true, true}, {oracleMember("a"), true, false}, {oracleMember("a"), false, true}, {mute, false, false}, {leafMember("a"), false, false}} {
		if got := dials(&c.m, c.strict); got != c.want {
			t.Errorf("%+v, strict %v: %v", c.m, c.strict, got)
		}
	}
}
