package linkmonitor

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// Options is what a LinkMonitor needs. Config is required; every other field may be nil.
type Options struct {
	Config   *config.Config
	Log      *zap.Logger
	Counters *monitor.Counters
	Events   *monitor.EventLog
	Init     *monitor.Initialization

	Neighbors *queue.Queue[msg.NeighborUpdate] // read
	LinkState *queue.Queue[msg.Publication]    // read: a hint when to look at the carriers

	Interfaces  *queue.Queue[msg.Interfaces]   // written
	Peers       []*queue.Queue[msg.PeerUpdate] // written; each gets its own copy
	KeyRequests *queue.Queue[msg.KeyRequests]  // written
	Prefixes    *queue.Queue[msg.PrefixUpdate] // written, type LOOPBACK

	Store Store      // where the drain state is kept; nil: nowhere
	Links LinkSource // nil: the kernel, in the network namespace of the thread that calls New
	// Carrier is called by the kernel's source when a link's carrier is seen lost, maybe before the kernel tells, and when it is
	// seen back after that. nil: nobody wants to know.
	Carrier func(ifName string, alive bool)
}

// LinkMonitor is the module. Make it with New and start it with Run.
type LinkMonitor struct {
	o     Options
	drain *drainState // at the start
	calls *queue.Calls

	// What follows belongs to the goroutine of Run, which makes it.
	core  *core
	saver *saver
	out   *effects        // of this round
	told  []chan struct{} // to be closed when they have been performed
}

// New returns a LinkMonitor that has not started. The drain state to start in is read and decided here. It is an error if there is no
// configuration, or no netlink socket to be had.
func New(o Options) (*LinkMonitor, error) {
	if o.Config == nil {
		return nil, errors.New("linkmonitor needs a configuration")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Links == nil {
		links, err := NewNetlink(o.Log)
		if err != nil {
			return nil, err
		}
		links.tell = o.Carrier
		o.Links = links
	}
	var stored []byte
	var found bool
	if o.Store != nil {
		stored, found = o.Store.Get(stateKey)
	}
	drain, problems := drainAtStart(o.Config, stored, found, func(path string) bool {
		_, err := os.Stat(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			o.Log.Warn("undrained flag cannot be seen and counts as missing", zap.String("path", path), zap.Error(err))
		}
		return err == nil
	})
	if n := len(problems); n > 0 {
		o.Counters.Sum(counterDrainInvalid, int64(n))
		o.Log.Warn("stored drain state is wrong in parts, which are left out", zap.String("key", stateKey), zap.Int("parts", n),
			zap.Strings("first", problems[:min(n, 10)]), zap.Binary("value", stored[:min(len(stored), 1024)]))
	}
	if drain.Drain != (Drain{}) {
		o.Log.Warn("starting drained", zap.Bool("overloaded", drain.Overloaded), zap.Int32("metric_increment", drain.MetricIncrement))
	}
	return &LinkMonitor{o: o, drain: drain, calls: queue.NewCalls()}, nil
}

// Run does the work until ctx is done, then returns nil. Call it once; the adjacency hold begins with it.
func (m *LinkMonitor) Run(ctx context.Context) error {
	defer m.calls.Stop()
	m.core = newCore(m.o.Config, m.drain, time.Now())
	m.saver = newSaver(m.o.Store)
	defer m.saver.close()
	m.rememberStart()
	source := newSourceRunner(m.o.Links)
	defer source.stop()
	synced := m.o.Init.Done(monitor.KvStoreSynced)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var out effects
		m.out = &out
		select {
		case <-ctx.Done():
			return nil
		case <-source.events.C():
			if events, ok := source.events.Take(); ok {
				m.core.linkEvents(events, time.Now(), &out)
			}
		case err := <-source.stopped:
			source.running = false
			m.core.sourceFailed(err, time.Now(), &out)
		case <-m.o.Neighbors.C():
			if u, ok := m.o.Neighbors.Take(); ok {
				m.core.neighborUpdate(u, time.Now(), &out)
			}
		case <-m.o.LinkState.C():
			if pub, ok := m.o.LinkState.Take(); ok {
				m.core.linkState(pub, time.Now())
			}
		case <-synced:
			synced = nil
			if pub, ok := m.o.LinkState.Take(); ok { // what was synchronized comes first
				m.core.linkState(pub, time.Now())
			}
			m.core.kvStoreSynced(time.Now())
		case <-timer.C:
		case call := <-m.calls.C():
			call()
		}
		now := time.Now()
		m.core.flush(now, &out)
		m.perform(&out)
		for _, told := range m.told {
			close(told)
		}
		m.told = nil
		for _, a := range out.skipDAD {
			m.o.Links.SkipDAD(a)
		}
		if out.watch != nil {
			m.o.Links.Watch(*out.watch)
		}
		if out.resync {
			source.resync(ctx)
		}
		if next := m.core.next(); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// rememberStart shows the state that New has decided on and, if it came from elsewhere, has it stored: a later start is not to
// depend on what the configuration says by then.
func (m *LinkMonitor) rememberStart() {
	var out effects
	m.core.adj.countDrain(&out)
	m.perform(&out)
	if m.drain.neverStored {
		m.saver.put(m.drain.marshal())
		m.saver.request()
	}
}

// perform pushes and records what the core decided. What stops or moves traffic goes first.
func (m *LinkMonitor) perform(out *effects) {
	o := &m.o
	if out.interfaces != nil && o.Interfaces != nil {
		o.Interfaces.Push(out.interfaces)
	}
	if out.keys != nil && o.KeyRequests != nil {
		o.KeyRequests.Push(out.keys)
	}
	if out.peers != nil {
		for _, q := range o.Peers {
			q.Push(msg.PeerUpdate{Initial: out.peers.Initial, Add: maps.Clone(out.peers.Add), Del: maps.Clone(out.peers.Del)})
		}
	}
	if out.prefixes != nil && o.Prefixes != nil {
		o.Prefixes.Push(msg.PrefixUpdate{lsdb.PrefixLoopback: out.prefixes})
	}
	if out.linkDiscovered {
		o.Init.Reached(monitor.LinkDiscovered)
	}
	for name, v := range out.sums {
		o.Counters.Sum(name, v)
	}
	for _, name := range out.gone {
		o.Counters.Delete(name)
	}
	for name, v := range out.gauges {
		o.Counters.Set(name, v)
	}
	for _, e := range out.events {
		o.Events.Add(e.name, e.text, e.numbers)
		o.Log.Info(e.name, zap.Any("of", e.text), zap.Any("values", e.numbers))
	}
	for _, w := range out.warnings {
		o.Log.Warn(w)
	}
}

// LinksStatus is what linkmonitor knows of the interfaces, and how far the node is drained.
type LinksStatus struct {
	Node       string
	Drain      Drain
	Interfaces []LinkStatus // those that an area matches, by name
}

// LinkStatus is one interface.
type LinkStatus struct {
	msg.Interface               // Up: running and not held down
	Running       bool          // as the kernel says
	Backoff       time.Duration // how long flap damping still holds it down; 0: not at all
	Discover      bool          // neighbours are looked for on it
	Redistribute  []string      // areas to which its addresses are advertised
	Metric        int32         // of an adjacency on it whose round-trip time is not known and that has none of its own

	// What operators have set.
	Overloaded      bool
	MetricOverride  int32 // in place of the computed metric; 0: none
	MetricIncrement int32 // added to the metric; 0: none
}

// Links returns the interfaces. It returns ctx's error, or queue.ErrStopped after Run has ended.
func (m *LinkMonitor) Links(ctx context.Context) (LinksStatus, error) {
	var s LinksStatus
	err := m.calls.Do(ctx, func() { s = m.core.status(time.Now()) })
	return s, err
}

// Adjacencies returns the adjacency database of each area as it was last advertised, in the order of the configuration;
// none while the adjacency hold lasts. Errors are those of Links.
func (m *LinkMonitor) Adjacencies(ctx context.Context) ([]lsdb.AdjacencyDatabase, error) {
	var dbs []lsdb.AdjacencyDatabase
	err := m.calls.Do(ctx, func() { dbs = m.core.adj.advertised() })
	return dbs, err
}

func (c *core) status(now time.Time) LinksStatus {
	s := LinksStatus{Node: c.cfg.NodeName, Drain: c.adj.drain.Drain}
	for _, name := range slices.Sorted(maps.Keys(c.ifs.flaps)) {
		link, exists := c.ifs.table.link(name)
		if !exists {
			continue
		}
		f, r := c.ifs.flaps[name], c.ifs.role(name)
		f.forgive(now, c.ifs.damping())
		s.Interfaces = append(s.Interfaces, LinkStatus{
			Interface: msg.Interface{Name: name, Index: link.Index, Up: f.active(now), Addrs: c.ifs.table.usable(link.Index)},
			Running:   f.up, Backoff: f.left(now), Discover: r.discover, Redistribute: slices.Clone(r.redistribute),
			Metric:     metric(c.cfg.LinkMonitor, adjKey{ifName: name}, 0, c.adj.drain),
			Overloaded: c.adj.drain.overloaded[name], MetricOverride: c.adj.drain.metrics[name], MetricIncrement: c.adj.drain.increments[name],
		})
	}
	return s
}

func (a *adjacencies) advertised() []lsdb.AdjacencyDatabase {
	var dbs []lsdb.AdjacencyDatabase
	for _, id := range a.cfg.AreaIDs() {
		if s := a.areas[id]; s.sentBytes != nil {
			db := s.sent
			db.Adjacencies = slices.Clone(db.Adjacencies)
			dbs = append(dbs, db)
		}
	}
	return dbs
}
