package node

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"openr/config"
	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/queue"
)

func numbered(i int) endpoint.Key {
	return endpoint.Key{BD: 1, MAC: endpoint.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}}
}

// TestShowKeepsNobody: the table of a leaf is shown a part at a time. In between the leaf works: endpoints come and go, and all
// that stand throughout are shown, each once.
func TestShowKeepsNobody(t *testing.T) {
	const many = 50_000
	cfg := endpoint.Default()
	cfg.Domains = []endpoint.Domain{{BD: 1}}
	cfg.MaxLocal = 2 * many
	core, err := endpoint.New(endpoint.Options{Config: cfg, Node: "leaf1", TEP: addr("10.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1000, 0)
	learn := func(i int) {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		core.Handle(now, endpoint.Event{Kind: endpoint.Learned, Key: numbered(i), Port: "eth1", IP: ip})
	}
	for i := range many {
		learn(i)
	}
	l := &leaf{n: &Node{Options: Options{Config: &config.Config{NodeName: "leaf1"}}}, core: core, calls: queue.NewCalls(), told: &facts{}}
	n := &Node{leaf: l}

	// The leaf's loop. In each turn one more endpoint comes, and one of those that are there goes.
	end, ended, turns := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case call := <-l.calls.C():
				call()
				learn(many + turns)
				core.Handle(now, endpoint.Event{Kind: endpoint.ClearEndpoint, Key: numbered(turns)})
				turns++
			}
		}
	}()
	seen := map[endpoint.Key]int{}
	if err := n.Each(t.Context(), func(s Status) bool {
		seen[s.Key]++
		if s.Node != "leaf1" || len(s.IPs) != 1 {
			t.Errorf("%+v", s)
		}
		return !t.Failed()
	}); err != nil {
		t.Fatal(err)
	}
	shown := 0
	if err := l.calls.Do(t.Context(), func() { shown = turns }); err != nil {
		t.Fatal(err)
	}
	if shown < many/partSize {
		t.Errorf("%d endpoints are shown in %d turns of the leaf, want at most %d in each", len(seen), shown, partSize)
	}
	for i := shown; i < many; i++ {
		if seen[numbered(i)] != 1 {
			t.Fatalf("endpoint %d is shown %d times", i, seen[numbered(i)])
		}
	}
	for k, times := range seen {
		if times != 1 {
			t.Fatalf("%v is shown %d times", k, times)
		}
	}

	// Whoever has seen enough, or does not wait any longer, is not shown more.
	for _, enough := range []int{1, partSize, partSize + 1} {
		visits := 0
		if err := n.Each(t.Context(), func(Status) bool {
			visits++
			return visits < enough
		}); err != nil || visits != enough {
			t.Errorf("%d visits, %v; want %d", visits, err, enough)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for n.Each(ctx, func(Status) bool { return true }) == nil { // either may win
	}
	close(end)
	<-ended
	l.calls.Stop()
	if err := n.Each(t.Context(), func(Status) bool { return true }); err != queue.ErrStopped {
		t.Errorf("of a leaf that has stopped: %v", err)
	}
}

// TestShowDirectory: the same of an oracle, whose table is gone through for addresses and domains too.
func TestShowDirectory(t *testing.T) {
	const many = 3*partSize + 7
	ctx, cancel := context.WithCancel(t.Context())
	s, err := coop.NewServer(ctx, coop.ServerOptions{Session: "127.0.0.1:0", Feed: "127.0.0.1:0", Oracle: coop.OracleOptions{Node: "spine1", Area: "a", Epoch: 1}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	n := &Node{oracle: &oracle{server: s}}
	if err := n.Each(ctx, func(Status) bool { t.Error("an empty directory shows something"); return true }); err != nil {
		t.Error(err)
	}

	leaf := leafMember("leaf1")
	c, err := coop.NewClient(coop.ClientOptions{Citizen: coop.CitizenOptions{Node: "leaf1", Area: "a", Epoch: 1, TEPs: leaf.TEPs}})
	if err != nil {
		t.Fatal(err)
	}
	clientEnded := make(chan struct{})
	go func() {
		defer close(clientEnded)
		_ = c.Run(ctx)
	}()
	defer func() {
		cancel()
		<-clientEnded
	}()
	spine := coop.Member{Node: "spine1", Role: coop.RoleOracle, Session: s.SessionAddr.String(), Feed: s.FeedAddr.String()}
	for _, err := range []error{s.SetMember(ctx, leaf), s.SetMembersComplete(ctx), c.Complete(ctx), c.SetOracle(ctx, spine)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		r := &endpoint.Record{Key: numbered(i), VRF: 7, TEP: leaf.TEPs[0], Port: "p", Seq: 1, TS: time.Now().UnixNano(), Publisher: "leaf1"}
		if i == many-1 {
			r.IPs = []endpoint.IP{{Addr: addr("192.0.2.1"), TS: r.TS}}
		}
		c.Publish(r, endpoint.CauseLearn)
	}
	var seen []endpoint.Key
	for len(seen) < many {
		seen = seen[:0]
		if err := n.Each(ctx, func(s Status) bool { seen = append(seen, s.Key); return true }); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(seen, endpoint.Key.Compare)
	if len(slices.Compact(seen)) != many {
		t.Errorf("%d of %d records are shown", len(seen), many)
	}
	if list, err := n.Known(ctx, Name{IP: addr("192.0.2.1")}); err != nil || len(list) != 1 || list[0].Key != numbered(many-1) {
		t.Errorf("by address: %v, %v", list, err)
	}
	if list, err := n.Known(ctx, Name{Key: numbered(5)}); err != nil || len(list) != 1 {
		t.Errorf("by key: %v, %v", list, err)
	}
	if list, err := n.Known(ctx, Name{Key: numbered(many)}); err != nil || len(list) != 0 {
		t.Errorf("what is not there: %v, %v", list, err)
	}
	if all, err := n.Domains(ctx); err != nil || len(all) != 1 || all[0].Endpoints != many || all[0].BD != 1 || all[0].VRF != 7 {
		t.Errorf("domains: %+v, %v", all, err)
	}
}

// BenchmarkShow says for how long the leaf is kept at most while its table of 50,000 is shown.
func BenchmarkShow(b *testing.B) {
	const many = 50_000
	cfg := endpoint.Default()
	cfg.Domains = []endpoint.Domain{{BD: 1}}
	core, err := endpoint.New(endpoint.Options{Config: cfg, Node: "leaf1", TEP: addr("10.0.0.1")})
	if err != nil {
		b.Fatal(err)
	}
	for i := range many {
		core.Handle(time.Unix(1000, 0), endpoint.Event{Kind: endpoint.Learned, Key: numbered(i), Port: "eth1", IP: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})})
	}
	l := &leaf{n: &Node{Options: Options{Config: &config.Config{NodeName: "leaf1"}}}, core: core, told: &facts{}, calls: queue.NewCalls()}
	var longest time.Duration
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			case call := <-l.calls.C():
				begin := time.Now()
				call()
				longest = max(longest, time.Since(begin))
			}
		}
	}()
	for b.Loop() {
		if err := l.each(b.Context(), func(Status) bool { return true }); err != nil {
			b.Fatal(err)
		}
	}
	close(end)
	<-ended
	b.ReportMetric(float64(longest.Microseconds()), "µs-longest")
}
