package lsdb

import (
	"errors"
	"fmt"
	"net/netip"

	"openr/thrift/gen/network"
)

// Address returns a as Open/R's BinaryAddress: 4 or 16 bytes in network order, empty for an invalid address, and the zone
// (if any) as the interface name.
func Address(a netip.Addr) *network.BinaryAddress {
	t := network.NewBinaryAddress()
	t.Addr = a.AsSlice()
	if t.Addr == nil {
		t.Addr = []byte{}
	}
	if zone := a.Zone(); zone != "" {
		t.IfName = &zone
	}
	return t
}

// AddrFromThrift returns the address in t without a zone, or an invalid address if t does not hold 4 or 16 bytes.
func AddrFromThrift(t *network.BinaryAddress) netip.Addr {
	if t == nil {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(t.Addr)
	return a
}

// Prefix returns p as Open/R's IpPrefix.
func Prefix(p netip.Prefix) *network.IpPrefix {
	return &network.IpPrefix{PrefixAddress: Address(p.Addr().WithZone("")), PrefixLength: int16(p.Bits())}
}

// PrefixFromThrift returns the masked network in t, or an error if its address or length is not one of IPv4 or IPv6.
func PrefixFromThrift(t *network.IpPrefix) (netip.Prefix, error) {
	if t == nil {
		return netip.Prefix{}, errNoPrefix
	}
	return toNetwork(AddrFromThrift(t.PrefixAddress), addressBytes(t.PrefixAddress), t.PrefixLength)
}

var errNoPrefix = errors.New("prefix is missing")

// toNetwork returns a masked network. bytes is how many the address had as it came.
func toNetwork(addr netip.Addr, bytes int, length int16) (netip.Prefix, error) {
	p, err := addr.Prefix(int(length))
	if err != nil || !addr.IsValid() {
		return netip.Prefix{}, fmt.Errorf("prefix of %d address bytes and length %d is not an IPv4 or IPv6 network", bytes, length)
	}
	return p, nil
}

// addressBytes returns how many bytes an address has that came over the wire, where it may be missing.
func addressBytes(t *network.BinaryAddress) int {
	if t == nil {
		return 0
	}
	return len(t.Addr)
}
