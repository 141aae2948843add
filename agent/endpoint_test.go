package agent

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/ctrl"
	"openr/endpoint/coop"
	"openr/endpoint/node"
	"openr/kvstore"
	"openr/lsdb"
	"openr/msg"
)

// TestOracleStatus: what operators see of a leaf's session.
func TestOracleStatus(t *testing.T) {
	for _, c := range []struct {
		of   node.Oracle
		want ctrl.OracleSession
	}{
		{node.Oracle{}, ctrl.OracleDown},
		{node.Oracle{Linked: true}, ctrl.OracleConnecting},
		{node.Oracle{Linked: true, State: coop.LinkState{Accepted: true, Resync: true}}, ctrl.OracleSyncing},
		{node.Oracle{Linked: true, State: coop.LinkState{Accepted: true, Pending: 3}}, ctrl.OracleUp},
		{node.Oracle{Self: true, Records: 5}, ctrl.OracleUp},
	} {
		s := oracleStatus(&c.of)
		if s.Session != c.want || s.Heard.IsZero() == (c.want == ctrl.OracleUp) || s.Unacknowledged != c.of.State.Pending || s.Records != c.of.Records {
			t.Errorf("%+v is shown as %+v", c.of, s)
		}
	}
}

// TestDrainAndStopLeavesTheDirectory: a node that leaves for good takes back what stands in the link-state database of it as a leaf,
// before its neighbours forget it; a directory that hangs keeps it no longer than failureTime.
func TestDrainAndStopLeavesTheDirectory(t *testing.T) {
	for name, hangs := range map[string]bool{"the directory answers": false, "the directory hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := startAlone(t, func(cfg *config.Config, _ *Surroundings, _ *ether) {
					e := &cfg.Endpoint
					e.Enable, e.Leaf, e.Area = true, true, cfg.Areas[0].ID
					e.TEPs = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
					e.KeyFile = "/nowhere/key" // the role itself cannot start
				})
				hang := make(chan struct{})
				release := sync.OnceFunc(func() { close(hang) })
				defer release()
				if hangs {
					i := slices.IndexFunc(a.modules, func(m module) bool { return m.name == "endpoint" })
					a.modules[i].run = func(context.Context) error { <-hang; return nil }
				}
				a.run(t)
				defer a.stop()
				<-a.Initialized()
				key := coop.MemberKey(coop.RoleLeaf, "alone")
				m := coop.Member{Node: "alone", Role: coop.RoleLeaf, TEPs: a.cfg.Endpoint.TEPs, Epoch: 1}
				data, err := m.Value()
				if err != nil {
					t.Fatal(err)
				}
				_, changes, err := a.ask.kvStore.Subscribe(t.Context(), nil, kvstore.DumpParams{Keys: []string{key}})
				if err != nil {
					t.Fatal(err)
				}
				a.ask.directory.node.KeyRequests.Push(msg.KeyRequests{{Area: a.cfg.Endpoint.Area, Key: key}: {Op: msg.KeyPersist, Data: data}})
				var last atomic.Pointer[lsdb.Value]
				watched := make(chan struct{})
				go func() {
					defer close(watched)
					for {
						p, err := changes.Next(t.Context())
						if err != nil {
							return
						}
						if v, there := p.KeyVals[key]; there && v.HasData() {
							last.Store(&v)
						}
					}
				}()
				synctest.Wait()
				if v := last.Load(); v == nil || len(v.Data) == 0 {
					t.Fatalf("it never was a member: %v", v)
				}
				begin := time.Now()
				if err := a.DrainAndStop(t.Context(), 3*time.Second); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took != 0 && !hangs || took > failureTime {
					t.Errorf("it took %v", took)
				}
				release()
				if err := <-a.ended; err != nil {
					t.Errorf("Run: %v", err)
				}
				<-watched
				if v := last.Load(); !hangs && len(v.Data) != 0 {
					t.Errorf("afterwards the database has %s", v.Data)
				}
			})
		})
	}
}
