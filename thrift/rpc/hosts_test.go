package rpc

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

func tcpAddr(text string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(text)) }

func TestWhose(t *testing.T) {
	for _, c := range []struct{ addr, name, network string }{
		{"10.1.2.3:5", "10.1.2.3", "10.1.2.0/24"},
		{"[::ffff:10.1.2.3]:5", "10.1.2.3", "10.1.2.0/24"},
		{"[2001:db8::1]:5", "2001:db8::1", "2001:db8::/64"},
		{"[fe80::1%eth0]:5", "fe80::1%eth0", "eth0"},
		{"[::1]:5", "::1", "::/64"},
	} {
		if name, network := whose(tcpAddr(c.addr)); name != c.name || network != c.network {
			t.Errorf("%s: got %q, %q", c.addr, name, network)
		}
	}
	if name, network := whose(&net.UnixAddr{Name: "x"}); name != "x" || network != "x" {
		t.Errorf("got %q, %q", name, network)
	}
}

// TestFloodsLeaveRoom floods from one address, from several networks, and from many addresses of one link.
func TestFloodsLeaveRoom(t *testing.T) {
	for _, c := range []struct {
		name  string
		addrs []string
		most  int
	}{
		{"one host", []string{"10.0.0.1:1"}, 200},
		{"six networks", []string{"10.0.0.1:1", "10.0.1.1:1", "10.0.2.1:1", "10.0.3.1:1", "10.0.4.1:1", "10.0.5.1:1"}, 860},
		{"many addresses of a link", linkAddrs("eth0", 800), 500},
		{"many addresses of two links", append(linkAddrs("eth0", 800), linkAddrs("eth1", 800)...), 1000 * 3 / 4},
	} {
		h := newHosts(1000, 200)
		var in []*host
		for range max(1, 1200/len(c.addrs)) {
			for _, a := range c.addrs {
				if who := h.enter(tcpAddr(a)); who != nil {
					in = append(in, who)
				}
			}
		}
		if len(in) > c.most {
			t.Errorf("%s: got %d connections, want at most %d", c.name, len(in), c.most)
		}
		peer := h.enter(tcpAddr("[fe80::99%peer]:1"))
		if peer == nil {
			t.Errorf("%s: a peer is kept out", c.name)
			continue
		}
		for _, who := range append(in, peer) {
			h.leave(who)
		}
		if h.open != 0 || len(h.hosts) != 0 || len(h.networks) != 0 {
			t.Errorf("%s: afterwards %+v", c.name, h)
		}
	}
}

func linkAddrs(link string, n int) (addrs []string) {
	for i := range n {
		addrs = append(addrs, fmt.Sprintf("[fe80::%x%%%s]:1", i+1, link))
	}
	return addrs
}
