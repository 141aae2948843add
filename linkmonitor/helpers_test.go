package linkmonitor

import (
	"net/netip"
	"testing"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

var (
	t0   = time.Unix(1_700_000_000, 0)
	area = "0"
)

func at(d time.Duration) time.Time { return t0.Add(d) }

// testConfig discovers on eth*, redistributes lo and dum*, does not damp, and holds adjacencies for 4 s.
func testConfig() *config.Config {
	return &config.Config{
		NodeName: "me", V4OverV6NextHop: true, AdjHold: 4 * time.Second,
		Areas: []config.Area{{
			ID: area, IncludeInterfaces: config.MustMatch("eth.*"), ExcludeInterfaces: config.MustMatch("eth9.*"),
			RedistributeInterface: config.MustMatch("lo", "dum.*"),
		}},
	}
}

func link(index int, name string, up bool) LinkEvent {
	return LinkEvent{Kind: LinkSet, Link: Link{Index: index, Name: name, Up: up}}
}

func gone(index int) LinkEvent { return LinkEvent{Kind: LinkGone, Link: Link{Index: index}} }

func addr(index int, p string) LinkEvent {
	return LinkEvent{Kind: AddrSet, Addr: Addr{Index: index, Prefix: netip.MustParsePrefix(p), Usable: true}}
}

func noAddr(index int, p string) LinkEvent {
	return LinkEvent{Kind: AddrGone, Addr: Addr{Index: index, Prefix: netip.MustParsePrefix(p)}}
}

// snapshotOf returns the snapshot after the events, on top of a loopback interface.
func snapshotOf(events ...LinkEvent) LinkEvent {
	t := newLinkTable()
	t.apply(link(1, "lo", true))
	for _, e := range events {
		t.apply(e)
	}
	return t.snapshot()
}

func neighbor(kind msg.NeighborEventType, node, ifName string) msg.NeighborEvent {
	return msg.NeighborEvent{
		Type: kind, Node: node, Area: area, IfName: ifName, OtherIfName: "to-" + ifName,
		V6: netip.MustParseAddr("fe80::1"), V4: netip.MustParseAddr("10.0.0.1"), CtrlPort: 2018,
	}
}

// drained is a state in which nothing else is set.
func drained(d Drain) *drainState {
	s := &drainState{Drain: d}
	s.fill()
	return s
}

// driver drives a core by hand.
type driver struct {
	t *testing.T
	*core
	now time.Time
}

// newDriver returns a core whose adjacency hold is over and throttle at rest, after everything due has been flushed.
func newDriver(t *testing.T, cfg *config.Config, drain Drain) *driver {
	t.Helper()
	d := &driver{t: t, core: newCore(cfg, drained(drain), t0), now: at(10 * time.Second)}
	d.kvStoreSynced(d.now)
	d.tick(0)
	d.tick(time.Second)
	return d
}

// tick lets time pass and flushes.
func (d *driver) tick(after time.Duration) *effects {
	d.now = d.now.Add(after)
	out := &effects{}
	d.flush(d.now, out)
	return out
}

func (d *driver) link(events ...LinkEvent) *effects {
	out := &effects{}
	d.linkEvents(events, d.now, out)
	d.flush(d.now, out)
	d.checkNext()
	return out
}

func (d *driver) neighbors(events ...msg.NeighborEvent) *effects {
	return d.update(msg.NeighborUpdate{Events: events})
}

func (d *driver) update(u msg.NeighborUpdate) *effects {
	out := &effects{}
	d.neighborUpdate(u, d.now, out)
	d.flush(d.now, out)
	d.checkNext()
	return out
}

// checkNext fails if the core asks to be called again without having anything to do: the shell would spin.
func (d *driver) checkNext() {
	d.t.Helper()
	if next := d.next(); !next.IsZero() && !next.After(d.now) {
		d.t.Fatalf("next call is due at %v, now is %v", next, d.now)
	}
}

// database returns the adjacency database that an area is told of, or nil.
func (e *effects) database(t *testing.T, area string) *lsdb.AdjacencyDatabase {
	t.Helper()
	req, ok := e.keys[msg.AreaKey{Area: area, Key: "adj:me"}]
	if !ok {
		return nil
	}
	if req.Op != msg.KeyPersist {
		t.Fatalf("operation %v, want KeyPersist", req.Op)
	}
	db, err := lsdb.ParseAdjacencyDatabase(req.Data)
	if err != nil {
		t.Fatal(err)
	}
	return &db
}
