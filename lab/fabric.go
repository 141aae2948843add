package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Fabric makes a lab of spines and leaves that carry one bridge domain over VXLAN, with hosts behind the leaves.
type Fabric struct {
	Spines int `json:"spines"`
	Leaves int `json:"leaves"`
	// Hosts are spread over the leaves in turn.
	Hosts int `json:"hosts"`

	// Flood does without the endpoint directory: leaves flood what they do not know to all others, and learn from what comes.
	Flood bool `json:"flood,omitempty"`

	// V6 has the tunnels run over IPv6.
	V6 bool `json:"v6,omitempty"`

	// Endpoint returns what to change in the section "endpoint" of node i, as Options.Config does. May be nil.
	Endpoint func(node int) map[string]any `json:"-"`
}

// What the bridge domain of a fabric is called, and its addresses.
const (
	FabricVNI    = 10100 // network identifier of the domain
	fabricBridge = "br100"
	fabricVXLAN  = "vx100"

	fabricMTU = 9000 // of the links between spines and leaves: full-size packets of hosts fit with their VXLAN headers
)

// The spines' anycast tunnel addresses, and the hosts' subnets.
var (
	anycastV4 = netip.MustParseAddr("10.255.255.1")
	anycastV6 = netip.MustParseAddr("fd00:0:0:ffff::1")
	subnetV4  = netip.MustParsePrefix("192.168.100.0/24")
	subnetV6  = netip.MustParsePrefix("fd00:100::/64")
)

// maxHosts is how many addresses the hosts' IPv4 subnet has.
const maxHosts = 250

// ParseFabric reads SPINESxLEAVES, as in 2x3.
func ParseFabric(spec string, hosts int) (*Fabric, error) {
	s, l, ok := strings.Cut(spec, "x")
	spines, err := strconv.Atoi(s)
	leaves, err2 := strconv.Atoi(l)
	if !ok || err != nil || err2 != nil || spines < 1 || leaves < 1 {
		return nil, fmt.Errorf("fabric %q: want SPINESxLEAVES, as in 2x3", spec)
	}
	f := &Fabric{Spines: spines, Leaves: leaves, Hosts: hosts}
	return f, f.validate()
}

func (f *Fabric) validate() error {
	if f.Hosts < 0 || f.Hosts > maxHosts {
		return fmt.Errorf("%d hosts: a fabric takes 0 to %d", f.Hosts, maxHosts)
	}
	return nil
}

// topology returns the fabric's text for ParseTopology: the spines come first.
func (f *Fabric) topology() string { return fmt.Sprintf("clos:%dx%d", f.Spines, f.Leaves) }

// tunnel returns the address that the tunnels of leaf i begin at.
func (f *Fabric) tunnel(i int) netip.Addr {
	six, four := Loopbacks(i)
	if f.V6 {
		return six.Addr()
	}
	return four.Addr()
}

// isLeaf reports whether node i is a leaf.
func (f *Fabric) isLeaf(i int) bool { return i >= f.Spines }

// config returns what a fabric changes in DefaultConfig(i). A node's tunnel addresses are its Loopbacks, which it advertises
// anyway; the anycast address of the spines stands on no interface, since their relays take its packets before routing does.
func (f *Fabric) config(i int) map[string]any {
	if f.Flood {
		return nil
	}
	six, four := Loopbacks(i)
	teps := []any{four.Addr().String(), six.Addr().String()}
	if f.V6 {
		slices.Reverse(teps)
	}
	section := map[string]any{
		"enable":            true,
		"leaf":              f.isLeaf(i),
		"oracle":            !f.isLeaf(i),
		"tunnel_addresses":  teps,
		"anycast_addresses": []any{anycastV4.String(), anycastV6.String()},
	}
	if f.isLeaf(i) {
		section["bridge_domains"] = []any{map[string]any{
			"id": FabricVNI, "bridge": fabricBridge, "vxlan": fabricVXLAN,
			"subnets": []any{subnetV4.String(), subnetV6.String()},
		}}
		section["rogue_control"] = map[string]any{"enable": true}
	}
	if f.Endpoint != nil {
		section = overlay(section, f.Endpoint(i))
	}
	return map[string]any{"endpoint": section}
}

// buildFabric makes what a fabric has beyond nodes and links.
func (l *Lab) buildFabric() error {
	f := l.Fabric
	for _, link := range l.Topology.Links {
		for _, end := range []struct {
			node int
			name string
		}{{link.A, link.IfA}, {link.B, link.IfB}} {
			h := l.Netlink(end.node)
			dev, err := h.LinkByName(end.name)
			if err == nil {
				err = h.LinkSetMTU(dev, fabricMTU)
			}
			if err != nil {
				return fmt.Errorf("failed to set the MTU of %s of %s: %w", end.name, NodeName(end.node), err)
			}
		}
	}
	for i := f.Spines; i < f.Spines+f.Leaves; i++ {
		if err := l.createDomain(i); err != nil {
			return fmt.Errorf("%s: %w", NodeName(i), err)
		}
	}
	for i := range f.Hosts {
		if err := l.createHost(i); err != nil {
			return err
		}
	}
	return nil
}

// createDomain makes the bridge and the vxlan device of leaf i.
func (l *Lab) createDomain(i int) error {
	h, flood := l.Netlink(i), l.Fabric.Flood
	tunnel := l.Fabric.tunnel(i)
	no := false
	// It has an address of its own, or it would take that of one of its ports, and another when that is gone; and with each change of
	// address the kernel forgets all neighbours of a device, those among them for which the bridge suppresses ARP.
	mac := net.HardwareAddr{2, 0, 0, 0, 2, byte(i)}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fabricBridge, HardwareAddr: mac, TxQLen: -1}, MulticastSnooping: &no}
	if err := add(h, bridge); err != nil {
		return err
	}
	// Its TOS is not inherited from inside (the directory marks what it has sent on once), and an outer header like that of
	// any packet: the relays rewrite its destination and let its TTL fall.
	vxlan := &netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: fabricVXLAN, TxQLen: -1}, VxlanId: FabricVNI, SrcAddr: tunnel.AsSlice(), Port: 4789,
		Learning: flood,
	}
	if err := add(h, vxlan); err != nil {
		return err
	}
	if err := h.LinkSetMaster(vxlan, bridge); err != nil {
		return fmt.Errorf("failed to put %s into %s: %w", fabricVXLAN, fabricBridge, err)
	}
	if err := h.LinkSetLearning(vxlan, flood); err != nil {
		return fmt.Errorf("failed to set the learning of %s: %w", fabricVXLAN, err)
	}
	if err := errors.Join(h.LinkSetUp(bridge), h.LinkSetUp(vxlan)); err != nil {
		return err
	}
	if !flood {
		return nil
	}
	for k := l.Fabric.Spines; k < len(l.nodes); k++ {
		if k == i {
			continue
		}
		other := l.Fabric.tunnel(k)
		if err := h.NeighAppend(&netlink.Neigh{
			LinkIndex: vxlan.Index, Family: unix.AF_BRIDGE, Flags: unix.NTF_SELF, State: unix.NUD_NOARP | unix.NUD_PERMANENT,
			IP: other.AsSlice(), HardwareAddr: make(net.HardwareAddr, 6),
		}); err != nil {
			return fmt.Errorf("failed to flood to %v: %w", other, err)
		}
	}
	return nil
}

// add makes a device that takes no IPv6 address by itself, and fills in its index.
func add(h *netlink.Handle, dev netlink.Link) error {
	name := dev.Attrs().Name
	err := h.LinkAdd(dev)
	if err == nil {
		var made netlink.Link
		if made, err = h.LinkByName(name); err == nil {
			dev.Attrs().Index = made.Attrs().Index
			err = h.LinkSetIP6AddrGenMode(dev, nl.IN6_ADDR_GEN_MODE_NONE)
		}
	}
	if err != nil {
		return fmt.Errorf("failed to make %s: %w", name, err)
	}
	return nil
}
