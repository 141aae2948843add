package linkmonitor

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func linkBody(family uint8, index int32, flags uint32, name string) []byte {
	m := nl.NewIfInfomsg(int(family))
	m.Index, m.Flags = index, flags
	return append(m.Serialize(), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)).Serialize()...)
}

func addrBody(length, flags uint8, index uint32, attrs ...*nl.RtAttr) []byte {
	m := &nl.IfAddrmsg{IfAddrmsg: unix.IfAddrmsg{Family: unix.AF_INET6, Prefixlen: length, Flags: flags, Index: index}}
	b := m.Serialize()
	for _, a := range attrs {
		b = append(b, a.Serialize()...)
	}
	return b
}

func ip(kind int, a string) *nl.RtAttr { return nl.NewRtAttr(kind, netip.MustParseAddr(a).AsSlice()) }

func flags(f uint32) *nl.RtAttr { return nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(f)) }

func TestParseLinkMessage(t *testing.T) {
	const up = unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP
	v6 := ip(unix.IFA_ADDRESS, "fc00::1")
	set := func(p, peer string, usable bool) *LinkEvent {
		e := &LinkEvent{Kind: AddrSet, Addr: Addr{Index: 3, Prefix: netip.MustParsePrefix(p), Usable: usable}}
		if peer != "" {
			e.Addr.Peer = netip.MustParsePrefix(peer)
		}
		return e
	}
	tentative := set("fc00::1/64", "", false)
	tentative.Addr.Tentative = true
	deleted := set("fc00::1/64", "", true)
	deleted.Kind = AddrGone
	for _, tc := range []struct {
		name string
		kind uint16
		body []byte
		want *LinkEvent
	}{
		{"empty", unix.RTM_NEWLINK, nil, nil},
		{"short", unix.RTM_NEWADDR, []byte{10, 64, 0}, nil},
		{"another type", unix.RTM_NEWROUTE, linkBody(0, 3, up, "eth0"), nil},
		{"no name", unix.RTM_NEWLINK, linkBody(0, 3, up, "eth0")[:unix.SizeofIfInfomsg], nil},
		{"truncated attribute", unix.RTM_NEWLINK, linkBody(0, 3, up, "eth0")[:unix.SizeofIfInfomsg+6], nil},
		{"no index", unix.RTM_NEWLINK, linkBody(0, 0, up, "eth0"), nil},
		{"bridge port leaves", unix.RTM_DELLINK, linkBody(unix.AF_BRIDGE, 3, up, "eth0"), nil},
		{"up", unix.RTM_NEWLINK, linkBody(0, 3, up, "eth0"), &LinkEvent{Kind: LinkSet, Link: Link{Index: 3, Name: "eth0", Up: true}}},
		{"switched off", unix.RTM_NEWLINK, linkBody(0, 3, up&^unix.IFF_UP, "eth0"), &LinkEvent{Kind: LinkSet, Link: Link{Index: 3, Name: "eth0"}}},
		{"not operational", unix.RTM_NEWLINK, linkBody(0, 3, up&^unix.IFF_RUNNING, "eth0"), &LinkEvent{Kind: LinkSet, Link: Link{Index: 3, Name: "eth0"}}},
		{"no carrier", unix.RTM_NEWLINK, linkBody(0, 3, up&^unix.IFF_LOWER_UP, "eth0"), &LinkEvent{Kind: LinkSet, Link: Link{Index: 3, Name: "eth0"}}},
		{"deleted", unix.RTM_DELLINK, linkBody(0, 3, 0, "eth0"), &LinkEvent{Kind: LinkGone, Link: Link{Index: 3, Name: "eth0"}}},
		{"address", unix.RTM_NEWADDR, addrBody(64, 0, 3, v6), set("fc00::1/64", "", true)},
		{"address gone", unix.RTM_DELADDR, addrBody(64, 0, 3, v6), deleted},
		{"tentative", unix.RTM_NEWADDR, addrBody(64, unix.IFA_F_TENTATIVE, 3, v6), tentative},
		{"optimistic", unix.RTM_NEWADDR, addrBody(64, unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC, 3, v6), set("fc00::1/64", "", true)},
		{"duplicate", unix.RTM_NEWADDR, addrBody(64, unix.IFA_F_DADFAILED, 3, v6), set("fc00::1/64", "", false)},
		{"deprecated", unix.RTM_NEWADDR, addrBody(64, unix.IFA_F_DEPRECATED, 3, v6), set("fc00::1/64", "", true)},
		{"long flags win", unix.RTM_NEWADDR, addrBody(64, 0, 3, v6, flags(unix.IFA_F_TENTATIVE)), tentative},
		{"IPv4", unix.RTM_NEWADDR, addrBody(24, 0, 3, ip(unix.IFA_ADDRESS, "10.0.0.1"), ip(unix.IFA_LOCAL, "10.0.0.1")), set("10.0.0.1/24", "", true)},
		{"point to point", unix.RTM_NEWADDR, addrBody(30, 0, 3, ip(unix.IFA_ADDRESS, "10.0.0.2"), ip(unix.IFA_LOCAL, "10.0.0.1")), set("10.0.0.1/32", "10.0.0.2/30", true)},
		{"length beyond the address", unix.RTM_NEWADDR, addrBody(33, 0, 3, ip(unix.IFA_LOCAL, "10.0.0.1")), nil},
		{"address of 5 bytes", unix.RTM_NEWADDR, addrBody(8, 0, 3, nl.NewRtAttr(unix.IFA_ADDRESS, make([]byte, 5))), nil},
		{"no address", unix.RTM_NEWADDR, addrBody(8, 0, 3), nil},
	} {
		e, ok := parseLinkMessage(tc.kind, tc.body)
		if ok != (tc.want != nil) {
			t.Errorf("%s: accepted: %v (%+v)", tc.name, ok, e)
		} else if ok && (e.Kind != tc.want.Kind || e.Link != tc.want.Link || e.Addr != tc.want.Addr) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", tc.name, e, *tc.want)
		}
	}
}

func FuzzParseLinkMessage(f *testing.F) {
	f.Add(uint16(unix.RTM_NEWLINK), linkBody(0, 3, unix.IFF_UP, "eth0"))
	f.Add(uint16(unix.RTM_DELLINK), linkBody(unix.AF_BRIDGE, 3, 0, "eth0"))
	f.Add(uint16(unix.RTM_NEWADDR), addrBody(64, 0, 3, ip(unix.IFA_ADDRESS, "fc00::1"), flags(1)))
	f.Add(uint16(unix.RTM_DELADDR), addrBody(30, 0, 3, ip(unix.IFA_ADDRESS, "10.0.0.2"), ip(unix.IFA_LOCAL, "10.0.0.1")))
	f.Fuzz(func(t *testing.T, kind uint16, body []byte) {
		e, ok := parseLinkMessage(kind, body)
		if !ok {
			return
		}
		switch e.Kind {
		case LinkSet, LinkGone:
			if e.Link.Index <= 0 || e.Link.Name == "" {
				t.Errorf("link without index or name: %+v", e.Link)
			}
		case AddrSet, AddrGone:
			if e.Addr.Index <= 0 || !e.Addr.Prefix.IsValid() {
				t.Errorf("address without index or prefix: %+v", e.Addr)
			}
		default:
			t.Errorf("kind %v", e.Kind)
		}
		newLinkTable().apply(e)
	})
}
