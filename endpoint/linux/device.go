package linux

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/rtnl"
)

// setUp sets what the devices of a domain need, as far as they are there:
//
//   - the bridge tells of silent endpoints after Domain.Idle, and learns no more than Domain.Limit;
//   - the vxlan port does not learn (the directory knows better), and never sends back where something came from: two leaves
//     that do turn one flooded frame into a storm;
//   - it suppresses ARP and neighbour discovery if asked to;
//   - what is for nobody known goes to the proxy.
func (k *Kernel) setUp(d *domain) error {
	switch {
	case !d.attached: // gone again
		return nil
	case !d.joined:
		return fmt.Errorf("vxlan device %s has the network identifier %d, want %d; nothing is programmed", d.VXLAN, k.learn.links[d.vxlan].vni, d.BD)
	}
	if d.Suppress {
		disabled := "1"
		err := k.space.in(func() error {
			b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + d.Bridge + "/disable_ipv6")
			disabled = strings.TrimSpace(string(b))
			return err
		})
		if d.ipv6 = err == nil && disabled == "0"; !d.ipv6 {
			k.log.Warn("neighbour solicitations are not suppressed because IPv6 is disabled on the bridge; set its disable_ipv6 to 0",
				zap.String("bridge", d.Bridge))
		}
	}
	err := k.setFlags(d.vxlan, []portFlag{
		{unix.IFLA_BRPORT_LEARNING, false}, {unix.IFLA_BRPORT_MODE, false}, {unix.IFLA_BRPORT_NEIGH_SUPPRESS, d.Suppress},
	})
	err = errors.Join(err, k.req.Do(func(seq uint32) []byte {
		return appendBridge(nil, seq, d.bridge, unix.IFLA_BR_AGEING_TIME, uint32(d.Idle/(10*time.Millisecond)))
	}))
	if limited := k.req.Do(func(seq uint32) []byte {
		return appendBridge(nil, seq, d.bridge, unix.IFLA_BR_FDB_MAX_LEARNED, uint32(d.limit()))
	}); limited != nil {
		k.log.Info("the kernel cannot limit what it learns (before Linux 6.7)", zap.String("bridge", d.Bridge), zap.Error(limited))
	}
	if d.Proxy.IsValid() {
		err = errors.Join(err, k.setProxy(d))
	}
	return err
}

// setProxy has frames for unknown endpoints go to the proxy, and not to the one of an earlier run with another configuration.
func (k *Kernel) setProxy(d *domain) error {
	n := neighbour{family: unix.AF_BRIDGE, index: d.vxlan, flags: unix.NTF_SELF}
	var old netip.Addr
	err := k.req.One(func(seq uint32) []byte { return appendNeighbour(nil, unix.RTM_GETNEIGH, 0, seq, &n) },
		func(_ uint16, payload []byte, why rtnl.Error) {
			if found, ok := parseNeighbour(payload); ok && why.Errno == 0 {
				old = found.dst
			}
		})
	if err == nil && old.IsValid() && old != d.Proxy {
		err = k.req.Do(func(seq uint32) []byte { return appendNeighbour(nil, unix.RTM_DELNEIGH, 0, seq, &n) })
	}
	n.dst, n.state = d.Proxy, unix.NUD_NOARP|unix.NUD_PERMANENT
	return errors.Join(err, k.req.Do(func(seq uint32) []byte {
		return appendNeighbour(nil, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_APPEND, seq, &n)
	}))
}

func (k *Kernel) setFlags(index uint32, flags []portFlag) error {
	return k.req.Do(func(seq uint32) []byte { return appendPortFlags(nil, seq, index, flags) })
}

// Found returns what an earlier run has left in the kernel for the directory to confirm or to remove, as the actions that
// would have brought it about: remote endpoints (endpoint.ProgramRemote, with their suppressed addresses if the domain
// suppresses), pinned ones (endpoint.FreezeMAC, with the time since) and bounces (endpoint.BounceOn, with the time that is left). Local endpoints
// are told as events.
//
// It reads the whole tables, which takes 0.6 s for 50,000 remote endpoints and grows faster than their number: to be called
// once after New, if at all.
func (k *Kernel) Found() ([]endpoint.Action, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed
	}
	var out []endpoint.Action
	for _, d := range k.learn.domains {
		if !d.joined {
			continue
		}
		found, err := k.foundIn(d)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	if k.bounce == nil {
		return out, nil
	}
	list, err := k.bounce.list()
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		out = append(out, endpoint.Action{Kind: endpoint.BounceOn, Key: f.Key, TEP: f.TEP, For: f.For})
	}
	return out, nil
}

func (k *Kernel) foundIn(d *domain) ([]endpoint.Action, error) {
	found := map[endpoint.MAC]*endpoint.Action{}
	sticky := map[endpoint.MAC]bool{}
	err := k.req.Dump(func(seq uint32) []byte { return appendFDBDump(nil, seq, d.vxlan) }, func() { clear(found) },
		func(h unix.NlMsghdr, payload []byte) {
			n, ok := parseNeighbour(payload)
			switch {
			case !ok || n.index != d.vxlan || !n.mac.IsHost():
			case n.master == d.bridge && n.flags&ntfSticky != 0:
				sticky[n.mac] = true
			case n.flags&unix.NTF_SELF != 0 && n.dst.IsValid():
				found[n.mac] = &endpoint.Action{Kind: endpoint.ProgramRemote, Key: endpoint.Key{BD: d.BD, MAC: n.mac}, TEP: n.dst, For: n.updated}
			}
		})
	if err != nil {
		return nil, fmt.Errorf("failed to read the remote endpoints of domain %d: %w", d.BD, err)
	}
	if err := k.foundAddresses(d, found); err != nil {
		return nil, err
	}
	out := make([]endpoint.Action, 0, len(found))
	for mac, a := range found {
		if sticky[mac] {
			a.Kind = endpoint.FreezeMAC
			k.books.sticky[a.Key] = true
		} else {
			a.For = 0
		}
		out = append(out, *a)
	}
	return out, nil
}

// foundAddresses completes what was found by the addresses for which ARP and neighbour discovery are suppressed.
func (k *Kernel) foundAddresses(d *domain, found map[endpoint.MAC]*endpoint.Action) error {
	if !d.Suppress {
		return nil
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		var all []neighbour
		err := k.req.Dump(func(seq uint32) []byte { return appendNeighbourDump(nil, seq, family, d.bridge) }, func() { all = nil },
			func(h unix.NlMsghdr, payload []byte) {
				if n, ok := parseNeighbour(payload); ok && n.index == d.bridge && n.dst.IsValid() && n.flags&unix.NTF_EXT_LEARNED != 0 {
					all = append(all, n)
				}
			})
		if err != nil {
			return fmt.Errorf("failed to read the neighbours of domain %d: %w", d.BD, err)
		}
		for _, n := range all {
			key := endpoint.Key{BD: d.BD, MAC: n.mac}
			k.books.owner[address{d.BD, n.dst}] = key
			k.books.ips[key] = append(k.books.ips[key], n.dst)
			if a := found[n.mac]; a != nil {
				a.IPs = append(a.IPs, n.dst)
			}
		}
	}
	return nil
}
