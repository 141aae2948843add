package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/crash"
	"openr/internal/rtnl"
)

const (
	tapBuffer = 256 << 10 // bytes of frames that may wait at one port
	tapRate   = 1000      // frames read per second and port
	tapBurst  = 1000      // frames read at once
)

// tap hears ARP and neighbour discovery at one access port. A tap of the bridge would miss what is for one host.
type tap struct {
	file *os.File
	raw  syscall.RawConn
	stop func()        // makes it end, without waiting for that
	done chan struct{} // closed when it has ended
}

// close ends the tap.
func (t *tap) close() {
	t.stop()
	<-t.done
}

// openTap begins to listen at a port. The caller holds the mutex.
func (k *Kernel) openTap(index uint32) error {
	fd := -1
	err := k.space.in(func() (err error) {
		// Protocol 0: nothing is heard before bind, and so nothing passes unfiltered or from elsewhere.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("failed to open a packet socket: %w", err)
	}
	rtnl.SetBuffers(fd, 0, tapBuffer)
	err = attach(fd, tapFilter())
	for _, option := range []int{unix.PACKET_IGNORE_OUTGOING, unix.PACKET_AUXDATA} {
		err = errors.Join(err, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_PACKET, option, 1)))
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: int(index)}))
	}
	if err != nil {
		_ = unix.Close(fd)
		if errors.Is(err, unix.ENODEV) {
			return nil // its end is about to be told
		}
		return fmt.Errorf("failed to listen at a port: %w", err)
	}
	ended := make(chan struct{})
	t := &tap{file: os.NewFile(uintptr(fd), "tap"), done: make(chan struct{})}
	t.stop = sync.OnceFunc(func() {
		close(ended)
		_ = t.file.Close()
	})
	if t.raw, err = t.file.SyscallConn(); err != nil {
		_ = t.file.Close()
		return err
	}
	k.taps[index] = t
	go func() { defer crash.Guard(); k.hear(t, index, ended) }()
	return nil
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// hear reads frames until the tap is closed. A port that has more of them than the rate is not listened to for a moment:
// what a loop sends costs the kernel's buffer, and what matters of the rest is said again.
func (k *Kernel) hear(t *tap, index uint32, ended <-chan struct{}) {
	defer close(t.done)
	buf, oob := make([]byte, tapLen), make([]byte, 64)
	limit := bucket{rate: tapRate, burst: tapBurst}
	for {
		n, control := 0, 0
		var failure error
		err := t.raw.Read(func(fd uintptr) bool {
			n, control, _, _, failure = unix.Recvmsg(int(fd), buf, oob, 0)
			return !errors.Is(failure, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		if failure != nil {
			continue // ENETDOWN: the port has gone down
		}
		k.frame(index, buf[:n], vlanOf(oob[:control]))
		if pause := limit.take(time.Now()); pause > 0 {
			k.counters.Count(counterTapPauses)
			select {
			case <-time.After(pause):
			case <-ended:
				return
			}
		}
	}
}

// frame takes in a frame of a tap.
func (k *Kernel) frame(index uint32, b []byte, vlan uint16) {
	k.counters.Sum(counterTapFrames, 1)
	s, err := parseFrame(b)
	switch {
	case errors.Is(err, errForged), errors.Is(err, errAddress):
		k.counters.Sum(counterForged, 1)
		return
	case err != nil:
		k.counters.Sum(counterMalformed, 1)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.learn.heard(index, s, vlan)
	k.pass()
}

// vlanOf returns the VLAN whose tag the kernel took off (struct tpacket_auxdata of linux/if_packet.h); 0: there was none.
func vlanOf(oob []byte) uint16 {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			continue
		}
		if status := binary.NativeEndian.Uint32(m.Data); status&unix.TP_STATUS_VLAN_VALID != 0 {
			return binary.NativeEndian.Uint16(m.Data[16:]) & 0xfff
		}
	}
	return 0
}

// bucket limits a rate: a burst may go at once.
type bucket struct {
	rate, burst float64
	left        float64
	last        time.Time
}

// take takes one, and returns how long to wait until a quarter of a burst may go; 0 if more may go now.
func (b *bucket) take(now time.Time) time.Duration {
	if b.last.IsZero() {
		b.left = b.burst
	} else {
		b.left = min(b.burst, b.left+now.Sub(b.last).Seconds()*b.rate)
	}
	b.last = now
	if b.left--; b.left >= 1 {
		return 0
	}
	return time.Duration((b.burst/4 - b.left) / b.rate * float64(time.Second))
}

// probe asks for an address: a host at its port, or all hosts of a domain.
func (k *Kernel) probe(a *endpoint.Action) error {
	d := k.learn.domain(a.BD)
	if d == nil || d.bridge == 0 {
		return errNoDomain
	}
	if !endpoint.ValidHostIP(a.IP) {
		return fmt.Errorf("address %v: want that of a host", a.IP)
	}
	ports := k.learn.portsOf(d)
	if a.Port != "" {
		index, err := k.portOf(a)
		if err != nil {
			return err
		}
		ports = []uint32{index}
	}
	// The bridge's own address: the answer to any other would be flooded, into the fabric too.
	from := k.learn.links[d.bridge].address
	frame := appendProbe(nil, from, a.MAC, d.sender(a.IP), a.IP)
	var failed error
	for _, index := range ports {
		failed = errors.Join(failed, k.inject(index, a.VLAN, frame, counterProbes))
	}
	return failed
}

// reply answers a host's question in the name of the endpoint that has the address.
func (k *Kernel) reply(a *endpoint.Action) error {
	if !endpoint.ValidHostIP(a.IP) || !endpoint.ValidHostIP(a.Asker.IP) || a.IP.Is4() != a.Asker.IP.Is4() || !a.MAC.IsHost() || !a.Asker.MAC.IsHost() {
		return fmt.Errorf("a reply of %v at %v to %v at %v: want addresses of hosts, of one family", a.IP, a.MAC, a.Asker.IP, a.Asker.MAC)
	}
	index, err := k.portOf(a)
	if err != nil {
		return err
	}
	return k.inject(index, a.VLAN, appendReply(nil, a.MAC, a.IP, a.Asker), counterReplies)
}

func (k *Kernel) portOf(a *endpoint.Action) (uint32, error) {
	index := k.learn.portByName(a.BD, a.Port)
	if index == 0 {
		return 0, fmt.Errorf("domain %d has no access port %q", a.BD, a.Port)
	}
	return index, nil
}

// inject sends a frame out of an access port that runs, past the bridge.
func (k *Kernel) inject(index uint32, vlan uint16, frame []byte, counter string) error {
	if p := k.learn.ports[index]; p == nil || !p.running {
		return nil
	}
	if vlan != 0 {
		frame = tag(frame, vlan)
	}
	err := unix.Sendto(k.sender, frame, 0, &unix.SockaddrLinklayer{Ifindex: int(index)})
	switch {
	case errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
	case err != nil:
		return os.NewSyscallError("sendto", err)
	default:
		k.counters.Sum(counter, 1)
	}
	return nil
}

// tag returns a frame with a VLAN tag (IEEE 802.1Q).
func tag(frame []byte, vlan uint16) []byte {
	out := make([]byte, 0, len(frame)+4)
	out = append(out, frame[:12]...)
	out = append(out, 0x81, 0, byte(vlan>>8), byte(vlan))
	return append(out, frame[12:]...)
}
