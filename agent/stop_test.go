package agent

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/spark"
)

// TestTurn: how long a node that leaves stays, by when packets come through it.
func TestTurn(t *testing.T) {
	const tick = 50 * time.Millisecond
	for _, test := range []struct {
		name         string
		limit, until time.Duration // packets come until then
		unknown      bool
		want         time.Duration
		quiet        bool
	}{
		{name: "no traffic", limit: 10 * time.Second, want: settleTime, quiet: true},
		{name: "traffic that turns at once", limit: 10 * time.Second, until: time.Second, want: settleTime, quiet: true},
		{name: "that turns just in time", limit: 10 * time.Second, until: settleTime - quietTime, want: settleTime, quiet: true},
		{name: "that turns late", limit: 10 * time.Second, until: 5 * time.Second, want: 5*time.Second + quietTime, quiet: true},
		{name: "that never turns", limit: 10 * time.Second, until: time.Hour, want: 10 * time.Second},
		{name: "nobody counts", limit: 10 * time.Second, until: time.Hour, unknown: true, want: settleTime, quiet: true},
		{name: "no time", limit: time.Second, want: time.Second, quiet: true},
		{name: "no time at all", limit: time.Millisecond, want: tick},
	} {
		begin := time.Unix(1000, 0)
		turn, n := newTurn(begin, begin.Add(test.limit), 7, !test.unknown), uint64(7)
		for after := tick; ; after += tick {
			if after <= test.until {
				n++
			}
			over, quiet := turn.over(begin.Add(after), n)
			if over && (after != test.want || quiet != test.quiet) {
				t.Errorf("%s: over after %v, quiet %t; want %v, %t", test.name, after, quiet, test.want, test.quiet)
			}
			if over {
				break
			}
			if after > time.Minute {
				t.Errorf("%s: not over", test.name)
				break
			}
		}
	}
}

// cable is one end of a link between two ethers.
type cable struct {
	*ether
	in    chan []byte
	other *cable
}

func (c *cable) Receive(buf []byte) (spark.Received, error) {
	select {
	case data := <-c.in:
		return spark.Received{Size: copy(buf, data), Index: 2, Source: netip.MustParseAddr("fe80::1"), HopLimit: 255, At: time.Now()}, nil
	case <-c.closed:
		return c.ether.Receive(buf)
	}
}

func (c *cable) Send(index int, src netip.Addr, data []byte) error {
	select {
	case c.other.in <- bytes.Clone(data):
	case <-c.other.closed:
	}
	return c.ether.Send(index, src, data)
}

// TestDrainAndStopWithNeighbor: the node is out of all paths while it waits, and back in them if the caller does not wait for
// the end; when it leaves, the neighbour loses it at once.
func TestDrainAndStopWithNeighbor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := &cable{in: make(chan []byte, 100)}, &cable{in: make(chan []byte, 100)}
		x.other, y.other = y, x
		join := func(c *cable, name string) *alone {
			return startAlone(t, func(cfg *config.Config, o *Surroundings, e *ether) {
				cfg.NodeName, c.ether, o.Packets = name, e, c
			})
		}
		a, b := join(x, "a"), join(y, "b")
		var packets uint64
		a.forwarded = func() (uint64, bool) { packets++; return packets, true } // they never cease
		a.run(t)
		b.run(t)
		defer b.stop()
		<-a.Initialized()
		time.Sleep(time.Minute)
		overloaded := func() bool {
			t.Helper()
			synctest.Wait()
			area := a.cfg.AreaIDs()[0]
			values, err := a.ask.kvStore.Get(t.Context(), area, []string{lsdb.AdjKey("a")})
			if err != nil {
				t.Fatal(err)
			}
			db, err := lsdb.ParseAdjacencyDatabase(values[lsdb.AdjKey("a")].Data)
			if err != nil || len(db.Adjacencies) != 1 {
				t.Fatalf("%+v, %v", db, err)
			}
			return db.Overloaded
		}
		if overloaded() {
			t.Fatal("overloaded from the start")
		}

		impatient, leave := context.WithCancel(t.Context())
		refused := make(chan error, 1)
		go func() { refused <- a.DrainAndStop(impatient, time.Minute) }()
		time.Sleep(10 * time.Second)
		if !overloaded() {
			t.Error("not drained")
		}
		leave()
		if err := <-refused; !errors.Is(err, context.Canceled) || overloaded() {
			t.Errorf("given up: %v, overloaded %t", err, overloaded())
		}

		begin := time.Now()
		if err := a.DrainAndStop(t.Context(), 5*time.Second); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 5*time.Second || a.logged("packets still come through") == "" {
			t.Errorf("after %v", took)
		}
		if err := <-a.ended; err != nil || a.ether.restarts() != 0 {
			t.Errorf("Run: %v, %d announcements of a restart", err, a.ether.restarts())
		}
		synctest.Wait()
		if all, err := b.ask.spark.Neighbors(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("b knows %+v, %v", all, err)
		}
		a.stop()
		b.stop()
		<-b.ended
	})
}
