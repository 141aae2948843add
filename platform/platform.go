package platform

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/fib"
	"openr/fib/switchagent"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/thrift/gen/network"
	gen "openr/thrift/gen/platform"
	"openr/thrift/invoke"
)

// chunk is how many routes a Programmer gets at once.
const chunk = 16384

// Client is how the routes of a client are known in the table.
type Client struct {
	ID       int16
	Protocol int // rtm_protocol
	Metric   int
}

// Clients are those of Open/R's clientIdtoProtocolId and protocolIdtoPriority (Platform.thrift), in which no others have a
// protocol.
var Clients = []Client{
	{ID: int16(gen.FibClient_OPENR), Protocol: 99, Metric: 10},
	{ID: int16(gen.FibClient_BGP), Protocol: 253, Metric: 20},
}

// Options are what a Platform works with.
type Options struct {
	// Open returns the table of a client. It is called once for each, and again with the next call if it fails.
	Open     func(Client) (fib.Programmer, error)
	Clients  []Client // nil: Clients
	Version  string
	Log      *zap.Logger       // nil: no log
	Counters *monitor.Counters // nil: not counted; getCounters is empty
}

// Platform is the service. Make it with New.
type Platform struct {
	o       Options
	started time.Time
	clients map[int16]*client

	mu      sync.Mutex // guards what follows
	closed  bool
	options map[string]string
	failed  map[route]string // why routes are not as they should be
}

// route names a route of a client.
type route struct {
	client int16
	prefix netip.Prefix
}

// maxReasons is for how many failed routes the reasons are kept.
const maxReasons = 10000

// client is one client's table.
type client struct {
	Client
	mu         sync.Mutex // held during a call; guards what follows
	programmer fib.Programmer
}

var _ gen.FibService = (*Platform)(nil)

// New returns a Platform without any table open.
func New(o Options) *Platform {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Clients == nil {
		o.Clients = Clients
	}
	p := &Platform{o: o, started: time.Now(), clients: map[int16]*client{}, options: map[string]string{}, failed: map[route]string{}}
	for _, c := range o.Clients {
		p.clients[c.ID] = &client{Client: c}
	}
	return p
}

// Service returns the service as package rpc serves it.
func (p *Platform) Service() *invoke.Service {
	return &invoke.Service{Processor: gen.NewFibServiceProcessor(p), Ordered: func(method string) bool { return changes[method] }}
}

// changes are the methods whose calls on one connection must not overtake each other.
var changes = map[string]bool{
	"addUnicastRoute": true, "addUnicastRoutes": true, "deleteUnicastRoute": true, "deleteUnicastRoutes": true, "syncFib": true,
}

// Close closes all tables; the routes stay. Calls that come later are refused.
func (p *Platform) Close() (err error) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	for _, c := range p.clients {
		c.mu.Lock()
		if c.programmer != nil {
			if e := c.programmer.Close(); err == nil {
				err = e
			}
			c.programmer = nil
		}
		c.mu.Unlock()
	}
	return err
}

func refusal(format string, args ...any) error {
	return &gen.PlatformError{Message: fmt.Sprintf(format, args...)}
}

// refuse counts a call that asks for what there is not.
func (p *Platform) refuse(format string, args ...any) error {
	p.o.Counters.Count(counterRefused)
	return refusal(format, args...)
}

// with runs f on the table of a client, alone.
func (p *Platform) with(id int16, f func(fib.Programmer) error) error {
	c := p.clients[id]
	if c == nil {
		return p.refuse("client id %d has no protocol here; known are %s", id, p.known())
	}
	p.o.Counters.Count(counterCalls)
	c.mu.Lock()
	defer c.mu.Unlock()
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return refusal("the service is stopping")
	}
	if c.programmer == nil {
		programmer, err := p.o.Open(c.Client)
		if err != nil {
			p.o.Counters.Count(counterFailures)
			return refusal("cannot open the forwarding table: %v", err)
		}
		c.programmer = programmer
	}
	return f(c.programmer)
}

func (p *Platform) known() string {
	var out []string
	for _, c := range p.o.Clients {
		out = append(out, fmt.Sprintf("%d (protocol %d)", c.ID, c.Protocol))
	}
	return strings.Join(out, ", ")
}

// parse reads the routes of a call; of several for a prefix the last one counts.
func (p *Platform) parse(routes []*network.UnicastRoute) (map[netip.Prefix]msg.Route, error) {
	out := make(map[netip.Prefix]msg.Route, len(routes))
	for i, t := range routes {
		r, err := switchagent.RouteFromThrift(t)
		if err != nil {
			return nil, p.refuse("routes[%d]: %v; nothing was programmed", i, err)
		}
		out[r.Prefix] = r
	}
	return out, nil
}

// apply changes a table, and returns the PlatformError or PlatformFibUpdateError that the methods declare.
func (p *Platform) apply(ctx context.Context, id int16, t fib.Programmer, update map[netip.Prefix]msg.Route, del []netip.Prefix) error {
	why := map[netip.Prefix]error{}
	routes := slices.SortedFunc(maps.Values(update), func(a, b msg.Route) int { return a.Prefix.Compare(b.Prefix) })
	for part := range slices.Chunk(routes, chunk) {
		failed, err := t.Apply(ctx, part, nil)
		if err != nil {
			return p.failure("program routes", err)
		}
		maps.Copy(why, failed)
	}
	slices.SortFunc(del, netip.Prefix.Compare)
	for part := range slices.Chunk(del, chunk) {
		failed, err := t.Apply(ctx, nil, part)
		if err != nil {
			return p.failure("delete routes", err)
		}
		maps.Copy(why, failed)
	}
	p.remember(id, update, del, why)
	p.o.Counters.Sum(counterUpdated, int64(len(update)))
	p.o.Counters.Sum(counterDeleted, int64(len(del)))
	return p.partial(update, why)
}

func (p *Platform) failure(what string, err error) error {
	p.o.Counters.Count(counterFailures)
	p.o.Log.Warn("failed to "+what, zap.Error(err))
	return refusal("failed to %s: %v", what, err)
}

// remember notes why routes failed.
func (p *Platform) remember(id int16, update map[netip.Prefix]msg.Route, del []netip.Prefix, why map[netip.Prefix]error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.failed) > 0 {
		for prefix := range update {
			delete(p.failed, route{id, prefix})
		}
		for _, prefix := range del {
			delete(p.failed, route{id, prefix})
		}
	}
	for prefix, err := range why {
		if len(p.failed) < maxReasons {
			p.failed[route{id, prefix}] = err.Error()
		}
	}
}

// logged is how many failed routes of a call are named in the log.
const logged = 3

// partial makes the exception that names the routes that failed; nil if there are none.
func (p *Platform) partial(update map[netip.Prefix]msg.Route, why map[netip.Prefix]error) error {
	if len(why) == 0 {
		return nil
	}
	const vrf = 0 // the only one
	prefixes := slices.SortedFunc(maps.Keys(why), netip.Prefix.Compare)
	var adds, deletes []*network.IpPrefix
	var first []string
	for _, prefix := range prefixes {
		if _, add := update[prefix]; add {
			adds = append(adds, lsdb.Prefix(prefix))
		} else {
			deletes = append(deletes, lsdb.Prefix(prefix))
		}
		if len(first) < logged {
			first = append(first, why[prefix].Error())
		}
	}
	p.o.Counters.Sum(counterFailedRoutes, int64(len(why)))
	p.o.Log.Warn("routes failed", zap.Int("routes", len(why)), zap.Strings("first", first))
	e := gen.NewPlatformFibUpdateError()
	e.Vrf2failedAddUpdatePrefixes, e.Vrf2failedDeletePrefixes = map[int32][]*network.IpPrefix{}, map[int32][]*network.IpPrefix{}
	e.FailedAddUpdateMplsLabels, e.FailedDeleteMplsLabels = []int32{}, []int32{}
	if len(adds) > 0 {
		e.Vrf2failedAddUpdatePrefixes[vrf] = adds
	}
	if len(deletes) > 0 {
		e.Vrf2failedDeletePrefixes[vrf] = deletes
	}
	return e
}
