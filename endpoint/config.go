package endpoint

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is what the operator says about endpoints. The tags are those of package config: key is the name in the file, and
// its ending the unit of a duration; range is what Validate holds the value to, in that unit. With or:"0" zero is allowed
// too, and turns off what the value is for.
type Config struct {
	Domains   []Domain       `key:"bridge_domains"`
	Retention Retention      `key:"retention_policy"` // of every domain that has none of its own
	Rogue     Rogue          `key:"rogue_control"`
	Loop      LoopProtection `key:"loop_protection"`

	MaxLocal  int `key:"max_local_endpoints" range:"1..1048576"`  // what this leaf learns on its ports; default 65536
	MaxRemote int `key:"max_remote_endpoints" range:"1..4194304"` // what it keeps of others; default 262144
	MaxIPs    int `key:"max_ips_per_endpoint" range:"1..1024"`    // default 256

	// Activity: the data plane reports when an endpoint falls silent and when it is heard again (Idle, Heard), and says when
	// something was last sent to one behind another leaf (AskUsed), as Linux does. Without it an endpoint is as old as the last
	// frame or record that made an event. Default true.
	Activity      bool          `key:"activity_events"`
	ProbeInterval time.Duration `key:"probe_interval_ms" range:"100..75000"` // between the three probes; default 1000
	Refresh       time.Duration `key:"refresh_interval_s" range:"60..86400"` // how often each record is published again at least; default 3600
}

// Domain is a bridge domain that this leaf takes part in.
type Domain struct {
	BD    BD     `key:"id" range:"1..16777215"`
	VRF   VRF    `key:"vrf" range:"0..4294967295"`
	Group uint32 `key:"group" range:"0..4294967295"` // policy group that records of its endpoints carry; 0: none

	Retention *Retention `key:"retention_policy"` // nil: that of Config

	Subnets       []netip.Prefix `key:"subnets"`
	EnforceSubnet bool           `key:"enforce_subnet_check"` // learn no IP address outside Subnets; IPv6 link-local ones are free
	IPLearning    IPLearning     `key:"ip_learning"`
	IPAgeing      bool           `key:"ip_aging"` // addresses age one by one, even while their MAC lives
}

// IPLearning says which frames IP addresses are learned from.
type IPLearning int

// The zero value learns from everything.
const (
	IPLearningOn  IPLearning = iota // from ARP, ND and data
	IPLearningARP                   // from ARP and ND only: what ACI calls "IP data-plane learning disabled"
	IPLearningOff                   // not at all
)

var ipLearningNames = [...]string{"on", "arp", "off"}

// String returns the name in lower case.
func (l IPLearning) String() string { return nameOf(ipLearningNames[:], uint8(l)) }

// IsDefined reports whether l is one of the constants.
func (l IPLearning) IsDefined() bool { return l >= IPLearningOn && l <= IPLearningOff }

// Retention is an endpoint retention policy: how long what is learned stays.
type Retention struct {
	LocalAge  time.Duration `key:"local_age_s" range:"120..65535" or:"0"`  // without being heard; probed at 75 %; default 900, 0: for ever
	RemoteAge time.Duration `key:"remote_age_s" range:"120..65535" or:"0"` // without an update, and without anything sent to it; default 300, 0: until withdrawn
	BounceAge time.Duration `key:"bounce_age_s" range:"150..65535"`        // default 630: twice the default RemoteAge and a little, so that it outlives what others remember

	Hold          time.Duration `key:"hold_interval_s" range:"5..65535"` // for how long learning stays off after loop protection or dampening; default 300
	MoveFrequency int           `key:"move_frequency" range:"0..65535"`  // moves of all endpoints per second above which learning stops; default 256, 0: never
}

// Rogue is rogue endpoint control: an endpoint that moves too often is pinned to where it was, and only that one.
type Rogue struct {
	Enabled  bool          `key:"enabled"`
	Interval time.Duration `key:"detection_interval_s" range:"30..3600"` // default 60
	Factor   int           `key:"detection_factor" range:"2..10"`        // more moves than that within Interval are too many; default 4
	Hold     time.Duration `key:"hold_interval_s" range:"1800..3600"`    // default 1800; a change does not concern those who are held already

	Exceptions        []Key         `key:"exceptions"`                                 // endpoints that may move more often, such as those of clusters; at most MaxExceptions
	ExceptionInterval time.Duration `key:"exception_interval_s" range:"30..3600"`      // default 600
	ExceptionFactor   int           `key:"exception_factor" range:"10..10000"`         // default 3000
	ExceptionHold     time.Duration `key:"exception_hold_interval_s" range:"30..3600"` // default 30
}

// MaxExceptions is how many endpoints may be on the list of exceptions.
const MaxExceptions = 100

// LoopProtection acts when an endpoint moves between the same two ports too often. It has no effect while rogue control is
// on, and so does move dampening.
type LoopProtection struct {
	Enabled  bool          `key:"enabled"`
	Interval time.Duration `key:"detection_interval_s" range:"30..300"` // default 60
	Factor   int           `key:"detection_factor" range:"1..255"`      // more moves than that within Interval are too many; default 4

	PortDisable  bool `key:"port_disable"`      // shut a port; which one cannot be chosen. Default true
	LearnDisable bool `key:"bd_learn_disable"`  // turn learning off in the domain
	Recovery     bool `key:"frequent_ep_moves"` // bring the port back by itself (error-disabled recovery, cause "frequent EP moves")
	// RecoveryAfter is for how long the port stays shut then; default 300.
	RecoveryAfter time.Duration `key:"error_disabled_recovery_interval_s" range:"30..65535"`
}

// Default returns the configuration without domains: rogue control and loop protection are off.
func Default() Config {
	return Config{
		Retention: DefaultRetention(),
		Rogue: Rogue{Interval: 60 * time.Second, Factor: 4, Hold: 1800 * time.Second,
			ExceptionInterval: 600 * time.Second, ExceptionFactor: 3000, ExceptionHold: 30 * time.Second},
		Loop:     LoopProtection{Interval: 60 * time.Second, Factor: 4, PortDisable: true, RecoveryAfter: 300 * time.Second},
		MaxLocal: 65536, MaxRemote: 262144, MaxIPs: 256,
		Activity: true, ProbeInterval: time.Second, Refresh: 3600 * time.Second,
	}
}

// DefaultRetention returns the retention policy of a domain that has none of its own.
func DefaultRetention() Retention {
	return Retention{LocalAge: 900 * time.Second, RemoteAge: 300 * time.Second, BounceAge: 630 * time.Second,
		Hold: 300 * time.Second, MoveFrequency: 256}
}

// Validate returns the first thing that is wrong: which field by its name in the file, what it has and what it may have.
func (c *Config) Validate() error {
	if err := validateRanges(reflect.ValueOf(c).Elem(), ""); err != nil {
		return err
	}
	seen := map[BD]bool{}
	for i := range c.Domains {
		d := &c.Domains[i]
		name := fmt.Sprintf("bridge_domains[%d]", i)
		if seen[d.BD] {
			return fmt.Errorf("%s.id: domain %d is there twice", name, d.BD)
		}
		seen[d.BD] = true
		if err := d.validate(name); err != nil {
			return err
		}
	}
	if n := len(c.Rogue.Exceptions); n > MaxExceptions {
		return fmt.Errorf("rogue_control.exceptions: has %d endpoints, want at most %d", n, MaxExceptions)
	}
	for i, k := range c.Rogue.Exceptions {
		if k.BD == 0 || k.BD > MaxBD || !k.MAC.IsHost() {
			return fmt.Errorf("rogue_control.exceptions[%d]: %v is no endpoint; want <bridge domain 1-%d>/<MAC of a host>", i, k, MaxBD)
		}
	}
	return nil
}

func (d *Domain) validate(name string) error {
	if !d.IPLearning.IsDefined() {
		return fmt.Errorf("%s.ip_learning: is %d, want one of %s", name, int(d.IPLearning), strings.Join(ipLearningNames[:], ", "))
	}
	for i, p := range d.Subnets {
		if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
			return fmt.Errorf("%s.subnets[%d]: %v is no subnet; want one without host bits, as in 10.1.0.0/16", name, i, p)
		}
	}
	if d.EnforceSubnet && len(d.Subnets) == 0 {
		return fmt.Errorf("%s.enforce_subnet_check: no address could be learned; give subnets", name)
	}
	return nil
}

// validateRanges holds every field of v that has a range to it.
func validateRanges(v reflect.Value, path string) error {
	for i := range v.NumField() {
		f, tag := v.Field(i), v.Type().Field(i).Tag
		name := strings.TrimPrefix(path+"."+tag.Get("key"), ".")
		if r := tag.Get("range"); r != "" {
			if err := checkRange(f, name, r, tag.Get("or") == "0"); err != nil {
				return err
			}
			continue
		}
		if f.Kind() == reflect.Pointer && !f.IsNil() {
			f = f.Elem()
		}
		switch {
		case f.Kind() == reflect.Struct:
			if err := validateRanges(f, name); err != nil {
				return err
			}
		case f.Type() == reflect.TypeFor[[]Domain]():
			for j := range f.Len() {
				if err := validateRanges(f.Index(j), fmt.Sprintf("%s[%d]", name, j)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func checkRange(f reflect.Value, name, limits string, orZero bool) error {
	low, high, _ := strings.Cut(limits, "..")
	lo, _ := strconv.ParseInt(low, 10, 64)
	hi, _ := strconv.ParseInt(high, 10, 64)
	unit, unitName := int64(1), ""
	if f.Type() == reflect.TypeFor[time.Duration]() {
		unit, unitName = int64(time.Second), " s"
		if strings.HasSuffix(name, "_ms") {
			unit, unitName = int64(time.Millisecond), " ms"
		}
	}
	var n int64
	if f.CanInt() {
		n = f.Int()
	} else {
		n = int64(f.Uint())
	}
	if n >= lo*unit && n <= hi*unit || orZero && n == 0 {
		return nil
	}
	zero := ""
	if orZero {
		zero = ", or 0 for never"
	}
	has := strconv.FormatInt(n, 10)
	if unit != 1 {
		has = time.Duration(n).String()
	}
	return fmt.Errorf("%s: is %s, want %d-%d%s%s", name, has, lo, hi, unitName, zero)
}

// retention returns the policy that holds for the domain.
func (c *Config) retention(d *Domain) Retention {
	if d.Retention != nil {
		return *d.Retention
	}
	return c.Retention
}

// clone returns a copy that shares nothing with c, domains and exceptions in order.
func (c *Config) clone() Config {
	n := *c
	n.Domains = slices.Clone(c.Domains)
	for i := range n.Domains {
		d := &n.Domains[i]
		d.Subnets = slices.Clone(d.Subnets)
		if d.Retention != nil {
			r := *d.Retention
			d.Retention = &r
		}
	}
	slices.SortFunc(n.Domains, func(a, b Domain) int { return cmp.Compare(a.BD, b.BD) })
	n.Rogue.Exceptions = slices.Clone(c.Rogue.Exceptions)
	slices.SortFunc(n.Rogue.Exceptions, Key.Compare)
	return n
}

// allows reports whether the domain learns the address; fromData: not from ARP or ND.
func (d *Domain) allows(a netip.Addr, fromData bool) bool {
	switch {
	case d.IPLearning == IPLearningOff || d.IPLearning == IPLearningARP && fromData:
		return false
	case !d.EnforceSubnet || a.Is6() && a.IsLinkLocalUnicast():
		return true
	}
	return slices.ContainsFunc(d.Subnets, func(p netip.Prefix) bool { return p.Contains(a) })
}
