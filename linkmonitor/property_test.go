package linkmonitor

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/lsdb"
	"openr/msg"
)

// kernel is a model of the kernel's links, kept apart from linkTable on purpose.
type kernel struct {
	links []Link
	addrs []Addr
}

func (k *kernel) find(index int) int {
	return slices.IndexFunc(k.links, func(l Link) bool { return l.Index == index })
}

// snapshot is what a dump would give.
func (k *kernel) snapshot() LinkEvent {
	return LinkEvent{Kind: LinkSnapshot, Links: slices.Clone(k.links), Addrs: slices.Clone(k.addrs)}
}

// step makes one random change that a kernel could make, and returns the events it sends.
func (k *kernel) step(t *rapid.T) []LinkEvent {
	index := rapid.IntRange(2, 5).Draw(t, "index")
	name := rapid.SampledFrom([]string{"eth0", "eth1", "eth90", "dum0", "tun0"}).Draw(t, "name")
	at := k.find(index)
	if at < 0 {
		if slices.ContainsFunc(k.links, func(l Link) bool { return l.Name == name }) {
			return nil // the name is taken
		}
		l := Link{Index: index, Name: name, Up: rapid.Bool().Draw(t, "up")}
		k.links = append(k.links, l)
		return []LinkEvent{{Kind: LinkSet, Link: l}}
	}
	l := &k.links[at]
	a := Addr{
		Index: index, Usable: rapid.Bool().Draw(t, "usable"),
		Prefix: netip.MustParsePrefix(rapid.SampledFrom([]string{"fe80::1/64", "fe80::2/64", "10.0.0.1/24", "10.0.0.1/32", "fc00::1/64", "127.0.0.5/8"}).Draw(t, "prefix")),
	}
	same := func(b Addr) bool { return b.Index == a.Index && b.Prefix == a.Prefix }
	switch rapid.SampledFrom([]string{"toggle", "rename", "delete", "address", "address", "no address"}).Draw(t, "step") {
	case "toggle":
		l.Up = !l.Up
		return []LinkEvent{{Kind: LinkSet, Link: *l}}
	case "rename":
		if slices.ContainsFunc(k.links, func(l Link) bool { return l.Name == name }) {
			return nil
		}
		l.Name = name
		return []LinkEvent{{Kind: LinkSet, Link: *l}}
	case "delete":
		k.links = slices.Delete(k.links, at, at+1)
		k.addrs = slices.DeleteFunc(k.addrs, func(a Addr) bool { return a.Index == index })
		return []LinkEvent{{Kind: LinkGone, Link: Link{Index: index}}}
	case "address":
		k.addrs = append(slices.DeleteFunc(k.addrs, same), a)
		return []LinkEvent{{Kind: AddrSet, Addr: a}}
	}
	k.addrs = slices.DeleteFunc(k.addrs, same)
	return []LinkEvent{{Kind: AddrGone, Addr: a}}
}

// published is what spark must know of these links.
func (k *kernel) published() msg.Interfaces {
	out := msg.Interfaces{}
	for _, l := range k.links {
		if l.Name != "eth0" && l.Name != "eth1" {
			continue
		}
		i := msg.Interface{Name: l.Name, Index: l.Index, Up: l.Up}
		for _, a := range k.addrs {
			if a.Index == l.Index && a.Usable {
				i.Addrs = append(i.Addrs, a.Prefix)
			}
		}
		slices.SortFunc(i.Addrs, comparePrefixes)
		out[l.Name] = i
	}
	return out
}

// advertised is which networks prefixmanager must know of.
func (k *kernel) advertised() map[netip.Prefix]bool {
	out := map[netip.Prefix]bool{}
	for _, l := range k.links {
		for _, a := range k.addrs {
			p := a.Prefix.Masked()
			if a.Index == l.Index && l.Up && a.Usable && l.Name == "dum0" && !p.Addr().IsLinkLocalUnicast() && !p.Addr().IsLoopback() {
				out[p] = true
			}
		}
	}
	return out
}

// After any changes, however they are batched, and even if some of them were lost and repaired by a dump, what was
// published last is what a fresh look at the kernel would give.
func TestPublishedInterfacesEqualTheKernels(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cfg := testConfig()
		if rapid.Bool().Draw(rt, "damped") {
			cfg.LinkMonitor.FlapInitialBackoff, cfg.LinkMonitor.FlapMaxBackoff = 5*time.Millisecond, 50*time.Millisecond
		}
		k := &kernel{links: []Link{{Index: 1, Name: "lo", Up: true}}}
		c, now := newCore(cfg, drained(Drain{}), t0), t0
		var ifs msg.Interfaces
		var prefixes map[netip.Prefix]msg.PrefixOrigin
		run := func(events []LinkEvent) {
			var out effects
			c.linkEvents(events, now, &out)
			c.flush(now, &out)
			if out.interfaces != nil {
				if reflect.DeepEqual(out.interfaces, ifs) {
					rt.Fatalf("published twice: %v", ifs)
				}
				ifs = out.interfaces
			}
			if out.prefixes != nil {
				prefixes = out.prefixes
			}
			if next := c.next(); !next.IsZero() && !next.After(now) {
				rt.Fatalf("next call due at %v, now is %v", next, now)
			}
		}
		run(nil)
		run([]LinkEvent{k.snapshot()})
		for range rapid.IntRange(0, 40).Draw(rt, "batches") {
			var batch []LinkEvent
			lost := false
			for range rapid.IntRange(1, 4).Draw(rt, "steps") {
				events := k.step(rt)
				if rapid.IntRange(0, 9).Draw(rt, "lose") == 0 {
					lost = true
					continue
				}
				batch = append(batch, events...)
			}
			if lost {
				batch = append(batch, LinkEvent{Kind: LinkLost})
			}
			run(batch)
			if lost {
				now = now.Add(resyncMinBackoff)
				run(nil)
				run([]LinkEvent{k.snapshot()})
			}
			now = now.Add(rapid.SampledFrom([]time.Duration{0, time.Millisecond, 20 * time.Millisecond}).Draw(rt, "pause"))
		}
		for range 20 { // all timers run off
			now = latest(now, c.next())
			if c.resync.asked {
				run([]LinkEvent{k.snapshot()})
			}
			run(nil)
		}
		if want := k.published(); !maps.EqualFunc(ifs, want, func(a, b msg.Interface) bool { return reflect.DeepEqual(a, b) }) {
			rt.Fatalf("published %+v\nkernel    %+v", ifs, want)
		}
		got := map[netip.Prefix]bool{}
		for p := range prefixes {
			got[p] = true
		}
		if want := k.advertised(); !maps.Equal(got, want) {
			rt.Fatalf("advertised %v, want %v", got, want)
		}
	})
}

// Whatever neighbours do, each area's last database holds exactly the adjacencies that are up, and the peers are exactly
// the neighbours with an adjacency that does not restart, each reached over one of those.
func TestAdjacenciesAndPeersEqualTheNeighbors(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c, now := newCore(testConfig(), drained(Drain{}), t0), t0
		up, restarting := map[adjKey]bool{}, map[adjKey]bool{}
		var data []byte
		peers := map[msg.AreaNode]msg.Peer{}
		run := func(u msg.NeighborUpdate) {
			var out effects
			c.neighborUpdate(u, now, &out)
			c.flush(now, &out)
			if req, ok := out.keys[msg.AreaKey{Area: area, Key: "adj:me"}]; ok {
				if data != nil && reflect.DeepEqual(req.Data, data) {
					rt.Fatal("the same database was sent twice")
				}
				data = req.Data
			}
			if out.peers != nil {
				for id := range out.peers.Del {
					delete(peers, id)
				}
				maps.Copy(peers, out.peers.Add)
			}
		}
		for range rapid.IntRange(0, 40).Draw(rt, "batches") {
			u := msg.NeighborUpdate{Discovered: rapid.Bool().Draw(rt, "discovered")}
			for range rapid.IntRange(0, 3).Draw(rt, "events") {
				k := adjKey{rapid.SampledFrom([]string{"n1", "n2"}).Draw(rt, "node"), rapid.SampledFrom([]string{"eth0", "eth1"}).Draw(rt, "if")}
				kind := msg.NeighborEventType(rapid.IntRange(1, 6).Draw(rt, "kind"))
				switch {
				case kind == msg.NeighborUp || kind == msg.NeighborRestarted:
					up[k] = true
					delete(restarting, k)
				case kind == msg.NeighborDown:
					delete(up, k)
					delete(restarting, k)
				case kind == msg.NeighborRestarting && up[k]:
					restarting[k] = true
				}
				u = msg.MergeNeighbors(u, msg.NeighborUpdate{Events: []msg.NeighborEvent{neighbor(kind, k.node, k.ifName)}})
			}
			run(u)
			now = now.Add(rapid.SampledFrom([]time.Duration{0, 50 * time.Millisecond, 2 * time.Second}).Draw(rt, "pause"))
		}
		now = now.Add(time.Minute)
		run(msg.NeighborUpdate{Discovered: true})

		db, err := lsdb.ParseAdjacencyDatabase(data)
		if err != nil {
			rt.Fatal(err)
		}
		got := map[adjKey]bool{}
		for _, a := range db.Adjacencies {
			got[adjKey{a.Node, a.IfName}] = true
		}
		if !maps.Equal(got, up) {
			rt.Fatalf("advertised %v, up %v", got, up)
		}
		for _, node := range []string{"n1", "n2"} {
			p, ok := peers[msg.AreaNode{Area: area, Node: node}]
			var possible []string
			for k := range up {
				if k.node == node && !restarting[k] {
					possible = append(possible, "fe80::1%"+k.ifName)
				}
			}
			if ok != (len(possible) > 0) || ok && !slices.Contains(possible, p.Addr) {
				rt.Fatalf("peer %s: %+v, possible %v", node, p, possible)
			}
		}
	})
}
