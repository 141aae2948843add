package fakeswitch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// maxPacket is the longest packet with its headers: the kernel hands over several TCP segments as one (GSO).
const maxPacket = 1<<16 + 1<<10

// vlan is a VLAN in one life of the agent.
type vlan struct {
	VLAN
	log   *zap.Logger
	tun   *os.File
	index int // of the TUN interface
	names *netlink.Handle
	own   func() []netip.Addr // addresses of the TUN interface

	mu   sync.Mutex // guards what follows
	port *port      // nil: there is no such interface, or it is down
	up   bool

	work sync.WaitGroup
}

// port is the raw socket on a VLAN's port.
type port struct {
	index int
	sock  *os.File
	mac   net.HardwareAddr // the agent's own

	mu sync.Mutex // guards what follows
	// Who speaks to this switch is the neighbour. Who speaks to all may be: where the neighbour is a switch as well, its kernel
	// does so from another address. That counts if nobody answers when asked.
	peer, heard net.HardwareAddr // nil: not heard of yet
	asked       bool
}

// tunName returns the name of a VLAN's interface, as FBOSS gives it.
func tunName(id int) string { return fmt.Sprintf("fboss%d", id) }

// vlans are those of one life, with what follows the ports.
type vlans struct {
	all    []*vlan
	names  *netlink.Handle
	cancel context.CancelFunc
	done   chan struct{} // closed when nobody follows the ports any more
}

// openVLANs makes the TUN interfaces and begins to follow the ports.
func (a *Agent) openVLANs(ctx context.Context) (_ *vlans, err error) {
	ctx, cancel := context.WithCancel(ctx)
	v := &vlans{cancel: cancel, done: make(chan struct{})}
	started := false
	defer func() {
		if !started {
			close(v.done)
		}
		if err != nil {
			v.close()
		}
	}()
	if len(a.o.VLANs) == 0 {
		return v, nil
	}
	updates := make(chan netlink.LinkUpdate, 64)
	err = a.inside(func() error {
		var err error
		if v.names, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("failed to open netlink: %w", err)
		}
		for _, o := range a.o.VLANs {
			x := &vlan{VLAN: o, log: a.log, names: v.names}
			x.own = x.addresses
			if err := x.open(); err != nil {
				return fmt.Errorf("VLAN %d: %w", o.ID, err)
			}
			v.all = append(v.all, x)
			x.work.Go(x.fromTUN)
		}
		return netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
			ListExisting:  true,
			ErrorCallback: func(err error) { a.log.Debug("link notifications", zap.Error(err)) },
		})
	})
	if err != nil {
		return nil, err
	}
	started = true
	go func() {
		defer close(v.done)
		for u := range updates {
			if ctx.Err() != nil {
				continue
			}
			for _, x := range v.all {
				if u.Attrs().Name == x.Port {
					x.follow(a, u)
				}
			}
		}
	}()
	a.mu.Lock()
	a.vlans = v.all
	a.mu.Unlock()
	return v, nil
}

// close removes the TUN interfaces.
func (v *vlans) close() {
	v.cancel()
	<-v.done
	for _, x := range v.all {
		x.setPort(nil)
		_ = x.tun.Close()
		x.work.Wait()
	}
	if v.names != nil {
		v.names.Close()
	}
}

// open makes the TUN interface, down and without carrier. It goes when the file is closed.
func (v *vlan) open() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("failed to open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(tunName(v.ID))
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("failed to make interface %s: %w", tunName(v.ID), err)
	}
	v.tun = os.NewFile(uintptr(fd), tunName(v.ID)) // now that it is attached: the poller would take a bare one for broken
	link, err := v.names.LinkByName(tunName(v.ID))
	if err != nil {
		return errors.Join(err, v.tun.Close())
	}
	v.index = link.Attrs().Index
	return nil
}

// follow lets the TUN interface be as its port is.
func (v *vlan) follow(a *Agent, u netlink.LinkUpdate) {
	at := u.Attrs()
	up := u.Header.Type == unix.RTM_NEWLINK && at.RawFlags&unix.IFF_UP != 0 && at.RawFlags&unix.IFF_RUNNING != 0
	v.mu.Lock()
	known, was := v.port, v.up
	v.mu.Unlock()
	switch {
	case !up && was, up && known != nil && known.index != at.Index:
		v.setLink(false, 0)
		v.setPort(nil)
		known = nil
	}
	if !up || known != nil {
		return
	}
	var p *port
	err := a.inside(func() (err error) {
		p, err = openPort(at.Index, at.HardwareAddr)
		return err
	})
	if err != nil {
		v.log.Warn("cannot use the port", zap.Int("vlan", v.ID), zap.String("port", v.Port), zap.Error(err))
		return
	}
	v.setPort(p)
	v.work.Go(func() { v.fromPort(p) })
	v.setLink(true, at.MTU)
	a.table.renew()
}

// setPort puts another port in the place of the one that there is, nil: none.
func (v *vlan) setPort(p *port) {
	v.mu.Lock()
	old := v.port
	v.port = p
	v.mu.Unlock()
	if old != nil {
		_ = old.sock.Close()
	}
}

func (v *vlan) currentPort() *port {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.port
}

// setLink sets carrier and state of the TUN interface.
func (v *vlan) setLink(up bool, mtu int) {
	v.mu.Lock()
	v.up = up
	v.mu.Unlock()
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: v.index, Name: tunName(v.ID)}}
	err := v.setCarrier(up)
	if up && mtu > 0 {
		err = errors.Join(err, v.names.LinkSetMTU(link, mtu))
	}
	if up {
		err = errors.Join(err, v.names.LinkSetUp(link))
	} else {
		err = errors.Join(err, v.names.LinkSetDown(link))
	}
	if err != nil {
		v.log.Warn("cannot set the link state", zap.String("interface", tunName(v.ID)), zap.Bool("up", up), zap.Error(err))
		return
	}
	v.log.Info("link", zap.String("interface", tunName(v.ID)), zap.String("port", v.Port), zap.Bool("up", up))
}

func (v *vlan) setCarrier(up bool) error {
	c, err := v.tun.SyscallConn()
	if err != nil {
		return err
	}
	value := 0
	if up {
		value = 1
	}
	failed := c.Control(func(fd uintptr) { err = unix.IoctlSetPointerInt(int(fd), unix.TUNSETCARRIER, value) })
	return errors.Join(failed, err)
}

// openPort opens a raw socket on an interface. It must be called in its namespace.
func openPort(index int, mac net.HardwareAddr) (*port, error) {
	if len(mac) != 6 {
		return nil, fmt.Errorf("not an Ethernet interface: its address is %q", mac.String())
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // nothing before bind
	if err != nil {
		return nil, err
	}
	set := func(option, value int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_PACKET, option, value)
		}
	}
	set(unix.PACKET_VNET_HDR, 1) // the kernel leaves checksums open on veth pairs
	set(unix.PACKET_IGNORE_OUTGOING, 1)
	if err == nil {
		// The agent has an address of its own, so that this kernel takes nothing in for itself.
		err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index})
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("failed to open a raw socket: %w", err)
	}
	own := append(net.HardwareAddr(nil), mac...)
	own[0] = own[0]&^1 | 2 // locally administered
	own[5] ^= 0x80
	return &port{index: index, sock: os.NewFile(uintptr(fd), "port"), mac: own}, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// fromPort carries what comes in on a port to the TUN interface, until the port is closed.
func (v *vlan) fromPort(p *port) {
	buf := make([]byte, maxPacket)
	for {
		n, err := p.sock.Read(buf)
		if errors.Is(err, syscall.ENETDOWN) || errors.Is(err, syscall.EINTR) {
			continue // told once
		}
		if err != nil {
			return
		}
		f, ok := parseFrame(buf[:n])
		if !ok || !f.to(p.mac) {
			continue
		}
		if answer, mine := v.neighbor(p, f); mine {
			if answer != nil {
				_, _ = p.sock.Write(answer)
			}
			continue
		}
		if packet := f.forTUN(); packet != nil {
			_, _ = v.tun.Write(packet) // refused while the interface is down
		}
	}
}

// fromTUN carries what the kernel sends to the port, until the TUN interface is closed.
func (v *vlan) fromTUN() {
	buf := make([]byte, ethernetLen+maxPacket)
	for {
		n, err := v.tun.Read(buf[ethernetLen:])
		if errors.Is(err, os.ErrClosed) {
			return
		}
		p := v.currentPort()
		if err != nil || p == nil {
			continue
		}
		if frame := p.forPort(buf[:ethernetLen+n], v.own); frame != nil {
			_, _ = p.sock.Write(frame)
		}
	}
}

// addresses returns those of the TUN interface.
func (v *vlan) addresses() []netip.Addr {
	link := &netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: v.index, Name: tunName(v.ID)}}
	list, err := v.names.AddrList(link, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil
	}
	var out []netip.Addr
	for _, x := range list {
		if a, ok := netip.AddrFromSlice(x.IP); ok {
			out = append(out, a.Unmap())
		}
	}
	return out
}
