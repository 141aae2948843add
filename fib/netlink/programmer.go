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
	"openr/internal/rtnl"
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
	// Standing is from how many routes on that have the same single way their alternates (Route.Backup) stand in their groups,
	// without a share of the traffic: then the kernel itself moves all of them when the link goes. Fewer get theirs from memory,
	// a few microseconds for each later. 1: always; 0: never. It takes resilient groups (Linux 5.12).
	Standing int
}

// Programmer programs routes in the Linux kernel. Its methods may be called from any goroutine.
type Programmer struct {
	slot     slot
	log      *zap.Logger
	counters *monitor.Counters
	watch    *watcher

	// What the kernel can do. It does not change after New.
	able       bool   // there are nexthop objects
	objects    bool   // and they are used
	maxWeight  uint32 // of a member of a group
	buckets    uint16 // of a resilient group; 0: there are none
	alternates bool   // alternates are used
	standing   int    // see Options; 0: never
	why        error  // why there are no objects

	mu        sync.Mutex                // held by whoever calls, who has the following for himself
	reader    *rtnl.Conn                // for dumps
	conflicts map[netip.Prefix]conflict // where another protocol was in the way
	steps     []step                    // memory for the next call of Apply
	fill      *batch                    // memory for the messages
	spare     *batch
	hops      []hop
	leftovers []uint32 // objects of ours that no route of ours pointed to when they were found

	// state guards what follows. Let it go by unlock. Who wants both locks takes mu first.
	state   sync.Mutex
	conn    *rtnl.Conn
	closed  bool
	known   bool // the books are right
	books   *books
	changes int // counts what was done on the news of links
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

const (
	recvBuffer = 8 << 20 // bytes that may wait to be read
	sendBuffer = 1 << 20 // longest batch, with the kernel's own overhead
)

func dial() (*rtnl.Conn, error) { return rtnl.Dial(unix.NETLINK_ROUTE, sendBuffer, recvBuffer) }

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
	if p.reader, err = dial(); err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	if err = p.probe(); err != nil {
		return nil, errors.Join(err, p.reader.Close(), p.conn.Close())
	}
	if !p.able {
		p.log.Warn("the kernel gives no nexthop objects; each route has its own next hops, and a lost link costs a message for each", zap.Error(p.why))
	}
	if p.objects = p.able && !o.MultipathRoutes; !p.objects {
		p.maxWeight = multipathWeight
	}
	if p.alternates = p.objects; p.objects && p.buckets > 0 {
		p.standing = o.Standing
	}
	if _, err = newWatcher(p, p.conn.Port); err != nil {
		return nil, errors.Join(err, p.reader.Close(), p.conn.Close())
	}
	return p, nil
}

// multipathWeight is the greatest weight of a next hop of a multipath route.
const multipathWeight = 256

// Abilities implements fib.Able.
func (p *Programmer) Abilities() fib.Abilities {
	return fib.Abilities{Backup: p.alternates, MaxWeight: int32(p.maxWeight), Batch: 1 << 20}
}

// Close releases the sockets. The routes stay.
func (p *Programmer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Lock()
	done := p.closed
	p.closed = true
	p.state.Unlock()
	if done {
		return nil
	}
	return errors.Join(p.watch.close(), p.reader.Close(), p.conn.Close())
}

// Invalidated is ready after an interface came, left, went up or down or was renamed, after another process changed a route
// or nexthop object of ours, and after notifications were lost.
func (p *Programmer) Invalidated() <-chan struct{} { return p.watch.changed }

// Link tells what somebody else has found out about an interface before the kernel tells it: that packets do not get through
// any more, or again. A dead link's next hops are taken out of all groups at once, and where that leaves none the alternates
// come in, by one message for each group, even while Apply is busy. They stay out until Link or the kernel says that the link
// has come back.
func (p *Programmer) Link(name string, alive bool) { p.watch.hold(name, !alive) }

var errClosed = errors.New("the netlink sockets are closed")

// begin brings what is known of the links up to date, and takes the lock state unless it fails.
func (p *Programmer) begin() error {
	p.state.Lock()
	if p.closed {
		p.state.Unlock()
		return errClosed
	}
	if err := p.watch.refresh(); err != nil {
		p.unlock()
		return err
	}
	p.follow()
	return nil
}

// Dump returns the routes of our protocol in our table, IPv4 and IPv6. See fib.Programmer for those that stand in another
// form. A route that has its alternates for the time being, as its next hops' links are dead, is shown as it was asked for.
func (p *Programmer) Dump(ctx context.Context) (map[netip.Prefix]msg.Route, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch.reconsider()
	if err := p.begin(); err != nil {
		return nil, err
	}
	defer p.unlock()
	second := p.known
	if err := p.learn(ctx, true); err != nil {
		return nil, err
	}
	routes := p.table()
	if second && len(p.leftovers) > 0 {
		return routes, p.collectLeftovers(ctx)
	}
	return routes, nil
}

// learnTries is how often the tables are read anew because a link has changed meanwhile.
const learnTries = 3

// learn reads the kernel's tables and makes the books anew from them. With aside, links are acted upon meanwhile, by the old
// books. The caller holds both locks.
func (p *Programmer) learn(ctx context.Context, aside bool) error {
	renamed := p.watch.takeNews().renamed // all else that it tells is in the tables
	for try := 1; ; try++ {
		changes := p.changes
		next := newBooks(p.books.base)
		next.next, next.epoch = p.books.next, p.books.epoch
		if aside = aside && try < learnTries; aside {
			p.unlock()
		}
		leftovers, err := p.read(ctx, next)
		if aside {
			p.state.Lock()
			p.follow()
		}
		if err != nil {
			p.known = false
			return err
		}
		if p.changes == changes || !aside {
			if !renamed {
				next.inherit(p.books)
			}
			p.books, p.leftovers, p.known = next, leftovers, true
			return nil
		}
	}
}

// read reads the kernel's tables into empty books, and returns objects of ours that no route points to.
func (p *Programmer) read(ctx context.Context, b *books) (leftovers []uint32, err error) {
	a := &adoption{p: p, books: b, adopted: map[uint32]bool{}}
	if p.able {
		if a.there, err = p.readObjects(); err != nil {
			return nil, err
		}
	}
	for _, fam := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		restart := func() {
			for prefix := range b.own {
				if family(prefix.Addr()) == fam {
					b.forgetRoute(prefix)
				}
			}
			for prefix := range b.strays {
				if family(prefix.Addr()) == fam {
					b.forgetStrays(prefix)
				}
			}
		}
		err := p.routes(fam, p.slot.table, p.slot.protocol, restart, func(r kernelRoute) {
			if r.protocol != p.slot.protocol || r.tos != 0 {
				return
			}
			g := a.groupOf(&r)
			if r.metric != p.slot.metric {
				b.strays[r.prefix] = append(b.strays[r.prefix], stray{r.metric, g})
				g.refs++
				return
			}
			old := b.own[r.prefix]
			b.point(r.prefix, old, g).odd = old != nil || r.other || g.alien
		})
		if err != nil {
			return nil, fmt.Errorf("failed to read the routes: %w", err)
		}
	}
	leftovers = a.finish()
	b.idle, b.unused = nil, nil
	return leftovers, nil
}

// table returns what Dump is to show.
func (p *Programmer) table() map[netip.Prefix]msg.Route {
	routes := make(map[netip.Prefix]msg.Route, len(p.books.own))
	forms := map[*group]*form{}
	right := map[*group]bool{}
	for prefix, s := range p.books.own {
		g := s.group
		f := forms[g]
		if f == nil {
			f = new(form)
			if right[g] = p.asWanted(g); right[g] {
				f.hops, f.backup = p.nextHops(g.ways), p.nextHops(g.spare)
			} else {
				f.hops = p.nextHops(g.members)
			}
			forms[g] = f
		}
		if s.form != nil && s.version == g.version && right[g] {
			f = s.form
		}
		routes[prefix] = msg.Route{Prefix: prefix, NextHops: f.hops, Backup: f.backup, DoNotInstall: s.odd || len(p.books.strays[prefix]) > 0}
	}
	for prefix := range p.books.strays {
		if _, ok := routes[prefix]; !ok {
			routes[prefix] = msg.Route{Prefix: prefix, DoNotInstall: true}
		}
	}
	return routes
}

// asWanted reports whether a group does what it is to do: all its ways are alive, or all are dead for now and the alternates are in
// their place.
func (p *Programmer) asWanted(g *group) bool {
	if g.plain || g.alien || len(g.members) == 0 {
		return true
	}
	live := 0
	for _, m := range g.ways {
		if !p.watch.has(m.object.way.index) {
			return false
		}
		if p.live(m.object) {
			live++
		}
	}
	return (live == len(g.ways) || live == 0) && sameShares(g.members, p.desired(&g.aim, g.standby))
}

// routes calls f for each route of a family in one table or (0) all, of one protocol or (0) of all.
func (p *Programmer) routes(fam uint8, table uint32, protocol uint8, restart func(), f func(kernelRoute)) error {
	request := func(seq uint32) []byte { return dumpRoutes(seq, fam, table, protocol) }
	err := p.reader.Dump(request, restart, func(h unix.NlMsghdr, payload []byte) {
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
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := p.begin(); err != nil {
		return nil, err
	}
	defer p.unlock()
	p.note(p.watch.takeNews())
	if !p.known {
		if err := p.learn(ctx, false); err != nil {
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

// note brings the books up to date with what others have done.
func (p *Programmer) note(n news) {
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
	for prefix := range n.foreign {
		p.books.forgetRoute(prefix)
	}
}
