package linux

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/crash"
	"openr/internal/rtnl"
	"openr/monitor"
	"openr/queue"
)

// Domain is a bridge domain: a bridge without VLAN filtering, and a vxlan device that is one of its ports. All its other
// ports are access ports. Devices may come and go; what is set on them here is set again.
type Domain struct {
	BD     endpoint.BD // the VXLAN network identifier of the vxlan device
	Bridge string      // name of the bridge
	VXLAN  string      // name of the vxlan device

	// Idle is for how long a local endpoint may be silent until the kernel tells (endpoint.Idle), and after which it deletes
	// one that nobody has programmed: the bridge's ageing time. At least 10 ms, in steps of that.
	Idle time.Duration
	// Proxy is the address to which frames for unknown endpoints go: the spines' anycast tunnel address. Invalid: nowhere.
	Proxy netip.Addr
	// Suppress has the vxlan port answer ARP and neighbour solicitations for remote endpoints instead of sending them on.
	Suppress bool
	// Senders are addresses that probes give as theirs, at most one of each family: the domain's gateway. Without, ARP goes
	// without a sender (RFC 5227) and neighbour solicitations have a link-local one.
	Senders []netip.Addr
	// Limit is how many local endpoints are reported; 0: DefaultLimit. The kernel learns no more either (Linux 6.7).
	Limit int
}

// DefaultLimit is the number of local endpoints of a domain of which nothing else is said.
const DefaultLimit = 65536

func (d *Domain) limit() int {
	if d.Limit == 0 {
		return DefaultLimit
	}
	return d.Limit
}

func (d *Domain) sender(target netip.Addr) netip.Addr {
	for _, s := range d.Senders {
		if s.Is4() == target.Is4() {
			return s
		}
	}
	return netip.Addr{}
}

func (d *Domain) validate() error {
	switch {
	case d.BD == 0 || d.BD > endpoint.MaxBD:
		return fmt.Errorf("bridge domain %d: want 1-%d", d.BD, endpoint.MaxBD)
	case d.Bridge == "" || d.VXLAN == "" || d.Bridge == d.VXLAN:
		return fmt.Errorf("bridge domain %d: bridge %q and vxlan device %q: want the names of two devices", d.BD, d.Bridge, d.VXLAN)
	case d.Idle < 10*time.Millisecond || d.Idle > 24*time.Hour:
		return fmt.Errorf("bridge domain %d: idle time %v: want 10 ms to 24 h", d.BD, d.Idle)
	case d.Proxy.IsValid() && !endpoint.ValidTEP(d.Proxy):
		return fmt.Errorf("bridge domain %d: proxy %v: want a unicast tunnel address", d.BD, d.Proxy)
	case d.Limit < 0:
		return fmt.Errorf("bridge domain %d: limit %d: want at least 1, or 0 for %d", d.BD, d.Limit, DefaultLimit)
	}
	return nil
}

// Options are what a Kernel needs from outside.
type Options struct {
	Domains []Domain
	// Events takes what happens. Make it with NewEvents.
	Events *queue.Queue[[]endpoint.Event]
	// Bounce are this leaf's tunnel addresses, at most one of each family: packets that arrive there for endpoints which have
	// moved are sent on (endpoint.BounceOn). None: they are not.
	Bounce []netip.Addr
	// Port is the UDP port of the vxlan devices; 0: VXLANPort.
	Port uint16

	Log      *zap.Logger       // optional
	Counters *monitor.Counters // optional
}

const (
	requestBuffer = 2 << 20  // bytes of a batch, with the kernel's own overhead, and of its answers
	listenBuffer  = 32 << 20 // bytes of notifications that may wait: a storm of 1 s fits
)

// Kernel is the Linux kernel below one leaf: it tells what the kernel learns, and carries out actions. Its methods may be
// called by several goroutines.
type Kernel struct {
	log      *zap.Logger
	counters *monitor.Counters
	events   *queue.Queue[[]endpoint.Event]
	space    namespace
	bounce   *relay // nil: none

	listener *os.File // notifications
	raw      syscall.RawConn
	buf      []byte

	mu     sync.Mutex // guards what follows
	learn  *learner
	taps   map[uint32]*tap
	books  books
	req    *rtnl.Conn
	fill   batch
	sender int // AF_PACKET socket for probes
	closed bool

	done sync.WaitGroup
}

// New opens the sockets in the network namespace of the calling thread, sets the domains' devices as far as they are there,
// and reads who is behind the access ports: that is told as endpoint.Learned, or endpoint.Pinned, and nothing of it is deleted.
// After that everything that happens is told. An error names what could not be had; nothing is left open then.
func New(o Options) (_ *Kernel, err error) {
	if o.Events == nil {
		return nil, errors.New("a queue for events is needed")
	}
	seen := map[endpoint.BD]bool{}
	for i := range o.Domains {
		d := &o.Domains[i]
		if err := d.validate(); err != nil {
			return nil, err
		}
		if seen[d.BD] {
			return nil, fmt.Errorf("bridge domain %d is given twice", d.BD)
		}
		seen[d.BD] = true
	}
	k := &Kernel{
		log: o.Log, counters: o.Counters, events: o.Events, buf: make([]byte, rtnl.ReadBuffer),
		learn: newLearner(o.Domains), taps: map[uint32]*tap{}, books: newBooks(), sender: -1,
	}
	if k.log == nil {
		k.log = zap.NewNop()
	}
	defer func() {
		if err != nil {
			k.release()
		}
	}()
	if k.space, err = currentNamespace(); err != nil {
		return nil, err
	}
	if k.req, err = rtnl.Dial(unix.NETLINK_ROUTE, requestBuffer, requestBuffer); err != nil {
		return nil, err
	}
	// Protocol 0: it only sends.
	if k.sender, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("failed to open a packet socket for probes: %w", err)
	}
	if len(o.Bounce) > 0 {
		if k.bounce, err = newRelay(bounceRelay, o.Bounce, o.Port, k.log); err != nil {
			return nil, err
		}
	}
	if err = k.listen(); err != nil {
		return nil, err
	}
	k.mu.Lock()
	err = k.readAll()
	k.learn.started = true
	k.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, d := range k.learn.domains {
		if !d.joined {
			k.log.Warn("a domain waits for its devices; the vxlan device must be a port of the bridge, with the domain's network identifier",
				zap.Uint32("domain", uint32(d.BD)), zap.String("bridge", d.Bridge), zap.String("vxlan", d.VXLAN))
		}
	}
	k.done.Add(1)
	go func() { defer crash.Guard(); k.follow() }()
	return k, nil
}

// Close stops listening and closes the sockets. Everything stays in the kernel as it is, for the next run to find.
func (k *Kernel) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	_ = k.listener.Close()
	k.mu.Lock()
	taps := k.taps
	k.taps = map[uint32]*tap{}
	k.mu.Unlock()
	for _, t := range taps {
		t.close()
	}
	k.done.Wait()
	k.release()
}

func (k *Kernel) release() {
	for _, t := range k.taps {
		t.close()
	}
	k.done.Wait()
	if k.listener != nil {
		_ = k.listener.Close()
	}
	_ = k.req.Close()
	if k.sender >= 0 {
		_ = unix.Close(k.sender)
	}
	k.bounce.close()
	k.space.close()
}

// Failure is an action that could not be carried out.
type Failure struct {
	Action endpoint.Action
	Err    error
}

func (f Failure) Error() string {
	what := f.Action.Kind.String()
	if f.Action.Key != (endpoint.Key{}) {
		what += " " + f.Action.Key.String()
	}
	for _, s := range []string{f.Action.Port, addrText(f.Action.TEP), addrText(f.Action.IP)} {
		if s != "" {
			what += " " + s
		}
	}
	return what + ": " + f.Err.Error()
}

// Unwrap returns the reason, which may be an errno of the kernel.
func (f Failure) Unwrap() error { return f.Err }

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

var errClosed = errors.New("the kernel's sockets are closed")

// Apply carries out actions in their order, but those about bounces last; those that are no business of the kernel (endpoint.Publish, endpoint.Notify and
// so on) are skipped. It returns those that failed. An error means that it is not known which were carried out: the socket is
// broken, its answers were lost, or ctx ended in between. They may be repeated; what stands at the access ports is told anew
// where it is not what was asked for.
func (k *Kernel) Apply(ctx context.Context, actions []endpoint.Action) ([]Failure, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed
	}
	p := applier{k: k, ctx: ctx}
	err := p.all(actions)
	switch {
	case k.closed:
		return p.failed, errClosed
	case err != nil:
		return p.failed, errors.Join(err, k.readAll())
	}
	p.bounce()
	return p.failed, nil
}
