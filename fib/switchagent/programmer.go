package switchagent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"go.uber.org/zap"

	"openr/fib"
	"openr/internal/crash"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/thrift/gen/network"
	"openr/thrift/gen/platform"
)

// Defaults of Options (Open/R common/Constants.h: kFibAgentPort, kPlatformConnTimeout, kPlatformRoutesProcTimeout,
// kKeepAliveCheckInterval).
const (
	DefaultPort           = 60100
	DefaultConnectTimeout = 100 * time.Millisecond
	DefaultRequestTimeout = 10 * time.Second
	DefaultPollInterval   = time.Second
)

// batch is how many routes the agent is given in one call, beside the syncFib of a new life: few enough for a slow switch
// to answer within DefaultRequestTimeout.
const batch = 16384

// Options say where the switch agent is. The zero value is useful.
type Options struct {
	Addr           string            // host:port; overrides Port
	Port           int               // on this machine ([::1]); default DefaultPort
	ClientID       int16             // as whose the agent keeps the routes; default FibClient_OPENR, 786
	ConnectTimeout time.Duration     // default DefaultConnectTimeout
	RequestTimeout time.Duration     // default DefaultRequestTimeout
	PollInterval   time.Duration     // between two aliveSince calls, and two getSwitchRunState calls in Wait; default DefaultPollInterval
	Log            *zap.Logger       // nil: no log
	Counters       *monitor.Counters // nil: not counted
}

// Programmer programs routes through a switch agent. Dump and Apply are called by one goroutine at a time; everything
// else may be called from any.
type Programmer struct {
	o           Options
	log         *zap.Logger
	counters    *monitor.Counters
	calls       *link // routes
	watch       *link // aliveSince and getSwitchRunState, which must not wait for routes
	invalidated chan struct{}
	stopWatch   context.CancelFunc
	watched     chan struct{} // closed when the watch has ended

	mu      sync.Mutex // guards what follows
	since   int64      // aliveSince of the agent as last heard; 0: not heard yet
	life    int        // counts the agent's lives, as far as it seems
	synced  int        // the last life that was given a syncFib
	offered int        // the last life whose table was returned by Dump
	up      bool       // the last aliveSince call succeeded
	state   string     // what is known of the agent, for Status

	// What follows belongs to the goroutine that calls Dump and Apply.
	table      map[netip.Prefix]msg.Route // what stands, as far as we know; nil: not known
	completed  bool                       // there has been a syncFib
	unreadable int                        // the last life that has shown to have no getRouteTableByClient
}

var _ fib.Programmer = (*Programmer)(nil)
var _ fib.Able = (*Programmer)(nil)

// New returns a Programmer that connects when there is something to say, and begins to watch the agent, which need not be
// there yet. It fails only if Options make no sense.
func New(o Options) (*Programmer, error) {
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	if o.Port < 0 || o.Port > 65535 {
		return nil, fmt.Errorf("port %d of the switch agent: must be from 1 to 65535", o.Port)
	}
	if o.Addr == "" {
		o.Addr = net.JoinHostPort("::1", strconv.Itoa(o.Port))
	}
	if _, _, err := net.SplitHostPort(o.Addr); err != nil {
		return nil, fmt.Errorf("address of the switch agent: %w", err)
	}
	if o.ClientID == 0 {
		o.ClientID = int16(platform.FibClient_OPENR)
	}
	for field, fallback := range map[*time.Duration]time.Duration{
		&o.ConnectTimeout: DefaultConnectTimeout, &o.RequestTimeout: DefaultRequestTimeout, &o.PollInterval: DefaultPollInterval,
	} {
		if *field <= 0 {
			*field = fallback
		}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Programmer{
		o: o, log: o.Log, counters: o.Counters, invalidated: make(chan struct{}, 1), watched: make(chan struct{}), life: 1,
		state: "not connected yet",
	}
	dialect := &atomic.Int32{}
	dialect.Store(-1)
	p.calls = newLink(o.Addr, o.ConnectTimeout, o.RequestTimeout, dialect, p.met, p.connected)
	p.watch = newLink(o.Addr, o.ConnectTimeout, o.RequestTimeout, dialect, p.met, p.reconnected)
	ctx, cancel := context.WithCancel(context.Background())
	p.stopWatch = cancel
	p.counters.Set(counterConnected, 0)
	go func() { defer crash.Guard(); p.keepWatch(ctx) }()
	return p, nil
}

// Close ends the connections; a call under way fails. The routes stay.
func (p *Programmer) Close() error {
	p.stopWatch()
	p.watch.close()
	p.calls.close()
	<-p.watched
	return nil
}

// Abilities tells that weights are those of the kernel, by which the agents of Open/R keep them.
func (p *Programmer) Abilities() fib.Abilities { return fib.Abilities{Batch: batch} }

// Invalidated is ready when the agent has restarted, was lost or is back, when the connection for routes was made anew,
// and when a table should be read once more to finish the synchronisation.
func (p *Programmer) Invalidated() <-chan struct{} { return p.invalidated }

func (p *Programmer) invalidate() {
	select {
	case p.invalidated <- struct{}{}:
	default:
	}
}

// connected notes that the link for routes is new. An agent may close one that was idle, so this means little.
func (p *Programmer) connected(again bool) {
	p.counters.Count(counterDials)
	if again {
		p.invalidate()
	}
}

// reconnected notes that the link of the watch is new. It is never idle: if the old one broke, the agent may have
// restarted, even within the second in which it had started before.
func (p *Programmer) reconnected(again bool) {
	p.counters.Count(counterDials)
	if again {
		p.newLife()
	}
}

// met notes the agent's start time.
func (p *Programmer) met(since int64) {
	p.mu.Lock()
	before := p.since
	if since != 0 {
		p.since = since
	}
	p.mu.Unlock()
	if before != 0 && since != 0 && before != since {
		p.counters.Count(counterRestarts)
		p.log.Info("the switch agent has restarted", zap.Time("at", time.Unix(since, 0)))
		p.newLife()
	}
}

// newLife notes that the agent may hold anything.
func (p *Programmer) newLife() {
	p.mu.Lock()
	p.life++
	p.mu.Unlock()
	p.invalidate()
}

func (p *Programmer) now() (life int, synced, offered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life, p.synced == p.life, p.offered == p.life
}

// Dump returns the routes of this client that the agent holds.
func (p *Programmer) Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	if err := p.calls.ensure(ctx); err != nil {
		return nil, err
	}
	life, synced, offered := p.now()
	table, err := p.read(ctx, life)
	if err != nil {
		return nil, fmt.Errorf("failed to read the routes of the switch agent: %w", explain(err))
	}
	p.table = table
	if now, _, _ := p.now(); now == life && !synced {
		// What is remembered is complete when fib had its say after it saw it, or in lives after a synchronised one.
		if offered || p.unreadable == life && p.completed {
			failed, err := p.sync(ctx, life, table)
			if err != nil {
				return nil, err
			}
			p.forget(failed)
		} else {
			p.offer(life)
			p.invalidate() // come again when the changes are made
		}
	}
	return maps.Clone(p.table), nil
}

func (p *Programmer) offer(life int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.offered = life
}

// read asks the agent for its table, or remembers it.
func (p *Programmer) read(ctx context.Context, life int) (map[netip.Prefix]msg.Route, error) {
	var routes []*network.UnicastRoute
	err := p.calls.call(ctx, func(ctx context.Context, agent *platform.FibServiceClient) (err error) {
		routes, err = agent.GetRouteTableByClient(ctx, p.o.ClientID)
		return err
	})
	var x thrift.TApplicationException
	if errors.As(err, &x) && x.TypeId() == thrift.UNKNOWN_METHOD {
		if p.unreadable != life {
			p.unreadable = life
			p.log.Warn("the switch agent does not tell which routes it holds; what was sent to it is taken for that")
		}
		p.counters.Count(counterUnreadable)
		if p.table == nil {
			return map[netip.Prefix]msg.Route{}, nil
		}
		return p.table, nil
	}
	if err != nil {
		return nil, err
	}
	table, bad := make(map[netip.Prefix]msg.Route, len(routes)), 0
	for _, t := range routes {
		r, err := RouteFromThrift(t)
		if !r.Prefix.IsValid() {
			bad++
			p.log.Debug("the switch agent returns a route that cannot be read", zap.Error(err))
			continue
		}
		r.NextHops = fib.Forwarding(msg.Route{NextHops: fillNames(r.NextHops, p.table[r.Prefix].NextHops)})
		if err != nil {
			bad++
			r.DoNotInstall = true
		}
		if _, twice := table[r.Prefix]; twice {
			r.DoNotInstall = true
		}
		table[r.Prefix] = r
	}
	if bad > 0 {
		p.counters.Sum(counterBadRoutes, int64(bad))
		p.log.Warn("the switch agent returns routes that cannot be read", zap.Int("routes", bad))
	}
	return table, nil
}

// Apply brings in and takes out routes. The first one in a life of the agent is a syncFib.
func (p *Programmer) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	if err := p.calls.ensure(ctx); err != nil {
		return nil, err
	}
	life, synced, _ := p.now()
	if !synced && p.table != nil && p.unreadable != life {
		table := maps.Clone(p.table)
		for _, r := range update {
			table[r.Prefix] = r
		}
		for _, prefix := range del {
			delete(table, prefix)
		}
		failed, err := p.sync(ctx, life, table)
		if err != nil {
			p.table = nil
			return nil, err
		}
		p.table = table
		p.forget(failed)
		asked := 0
		for _, r := range update {
			if failed[r.Prefix] != nil {
				asked++
			}
		}
		if asked < len(failed) {
			p.invalidate() // fib did not ask for the others now: it shall look again
		}
		return failed, nil
	}
	failed, err := p.add(ctx, update)
	if err != nil {
		for _, r := range update {
			delete(p.table, r.Prefix)
		}
		p.offer(0)
		return nil, err
	}
	if p.table == nil {
		p.table = map[netip.Prefix]msg.Route{}
	}
	for _, r := range update {
		p.table[r.Prefix] = r
	}
	p.forget(failed)
	for prefix, why := range p.remove(ctx, del) {
		failed[prefix] = why
	}
	for _, prefix := range del {
		if failed[prefix] == nil {
			delete(p.table, prefix)
		}
	}
	return failed, nil
}

// forget notes that nothing certain is known of some prefixes.
func (p *Programmer) forget(failed map[netip.Prefix]error) {
	for prefix := range failed {
		delete(p.table, prefix)
	}
}

// add brings in routes with addUnicastRoutes.
func (p *Programmer) add(ctx context.Context, update []msg.Route) (map[netip.Prefix]error, error) {
	if len(update) == 0 {
		return map[netip.Prefix]error{}, nil
	}
	routes := make([]*network.UnicastRoute, len(update))
	for i, r := range update {
		routes[i] = RouteThrift(r)
	}
	err := p.calls.call(ctx, func(ctx context.Context, agent *platform.FibServiceClient) error {
		return agent.AddUnicastRoutes(ctx, p.o.ClientID, routes)
	})
	return p.partial(err)
}

// remove takes out routes with deleteUnicastRoutes. Its only declared exception does not tell which ones failed, so all
// have.
func (p *Programmer) remove(ctx context.Context, del []netip.Prefix) map[netip.Prefix]error {
	if len(del) == 0 {
		return nil
	}
	prefixes := make([]*network.IpPrefix, len(del))
	for i, prefix := range del {
		prefixes[i] = lsdb.Prefix(prefix)
	}
	err := p.calls.call(ctx, func(ctx context.Context, agent *platform.FibServiceClient) error {
		return agent.DeleteUnicastRoutes(ctx, p.o.ClientID, prefixes)
	})
	if err == nil {
		return nil
	}
	err, failed := explain(err), map[netip.Prefix]error{}
	for _, prefix := range del {
		failed[prefix] = fmt.Errorf("delete %v: %w", prefix, err)
	}
	return failed
}

// sync gives the agent its whole table with syncFib.
func (p *Programmer) sync(ctx context.Context, life int, table map[netip.Prefix]msg.Route) (map[netip.Prefix]error, error) {
	routes := make([]*network.UnicastRoute, 0, len(table))
	for _, r := range table {
		if !r.DoNotInstall { // it stands in a form that cannot be sent; fib will replace or delete it
			routes = append(routes, RouteThrift(r))
		}
	}
	start := time.Now()
	err := p.calls.call(ctx, func(ctx context.Context, agent *platform.FibServiceClient) error {
		return agent.SyncFib(ctx, p.o.ClientID, routes)
	})
	failed, err := p.partial(err)
	if err != nil {
		return nil, fmt.Errorf("failed to synchronise the switch agent: %w", err)
	}
	p.mu.Lock()
	p.synced = max(p.synced, life)
	p.mu.Unlock()
	p.completed = true
	p.counters.Count(counterSyncs)
	p.log.Info("synchronised the switch agent", zap.Int("routes", len(routes)), zap.Int("failed", len(failed)), zap.Duration("in", time.Since(start)))
	return failed, nil
}

// errNotProgrammed is all that PlatformFibUpdateError says about a route.
var errNotProgrammed = errors.New("the switch agent could not program it (PlatformFibUpdateError); its own log may say why")

// partial tells routes that failed from calls that did.
func (p *Programmer) partial(err error) (map[netip.Prefix]error, error) {
	failed := map[netip.Prefix]error{}
	var update *platform.PlatformFibUpdateError
	if !errors.As(err, &update) {
		return failed, explain(err)
	}
	take := func(op string, byVRF map[int32][]*network.IpPrefix) {
		for _, list := range byVRF {
			for _, t := range list {
				if prefix, err := lsdb.PrefixFromThrift(t); err == nil {
					failed[prefix] = fmt.Errorf("%s %v: %w", op, prefix, errNotProgrammed)
				}
			}
		}
	}
	take("delete", update.Vrf2failedDeletePrefixes)
	take("add", update.Vrf2failedAddUpdatePrefixes)
	if len(failed) == 0 {
		return nil, errors.New("the switch agent reports a partial failure (PlatformFibUpdateError) but names no prefix")
	}
	return failed, nil
}
