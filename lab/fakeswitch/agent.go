package fakeswitch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netns"
	"go.uber.org/zap"

	"openr/thrift/gen/platform"
	"openr/thrift/rpc"
)

// VLAN is a port with its TUN interface.
type VLAN struct {
	ID   int    // 1 .. 4094
	Port string // name of the interface that plays the port; it may come later, go and come again
}

// Options say what the agent is.
type Options struct {
	Listen  string // host:port of the FibService
	Control string // path of the control socket; empty: none
	VLANs   []VLAN

	// Table is the routing table that plays the hardware's, in the network namespace in which New is called; 254 is the main
	// one. 0: routes are only remembered.
	Table int
	// NoDump makes getRouteTableByClient an unknown method.
	NoDump bool

	Log *zap.Logger // nil: no log
}

// Agent is the switch agent. Its methods may be called from any goroutine.
type Agent struct {
	o       Options
	log     *zap.Logger
	ns      netns.NsHandle
	table   *table
	restart chan Restart

	mu       sync.Mutex // guards what follows
	since    int64      // aliveSince
	state    platform.SwitchRunState
	fail     []netip.Prefix
	refuse   bool
	hang     chan struct{} // closed when the agent no longer hangs; nil: it does not
	vlans    []*vlan
	address  net.Addr
	calls    map[string]int // calls since the start, by method
	restarts int
}

// Restart says how the agent restarts.
type Restart struct {
	Down time.Duration // how long it is away
	Warm bool          // routes stay, as in a warm start; the TUN interfaces go in any case
	done chan struct{}
}

// New makes an agent in the network namespace of the calling thread. It does nothing before Run.
func New(o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	for _, v := range o.VLANs {
		if v.ID < 1 || v.ID > 4094 {
			return nil, fmt.Errorf("VLAN %d: want a number from 1 to 4094", v.ID)
		}
		if v.Port == "" || len(v.Port) > 15 {
			return nil, fmt.Errorf("VLAN %d: port %q: want the name of an interface", v.ID, v.Port)
		}
	}
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("failed to open the network namespace: %w", err)
	}
	a := &Agent{o: o, log: o.Log, ns: ns, restart: make(chan Restart), state: platform.SwitchRunState_CONFIGURED, calls: map[string]int{}}
	if a.table, err = newTable(o.Table); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return a, nil
}

// inside runs f on a thread of its own in the agent's namespace.
func (a *Agent) inside(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(a.ns); err != nil {
			done <- fmt.Errorf("failed to enter the network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}

// Run runs the agent until ctx ends. ready, if not nil, is called when the FibService can be reached for the first time.
// When it ends the routes are taken out. Call it once.
func (a *Agent) Run(ctx context.Context, ready func(net.Addr)) error {
	defer func() {
		a.Hang(false)
		a.table.clear()
		a.table.close()
		_ = a.ns.Close()
	}()
	if a.o.Control != "" {
		stop, err := a.serveControl(a.o.Control)
		if err != nil {
			return err
		}
		defer stop()
	}
	var pending Restart
	for ctx.Err() == nil {
		next, err := a.live(ctx, func(address net.Addr) {
			if ready != nil {
				ready(address)
				ready = nil
			}
			if pending.done != nil {
				close(pending.done)
				pending.done = nil
			}
		})
		if pending.done != nil {
			close(pending.done)
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
		pending = next
		if !next.Warm {
			a.table.clear()
		}
		select {
		case <-time.After(next.Down):
		case <-ctx.Done():
		}
	}
	return nil
}

// live is one life of the agent, which ends with ctx or a restart.
func (a *Agent) live(ctx context.Context, ready func(net.Addr)) (next Restart, err error) {
	life, end := context.WithCancel(ctx)
	defer end()
	a.mu.Lock()
	a.since = max(time.Now().Unix(), a.since+1)
	listen := a.o.Listen
	if a.address != nil {
		listen = a.address.String() // port 0 was asked for the first time
	}
	a.mu.Unlock()

	vlans, err := a.openVLANs(life)
	if err != nil {
		return next, err
	}
	defer vlans.close()
	l, err := rpc.Listen(life, listen, 0)
	if err != nil {
		return next, err
	}
	a.mu.Lock()
	a.address = l.Addr()
	a.mu.Unlock()
	served := make(chan error, 1)
	server := &rpc.Server{Service: a.service(), Log: a.log.Named("rpc")}
	go func() { served <- server.Serve(life, l) }()
	ready(l.Addr())
	a.log.Info("the switch agent runs", zap.Stringer("listening", l.Addr()), zap.Int("vlans", len(a.o.VLANs)))
	select {
	case <-ctx.Done():
	case next = <-a.restart:
		a.log.Info("restarting", zap.Duration("down", next.Down), zap.Bool("warm", next.Warm))
	case err := <-served:
		return next, err
	}
	a.Hang(false)
	end()
	return next, <-served
}

// Restart ends the agent's life and returns when the next one has begun; faults stay, except that it no longer hangs.
func (a *Agent) Restart(ctx context.Context, r Restart) error {
	r.done = make(chan struct{})
	select {
	case a.restart <- r:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-r.done:
		a.mu.Lock()
		a.restarts++
		a.mu.Unlock()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Fail makes all routes fail that lie in one of the prefixes, instead of those of the last call.
func (a *Agent) Fail(prefixes ...netip.Prefix) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = prefixes
}

// Refuse makes all calls about routes fail.
func (a *Agent) Refuse(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse = on
}

// Hang makes the agent answer no calls, or answer all that wait.
func (a *Agent) Hang(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case on && a.hang == nil:
		a.hang = make(chan struct{})
	case !on && a.hang != nil:
		close(a.hang)
		a.hang = nil
	}
}

// Forget takes out all routes, as if somebody else had.
func (a *Agent) Forget() { a.table.clear() }

// SetRunState sets what getSwitchRunState returns.
func (a *Agent) SetRunState(s platform.SwitchRunState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.state = s
}

// Routes returns a client's routes, by prefix, with their next hops as "address interface weight" in the order received.
func (a *Agent) Routes(client int16) map[netip.Prefix][]string { return a.table.routes(client) }

// Calls returns how often a method of FibService was called since the start.
func (a *Agent) Calls(method string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls[method]
}
