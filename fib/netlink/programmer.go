package netlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/fib"
	"openr/monitor"
	"openr/msg"
)

// defaultNextHopBase is where our ids begin unless something else is asked for: high, where hardly anybody counts to.
const defaultNextHopBase = 0x0f000000

// Options say where in the kernel the routes go.
type Options struct {
	Table    int               // routing table, 1 .. 2^32-1; 254 is the main table
	Protocol int               // rtm_protocol, by which our routes and nexthop objects are known: 5 .. 255, the lower ones being the kernel's and the administrator's
	Metric   int               // priority, 1 .. 2^32-1; lower wins against other protocols
	Log      *zap.Logger       // nil: no log
	Counters *monitor.Counters // nil: not counted

	// NextHopBase is the first of the 2^20 ids that nexthop objects get, a multiple of 2^20; 0: 0x0f000000. Objects of our
	// protocol in this range are ours. Agents that share a network namespace may share it.
	NextHopBase uint32
	// MultipathRoutes gives each route its own next hops even where the kernel has nexthop objects.
	MultipathRoutes bool
	// NoAlternates leaves Route.Backup alone. Otherwise the alternates stand in each group from the start, with the least
	// weight: that is what makes the kernel move all traffic by itself when a link goes down. Nexthop objects only.
	NoAlternates bool
}

// Programmer programs routes in the Linux kernel. Its methods may be called from any goroutine.
type Programmer struct {
	slot     slot
	log      *zap.Logger
	counters *monitor.Counters
	watch    *watcher

	// What the kernel can do. It does not change after New.
	able      bool   // there are nexthop objects
	objects   bool   // and they are used
	maxWeight uint32 // of a member of a group
	standby   bool   // alternates are used
	why       error  // why there are no objects

	mu        sync.Mutex // guards what follows
	conn      *conn
	closed    bool
	known     bool // the books are right
	books     *books
	leftovers []uint32                  // objects of ours that no route of ours pointed to when they were found
	conflicts map[netip.Prefix]conflict // where another protocol was in the way
	steps     []step                    // memory for the next call of Apply
	fill      *batch                    // memory for the messages
	spare     *batch
	hops      []hop
}

// conflict remembers whose route was in the way, so that not every try costs a search of the table.
type conflict struct {
	err   conflictError
	until time.Time
}

// conflictTime is how long a conflict is believed without looking.
const conflictTime = 30 * time.Second

var (
	_ fib.Programmer = (*Programmer)(nil)
	_ fib.Able       = (*Programmer)(nil)
)

// New opens the kernel's routing table in the network namespace of the calling thread. The Programmer stays with that
// namespace, wherever it is used.
func New(o Options) (*Programmer, error) {
	if o.NextHopBase == 0 {
		o.NextHopBase = defaultNextHopBase
	}
	switch {
	case o.Table < 1 || int64(o.Table) > 0xffffffff:
		return nil, fmt.Errorf("routing table %d: must be from 1 to 4294967295", o.Table)
	case o.Protocol <= unix.RTPROT_STATIC || o.Protocol > 255:
		return nil, fmt.Errorf("route protocol %d: must be from 5 to 255", o.Protocol)
	case o.Metric < 1 || int64(o.Metric) > 0xffffffff:
		return nil, fmt.Errorf("route metric %d: must be from 1 to 4294967295", o.Metric)
	case o.NextHopBase%idsPerBase != 0:
		return nil, fmt.Errorf("first nexthop id %#x: must be a multiple of %#x", o.NextHopBase, idsPerBase)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Programmer{
		slot: slot{table: uint32(o.Table), protocol: uint8(o.Protocol), metric: uint32(o.Metric)},
		log:  o.Log, counters: o.Counters,
		books: newBooks(o.NextHopBase), conflicts: map[netip.Prefix]conflict{}, fill: newBatch(), spare: newBatch(),
	}
	var err error
	if p.conn, err = dial(); err != nil {
		return nil, err
	}
	if err = p.probe(); err != nil {
		_ = p.conn.close()
		return nil, err
	}
	if !p.able {
		p.log.Warn("the kernel gives no nexthop objects; each route has its own next hops, and a lost link costs a message for each", zap.Error(p.why))
	}
	if p.objects = p.able && !o.MultipathRoutes; !p.objects {
		p.maxWeight = multipathWeight
	}
	p.standby = p.objects && !o.NoAlternates
	if p.watch, err = newWatcher(p, p.conn.port); err != nil {
		_ = p.conn.close()
		return nil, err
	}
	return p, nil
}

// multipathWeight is the greatest weight of a next hop of a multipath route.
const multipathWeight = 256

// Abilities implements fib.Able.
func (p *Programmer) Abilities() fib.Abilities {
	return fib.Abilities{Backup: p.standby, MaxWeight: int32(p.maxWeight), Batch: 1 << 20}
}

// Close releases the sockets. The routes stay.
func (p *Programmer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	return errors.Join(p.watch.close(), p.conn.close())
}

// Invalidated is ready after an interface came, left, went up or down or was renamed, after another process changed a route
// or nexthop object of ours, and after notifications were lost.
func (p *Programmer) Invalidated() <-chan struct{} { return p.watch.changed }

// Link tells what somebody else has found out about an interface before the kernel tells it: that packets do not get through
// any more, or again. A dead link's next hops are taken out of all groups at once, by one message each, even while Apply is
// busy. They stay out until Link or the kernel says that the link has come back.
func (p *Programmer) Link(name string, alive bool) { p.watch.hold(name, !alive) }

var errClosed = errors.New("the netlink sockets are closed")

// Dump returns the routes of our protocol in our table, IPv4 and IPv6. See fib.Programmer for those that stand in another
// form.
func (p *Programmer) Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if err := p.watch.refresh(); err != nil {
		return nil, err
	}
	second := p.known
	routes, err := p.dump(ctx)
	if err == nil && second && len(p.leftovers) > 0 {
		err = p.collectLeftovers(ctx)
	}
	return routes, err
}

// dump reads the kernel's table and makes the books anew from it.
func (p *Programmer) dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	p.known = false
	old := p.books.own
	if p.watch.takeNews().renamed { // all else that it tells is in the dump
		old = nil
	}
	p.books.reset()
	a := &adoption{p: p, adopted: map[uint32]bool{}}
	if p.able {
		var err error
		if a.there, err = p.readObjects(); err != nil {
			return nil, err
		}
	}
	routes := make(map[netip.Prefix]msg.Route, len(old))
	forms := map[*group]*form{}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		restart := func() {
			for prefix := range routes {
				if family(prefix.Addr()) == fam {
					delete(routes, prefix)
					p.books.forgetRoute(prefix)
					p.books.forgetStrays(prefix)
				}
			}
		}
		err := p.routes(fam, p.slot.table, p.slot.protocol, restart, func(r kernelRoute) {
			if r.protocol != p.slot.protocol || r.tos != 0 {
				return
			}
			g := p.groupOf(a, &r)
			route := msg.Route{Prefix: r.prefix}
			_, twice := routes[r.prefix]
			if r.metric != p.slot.metric {
				p.books.strays[r.prefix] = append(p.books.strays[r.prefix], stray{r.metric, g})
				g.refs++
				route.DoNotInstall = true
			} else {
				s := p.books.point(r.prefix, p.books.own[r.prefix], g)
				if was := old[r.prefix]; was != nil && was.form != nil && was.version == was.group.version && sameGroup(was.group, g) {
					s.form, s.version = was.form, g.version
				}
				f := s.form
				if f == nil {
					f = forms[g]
				}
				if f == nil {
					f = new(form)
					f.hops, f.backup = unsettle(g.members, p.maxWeight, p.watch.name)
					forms[g] = f
				}
				route.NextHops, route.Backup = f.hops, f.backup
			}
			route.DoNotInstall = route.DoNotInstall || twice || r.other || g.alien
			routes[r.prefix] = route
		})
		if err != nil {
			return nil, fmt.Errorf("failed to read the routes: %w", err)
		}
	}
	p.leftovers = a.finish()
	p.books.idle, p.books.unused = nil, nil
	p.known = true
	return routes, nil
}

// groupOf returns the group on which a route stands, or which a route with next hops of its own would stand on.
func (p *Programmer) groupOf(a *adoption, r *kernelRoute) *group {
	switch {
	case p.objects && r.nexthop != 0:
		return a.group(r.nexthop)
	case p.objects && !r.blackhole, r.nexthop != 0, r.other:
		return &p.books.alien
	}
	g := &group{plain: true}
	fam := family(r.prefix.Addr())
	for _, h := range r.hops() {
		w := way{addr: h.addr, index: h.index, family: fam}
		if h.addr.IsValid() {
			w.family = family(h.addr)
		}
		o := p.books.object(w)
		p.books.madeObject(o)
		g.members = append(g.members, member{o, uint32(h.weight)})
	}
	sortMembers(g.members)
	if known := p.books.byKey[string(p.books.keyOf(g.members))]; known != nil && known.plain {
		return known
	}
	g.id = p.books.newID()
	p.books.addGroup(g)
	return g
}

// sameGroup reports whether a group of the old books is one of the new.
func sameGroup(old, now *group) bool {
	if old.id != now.id || len(old.members) != len(now.members) {
		return false
	}
	for i, m := range old.members {
		if n := now.members[i]; m.weight != n.weight || m.object.way != n.object.way {
			return false
		}
	}
	return true
}

// routes calls f for each route of a family in one table or (0) all, of one protocol or (0) of all.
func (p *Programmer) routes(fam uint8, table uint32, protocol uint8, restart func(), f func(kernelRoute)) error {
	request := func(seq uint32) []byte { return dumpRoutes(seq, fam, table, protocol) }
	err := p.conn.dump(request, restart, func(h unix.NlMsghdr, payload []byte) {
		if h.Type != unix.RTM_NEWROUTE {
			return
		}
		// A kernel that does not filter, or has no such family, answers with more than was asked for.
		if r, ok := parseRoute(payload); ok && family(r.prefix.Addr()) == fam && (table == 0 || r.table == table) {
			f(r)
		}
	})
	switch {
	case errors.Is(err, unix.ENOENT): // there is no such table yet
		return nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT): // there is no such family
		return nil
	}
	return err
}

// Apply implements fib.Programmer. Interfaces are resolved as they are now. The order of update does not matter, and where
// all routes that share a set of next hops go to another, that costs one message for all of them.
func (p *Programmer) Apply(ctx context.Context, update []msg.Route, del []netip.Prefix) (map[netip.Prefix]error, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.watch.refresh(); err != nil {
		return nil, err
	}
	p.read(p.watch.takeNews())
	if !p.known {
		if _, err := p.dump(ctx); err != nil {
			return nil, err
		}
	}
	a := apply{p: p, b: p.books, ctx: ctx, failed: map[netip.Prefix]error{}, fill: p.fill}
	err := a.run(update, del)
	if failed := a.wait(); err == nil {
		err = failed
	}
	p.fill = a.fill
	p.fill.clear()
	clear(p.steps) // they hold on to update
	if err == nil && len(p.leftovers) > 0 {
		err = p.collectLeftovers(ctx)
	}
	if err != nil {
		p.known = false
		return nil, err
	}
	return a.failed, nil
}

// read brings the books up to date.
func (p *Programmer) read(n news) {
	if n.lost || n.objects || n.renamed {
		p.known = false
	}
	if n.renamed {
		for _, s := range p.books.own {
			s.form = nil
		}
	}
	if !p.known {
		return
	}
	if p.objects {
		for index := range n.down {
			p.books.linkLost(index)
		}
	}
	for prefix := range n.foreign {
		p.books.forgetRoute(prefix)
	}
}
