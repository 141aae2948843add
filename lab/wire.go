package lab

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Loopbacks returns the addresses on node i's loopback interface: fd00:0:0:<i in hex>::1/128 and 10.255.<i/256>.<i%256>/32.
func Loopbacks(i int) (v6, v4 netip.Prefix) {
	six := [16]byte{0: 0xfd, 6: byte(i >> 8), 7: byte(i), 15: 1}
	four := [4]byte{10, 255, byte(i >> 8), byte(i)}
	return netip.PrefixFrom(netip.AddrFrom16(six), 128), netip.PrefixFrom(netip.AddrFrom4(four), 32)
}

// linkAddresses returns the IPv4 addresses of both ends of a link for labs with IPv4 next hops: 10.254.0.0/31 and so on.
func linkAddresses(link int) (a, b netip.Prefix) {
	n := 2 * link
	at := func(n int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 254, byte(n >> 8), byte(n)}), 31)
	}
	return at(n), at(n + 1)
}

// addAddress puts an address on an interface of a namespace.
func addAddress(h *netlink.Handle, ifName string, address netip.Prefix) error {
	link, err := h.LinkByName(ifName)
	if err == nil {
		err = h.AddrAdd(link, &netlink.Addr{IPNet: toIPNet(address)})
	}
	if err != nil {
		return fmt.Errorf("failed to add address %v to %s: %w", address, ifName, err)
	}
	return nil
}

// createLink makes the veth pair of link number k and brings both ends up.
func (l *Lab) createLink(k int) error {
	link := l.Topology.Links[k]
	a, b := l.nodes[link.A], l.nodes[link.B]
	nsA, err := a.open()
	if err != nil {
		return err
	}
	defer nsA.Close()
	nsB, err := b.open()
	if err != nil {
		return err
	}
	defer nsB.Close()
	index, err := l.newIndex(a)
	if err != nil {
		return err
	}
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: link.IfA, Index: index, Namespace: netlink.NsFd(nsA), TxQLen: -1},
		PeerName:      link.IfB,
		PeerNamespace: netlink.NsFd(nsB),
	}
	if err := a.netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("failed to create link %s (%s) - (%s) %s: %w", a.Name, link.IfA, link.IfB, b.Name, err)
	}
	if l.numberedLinks {
		addressA, addressB := linkAddresses(k)
		if err := addAddress(a.netlink, link.IfA, addressA); err != nil {
			return err
		}
		if err := addAddress(b.netlink, link.IfB, addressB); err != nil {
			return err
		}
	}
	if err := setUp(a.netlink, link.IfA, true); err != nil {
		return err
	}
	return setUp(b.netlink, link.IfB, true)
}

// firstIndex is the lowest interface index of A ends. B ends are numbered by the kernel, from 2 up, so the two ends of a
// link differ: of a veth whose peer has the same index in its own namespace, the kernel reports changes of carrier up to a
// second late (linkwatch_urgent_event in net/core/link_watch.c).
const firstIndex = 1000

// newIndex returns an interface index that node a has not had since this program holds the lab.
func (l *Lab) newIndex(a *node) (int, error) {
	links, err := dump(a.netlink.LinkList)
	if err != nil {
		return 0, fmt.Errorf("failed to read the links of %s: %w", a.Name, err)
	}
	a.lastIndex = max(a.lastIndex, firstIndex-1)
	for _, link := range links {
		a.lastIndex = max(a.lastIndex, link.Attrs().Index)
	}
	a.lastIndex++
	return a.lastIndex, nil
}

// waitLinks waits until the kernels show link k (all links: -1) as it was just set: in use at both ends with link-local
// addresses, or not.
func (l *Lab) waitLinks(k int, up bool) error {
	for deadline := time.Now().Add(linkTimeout); ; time.Sleep(time.Millisecond) {
		facts, err := l.Observe()
		if err != nil {
			return err
		}
		links := facts.Links
		if k >= 0 {
			links = links[k : k+1]
		}
		late := slices.IndexFunc(links, func(f LinkFacts) bool { return f.Up != up || up && !(f.A.V6.IsValid() && f.B.V6.IsValid()) })
		if late < 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the kernel does not show link %+v as up=%v within %v", links[late], up, linkTimeout)
		}
	}
}

// linkTimeout bounds the wait for the kernel to follow a change of a link.
const linkTimeout = 20 * time.Second

func setUp(h *netlink.Handle, ifName string, up bool) error {
	link, err := h.LinkByName(ifName)
	switch {
	case err != nil:
	case up:
		err = h.LinkSetUp(link)
	default:
		err = h.LinkSetDown(link)
	}
	if err != nil {
		return fmt.Errorf("failed to set %s up=%v: %w", ifName, up, err)
	}
	return nil
}

// SetLink sets node A's end of link k up or down and returns when both kernels show it so. While it is down, node B's end
// has no carrier.
func (l *Lab) SetLink(k int, up bool) error {
	link := l.Topology.Links[k]
	if err := setUp(l.nodes[link.A].netlink, link.IfA, up); err != nil {
		return err
	}
	return l.waitLinks(k, up)
}

// DeleteLink removes both interfaces of link k.
func (l *Lab) DeleteLink(k int) error {
	link := l.Topology.Links[k]
	h := l.nodes[link.A].netlink
	dev, err := h.LinkByName(link.IfA)
	if err == nil {
		err = h.LinkDel(dev)
	}
	if err != nil {
		return fmt.Errorf("failed to delete %s of %s: %w", link.IfA, l.nodes[link.A].Name, err)
	}
	return nil
}

// CreateLink makes link k again after DeleteLink. Its interfaces have their old names; index, MAC and link-local address
// are new.
func (l *Lab) CreateLink(k int) error {
	if err := l.createLink(k); err != nil {
		return err
	}
	return l.waitLinks(k, true)
}

// Observe reads the state of the network out of the namespaces. A node counts as running while its agent's process lives;
// what it advertises are the addresses on its lo (IPv4 only where enable_v4 or v4_over_v6_nexthop is on) and the originated_prefixes of its
// configuration.
func (l *Lab) Observe() (Facts, error) {
	facts := Facts{Nodes: make([]NodeFacts, len(l.nodes))}
	ends := make([]map[string]endState, len(l.nodes))
	for i, n := range l.nodes {
		var err error
		if ends[i], err = n.interfaces(); err != nil {
			return Facts{}, err
		}
		facts.Nodes[i] = NodeFacts{Running: n.process().alive(), NativeV4: n.nativeV4, Prefixes: slices.Clone(n.originated)}
		for _, p := range ends[i]["lo"].addresses {
			a := p.Addr()
			if a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4() && !n.ipv4 {
				continue
			}
			facts.Nodes[i].Prefixes = append(facts.Nodes[i].Prefixes, p.Masked())
		}
	}
	for _, link := range l.Topology.Links {
		a, b := ends[link.A][link.IfA], ends[link.B][link.IfB]
		facts.Links = append(facts.Links, LinkFacts{
			A: a.end(link.A, link.IfA), B: b.end(link.B, link.IfB), Up: a.running && b.running,
		})
	}
	return facts, nil
}

// endState is what the kernel says of one interface; the zero value stands for one that does not exist.
type endState struct {
	running   bool // administratively up and with carrier
	addresses []netip.Prefix
}

func (s endState) end(node int, ifName string) LinkEnd {
	e := LinkEnd{Node: node, IfName: ifName}
	for _, p := range s.addresses {
		switch a := p.Addr(); {
		case a.Is4():
			e.V4 = a
		case a.IsLinkLocalUnicast():
			e.V6 = a
		}
	}
	return e
}

// interfaces reads all interfaces of a node with their addresses.
func (n *node) interfaces() (map[string]endState, error) {
	links, err := dump(n.netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("failed to read the links of %s: %w", n.Name, err)
	}
	addresses, err := dump(func() ([]netlink.Addr, error) { return n.netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("failed to read the addresses of %s: %w", n.Name, err)
	}
	byIndex := map[int][]netip.Prefix{}
	for _, a := range addresses {
		ones, _ := a.Mask.Size()
		byIndex[a.LinkIndex] = append(byIndex[a.LinkIndex], netip.PrefixFrom(toAddr(a.IP, familyOf(a.IP)), ones))
	}
	states := map[string]endState{}
	for _, link := range links {
		at := link.Attrs()
		states[at.Name] = endState{running: at.RawFlags&unix.IFF_RUNNING != 0 && at.Flags&net.FlagUp != 0, addresses: byIndex[at.Index]}
	}
	return states, nil
}

func familyOf(ip net.IP) int {
	if ip.To4() != nil {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
