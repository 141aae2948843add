package rpc

import (
	"net"
	"net/netip"
	"sync/atomic"
)

// hosts shares a number of connections out, so that nobody keeps others out. The Server's mu guards it.
type hosts struct {
	limit, perHost int

	open     int
	hosts    map[string]*host
	networks map[string]int // open connections by network
}

// host is who has connections open.
type host struct {
	name     string // address, with its zone
	network  string // whose addresses a host may use at will
	open     int
	inFlight atomic.Int64 // requests
}

func newHosts(limit, perHost int) *hosts {
	return &hosts{limit: limit, perHost: perHost, hosts: map[string]*host{}, networks: map[string]int{}}
}

// enter counts a connection, and returns whose it is; nil if it must not be. Neither a host nor a network may have more
// connections than are left free: where one has all it can, there is as much again for others, and half of that where two
// have. So who floods from many addresses of his link keeps no peer on another link out.
func (h *hosts) enter(a net.Addr) *host {
	name, network := whose(a)
	who := h.hosts[name]
	if who == nil {
		who = &host{name: name, network: network}
	}
	if free := h.limit - h.open; who.open >= min(free, h.perHost) || h.networks[network] >= free {
		return nil
	}
	h.open++
	h.networks[network]++
	who.open++
	h.hosts[name] = who
	return who
}

// leave is the opposite of enter.
func (h *hosts) leave(who *host) {
	h.open--
	if h.networks[who.network]--; h.networks[who.network] == 0 {
		delete(h.networks, who.network)
	}
	if who.open--; who.open == 0 {
		delete(h.hosts, who.name)
	}
}

// Prefix lengths of what counts as one network.
const (
	networkBits4 = 24
	networkBits6 = 64
)

// whose returns the host behind an address, and its network: of a link-local address, the link.
func whose(a net.Addr) (name, network string) {
	name = a.String()
	if text, _, err := net.SplitHostPort(name); err == nil {
		name = text
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return name, name
	}
	addr = addr.Unmap()
	bits := networkBits4
	switch {
	case addr.Zone() != "":
		return name, addr.Zone()
	case addr.Is6():
		bits = networkBits6
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return name, name
	}
	return name, prefix.String()
}
