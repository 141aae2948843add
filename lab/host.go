package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
)

// Host is a host of a fabric: a namespace with one interface, eth0, whose other end is a port of a leaf's bridge.
type Host struct {
	Name      string       `json:"name"` // h0, h1, ...; also that of the port at the leaf
	Namespace string       `json:"namespace"`
	MAC       string       `json:"mac"`
	V4        netip.Prefix `json:"v4"`
	V6        netip.Prefix `json:"v6"`
	Leaf      int          `json:"leaf"` // the node that it is behind
}

// newHost returns host i of a fabric: behind the leaves in turn, with 02:00:00:00:01:<i+1>, 192.168.100.<i+1>/24 and
// fd00:100::<i+1>/64.
func (l *Lab) newHost(i int) Host {
	four, six := subnetV4.Addr().As4(), subnetV6.Addr().As16()
	four[3], six[15] = byte(i+1), byte(i+1)
	return Host{
		Name: fmt.Sprintf("h%d", i), Namespace: fmt.Sprintf("%s-h%d", l.Name, i),
		MAC: net.HardwareAddr{2, 0, 0, 0, 1, byte(i + 1)}.String(),
		V4:  netip.PrefixFrom(netip.AddrFrom4(four), subnetV4.Bits()), V6: netip.PrefixFrom(netip.AddrFrom16(six), subnetV6.Bits()),
		Leaf: l.Fabric.Spines + i%l.Fabric.Leaves,
	}
}

// firstPort is the interface index of h0's port, which no other interface of any leaf has: a port keeps its index when
// it moves. See firstIndex for why it has to differ from that of the other end.
const firstPort = 100000

// hostSysctls make of a router, which every namespace of a lab is at first, a host.
var hostSysctls = []string{
	"ipv6/conf/all/forwarding=0",
	"ipv6/conf/default/forwarding=0",
	"ipv6/conf/default/accept_ra=0",
	"ipv6/conf/default/router_solicitations=0",
	"ipv4/ip_forward=0",
}

// createHost makes host i with its port.
func (l *Lab) createHost(i int) error {
	host := l.newHost(i)
	if err := createNamespace(host.Namespace); err != nil {
		return err
	}
	l.hosts = append(l.hosts, host)
	fail := func(err error) error { return fmt.Errorf("%s: %w", host.Name, err) }
	if err := inNamespace(host.Namespace, func() error { return setSysctls(hostSysctls) }); err != nil {
		return fail(err)
	}
	h, err := openNetlink(host.Namespace)
	if err != nil {
		return err
	}
	defer h.Close()
	there, err := (&node{Namespace: host.Namespace}).open()
	if err != nil {
		return err
	}
	defer there.Close()
	mac, err := net.ParseMAC(host.MAC)
	if err != nil {
		return fail(err)
	}
	port := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: host.Name, Index: firstPort + i, TxQLen: -1},
		PeerName:  "eth0", PeerNamespace: netlink.NsFd(there), PeerHardwareAddr: mac,
	}
	leaf := l.Netlink(host.Leaf)
	if err := add(leaf, port); err != nil {
		return fail(err)
	}
	if err := plug(leaf, host.Name); err != nil {
		return fail(err)
	}
	if err := setUp(h, "eth0", true); err != nil {
		return fail(err)
	}
	for _, a := range []netip.Prefix{host.V4, host.V6} {
		if err := addAddress(h, "eth0", a); err != nil {
			return fail(err)
		}
	}
	if err := errors.Join(waitRunning(leaf, host.Name), waitRunning(h, "eth0")); err != nil {
		return fail(err)
	}
	return nil
}

// plug makes a device of a leaf a port of its bridge, and sets it up.
func plug(leaf *netlink.Handle, port string) error {
	dev, err := leaf.LinkByName(port)
	if err != nil {
		return fmt.Errorf("port %s: %w", port, err)
	}
	bridge, err := leaf.LinkByName(fabricBridge)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", fabricBridge, err)
	}
	if err := leaf.LinkSetMaster(dev, bridge); err != nil {
		return fmt.Errorf("failed to put %s into %s: %w", port, fabricBridge, err)
	}
	if err := leaf.LinkSetUp(dev); err != nil {
		return fmt.Errorf("failed to set %s up: %w", port, err)
	}
	return nil
}

// Hosts returns the hosts of a fabric.
func (l *Lab) Hosts() []Host { return append([]Host(nil), l.hosts...) }

// host returns the index of a host.
func (l *Lab) host(name string) (int, error) {
	var names []string
	for i, h := range l.hosts {
		if h.Name == name {
			return i, nil
		}
		names = append(names, h.Name)
	}
	if len(names) == 0 {
		return 0, fmt.Errorf("lab %s has no hosts; a fabric has: openr lab up --fabric 2x3", l.Name)
	}
	return 0, fmt.Errorf("lab %s has no host %q; it has: %v", l.Name, name, names)
}

// MoveHost unplugs a host from its leaf and plugs it in at another; MAC and IP addresses stay. It returns for how long the
// host was without a port. With announce it then tells of itself, as a hypervisor does for a machine that it has taken over:
// one gratuitous ARP and one unsolicited neighbour advertisement.
func (l *Lab) MoveHost(name string, leaf int, announce bool) (unplugged time.Duration, err error) {
	i, err := l.host(name)
	if err != nil {
		return 0, err
	}
	host := &l.hosts[i]
	if leaf < 0 || leaf >= len(l.nodes) || !l.Fabric.isLeaf(leaf) {
		return 0, fmt.Errorf("n%d is no leaf of lab %s; leaves are %s to %s", leaf, l.Name, NodeName(l.Fabric.Spines), NodeName(len(l.nodes)-1))
	}
	if leaf == host.Leaf {
		return 0, fmt.Errorf("%s is behind %s already", name, NodeName(leaf))
	}
	w, err := openWire(*host) // now, lest it take time later
	if err != nil {
		return 0, err
	}
	defer w.close()
	h, err := openNetlink(host.Namespace)
	if err != nil {
		return 0, err
	}
	defer h.Close()
	from, to := l.Netlink(host.Leaf), l.Netlink(leaf)
	there, err := l.nodes[leaf].open()
	if err != nil {
		return 0, err
	}
	defer there.Close()
	port, err := from.LinkByName(name)
	if err != nil {
		return 0, fmt.Errorf("port %s of %s: %w", name, NodeName(host.Leaf), err)
	}
	start := time.Now()
	if err := from.LinkSetNsFd(port, int(there)); err != nil {
		return 0, fmt.Errorf("failed to move %s from %s to %s: %w", name, NodeName(host.Leaf), NodeName(leaf), err)
	}
	if dev, found := to.LinkByName(name); found == nil {
		err = to.LinkSetIP6AddrGenMode(dev, nl.IN6_ADDR_GEN_MODE_NONE)
	}
	if err := errors.Join(err, plug(to, name)); err != nil {
		return 0, err
	}
	host.Leaf = leaf
	if err := errors.Join(l.save(), waitRunning(to, name), waitRunning(h, "eth0")); err != nil {
		return 0, err
	}
	unplugged = time.Since(start)
	if !announce {
		return unplugged, nil
	}
	return unplugged, errors.Join(w.send(announceV4(*host)), w.send(announceV6(*host)))
}
