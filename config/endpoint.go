package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Endpoint is our own section endpoint: the directory of the hosts behind the leaves of a fabric. Ranges are those of package
// endpoint, which this package must not import; a test of package endpoint/node holds the two together.
type Endpoint struct {
	Enable bool   `key:"enable"`
	Leaf   bool   `key:"leaf"`   // hosts are behind this node's bridges
	Oracle bool   `key:"oracle"` // this node keeps the directory, and sends on what the leaves do not know
	Area   string `key:"area"`   // whose link-state database carries who is a member; empty: the first

	TEPs      []netip.Addr `key:"tunnel_addresses"`            // of this node, at most one of each family; records carry the first
	Anycast   []netip.Addr `key:"anycast_addresses"`           // of all oracles, at most one of each family
	VXLANPort int          `key:"vxlan_port" range:"1..65535"` // UDP; default 4789
	Port      int          `key:"port" range:"1..65534"`       // TCP, of sessions with oracles; their feeds are on the next one; default 2028
	Security  Security     `key:"security"`                    // default SecurityStrict
	KeyFile   string       `key:"key_file"`                    // the secret CURVE key; empty: beside the store
	Domains   []Domain     `key:"bridge_domains"`
	Retention Retention    `key:"retention_policy"` // of every domain that has none of its own
	Rogue     Rogue        `key:"rogue_control"`
	Loop      Loop         `key:"loop_protection"`
	MaxLocal  int          `key:"max_local_endpoints" range:"1..1048576"`
	MaxRemote int          `key:"max_remote_endpoints" range:"1..4194304"`
	MaxIPs    int          `key:"max_ips_per_endpoint" range:"1..1024"`

	MaxDirectory int `key:"max_directory_endpoints" range:"1..16777216"` // of an oracle; default 1,000,000
	MaxPerLeaf   int `key:"max_endpoints_per_leaf" range:"1..4194304"`   // of those, from one leaf; default 131,072

	ProbeInterval time.Duration `key:"probe_interval_ms" range:"100..75000"` // between the three probes
	Refresh       time.Duration `key:"refresh_interval_s" range:"60..86400"` // how often each record is told again at least
}

// Domain is an element of endpoint.bridge_domains: one Ethernet segment across the fabric.
type Domain struct {
	ID     int    `key:"id" range:"1..16777215" need:"true"` // the VXLAN network identifier
	VRF    int    `key:"vrf" range:"0..4294967295"`          // IP addresses are unique within one
	Group  int    `key:"group" range:"0..4294967295"`        // policy group that records carry; 0: none
	Bridge string `key:"bridge" need:"true"`                 // names of the devices, which somebody else makes
	VXLAN  string `key:"vxlan" need:"true"`

	Subnets       []netip.Prefix `key:"subnets"`
	EnforceSubnet bool           `key:"enforce_subnet_check"` // learn no address outside Subnets
	IPLearning    IPLearning     `key:"ip_learning"`
	IPAgeing      bool           `key:"ip_aging"`
	Retention     *Retention     `key:"retention_policy"` // nil: that of Endpoint
}

// Retention is a retention policy of endpoints; see package endpoint.
type Retention struct {
	LocalAge      time.Duration `key:"local_age_s" range:"120..65535" or:"0"`
	RemoteAge     time.Duration `key:"remote_age_s" range:"120..65535" or:"0"` // default 300; 0: until withdrawn
	BounceAge     time.Duration `key:"bounce_age_s" range:"150..65535"`
	Hold          time.Duration `key:"hold_interval_s" range:"5..65535"`
	MoveFrequency int           `key:"move_frequency" range:"0..65535"`
}

// Rogue is endpoint.rogue_control; see package endpoint.
type Rogue struct {
	Enable            bool          `key:"enable"`
	Interval          time.Duration `key:"detection_interval_s" range:"30..3600"`
	Factor            int           `key:"detection_factor" range:"2..10"`
	Hold              time.Duration `key:"hold_interval_s" range:"1800..3600"`
	Exceptions        []string      `key:"exceptions"` // <bridge domain>/<MAC address>
	ExceptionInterval time.Duration `key:"exception_interval_s" range:"30..3600"`
	ExceptionFactor   int           `key:"exception_factor" range:"10..10000"`
	ExceptionHold     time.Duration `key:"exception_hold_interval_s" range:"30..3600"`
}

// Loop is endpoint.loop_protection; see package endpoint.
type Loop struct {
	Enable        bool          `key:"enable"`
	Interval      time.Duration `key:"detection_interval_s" range:"30..300"`
	Factor        int           `key:"detection_factor" range:"1..255"`
	PortDisable   bool          `key:"port_disable"`
	LearnDisable  bool          `key:"bd_learn_disable"`
	Recovery      bool          `key:"frequent_ep_moves"`
	RecoveryAfter time.Duration `key:"error_disabled_recovery_interval_s" range:"30..65535"`
}

// Security is how leaves and oracles prove to each other who they are.
type Security int32

// The zero Security trusts nobody without a key.
const (
	SecurityStrict     Security = iota // CURVE, with the keys that the members' entries in the link-state database say
	SecurityCompatible                 // also in the clear, where a peer is who it says
)

var securityNames = []string{"strict", "compatible"}

// String returns the name as it stands in the file.
func (s Security) String() string { return nameIn(securityNames, int(s)) }

// IsDefined reports whether s is one of the constants.
func (s Security) IsDefined() bool { return s >= 0 && int(s) < len(securityNames) }

// IPLearning says which frames IP addresses are learned from, with the numbers of package endpoint.
type IPLearning int32

// The zero IPLearning learns from everything.
const (
	IPLearningOn IPLearning = iota
	IPLearningARP
	IPLearningOff
)

var ipLearningNames = []string{"on", "arp", "off"}

// String returns the name as it stands in the file.
func (l IPLearning) String() string { return nameIn(ipLearningNames, int(l)) }

// IsDefined reports whether l is one of the constants.
func (l IPLearning) IsDefined() bool { return l >= 0 && int(l) < len(ipLearningNames) }

func nameIn(names []string, i int) string {
	if i >= 0 && i < len(names) {
		return names[i]
	}
	return strconv.Itoa(i)
}

// endpointSection is our own section of the file. Config says what the keys mean.
type endpointSection struct {
	Enable       bool              `json:"enable"`
	Leaf         bool              `json:"leaf"`
	Oracle       bool              `json:"oracle"`
	Area         string            `json:"area"`
	TEPs         []string          `json:"tunnel_addresses"`
	Anycast      []string          `json:"anycast_addresses"`
	VXLANPort    int32             `json:"vxlan_port"`
	Port         int32             `json:"port"`
	Security     Security          `json:"security"`
	KeyFile      string            `json:"key_file"`
	Domains      []*domainSection  `json:"bridge_domains"`
	Retention    *retentionSection `json:"retention_policy"`
	Rogue        *rogueSection     `json:"rogue_control"`
	Loop         *loopSection      `json:"loop_protection"`
	MaxLocal     int64             `json:"max_local_endpoints"`
	MaxRemote    int64             `json:"max_remote_endpoints"`
	MaxIPs       int64             `json:"max_ips_per_endpoint"`
	MaxDirectory int64             `json:"max_directory_endpoints"`
	MaxPerLeaf   int64             `json:"max_endpoints_per_leaf"`
	ProbeMs      int64             `json:"probe_interval_ms"`
	RefreshS     int64             `json:"refresh_interval_s"`
}

type domainSection struct {
	ID            int64             `json:"id"`
	VRF           int64             `json:"vrf"`
	Group         int64             `json:"group"`
	Bridge        string            `json:"bridge"`
	VXLAN         string            `json:"vxlan"`
	Subnets       []string          `json:"subnets"`
	EnforceSubnet bool              `json:"enforce_subnet_check"`
	IPLearning    IPLearning        `json:"ip_learning"`
	IPAgeing      bool              `json:"ip_aging"`
	Retention     *retentionSection `json:"retention_policy,omitempty"`
}

type retentionSection struct {
	LocalAgeS     int64 `json:"local_age_s"`
	RemoteAgeS    int64 `json:"remote_age_s"`
	BounceAgeS    int64 `json:"bounce_age_s"`
	HoldS         int64 `json:"hold_interval_s"`
	MoveFrequency int64 `json:"move_frequency"`
}

type rogueSection struct {
	Enable          bool     `json:"enable"`
	IntervalS       int64    `json:"detection_interval_s"`
	Factor          int64    `json:"detection_factor"`
	HoldS           int64    `json:"hold_interval_s"`
	Exceptions      []string `json:"exceptions"`
	ExcIntervalS    int64    `json:"exception_interval_s"`
	ExceptionFactor int64    `json:"exception_factor"`
	ExceptionHoldS  int64    `json:"exception_hold_interval_s"`
}

type loopSection struct {
	Enable         bool  `json:"enable"`
	IntervalS      int64 `json:"detection_interval_s"`
	Factor         int64 `json:"detection_factor"`
	PortDisable    bool  `json:"port_disable"`
	LearnDisable   bool  `json:"bd_learn_disable"`
	Recovery       bool  `json:"frequent_ep_moves"`
	RecoveryAfterS int64 `json:"error_disabled_recovery_interval_s"`
}

func newRetentionSection() *retentionSection {
	return &retentionSection{LocalAgeS: 900, RemoteAgeS: 300, BounceAgeS: 630, HoldS: 300, MoveFrequency: 256}
}

// The constructors of our sections. The port is near that of the control API, and below those that the kernel takes for
// outgoing connections, so that nothing is there first.
func newEndpointSection() *endpointSection {
	return &endpointSection{
		VXLANPort: 4789, Port: 2028, MaxLocal: 65536, MaxRemote: 262144, MaxIPs: 256, MaxDirectory: 1000000, MaxPerLeaf: 131072,
		ProbeMs: 1000, RefreshS: 3600,
	}
}

func newRogueSection() *rogueSection {
	return &rogueSection{IntervalS: 60, Factor: 4, HoldS: 1800, ExcIntervalS: 600, ExceptionFactor: 3000, ExceptionHoldS: 30}
}

func newLoopSection() *loopSection {
	return &loopSection{IntervalS: 60, Factor: 4, PortDisable: true, RecoveryAfterS: 300}
}

// Bounds of lists and names.
const (
	maxExceptions = 100
	maxDevice     = 15 // of the name of a network device: IFNAMSIZ without the final zero
	maxDomains    = 4096
)

// checkEndpoint checks what spans several values of the section endpoint, and what its texts say.
func (d *decoder) checkEndpoint(c *Config) {
	e := &c.Endpoint
	d.checkDomains(e)
	d.checkAddresses("endpoint.tunnel_addresses", e.TEPs)
	d.checkAddresses("endpoint.anycast_addresses", e.Anycast)
	for i, a := range e.Anycast {
		if a.IsValid() && slices.Contains(e.TEPs, a) {
			d.refuseAs(fmt.Sprintf("endpoint.anycast_addresses[%d]", i), "an address that all oracles share, not one of endpoint.tunnel_addresses")
		}
	}
	d.checkExceptions(e.Rogue.Exceptions)
	if e.Area != "" && !slices.Contains(c.AreaIDs(), e.Area) {
		d.refuseAs("endpoint.area", `the area_id of one of areas, or "" for the first`)
	}
	if !e.Enable {
		return
	}
	const why = ", as endpoint.enable is true"
	if !e.Leaf && !e.Oracle {
		d.refuseAs("endpoint.enable", "false, or endpoint.leaf or endpoint.oracle true")
	}
	if len(e.TEPs) == 0 {
		d.refuseAs("endpoint.tunnel_addresses", `an address of this node that the others can reach, as in ["2001:db8::1"]`+why)
	}
	switch {
	case e.Leaf && len(e.Domains) == 0:
		d.warn(d.place("endpoint.bridge_domains"), "endpoint.bridge_domains", "none: this leaf learns nothing")
	case !e.Leaf && len(e.Domains) > 0:
		d.warn(d.place("endpoint.bridge_domains"), "endpoint.bridge_domains", "without effect, as endpoint.leaf is false")
	}
	if e.Leaf && len(e.Anycast) == 0 {
		d.warn(d.place("endpoint.anycast_addresses"), "endpoint.anycast_addresses", "none: frames for endpoints that this leaf does not know go nowhere")
	}
	if e.Rogue.Enable && e.Loop.Enable {
		const path = "endpoint.loop_protection.enable"
		d.warn(d.place(path), path, "without effect, as endpoint.rogue_control.enable is true")
	}
}

func (d *decoder) checkAddresses(path string, all []netip.Addr) {
	for i, a := range all {
		if a.IsValid() && slices.ContainsFunc(all[:i], func(b netip.Addr) bool { return b.IsValid() && a.Is4() == b.Is4() }) {
			d.refuseAs(fmt.Sprintf("%s[%d]", path, i), "at most one address of each family")
		}
	}
}

func (d *decoder) checkDomains(e *Endpoint) {
	if len(e.Domains) > maxDomains {
		d.refuseAs("endpoint.bridge_domains", fmt.Sprintf("at most %d of them", maxDomains))
		return
	}
	ids, devices := map[int]int{}, map[string]string{}
	for i := range e.Domains {
		b := &e.Domains[i]
		path := fmt.Sprintf("endpoint.bridge_domains[%d]", i)
		if j, twice := ids[b.ID]; twice && b.ID != 0 {
			d.refuseAs(join(path, "id"), fmt.Sprintf("an id that no other domain has (bridge_domains[%d] has it)", j))
		} else {
			ids[b.ID] = i
		}
		for _, dev := range []struct{ key, name string }{{"bridge", b.Bridge}, {"vxlan", b.VXLAN}} {
			at := join(path, dev.key)
			other, twice := devices[dev.name]
			switch {
			case d.bad[at]:
			case dev.name == "" || len(dev.name) > maxDevice || strings.ContainsAny(dev.name, "/: \t\n"):
				d.refuseAs(at, fmt.Sprintf("the name of a network device, of 1 to %d bytes", maxDevice))
			case twice:
				d.refuseAs(at, "a device of its own ("+other+" has it)")
			default:
				devices[dev.name] = strings.TrimPrefix(at, "endpoint.")
			}
		}
		if b.EnforceSubnet && len(b.Subnets) == 0 {
			d.refuseAs(join(path, "enforce_subnet_check"), "false, or subnets beside it: no address could be learned")
		}
	}
}

// checkExceptions checks that each is <bridge domain>/<MAC address>, in one of the notations of package endpoint.
func (d *decoder) checkExceptions(list []string) {
	const path = "endpoint.rogue_control.exceptions"
	if len(list) > maxExceptions {
		d.refuseAs(path, fmt.Sprintf("at most %d endpoints", maxExceptions))
	}
	for i, s := range list {
		if !validException(s) {
			d.refuseAs(fmt.Sprintf("%s[%d]", path, i), "<bridge domain>/<MAC address of a host>, as in 10100/02:00:5e:10:00:01")
		}
	}
}

func validException(s string) bool {
	id, text, found := strings.Cut(s, "/")
	bd, err := strconv.ParseUint(id, 10, 24)
	if !found || err != nil || bd == 0 {
		return false
	}
	var digits string
	switch {
	case len(text) == 17 && (strings.Count(text, ":") == 5 || strings.Count(text, "-") == 5):
		for i := 0; i < len(text); i += 3 {
			digits += text[i : i+2]
		}
	case len(text) == 14 && text[4] == '.' && text[9] == '.':
		digits = text[0:4] + text[5:9] + text[10:14]
	}
	mac, err := strconv.ParseUint(digits, 16, 48)
	return err == nil && len(digits) == 12 && mac != 0 && mac>>40&1 == 0
}

// address reads the address of a host.
func (d *decoder) address(path, s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a.IsLinkLocalUnicast() ||
		a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		d.refuseAs(path, "a unicast IPv4 or IPv6 address that others can reach, as in 2001:db8::1")
		return netip.Addr{}
	}
	return a
}
