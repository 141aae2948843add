package linkmonitor

import (
	"maps"
	"net/netip"
	"slices"

	"openr/config"
	"openr/lsdb"
	"openr/msg"
)

// Preferences of an interface address (Open/R common/Constants.h, kDefaultPathPreference, kDefaultSourcePreference).
const (
	addressPathPreference   = 1000
	addressSourcePreference = 200
)

// redistribute adds the networks of an interface's addresses to those that are advertised to the areas. A network that
// an earlier interface brought stays as it is.
func redistribute(to map[netip.Prefix]msg.PrefixOrigin, cfg *config.Config, i msg.Interface, areas []string) {
	if !i.Up || len(areas) == 0 {
		return
	}
	for _, addr := range i.Addrs {
		if !advertisable(addr, cfg) {
			continue
		}
		network := addr.Masked()
		if _, taken := to[network]; taken {
			continue
		}
		tags := []string{"INTERFACE_SUBNET", cfg.NodeName + ":" + i.Name}
		slices.Sort(tags)
		to[network] = msg.PrefixOrigin{
			Entry: lsdb.PrefixEntry{
				Prefix: network, Type: lsdb.PrefixLoopback, Tags: tags,
				Metrics: lsdb.PrefixMetrics{PathPreference: addressPathPreference, SourcePreference: addressSourcePreference},
			},
			Areas: areas,
		}
	}
}

// advertisable reports whether others may be told the network of an address: it means the same everywhere, is not
// everything (length 0), and can be routed by this node.
func advertisable(p netip.Prefix, cfg *config.Config) bool {
	a := p.Addr()
	if a.Is4() && !cfg.EnableV4 && !cfg.V4OverV6NextHop {
		return false
	}
	return p.Bits() > 0 && !a.IsUnspecified() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast()
}

func equalPrefixes(a, b map[netip.Prefix]msg.PrefixOrigin) bool {
	return maps.EqualFunc(a, b, func(x, y msg.PrefixOrigin) bool {
		return x.Entry.Equal(y.Entry) && slices.Equal(x.Areas, y.Areas)
	})
}
