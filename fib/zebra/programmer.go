package zebra

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/fib"
	"openr/internal/crash"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

// Defaults of Options.
const (
	DefaultSocket    = "/var/run/frr/zserv.api"
	DefaultProtocol  = "openfabric"
	DefaultStaleTime = 2 * time.Minute

	mainTable = 254 // RT_TABLE_MAIN, where routes of the default VRF go
)

// Options say how to speak with zebra and what the routes are to look like there.
type Options struct {
	// Socket is zebra's Unix socket; empty: DefaultSocket. It is owned by FRR's user, so the agent has to run as root or as
	// that user.
	Socket string
	// Release is FRR's, as in "8.4" or "8.4.4"; see Releases. Empty or "auto": it is found out, which fails for the few that
	// cannot be told apart.
	Release string
	// Protocol is the route type under which zebra keeps our routes, by its name in FRR's configuration; empty:
	// DefaultProtocol. FRR has none for Open/R. No FRR daemon may use the same with the same Instance: when either session
	// ends, zebra sweeps the routes of both.
	Protocol string
	// Instance tells sessions of the same protocol apart.
	Instance uint16
	// SessionID tells sessions of one protocol and instance apart. It has to be 0 for a Programmer, since zebra (seen with
	// 8.4) does not say what becomes of the routes of others.
	SessionID uint32
	// Table is the routing table; 0 or 254: the main table.
	Table uint32
	// Distance ranks our routes among those of other protocols, lower winning; 0: FRR's for the protocol (115 for
	// openfabric).
	Distance uint8
	// Metric and Tag go with every route; 0: none. The kernel's metric is 20 whatever they are (FRR 8.4).
	Metric, Tag uint32
	// StaleTime is for how long zebra keeps our routes when the session ends; 0: DefaultStaleTime, negative: not at all.
	// Releases before 7.4 cannot keep them.
	StaleTime time.Duration
	// PlainNextHops sends every route with its next hops instead of making nexthop groups of our own (8.0 on).
	PlainNextHops bool
	// Redistribute are route types ("connected", "static", "kernel", ...) whose routes zebra is to tell, all instances 0.
	Redistribute []string
	// Redistributed takes what Redistribute brings; make it with MergeRedistribution. Each session begins with a full table;
	// while there is none, what was told last holds.
	Redistributed *queue.Queue[Redistribution]
	// Tracked takes how zebra reaches the addresses given to Track; make it with MergeTracked.
	Tracked *queue.Queue[Tracked]

	Log      *zap.Logger       // nil: no log
	Counters *monitor.Counters // nil: not counted

	dial     func(context.Context) (net.Conn, error) // in place of Socket
	kernel   kernelReader                            // in place of the kernel
	patience time.Duration                           // in place of answerPatience
	probing  time.Duration                           // in place of probePatience
}

// kernelReader reads routes from the kernel; see kernel.
type kernelReader interface {
	routes(table uint32, protocol uint8, f func(kernelRoute)) error
	close() error
}

const (
	// answerPatience is how long zebra may say nothing about any route that it owes an answer for. It is silent for good
	// about some, above all those that lose to another protocol's from the start.
	answerPatience = 2 * time.Second
	minReconnect   = 50 * time.Millisecond
	maxReconnect   = 5 * time.Second
)

// Programmer programs routes through zebra. Its methods may be called from any goroutine.
type Programmer struct {
	o           Options
	rel         *release // by configuration; nil: to be found out
	kernelProto uint8
	table       uint32
	invalidated chan struct{}
	cancel      context.CancelFunc
	ended       chan struct{} // closed when the goroutine has ended
	attempt     chan struct{} // closed when the first try to connect is over

	apply sync.Mutex // held during Apply and Dump

	mu     sync.Mutex // guards what follows
	s      *state     // of the ready session; nil: there is none
	down   error      // why not
	tries  bool       // the first try to connect is over
	tracks map[netip.Addr]bool
}

var _ fib.Programmer = (*Programmer)(nil)
var _ fib.Able = (*Programmer)(nil)

// New returns a Programmer that connects to zebra, and again whenever the connection is lost, until Close. It does not
// wait for zebra. The kernel's table is read in the network namespace of the calling thread, which has to be zebra's.
func New(o Options) (*Programmer, error) {
	if o.Socket == "" {
		o.Socket = DefaultSocket
	}
	if o.Protocol == "" {
		o.Protocol = DefaultProtocol
	}
	if o.StaleTime == 0 {
		o.StaleTime = DefaultStaleTime
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.patience == 0 {
		o.patience = answerPatience
	}
	if o.probing == 0 {
		o.probing = probePatience
	}
	if o.dial == nil {
		o.dial = func(ctx context.Context) (net.Conn, error) { return dial(ctx, o.Socket) }
	}
	p := &Programmer{
		o: o, table: o.Table, down: errNotYet,
		invalidated: make(chan struct{}, 1), ended: make(chan struct{}), attempt: make(chan struct{}), tracks: map[netip.Addr]bool{},
	}
	if p.table == 0 {
		p.table = mainTable
	}
	var ok bool
	if p.kernelProto, ok = kernelProtocols[o.Protocol]; !ok {
		return nil, fmt.Errorf("zebra protocol %q: it is not known under which number zebra puts such routes into the kernel; use openfabric", o.Protocol)
	}
	if o.SessionID != 0 {
		return nil, fmt.Errorf("zebra session id %d: zebra tells only session 0 what becomes of its routes; set 0 and use the instance to tell sessions apart", o.SessionID)
	}
	if o.Release != "" && o.Release != "auto" {
		rel, err := findRelease(o.Release)
		if err != nil {
			return nil, err
		}
		if _, err := p.identity().session(rel); err != nil {
			return nil, err
		}
		p.rel = rel
	}
	if p.o.kernel == nil {
		k, err := openKernel()
		if err != nil {
			return nil, err
		}
		p.o.kernel = k
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { defer crash.Guard(); p.run(ctx) }()
	return p, nil
}

func (p *Programmer) identity() identity {
	return identity{protocol: p.o.Protocol, instance: p.o.Instance, id: p.o.SessionID, ownTable: p.table != mainTable}
}

// Abilities implements fib.Able: zebra keeps a weight in 8 bits, and its answers come in bursts, so that large batches pay.
func (p *Programmer) Abilities() fib.Abilities {
	return fib.Abilities{Backup: true, MaxWeight: maxWeight, Batch: 4 * window}
}

// maxWeight is the greatest weight that zebra of all releases keeps.
const maxWeight = 255

// Invalidated is ready after a session has begun or ended, an interface has come, gone, gone up or down, and after a
// route of ours has come into or out of the kernel without our asking.
func (p *Programmer) Invalidated() <-chan struct{} { return p.invalidated }

// Close ends the session. zebra keeps the routes for Options.StaleTime, in which a new session can take them over.
func (p *Programmer) Close() error {
	p.cancel()
	<-p.ended
	p.apply.Lock()
	defer p.apply.Unlock()
	if p.o.kernel == nil {
		return nil
	}
	err := p.o.kernel.close()
	p.o.kernel = nil
	return err
}

var (
	errNotYet = errors.New("not connected to zebra yet")
	errClosed = errors.New("the session with zebra is closed")
)

// Status is how the session with zebra stands.
type Status struct {
	Connected bool
	Err       error           // why not connected
	Release   string          // as found out or configured; of several that speak alike the latest
	RouterID  [2]netip.Prefix // IPv4, IPv6
	Routes    int             // routes of this session in zebra
	Stale     int             // routes of an earlier session, not renewed or deleted yet
	Groups    int             // nexthop groups of this session
	// Interfaces are those that zebra has told of, by name.
	Interfaces []Interface
}

// Interface is an interface as zebra sees it.
type Interface struct {
	Name      string
	Index     uint32
	Up        bool           // packets can leave
	Addresses []netip.Prefix // IPv4 before IPv6
}

// Status returns how the session stands now.
func (p *Programmer) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s == nil {
		return Status{Err: p.down}
	}
	st := Status{
		Connected: true, Release: p.s.peer.rel.String(), RouterID: p.s.routerID,
		Routes: len(p.s.routes), Stale: len(p.s.stale), Groups: len(p.s.groups.byID),
	}
	for index, l := range p.s.links {
		i := Interface{Name: l.name, Index: index, Up: l.up(), Addresses: slices.Collect(maps.Keys(p.s.addrs[index]))}
		slices.SortFunc(i.Addresses, netip.Prefix.Compare)
		st.Interfaces = append(st.Interfaces, i)
	}
	slices.SortFunc(st.Interfaces, func(a, b Interface) int { return strings.Compare(a.Name, b.Name) })
	return st
}

// current returns the ready session, waiting for the first try to connect.
func (p *Programmer) current(ctx context.Context) (*state, error) {
	select {
	case <-p.attempt:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.s == nil {
		return nil, fmt.Errorf("no session with zebra at %s: %w", p.o.Socket, p.down)
	}
	return p.s, nil
}

// Track lets zebra tell through Options.Tracked how it reaches an address, now and whenever that changes, in this and
// later sessions.
func (p *Programmer) Track(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a = a.Unmap().WithZone(""); a.IsValid() && !p.tracks[a] {
		p.tracks[a] = true
		if p.s != nil {
			p.s.track(cmdNexthopRegister, a)
		}
	}
}

// Untrack ends what Track began.
func (p *Programmer) Untrack(a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a = a.Unmap().WithZone(""); p.tracks[a] {
		delete(p.tracks, a)
		if p.s != nil {
			p.s.track(cmdNexthopUnregister, a)
		}
	}
}

// Redistribution are routes that zebra has of other protocols: a change, or with Full all of them.
type Redistribution struct {
	Full   bool
	Update map[RedistributedKey]RedistributedRoute
	Delete map[RedistributedKey]bool // always empty when Full
}

// RedistributedKey names a redistributed route.
type RedistributedKey struct {
	Type     string // FRR's name of the protocol: "connected", "static", "kernel", ...
	Instance uint16
	Prefix   netip.Prefix
}

// RedistributedRoute is a route of another protocol that zebra has chosen.
type RedistributedRoute struct {
	Distance uint8
	Metric   uint32
	Tag      uint32
	NextHops []msg.NextHop
}

// MergeRedistribution applies next on top of waiting.
func MergeRedistribution(waiting, next Redistribution) Redistribution {
	if next.Full {
		return next
	}
	for k := range next.Delete {
		delete(waiting.Update, k)
		if !waiting.Full {
			waiting.Delete = put(waiting.Delete, k, true)
		}
	}
	for k, r := range next.Update {
		delete(waiting.Delete, k)
		waiting.Update = put(waiting.Update, k, r)
	}
	return waiting
}

func put[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	if m == nil {
		m = map[K]V{}
	}
	m[k] = v
	return m
}

// Tracked tells how zebra reaches addresses given to Track.
type Tracked map[netip.Addr]Reach

// Reach is how zebra reaches an address.
type Reach struct {
	Reachable bool
	By        netip.Prefix // the route that leads there
	Type      string       // its protocol, by FRR's name
	Metric    uint32
	NextHops  []msg.NextHop
}

// MergeTracked keeps the latest of each address.
func MergeTracked(waiting, next Tracked) Tracked {
	for a, r := range next {
		waiting[a] = r
	}
	return waiting
}
