package linkmonitor

import (
	"net/netip"
	"time"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// How what follows a first change is paced.
const (
	interfaceInterval = 10 * time.Millisecond  // between sets of interfaces, except when one goes down
	upInterval        = 100 * time.Millisecond // between adjacency databases because of a new adjacency
	rttInterval       = 1 * time.Second        // between adjacency databases because of a round-trip time

	// maxLinkDiscovery is how long after the start LINK_DISCOVERED comes at the latest (Open/R common/Constants.h,
	// kMaxDurationLinkDiscovery).
	maxLinkDiscovery = 10 * time.Second
)

// core decides. It has no goroutine, clock or socket: methods that take an event change its state, flush returns what to
// do about it, and next says when to call flush again if no event comes.
type core struct {
	cfg    *config.Config
	resync resync
	ifs    *interfaces
	adj    *adjacencies
	peers  *peers
	watch  linkWatch
}

// effects are what the shell is to do. Nil fields: nothing.
type effects struct {
	resync         bool   // ask the LinkSource for a snapshot
	watch          *Watch // ask the LinkSource to look at these
	skipDAD        []Addr // ask the LinkSource to declare these addresses usable
	interfaces     msg.Interfaces
	linkDiscovered bool // after interfaces has been pushed
	prefixes       map[netip.Prefix]msg.PrefixOrigin
	peers          *msg.PeerUpdate
	keys           msg.KeyRequests

	events   []event
	warnings []string
	sums     map[string]int64 // added to counters
	gauges   map[string]int64 // counters to set
	gone     []string         // gauges to remove
}

// event is an entry of the event log.
type event struct {
	name    string
	text    map[string]string
	numbers map[string]int64
}

func (e *effects) event(name string, text map[string]string, numbers map[string]int64) {
	e.events = append(e.events, event{name, text, numbers})
}

func (e *effects) sum(counter string) {
	if e.sums == nil {
		e.sums = map[string]int64{}
	}
	e.sums[counter]++
}

func (e *effects) gauge(counter string, v int64) {
	if e.gauges == nil {
		e.gauges = map[string]int64{}
	}
	e.gauges[counter] = v
}

func newCore(cfg *config.Config, drain *drainState, start time.Time) *core {
	return &core{
		cfg: cfg, ifs: newInterfaces(cfg, start), adj: newAdjacencies(cfg, drain, start.Add(cfg.AdjHold)), peers: newPeers(),
	}
}

// linkEvents takes in what the LinkSource tells, in order.
func (c *core) linkEvents(events []LinkEvent, now time.Time, out *effects) {
	for _, e := range events {
		switch e.Kind {
		case LinkLost:
			out.sum(counterLinkEventsLost)
			c.resync.lost(now)
			continue
		case LinkSnapshot:
			if len(e.Links) == 0 { // even an empty network namespace has a loopback
				e = LinkEvent{Kind: LinkSyncFailed, Err: errEmpty}
				break
			}
			c.resync.done(now)
		}
		if e.Kind == LinkSyncFailed {
			c.sourceFailed(e.Err, now, out)
			continue
		}
		switch c.ifs.apply(e, now, out) {
		case unsettled:
			c.watch.start(now)
		case different:
			c.watch.renew()
		}
	}
}

// linkState takes in what has changed in the store. When a node has lost or gained an adjacency, the next to change may be
// one of this node's own links.
func (c *core) linkState(pub msg.Publication, now time.Time) {
	c.adj.recall(pub)
	for k, v := range pub.KeyVals {
		if _, ok := lsdb.ParseAdjKey(k.Key); ok && v.HasData() {
			c.watch.heard(now)
			return
		}
	}
}

// sourceFailed records that no snapshot will come for the last request, or that the LinkSource has stopped.
func (c *core) sourceFailed(err error, now time.Time, out *effects) {
	out.sum(counterSyncFailure)
	out.warnings = append(out.warnings, "reading links and addresses failed: "+err.Error())
	c.resync.failed(now)
}

// neighborUpdate takes in what spark tells.
func (c *core) neighborUpdate(u msg.NeighborUpdate, now time.Time, out *effects) {
	for _, e := range u.Events {
		if cause := c.adj.refuse(e); cause != "" {
			out.sum(counterNeighborInvalid + cause)
			if cause != causeUnknown { // a neighbour that came and went while its events waited: nothing is wrong
				out.warnings = append(out.warnings, "neighbour event "+e.Type.String()+" of "+e.Node+" on "+e.IfName+" refused: "+cause)
			}
			continue
		}
		c.adj.apply(e, now, out, c.peers)
	}
	if u.Discovered {
		c.peers.start()
	}
}

// kvStoreSynced ends the adjacency hold.
func (c *core) kvStoreSynced(now time.Time) { c.adj.release(now) }

// flush adds to out everything that is due.
func (c *core) flush(now time.Time, out *effects) {
	out.resync = c.resync.ask(now)
	c.ifs.flush(now, out)
	c.watch.flush(c.ifs, now, out)
	c.peers.flush(out)
	c.adj.flush(now, out)
	if out.interfaces != nil {
		out.sum(counterAdvertiseLinks)
		out.gauge(counterInterfaceTracked, int64(len(out.interfaces)))
	}
}

// next returns when flush is to be called if no event comes before.
func (c *core) next() time.Time {
	return earliest(c.resync.next(), earliest(c.ifs.next(), c.adj.next()))
}
