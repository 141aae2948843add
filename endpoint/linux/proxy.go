package linux

import (
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
)

// ProxyOptions are what a Proxy needs from outside.
type ProxyOptions struct {
	// TEPs are the anycast tunnel addresses of the spines, at most one of each family. Announce them to the underlay only
	// when the Proxy knows the endpoints: what it does not know it drops.
	TEPs []netip.Addr
	// Port is the UDP port of VXLAN in this fabric; 0: VXLANPort.
	Port uint16
	// Missed is called for frames to unknown endpoints, not more often than MissRate allows, by one goroutine. Optional.
	Missed func(Miss)

	Log      *zap.Logger       // optional
	Counters *monitor.Counters // optional
}

// MissRate is how many misses per second are told; as many may come at once. The frames are dropped in any case.
const MissRate = 1000

// Proxy is the Linux kernel below one spine: packets to the anycast tunnel address go on to the leaf that has the endpoint,
// with the outer source left as it is.
type Proxy struct {
	counters *monitor.Counters
	missed   func(Miss)
	listener *os.File
	raw      syscall.RawConn
	ended    chan struct{}
	done     sync.WaitGroup

	mu    sync.Mutex // guards what follows
	relay *relay
}

// NewProxy opens the sockets in the network namespace of the calling thread. What an earlier run has left in the kernel
// stays: see Found.
func NewProxy(o ProxyOptions) (_ *Proxy, err error) {
	if len(o.TEPs) == 0 {
		return nil, errors.New("a proxy needs a tunnel address")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	p := &Proxy{counters: o.Counters, missed: o.Missed, ended: make(chan struct{})}
	if p.relay, err = newRelay(proxyRelay, o.TEPs, o.Port, o.Log); err != nil {
		return nil, err
	}
	if p.missed == nil {
		return p, nil
	}
	if err = p.listen(); err != nil {
		p.Close()
		return nil, err
	}
	p.done.Add(1)
	go func() { defer crash.Guard(); p.hear() }()
	return p, nil
}

// Close closes the sockets. The kernel goes on sending packets to where it was told.
func (p *Proxy) Close() {
	close(p.ended)
	if p.listener != nil {
		_ = p.listener.Close()
	}
	p.done.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.relay.close()
}

// Set has packets for endpoints go to their tunnel addresses, whatever was said before. If the kernel refuses, an error
// says why; up to thousands of those at the end of the list are not in place then.
func (p *Proxy) Set(list []Forward) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.relay.set(list)
}

// Unset has packets for endpoints dropped, as those for endpoints never heard of.
func (p *Proxy) Unset(keys []endpoint.Key) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.relay.unset(keys)
}

// Found returns where packets go now: after NewProxy, what an earlier run has left. The order is undefined.
func (p *Proxy) Found() ([]Forward, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.relay.list()
}

// Packets returns how many packets were sent on and how many dropped since the relay was first set up.
func (p *Proxy) Packets() (sent, dropped uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.relay.counted()
}

// listen subscribes to what the relay drops.
func (p *Proxy) listen() error {
	fd, _, err := rtnl.Open(unix.NETLINK_NETFILTER, unix.SOCK_NONBLOCK, requestBuffer, tapBuffer)
	if err != nil {
		return err
	}
	p.listener = os.NewFile(uintptr(fd), "nflog")
	if p.raw, err = p.listener.SyscallConn(); err != nil {
		return err
	}
	c := rtnl.Conn{FD: fd}
	_ = unix.SetNonblock(fd, false) // the answers come at once
	var failure error
	err = c.Exchange(appendListen(nil, 1, missGroup), 1, 2, func(_ int, why rtnl.Error) { failure = why })
	if err := errors.Join(err, failure, unix.SetNonblock(fd, true)); err != nil {
		return fmt.Errorf("failed to listen to NFLOG group %d: %w", missGroup, err)
	}
	return nil
}

// hear reads misses until the listener is closed.
func (p *Proxy) hear() {
	defer p.done.Done()
	buf := make([]byte, rtnl.ReadBuffer)
	limit := bucket{rate: MissRate, burst: MissRate}
	for {
		n := 0
		var failure error
		err := p.raw.Read(func(fd uintptr) bool {
			n, failure = unix.Read(int(fd), buf)
			return !errors.Is(failure, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		if failure != nil {
			p.counters.Count(counterMissesLost)
			continue
		}
		var pause time.Duration
		rtnl.EachMessage(buf[:n], func(h unix.NlMsghdr, payload []byte) bool {
			packet := parseLogged(h, payload)
			if packet == nil {
				return true
			}
			m, err := parseMiss(packet)
			if err != nil {
				p.counters.Sum(counterMalformed, 1)
				return true
			}
			p.counters.Sum(counterMisses, 1)
			p.missed(m)
			pause = max(pause, limit.take(time.Now()))
			return true
		})
		if pause > 0 { // what comes meanwhile is lost, and comes again if it matters
			select {
			case <-time.After(pause):
			case <-p.ended:
				return
			}
		}
	}
}
