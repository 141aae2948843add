package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/endpoint/linux"
	"openr/internal/crash"
	"openr/queue"
	"openr/zmtp"
)

// oracle is this node in the role of an oracle.
type oracle struct {
	n      *Node
	server *coop.Server
	proxy  *linux.Proxy // nil: no anycast address
	member coop.Member

	calls *queue.Calls
	facts *queue.Queue[*facts]
	ready *queue.Queue[bool]
	feed  chan zmtp.Delivery

	told     *facts
	forwards *forwards
	compare  bool      // the proxy is to be compared with the directory
	failed   time.Time // when the kernel last refused something
}

// again is how long the proxy is left alone after the kernel has refused something.
const again = 2 * time.Second

func (n *Node) runOracle(ctx context.Context) (err error) {
	transport, key, err := n.transport()
	if err != nil {
		return err
	}
	except, err := exceptions(n.cfg)
	if err != nil {
		return err
	}
	o := &oracle{n: n, calls: queue.NewCalls(), ready: queue.Latest[bool](), feed: make(chan zmtp.Delivery, 64), told: &facts{}}
	defer o.calls.Stop()
	known, err := o.awaitMembers(ctx)
	if err != nil {
		return err
	}
	epoch := newEpoch()
	port := func(add int) string { return strconv.Itoa(n.cfg.Port + add) }
	log := n.Log.Named("oracle")
	options := coop.ServerOptions{
		Oracle: coop.OracleOptions{
			Node: n.Config.NodeName, Area: n.area, Epoch: epoch, Members: true, Bounce: n.cfg.Retention.BounceAge,
			Tombstone:  max(tombstone, n.cfg.Retention.BounceAge+n.cfg.Retention.BounceAge/2),
			MaxRecords: n.cfg.MaxDirectory, MaxPerLeaf: n.cfg.MaxPerLeaf, Damping: coop.Damping{Exceptions: except}, Log: log, Counters: n.Counters,
		},
		Transport: transport, Session: net.JoinHostPort("::", port(0)), Feed: net.JoinHostPort("::", port(1)),
		OnReady: o.ready.Push,
		OnFault: func(k endpoint.Key, s endpoint.Status) {
			log.Warn("an endpoint changes too often, or no longer does", zap.Stringer("endpoint", k), zap.Stringer("status", s))
		},
	}
	if o.server, err = coop.NewServer(ctx, options); err != nil {
		return fmt.Errorf("endpoint.port: %w", err)
	}
	agent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer crash.Guard()
		defer close(done)
		cancel(fmt.Errorf("the directory ended: %w", guarded(ctx, o.server.Run)))
	}()
	defer func() {
		if agent.Err() == nil && o.member.Node != "" { // it failed, and nobody should count on it
			n.anycast(false)
			o.member.Ready = false
			n.tell(o.member)
		}
		cancel(context.Canceled)
		<-done
	}()

	var found []linux.Forward
	if len(n.cfg.Anycast) > 0 {
		o.proxy, err = linux.NewProxy(linux.ProxyOptions{
			TEPs: n.cfg.Anycast, Port: uint16(n.cfg.VXLANPort), Log: log, Counters: n.Counters,
			Missed: func(m linux.Miss) {
				if m.IP.IsValid() {
					_ = o.server.Miss(ctx, m.BD, m.IP) // it ends with ctx
				}
			},
		})
		if err != nil {
			return err
		}
		defer func() {
			cancel(context.Canceled) // so that Missed does not wait
			o.proxy.Close()
		}()
		if found, err = o.proxy.Found(); err != nil {
			return err
		}
	}
	o.forwards = newForwards(n.cfg.Anycast, found)

	at := func(add int) string { return net.JoinHostPort(n.cfg.TEPs[0].String(), port(add)) }
	o.member = coop.Member{
		Node: n.Config.NodeName, Role: coop.RoleOracle, TEPs: n.cfg.TEPs, Epoch: epoch, Key: key, Session: at(0), Feed: at(1),
	}
	if o.proxy != nil {
		// What routing and others say of this node does not matter to itself, only its key.
		if err := o.server.SetMember(ctx, o.member); err != nil {
			return err
		}
		follower, err := o.follow(ctx, transport, port(1))
		if err != nil {
			return err
		}
		defer follower()
	}
	n.setOracle(o)
	defer n.setOracle(nil)
	if err := o.learn(ctx, known); err != nil {
		return err
	}
	n.tell(o.member)
	return o.loop(ctx)
}

// awaitMembers waits until the members are known: before that the oracle would turn all of them away, and they would not come
// again at once.
func (o *oracle) awaitMembers(ctx context.Context) (*facts, error) {
	o.facts = o.n.listen(roleOracle)
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-o.facts.C():
		}
		if f, ok := o.facts.Take(); ok && f.complete {
			return f, nil
		}
	}
}

// tombstone is for how long an oracle remembers what is gone, at least: longer than a bounce entry lives.
const tombstone = 900 * time.Second

func (n *Node) setOracle(o *oracle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.oracle = o
}

func (n *Node) strict() bool { return n.cfg.Security == 0 }

// follow listens to what the oracle itself publishes, as a leaf would: so the directory is never kept waiting for the kernel,
// and what finds no room on the way shows as a gap.
func (o *oracle) follow(ctx context.Context, t coop.Transport, port string) (stop func(), err error) {
	sub, err := zmtp.NewSubscriber(zmtp.Options{Keys: t.Keys, Mode: t.Mode, Log: o.n.Log.Named("proxy")})
	if err != nil {
		return nil, err
	}
	sub.Subscribe("")
	if err := sub.Dial(zmtp.Endpoint{Address: net.JoinHostPort("::1", port), ServerKey: t.Keys.Public}); err != nil {
		sub.Close()
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		defer crash.Guard()
		defer close(done)
		for {
			d, err := sub.Recv(ctx)
			if err != nil {
				return
			}
			select {
			case o.feed <- d:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		sub.Close()
		<-done
	}, nil
}

func (o *oracle) loop(ctx context.Context) error {
	chores := time.NewTicker(choreEvery)
	defer chores.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-o.facts.C():
			if f, ok := o.facts.Take(); ok {
				err = o.learn(ctx, f)
			}
		case <-o.ready.C():
			if ready, ok := o.ready.Take(); ok {
				err = o.becomes(ctx, ready)
			}
		case d := <-o.feed:
			o.take(d)
		case <-chores.C:
			if o.compare && o.member.Ready && time.Since(o.failed) >= again {
				err = o.compareAll(ctx)
			}
		case call := <-o.calls.C():
			call()
		}
		if err != nil {
			return err
		}
	}
}

// learn takes news of the members and of what routing reaches.
func (o *oracle) learn(ctx context.Context, f *facts) error {
	self := o.n.Config.NodeName
	d := differ(o.told, f, func(m *coop.Member) bool { return m.Role == coop.RoleLeaf || m.Node != self })
	o.told = f
	var err error
	step := func(e error) {
		if errors.Is(e, queue.ErrStopped) || ctx.Err() != nil {
			err = errors.Join(err, e)
		} else if e != nil {
			o.n.Log.Warn("a member of the endpoint directory cannot take part", zap.Error(e))
		}
	}
	for i := range d.remove {
		step(o.server.RemoveMember(ctx, d.remove[i].Role, d.remove[i].Node))
	}
	for i := range d.set {
		step(o.server.SetMember(ctx, d.set[i]))
	}
	for _, list := range []struct {
		teps      []netip.Addr
		reachable bool
	}{{d.up, true}, {d.down, false}} {
		for _, a := range list.teps {
			step(o.server.SetReachable(ctx, a, list.reachable))
		}
	}
	if d.complete {
		step(o.server.SetMembersComplete(ctx))
	}
	if d.drained {
		step(o.server.SetDrained(ctx, f.drained))
		o.member.Drained = f.drained
		o.n.tell(o.member)
	}
	return err
}

// becomes takes the news that the directory is complete, or that this oracle is drained. Traffic is attracted only when the
// proxy knows what the directory knows, and no longer at once.
func (o *oracle) becomes(ctx context.Context, ready bool) error {
	if ready {
		if err := o.compareAll(ctx); err != nil {
			return err
		}
	}
	o.n.anycast(ready)
	o.member.Ready = ready
	o.n.tell(o.member)
	return nil
}

// compareAll makes the proxy send on what the whole directory says, and nothing else.
func (o *oracle) compareAll(ctx context.Context) error {
	if o.proxy == nil {
		return nil
	}
	o.compare = false
	o.n.Counters.Count(counterCompared)
	c := newChange()
	if err := o.server.Do(ctx, func(d *coop.Oracle) { o.forwards.compare(c, d.All) }); err != nil {
		return err
	}
	o.program(c)
	return nil
}

// take takes what the oracle published, and what else has come already.
func (o *oracle) take(d zmtp.Delivery) {
	c := newChange()
	for range cap(o.feed) {
		if d.Kind == zmtp.Up {
			o.compare = true // what was published before was not heard
		}
		if d.Kind == zmtp.Received && len(d.Message) > 1 {
			if m, err := coop.Decode(d.Message[1:]); err == nil { // the topic is a matter of the sockets
				if delta, ok := m.Body.(*coop.Delta); ok && o.forwards.delta(c, delta) {
					o.compare = true
				}
			}
		}
		select {
		case d = <-o.feed:
			continue
		default:
		}
		break
	}
	o.program(c)
}

// program tells the kernel. If it refuses, everything is compared later.
func (o *oracle) program(c *change) {
	if c.empty() {
		return
	}
	set, unset := c.lists()
	err := errors.Join(o.proxy.Unset(unset), o.proxy.Set(set))
	o.n.Counters.Set(counterForwards, int64(len(o.forwards.has)))
	if err == nil {
		return
	}
	for k := range c.set {
		delete(o.forwards.has, k) // to be set again, whether or not it is there
	}
	o.compare, o.failed = true, time.Now()
	o.n.Counters.Sum(counterApply, 1)
	o.n.Log.Warn("the kernel refuses where packets for endpoints are to go; it is tried again", zap.Error(err))
}
