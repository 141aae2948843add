package chaos

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"openr/lab"
)

// sourcesPerFlow is how many source ports a flow uses in turn, so that it takes several of the equal paths.
const sourcesPerFlow = 4

// traffic is the traffic matrix: numbered packets between pairs of nodes, all the time.
type traffic struct {
	interval time.Duration // between the packets of a flow
	flows    []*flow
	stop     chan struct{}
	work     sync.WaitGroup
}

// flow is the packets of one family from one node to another.
type flow struct {
	from, to int
	name     string
	sources  [sourcesPerFlow]*net.UDPConn
	sink     *net.UDPConn
	target   netip.AddrPort

	mu    sync.Mutex
	base  uint64 // number of the first packet not judged yet
	sent  []time.Time
	got   []bool
	twice int
}

// startTraffic starts the packets between the given pairs of nodes.
func startTraffic(t *testing.T, l *lab.Lab, pairs [][2]int, rate int) *traffic {
	t.Helper()
	tr := &traffic{interval: time.Second / time.Duration(rate), stop: make(chan struct{})}
	for _, p := range pairs {
		a6, a4 := lab.Loopbacks(p[0])
		b6, b4 := lab.Loopbacks(p[1])
		for _, ends := range [][2]netip.Addr{{a6.Addr(), b6.Addr()}, {a4.Addr(), b4.Addr()}} {
			f, err := newFlow(l, p, ends[0], ends[1])
			if err != nil {
				t.Fatal(err)
			}
			tr.flows = append(tr.flows, f)
			tr.work.Go(f.receive)
		}
	}
	tr.work.Go(tr.send)
	t.Cleanup(tr.end)
	return tr
}

func newFlow(l *lab.Lab, pair [2]int, from, to netip.Addr) (*flow, error) {
	f := &flow{from: pair[0], to: pair[1], name: fmt.Sprintf("n%d to n%d (%v)", pair[0], pair[1], to)}
	err := l.Do(f.to, func() (err error) {
		f.sink, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 0)))
		return err
	})
	if err != nil {
		return nil, err
	}
	f.target = f.sink.LocalAddr().(*net.UDPAddr).AddrPort()
	if raw, err := f.sink.SyscallConn(); err == nil {
		err = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
		if err != nil {
			return nil, err
		}
	}
	for i := range f.sources {
		err := l.Do(f.from, func() (err error) {
			f.sources[i], err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// send sends a packet of every flow each interval. After a pause of this process it goes on from there: what was left out was
// not sent, so it is not lost either.
func (tr *traffic) send() {
	tick := time.NewTicker(tr.interval)
	defer tick.Stop()
	var b [8]byte
	for {
		select {
		case <-tr.stop:
			return
		case <-tick.C:
		}
		for _, f := range tr.flows {
			f.mu.Lock()
			number := f.base + uint64(len(f.sent))
			f.sent, f.got = append(f.sent, time.Now()), append(f.got, false)
			f.mu.Unlock()
			binary.BigEndian.PutUint64(b[:], number)
			// An error (no route, say) is a packet that does not arrive.
			_, _ = f.sources[number%sourcesPerFlow].WriteToUDPAddrPort(b[:], f.target)
		}
	}
}

func (f *flow) receive() {
	var b [16]byte
	for {
		n, _, err := f.sink.ReadFromUDPAddrPort(b[:])
		if err != nil {
			return
		}
		if n != 8 {
			continue
		}
		number := binary.BigEndian.Uint64(b[:])
		f.mu.Lock()
		if at := number - f.base; number >= f.base && at < uint64(len(f.got)) {
			if f.got[at] {
				f.twice++
			}
			f.got[at] = true
		}
		f.mu.Unlock()
	}
}

func (tr *traffic) end() {
	select {
	case <-tr.stop:
		return
	default:
	}
	close(tr.stop)
	for _, f := range tr.flows {
		_ = f.sink.Close()
	}
	tr.work.Wait()
	for _, f := range tr.flows {
		for _, s := range f.sources {
			_ = s.Close()
		}
	}
}

// loss is what the traffic has lost in some time.
type loss struct {
	sent, lost, twice int
	worst             time.Duration // the longest time for which one source port's packets were lost
	flows             []string      // which, and when since the beginning of that time
}

// harvest judges the packets sent since the last call, of the flows that count; with the time that the losses are told by.
func (tr *traffic) harvest(since time.Time, counts func(from, to int) bool) (l loss) {
	ends := make([]int, len(tr.flows))
	for i, f := range tr.flows {
		f.mu.Lock()
		ends[i] = len(f.sent)
		f.mu.Unlock()
	}
	// What was sent last is on its way. What comes later than this was lost, for all that people care.
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline) && !tr.arrived(ends, counts); time.Sleep(20 * time.Millisecond) {
	}
	for i, f := range tr.flows {
		f.mu.Lock()
		sent, got := f.sent[:ends[i]], f.got[:ends[i]]
		if counts(f.from, f.to) {
			l.sent += len(sent)
			l.twice += f.twice
			l.add(f, sent, got, since, tr.interval)
		}
		f.base += uint64(ends[i])
		f.sent, f.got, f.twice = append([]time.Time(nil), f.sent[ends[i]:]...), append([]bool(nil), f.got[ends[i]:]...), 0
		f.mu.Unlock()
	}
	return l
}

// arrived reports whether the last packets of each flow came; if they did not, more waiting will tell.
func (tr *traffic) arrived(ends []int, counts func(from, to int) bool) bool {
	for i, f := range tr.flows {
		if !counts(f.from, f.to) {
			continue
		}
		f.mu.Lock()
		from := max(0, ends[i]-64)
		for _, ok := range f.got[from:ends[i]] {
			if !ok {
				f.mu.Unlock()
				return false
			}
		}
		f.mu.Unlock()
	}
	return true
}

// add counts what a flow has lost.
func (l *loss) add(f *flow, sent []time.Time, got []bool, since time.Time, interval time.Duration) {
	var bySource [sourcesPerFlow]int
	lost := 0
	var first, last time.Duration
	for i, ok := range got {
		if ok {
			continue
		}
		at := sent[i].Sub(since)
		if lost == 0 {
			first = at
		}
		last = at
		lost++
		bySource[(f.base+uint64(i))%sourcesPerFlow]++
	}
	if lost == 0 {
		return
	}
	l.lost += lost
	for _, n := range bySource {
		l.worst = max(l.worst, time.Duration(n)*interval*sourcesPerFlow)
	}
	l.flows = append(l.flows, fmt.Sprintf("%s: %d packets (by source port %v) from %v to %v", f.name, lost, bySource,
		first.Round(time.Millisecond), last.Round(time.Millisecond)))
}
