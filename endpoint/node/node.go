package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/endpoint/coop"
	"openr/endpoint/linux"
	"openr/internal/crash"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	"openr/thrift/gen/network"
	"openr/zmtp"
)

// Options are what a Node works with. Config is required, with its section endpoint enabled; a nil queue is never heard of.
type Options struct {
	Config   *config.Config
	Log      *zap.Logger
	Counters *monitor.Counters

	Publications *queue.Queue[msg.Publication]  // from kvstore
	Routes       *queue.Queue[msg.RouteUpdate]  // what stands in the forwarding table
	KeyRequests  *queue.Queue[msg.KeyRequests]  // to kvstore
	Prefixes     *queue.Queue[msg.PrefixUpdate] // to prefixmanager
}

// Node is the endpoint directory of one node. Its methods other than Run may be called from any goroutine while Run runs.
type Node struct {
	Options
	cfg   *config.Endpoint
	area  string
	calls *queue.Calls
	own   *queue.Queue[map[coop.Role]coop.Member] // from the roles: what to tell others

	openKernel func(linux.Options) (kernel, error)

	roster  *roster
	reach   *reach
	history *history
	left    chan struct{} // closed when the link-state database has this node no more; nil: nobody wants that
	wg      sync.WaitGroup

	mu      sync.Mutex // guards what follows
	facts   *facts
	readers map[string]*queue.Queue[*facts] // of the roles that run
	leaf    *leaf                           // nil: does not run
	oracle  *oracle
	failed  map[string]error // why a role does not run
}

// New returns a Node.
func New(o Options) *Node {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Node{
		Options: o, cfg: &o.Config.Endpoint, area: area(o.Config), calls: queue.NewCalls(),
		own: queue.New(func(waiting, next map[coop.Role]coop.Member) map[coop.Role]coop.Member {
			for r, m := range next {
				waiting[r] = m
			}
			return waiting
		}),
		openKernel: func(o linux.Options) (kernel, error) { return linux.New(o) },
		roster:     newRoster(o.Config.NodeName, area(o.Config)), reach: newReach(),
		history: &history{counters: o.Counters, readers: map[*Changes]bool{}},
		facts:   &facts{}, readers: map[string]*queue.Queue[*facts]{}, failed: map[string]error{},
	}
}

// The roles of a node.
const (
	roleLeaf   = "leaf"
	roleOracle = "oracle"
)

// Run works until ctx is done, whatever happens: its error is always nil. What stands in the kernel and in the link-state
// database stays, for the next run. It must be called once.
func (n *Node) Run(ctx context.Context) error {
	defer func() {
		n.calls.Stop()
		n.wg.Wait()
		n.history.stop()
	}()
	if n.cfg.Leaf {
		n.wg.Go(func() { defer crash.Guard(); n.supervise(ctx, roleLeaf, n.runLeaf) })
	}
	if n.cfg.Oracle {
		n.wg.Go(func() { defer crash.Guard(); n.supervise(ctx, roleOracle, n.runOracle) })
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.Publications.C():
			if p, ok := n.Publications.Take(); ok {
				n.publication(p)
			}
		case <-n.Routes.C():
			if u, ok := n.Routes.Take(); ok {
				n.reach.apply(u)
				n.inform(false)
			}
		case <-n.own.C():
			if own, ok := n.own.Take(); ok {
				n.announce(own)
			}
		case <-look.C:
			n.lookAfter(ctx)
		case call := <-n.calls.C():
			call()
		}
	}
}

// Alive returns when the loop of Run has come round. It says nothing of the roles: one that hangs is no reason to end the agent.
func (n *Node) Alive(ctx context.Context) error { return n.calls.Do(ctx, func() {}) }

func (n *Node) publication(p msg.Publication) {
	changed, wrong := n.roster.apply(p)
	for _, err := range wrong {
		n.Counters.Count(counterRefused)
		n.Log.Warn("a member of the endpoint directory is not understood; it counts as none", zap.Error(err))
	}
	if changed {
		n.inform(true)
	}
	n.checkLeft()
}

// inform tells the roles what is new.
func (n *Node) inform(changed bool) {
	f := &facts{members: n.roster.sorted(), complete: n.roster.synced, drained: n.roster.drained}
	down, moved := n.reach.look(f.teps(), n.cfg.TEPs)
	if !changed && !moved {
		return
	}
	f.down = down
	n.Counters.Set(counterMembers, int64(len(f.members)))
	n.Counters.Set(counterUnroutable, int64(len(down)))
	n.mu.Lock()
	defer n.mu.Unlock()
	n.facts = f
	for _, q := range n.readers {
		q.Push(f)
	}
}

// listen returns where a role that starts hears of the facts.
func (n *Node) listen(role string) *queue.Queue[*facts] {
	q := queue.Latest[*facts]()
	n.mu.Lock()
	defer n.mu.Unlock()
	q.Push(n.facts)
	n.readers[role] = q
	return q
}

// Leave takes this node out of the directory for good: it is neither leaf nor oracle any more in the link-state database, upon
// which the others soon give up what it has published. It returns when this node's copy of the database says so, or ctx's error. Run
// goes on, and what stands in the kernel stays.
func (n *Node) Leave(ctx context.Context) error {
	var left chan struct{}
	if err := n.calls.Do(ctx, func() {
		if n.left == nil {
			n.left = make(chan struct{})
			n.anycast(false)
			requests := msg.KeyRequests{}
			for _, key := range n.ownKeys() {
				requests[msg.AreaKey{Area: n.area, Key: key}] = msg.KeyRequest{Op: msg.KeyClear, Data: []byte{}}
			}
			if n.KeyRequests != nil {
				n.KeyRequests.Push(requests)
			}
			n.checkLeft()
		}
		left = n.left
	}); err != nil {
		return err
	}
	select {
	case <-left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) ownKeys() []string {
	return []string{coop.MemberKey(coop.RoleLeaf, n.Config.NodeName), coop.MemberKey(coop.RoleOracle, n.Config.NodeName)}
}

// checkLeft notes whether this node is no member any more, after Leave.
func (n *Node) checkLeft() {
	if n.left == nil {
		return
	}
	for _, key := range n.ownKeys() {
		if _, there := n.roster.members[key]; there {
			return
		}
	}
	select {
	case <-n.left:
	default:
		close(n.left)
	}
}

// announce has kvstore originate what this node says of itself.
func (n *Node) announce(own map[coop.Role]coop.Member) {
	if n.left != nil {
		return
	}
	requests := msg.KeyRequests{}
	for role, m := range own {
		data, err := m.Value()
		if err != nil {
			n.Log.Error("this node cannot take part in the endpoint directory", zap.Stringer("role", role), zap.Error(err))
			continue
		}
		requests[msg.AreaKey{Area: n.area, Key: coop.MemberKey(role, n.Config.NodeName)}] = msg.KeyRequest{Op: msg.KeyPersist, Data: data}
	}
	if n.KeyRequests != nil && len(requests) > 0 {
		n.KeyRequests.Push(requests)
	}
}

// tell has others be told of this node in one of its roles.
func (n *Node) tell(m coop.Member) { n.own.Push(map[coop.Role]coop.Member{m.Role: m}) }

// Preferences of the anycast addresses: those of interface addresses (Open/R common/Constants.h).
const (
	pathPreference   = 1000
	sourcePreference = 200
)

// anycast has prefixmanager advertise the anycast addresses, or no longer.
func (n *Node) anycast(on bool) {
	prefixes := map[netip.Prefix]msg.PrefixOrigin{}
	if on {
		for _, a := range n.cfg.Anycast {
			p := netip.PrefixFrom(a, a.BitLen())
			e := lsdb.PrefixEntry{Prefix: p, Type: network.PrefixType_VIP, Tags: []string{"endpoint-proxy"}}
			e.Metrics.PathPreference, e.Metrics.SourcePreference = pathPreference, sourcePreference
			prefixes[p] = msg.PrefixOrigin{Entry: e, Areas: []string{n.area}}
		}
	}
	if n.Prefixes != nil && len(n.cfg.Anycast) > 0 {
		n.Prefixes.Push(msg.PrefixUpdate{network.PrefixType_VIP: prefixes})
	}
}

// How a role is tried again.
const (
	firstPause = time.Second
	maxPause   = time.Minute
)

// pauseAfter returns how long to wait before a role is started again, after the pause before and how long it ran.
func pauseAfter(pause, ran time.Duration) time.Duration {
	if pause == 0 || ran > maxPause {
		return firstPause
	}
	return min(2*pause, maxPause)
}

// supervise runs a role until ctx ends.
func (n *Node) supervise(ctx context.Context, role string, run func(context.Context) error) {
	var pause time.Duration
	for {
		begin := time.Now()
		n.note(role, nil)
		n.Counters.Set(counterRunning+role, 1)
		err := guarded(ctx, run)
		n.Counters.Set(counterRunning+role, 0)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended without a reason")
		}
		n.note(role, err)
		pause = pauseAfter(pause, time.Since(begin))
		n.Counters.Count(counterFailures + role)
		n.Log.Error("the endpoint directory does not work and will be tried again; routing goes on",
			zap.String("role", role), zap.Duration("in", pause), zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (n *Node) note(role string, why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failed[role] = why
	delete(n.readers, role)
}

// guarded turns a panic of run into its error.
func guarded(ctx context.Context, run func(context.Context) error) (err error) {
	const stack = 4096
	defer func() {
		if p := recover(); p != nil {
			s := debug.Stack()
			err = fmt.Errorf("panic: %v\n%s", p, s[:min(len(s), stack)])
		}
	}()
	return run(ctx)
}

const (
	lookEvery = 20 * time.Second
	lateAfter = 5 * time.Second
)

// lookAfter asks the roles whether they live, and logs if one does not answer.
func (n *Node) lookAfter(ctx context.Context) {
	n.mu.Lock()
	asks := map[string]*queue.Calls{}
	if n.leaf != nil {
		asks[roleLeaf] = n.leaf.calls
	}
	if n.oracle != nil {
		asks[roleOracle] = n.oracle.calls
	}
	n.mu.Unlock()
	for role, calls := range asks {
		n.wg.Go(func() {
			defer crash.Guard()
			patience, cancel := context.WithTimeout(ctx, lateAfter)
			defer cancel()
			if err := calls.Do(patience, func() {}); errors.Is(err, context.DeadlineExceeded) {
				n.Counters.Count(counterLate + role)
				n.Log.Warn("the endpoint directory is busy and does not answer", zap.String("role", role))
			}
		})
	}
}

// transport returns how this node's sockets prove who they are, and this node's public key; empty: it has none.
func (n *Node) transport() (coop.Transport, string, error) {
	keys, err := loadKeys(keyFile(n.Config))
	switch {
	case err == nil && n.cfg.Security == config.SecurityCompatible:
		return coop.Transport{Mode: zmtp.Compatible, Keys: keys}, keys.Public.String(), nil
	case err == nil:
		return coop.Transport{Mode: zmtp.Strict, Keys: keys}, keys.Public.String(), nil
	}
	return coop.Transport{}, "", err
}

// newEpoch returns a number that is larger than that of any earlier run, as long as the clock is right.
func newEpoch() uint64 { return uint64(time.Now().UnixNano()) }
