package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/endpoint/linux"
	"openr/internal/crash"
	"openr/queue"
)

// kernel is what a leaf asks of linux.Kernel.
type kernel interface {
	Apply(ctx context.Context, actions []endpoint.Action) ([]linux.Failure, error)
	Found() ([]endpoint.Action, error)
	Close()
}

// leaf is this node in the role of a leaf. Its goroutine owns all of it but the queues.
type leaf struct {
	n      *Node
	core   *endpoint.Core
	kernel kernel
	client *coop.Client
	strict bool
	member coop.Member

	events  *queue.Queue[[]endpoint.Event] // of the kernel
	news    *queue.Queue[[]endpoint.Event] // of the directory
	answers *queue.Queue[[]*coop.Answer]
	calls   *queue.Calls
	facts   *queue.Queue[*facts]

	told     *facts
	adopted  *adoption
	retry    map[endpoint.Key]bool // what the kernel has refused
	askers   map[coop.Query][]chan<- *coop.Answer
	todo     []endpoint.Action
	lookups  []coop.Query
	lastTold time.Time // of failures
}

const (
	choreEvery  = time.Second // between looks at what is to be tried again
	maxRetries  = 1024        // at a time
	failureNote = time.Minute // between two log messages about what the kernel refuses
)

func (n *Node) runLeaf(ctx context.Context) (err error) {
	transport, key, err := n.transport()
	if err != nil {
		return err
	}
	cfg, err := coreConfig(n.cfg)
	if err != nil {
		return err
	}
	epoch := newEpoch()
	l := &leaf{
		n: n, strict: n.strict(), events: linux.NewEvents(n.Counters), news: newNews(n.Counters),
		answers: queue.New(func(a, b []*coop.Answer) []*coop.Answer { return append(a, b...) }),
		calls:   queue.NewCalls(), told: &facts{}, retry: map[endpoint.Key]bool{}, askers: map[coop.Query][]chan<- *coop.Answer{},
		member: coop.Member{Node: n.Config.NodeName, Role: coop.RoleLeaf, TEPs: n.cfg.TEPs, Epoch: epoch, Key: key, Domains: domainsOf(n.cfg)},
	}
	defer l.calls.Stop()
	log := n.Log.Named("leaf")
	l.core, err = endpoint.New(endpoint.Options{Config: cfg, Node: n.Config.NodeName, TEP: n.cfg.TEPs[0], Epoch: epoch, Log: log, Counters: n.Counters})
	if err != nil {
		return err
	}
	l.client, err = coop.NewClient(coop.ClientOptions{
		Citizen: coop.CitizenOptions{Node: n.Config.NodeName, Area: n.area, Epoch: epoch, TEPs: n.cfg.TEPs, Refresh: -1, Log: log, Counters: n.Counters},
		// The core refreshes what it has published.
		Transport: transport,
		OnEvent:   func(e endpoint.Event) { l.news.Push([]endpoint.Event{e}) },
		OnAnswer:  func(a *coop.Answer) { l.answers.Push([]*coop.Answer{a}) },
	})
	if err != nil {
		return err
	}
	l.kernel, err = n.openKernel(linux.Options{Domains: kernelDomains(n.cfg), Events: l.events, Bounce: n.cfg.TEPs, Port: uint16(n.cfg.VXLANPort), Log: log, Counters: n.Counters})
	if err != nil {
		return err
	}
	defer l.kernel.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer crash.Guard()
		defer close(done)
		cancel(fmt.Errorf("the sessions with oracles ended: %w", guarded(ctx, l.client.Run)))
	}()
	defer func() {
		cancel(context.Canceled)
		<-done
	}()
	if err := l.begin(ctx); err != nil {
		return err
	}
	l.facts = n.listen(roleLeaf)
	n.setLeaf(l)
	defer n.setLeaf(nil)
	n.tell(l.member)
	return l.loop(ctx)
}

func (n *Node) setLeaf(l *leaf) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leaf = l
}

// begin takes over what stands in the kernel, before anything is asked of it.
func (l *leaf) begin(ctx context.Context) error {
	if err := l.client.SetInterest(ctx, l.member.Domains); err != nil {
		return err
	}
	found, err := l.kernel.Found()
	if err != nil {
		return err
	}
	l.adopted = &adoption{}
	found = slices.DeleteFunc(found, l.pinned)
	var todo []endpoint.Action
	l.adopted, todo = adopt(found)
	l.todo = append(l.todo, todo...)
	l.takeEvents()
	if err := l.apply(ctx); err != nil {
		return err
	}
	return l.client.Complete(ctx)
}

// pinned reports whether what was found is an endpoint behind another leaf that stays pinned.
func (l *leaf) pinned(f endpoint.Action) bool {
	if f.Kind != endpoint.FreezeMAC {
		return false
	}
	r := &endpoint.Record{Key: f.Key, TEP: f.TEP}
	for _, a := range f.IPs {
		r.IPs = append(r.IPs, endpoint.IP{Addr: a})
	}
	l.handle(endpoint.Event{Kind: endpoint.Pinned, Key: f.Key, TEP: f.TEP, For: f.For, Record: r})
	_, there := l.core.Lookup(f.Key)
	return there
}

// loop works until ctx ends or the kernel cannot be told any more.
func (l *leaf) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	chores := time.NewTicker(choreEvery)
	defer chores.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.events.C():
			l.takeEvents()
		case <-l.news.C():
			if events, ok := l.news.Take(); ok {
				for i := range events {
					l.handle(events[i])
				}
			}
		case <-l.answers.C():
			if list, ok := l.answers.Take(); ok {
				for _, a := range list {
					l.answered(a)
				}
			}
		case <-l.facts.C():
			if f, ok := l.facts.Take(); ok {
				if err := l.learn(ctx, f); err != nil {
					return err
				}
			}
		case <-chores.C:
			if err := l.chores(ctx); err != nil {
				return err
			}
		case <-timer.C:
			l.handle(endpoint.Event{Kind: endpoint.Tick})
		case call := <-l.calls.C():
			call()
		}
		if err := l.apply(ctx); err != nil {
			return err
		}
		if err := l.ask(ctx); err != nil {
			return err
		}
		timer.Stop()
		if next, any := l.core.NextDeadline(); any {
			timer.Reset(max(0, time.Until(next)))
		}
	}
}

func (l *leaf) takeEvents() {
	if events, ok := l.events.Take(); ok {
		for i := range events {
			l.handle(events[i])
		}
	}
}

// handle has the core decide about an event.
func (l *leaf) handle(e endpoint.Event) {
	if e.Kind == endpoint.FromDirectory && e.Record != nil && e.Record.Publisher == l.member.Node { // what an earlier run has said
		l.carryOut(l.core.Recall(time.Now(), e.Record))
		return
	}
	l.carryOut(l.core.Handle(time.Now(), e))
}

// carryOut does what is no business of the kernel, and has the rest wait for it.
func (l *leaf) carryOut(actions []endpoint.Action) {
	l.todo = append(l.todo, l.adopted.heed(actions)...)
	for i := range actions {
		a := &actions[i]
		switch a.Kind {
		case endpoint.Publish, endpoint.Withdraw:
			l.client.Publish(a.Record, a.Cause)
		case endpoint.Lookup:
			l.lookups = append(l.lookups, coop.Query{Key: endpoint.Key{BD: a.BD}, VRF: a.VRF, IP: a.IP})
		case endpoint.Notify:
			l.n.history.add(*a.Change)
		case endpoint.FaultRaised:
			l.n.Log.Warn("fault: " + a.Fault.String())
		case endpoint.FaultCleared:
			l.n.Log.Info("no longer: " + a.Fault.String())
		default:
			l.todo = append(l.todo, *a)
		}
	}
}

// apply tells the kernel what is to be done. What it refuses is tried again later.
func (l *leaf) apply(ctx context.Context) error {
	if len(l.todo) == 0 {
		return nil
	}
	failed, err := l.kernel.Apply(ctx, l.todo)
	if err != nil && ctx.Err() == nil {
		failed, err = l.kernel.Apply(ctx, l.todo)
	}
	clear(l.todo)
	l.todo = l.todo[:0]
	if err != nil {
		return fmt.Errorf("failed to program the kernel: %w", err)
	}
	for _, f := range failed {
		switch f.Action.Kind {
		case endpoint.ProgramLocal, endpoint.ProgramRemote, endpoint.Remove, endpoint.FreezeMAC, endpoint.BounceOn:
			l.retry[f.Action.Key] = true
		}
	}
	if len(failed) > 0 {
		l.n.Counters.Sum(counterApply, int64(len(failed)))
		if now := time.Now(); now.Sub(l.lastTold) >= failureNote {
			l.lastTold = now
			l.n.Log.Warn("the kernel refuses some of what it is told; it is tried again", zap.Int("number", len(failed)), zap.Error(failed[0]))
		}
	}
	return nil
}

// ask asks the directory what the core wants to know. A record that it finds comes as news.
func (l *leaf) ask(ctx context.Context) error {
	for _, q := range l.lookups {
		if err := l.client.Lookup(ctx, q); err != nil {
			return err
		}
	}
	l.lookups = l.lookups[:0]
	return nil
}

// learn takes news of the members.
func (l *leaf) learn(ctx context.Context, f *facts) error {
	d := differ(l.told, f, func(m *coop.Member) bool { return dials(m, l.strict) })
	l.told = f
	for i := range d.remove {
		if err := l.client.RemoveOracle(ctx, d.remove[i].Node); err != nil {
			return err
		}
	}
	for i := range d.set {
		if err := l.client.SetOracle(ctx, d.set[i]); err != nil {
			if errors.Is(err, queue.ErrStopped) || ctx.Err() != nil {
				return err
			}
			l.n.Log.Warn("no session with an oracle", zap.String("oracle", d.set[i].Node), zap.Error(err))
		}
	}
	l.core.SetDrained(f.drainedTEPs())
	if l.member.Drained != f.drained {
		l.member.Drained = f.drained
		l.n.tell(l.member)
	}
	return nil
}

// chores does what waits for a better time.
func (l *leaf) chores(ctx context.Context) error {
	n := 0
	for k := range l.retry {
		if n++; n > maxRetries {
			break
		}
		delete(l.retry, k)
		v, there := l.core.Lookup(k)
		l.todo = append(l.todo, programOf(k, v, there, time.Now())...)
	}
	l.n.Counters.Set(counterAdopted, int64(len(l.adopted.left)))
	if len(l.adopted.left) == 0 {
		return nil
	}
	ready := false
	if err := l.client.Do(ctx, func(c *coop.Citizen) {
		for _, s := range c.Links() {
			ready = ready || s.Feed && s.Accepted && s.Ready
		}
	}); err != nil {
		return err
	}
	for _, k := range l.adopted.ask(time.Now(), ready) {
		if err := l.client.Lookup(ctx, coop.Query{Key: k}); err != nil {
			return err
		}
	}
	return nil
}

// programOf returns what has the kernel do about an endpoint what the core wants.
func programOf(k endpoint.Key, v endpoint.View, there bool, now time.Time) []endpoint.Action {
	a := endpoint.Action{Kind: endpoint.Remove, Key: k}
	if !there {
		return []endpoint.Action{a}
	}
	a.Port, a.VLAN, a.TEP = v.Place.Port, v.Place.VLAN, v.Place.TEP
	for _, ip := range v.IPs {
		a.IPs = append(a.IPs, ip.Addr)
	}
	switch {
	case v.State == endpoint.Frozen:
		a.Kind = endpoint.FreezeMAC
	case v.State.IsLocal():
		a.Kind, a.IPs = endpoint.ProgramLocal, nil
	default:
		a.Kind = endpoint.ProgramRemote
	}
	out := []endpoint.Action{a}
	if v.State == endpoint.Bounce && v.Until.After(now) {
		out = append(out, endpoint.Action{Kind: endpoint.BounceOn, Key: k, TEP: a.TEP, For: v.Until.Sub(now)})
	}
	return out
}

// nobodyThere is the time to live of an answer that no oracle has given: there was none to ask.
const nobodyThere = 1

// answered takes what the directory says to a question.
func (l *leaf) answered(a *coop.Answer) {
	if a.Found == coop.FoundGleaning {
		return
	}
	for _, c := range l.askers[a.Query] {
		c <- a // has room
	}
	delete(l.askers, a.Query)
	if a.Found == coop.FoundNone && a.TTL > nobodyThere && !a.Query.IP.IsValid() {
		todo := l.adopted.nobody(a.Query.Key)
		l.n.Counters.Sum(counterRemoved, int64(len(todo)))
		l.todo = append(l.todo, todo...)
	}
}
