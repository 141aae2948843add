package agent

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"openr/fib/zebra"
	"openr/lsdb"
	"openr/msg"
	"openr/queue"
)

func TestRedistribution(t *testing.T) {
	key := func(kind, prefix string) zebra.RedistributedKey {
		return zebra.RedistributedKey{Type: kind, Prefix: netip.MustParsePrefix(prefix)}
	}
	update := func(keys ...zebra.RedistributedKey) map[zebra.RedistributedKey]zebra.RedistributedRoute {
		m := map[zebra.RedistributedKey]zebra.RedistributedRoute{}
		for _, k := range keys {
			m[k] = zebra.RedistributedRoute{}
		}
		return m
	}
	known := map[zebra.RedistributedKey]bool{}
	for _, step := range []struct {
		name string
		u    zebra.Redistribution
		want []string
	}{
		{"links only", zebra.Redistribution{Full: true, Update: update(key("connected", "fe80::/64"), key("connected", "127.0.0.0/8"))}, nil},
		{"everything anew", zebra.Redistribution{Full: true, Update: update(key("connected", "10.0.0.0/24"), key("static", "::/0"))}, []string{"10.0.0.0/24", "::/0"}},
		{"twice", zebra.Redistribution{Update: update(key("static", "10.0.0.0/24"))}, []string{"10.0.0.0/24", "::/0"}},
		{"one of two goes", zebra.Redistribution{Delete: map[zebra.RedistributedKey]bool{key("connected", "10.0.0.0/24"): true}}, []string{"10.0.0.0/24", "::/0"}},
		{"the other, too", zebra.Redistribution{Delete: map[zebra.RedistributedKey]bool{key("static", "10.0.0.0/24"): true}}, []string{"::/0"}},
	} {
		follow(known, step.u)
		got := advertised(known)
		var prefixes []string
		for p, origin := range got {
			prefixes = append(prefixes, p.String())
			if e := origin.Entry; e.Prefix != p || e.Type != lsdb.PrefixDefault || len(e.Tags) == 0 || !slices.IsSorted(e.Tags) || len(origin.Areas) > 0 {
				t.Errorf("%s: %v is advertised as %+v", step.name, p, origin)
			}
		}
		slices.Sort(prefixes)
		if !slices.Equal(prefixes, step.want) {
			t.Errorf("%s: advertised %v of %v, want %v", step.name, prefixes, slices.Collect(maps.Keys(known)), step.want)
		}
	}
}

// TestRedistributionLives: the watchdog is answered while there is nothing to do, and not once the loop has ended.
func TestRedistributionLives(t *testing.T) {
	from, to := queue.New(zebra.MergeRedistribution), queue.New(msg.MergePrefixes)
	r := newRedistribution(from, to)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.run(ctx) }()
	if err := r.alive(t.Context()); err != nil {
		t.Error(err)
	}
	prefix := netip.MustParsePrefix("fd00:7::/64")
	from.Push(zebra.Redistribution{Update: map[zebra.RedistributedKey]zebra.RedistributedRoute{{Type: "static", Prefix: prefix}: {}}})
	<-to.C()
	if u, ok := to.Take(); !ok || len(u[lsdb.PrefixDefault]) != 1 {
		t.Errorf("advertised %+v", u)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := r.alive(t.Context()); !errors.Is(err, queue.ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
}
