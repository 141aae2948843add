package node

import (
	"testing"

	"openr/endpoint"
)

// TestQuestionIsLookedUp (requirements A6, A8, C5): what a leaf does not have in its tables any more, though it was told of it
// once, is looked up in the directory when one of its hosts asks for the address, and stands in the kernel again; the host is
// answered. So is one that nobody has heard of until then, once it is.
func TestQuestionIsLookedUp(t *testing.T) {
	f := newFabric(t, "strict", "oracle", "leaf", "leaf")
	f.ready()
	l, far := f.nodes[1], f.nodes[2]
	asks := func(target byte) {
		l.hears(hostKey(1), hostIP(1))
		l.played.events.Push([]endpoint.Event{{Kind: endpoint.Asked, Key: hostKey(1), Port: "h1", IP: hostIP(1), Target: hostIP(target)}})
	}
	replies := func() int64 { n, _ := l.counters.Get("endpoint.replies.count"); return n }
	k := hostKey(2)
	far.hears(k, hostIP(2))
	f.sees(1, k, 2, "with its address", has(hostIP(2)))
	if err := l.ClearEndpoint(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has left the kernel", func() bool { return !l.played.tep(k).IsValid() })
	asks(2)
	f.sees(1, k, 2, "again", has(hostIP(2)))
	eventually(t, "it is in the kernel again", func() bool { return l.played.tep(k) == far.tep() })
	eventually(t, "the host is answered", func() bool { return replies() == 1 })

	asks(3)
	eventually(t, "it is looked for", func() bool { n, _ := f.nodes[0].counters.Get("coop.gleans.count"); return n > 0 })
	far.hears(hostKey(3), hostIP(3))
	eventually(t, "it is in the kernel", func() bool { return l.played.tep(hostKey(3)) == far.tep() })
	eventually(t, "the host is answered about it, too", func() bool { return replies() == 2 })
}

// TestPinnedIsAdopted: what an earlier run has pinned behind another leaf stays so if the core keeps it, and is an ordinary
// leftover if not.
func TestPinnedIsAdopted(t *testing.T) {
	for _, rogue := range []bool{true, false} {
		section := `{"enable": true, "leaf": true, "tunnel_addresses": ["10.0.0.1"], "bridge_domains": [{"id": 1, "bridge": "b", "vxlan": "v"}]`
		if rogue {
			section += `, "rogue_control": {"enable": true}`
		}
		cfg, err := coreConfig(&parsed(t, section+"}").Endpoint)
		if err != nil {
			t.Fatal(err)
		}
		l := &leaf{n: New(Options{Config: parsed(t, section+"}")}), adopted: &adoption{}}
		if l.core, err = endpoint.New(endpoint.Options{Config: cfg, Node: "leaf1", TEP: addr("10.0.0.1")}); err != nil {
			t.Fatal(err)
		}
		found := endpoint.Action{Kind: endpoint.FreezeMAC, Key: key(3), TEP: addr("10.0.0.2")}
		found.IPs = append(found.IPs, addr("192.168.0.3"))
		if got := l.pinned(found); got != rogue {
			t.Errorf("rogue control %v: kept pinned %v", rogue, got)
		}
		if v, there := l.core.Lookup(key(3)); there != rogue || there && (v.State != endpoint.Frozen || len(v.IPs) != 1) {
			t.Errorf("rogue control %v: the core has %+v", rogue, v)
		}
		found.Kind = endpoint.ProgramRemote
		if l.pinned(found) {
			t.Error("what is not pinned is kept pinned")
		}
	}
}
