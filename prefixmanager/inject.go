package prefixmanager

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"openr/lsdb"
	"openr/thrift/gen/network"
)

// maxInjected bounds how many prefixes the API can have this node advertise: each costs memory in every node of the area.
const maxInjected = 100_000

// named is how many prefixes an error names at most.
const named = 5

// What can be wrong with prefixes that come through the API. Errors of the methods wrap these and name the prefixes.
var (
	ErrBadPrefix     = errors.New("not a prefix that can be advertised")
	ErrTypeRefused   = errors.New("prefix type refused")
	ErrTooMany       = fmt.Errorf("more than %d injected prefixes", maxInjected)
	ErrUnknownPrefix = errors.New("not advertised through this API")
	ErrUnknownArea   = errors.New("no such area in the configuration of this node")
)

// injectedKey names what came through the API.
type injectedKey struct {
	prefix netip.Prefix
	kind   lsdb.PrefixType
}

func (k injectedKey) String() string { return fmt.Sprintf("%v (%v)", k.prefix, k.kind) }

// checkType refuses the types that stand for something only this module knows, and those that Open/R does not have.
func checkType(t lsdb.PrefixType) error {
	_, unknown := network.PrefixTypeFromString(t.String())
	switch {
	case t == lsdb.PrefixRIB:
		return fmt.Errorf("%w: RIB is for routes that are redistributed between areas; use BREEZE", ErrTypeRefused)
	case t == lsdb.PrefixConfig:
		return fmt.Errorf("%w: CONFIG is for originated_prefixes of the configuration file; use BREEZE", ErrTypeRefused)
	case unknown != nil:
		return fmt.Errorf("%w: %d is none of Open/R's types (Network.thrift, PrefixType); use BREEZE, %d", ErrTypeRefused, int64(t), int64(lsdb.PrefixBreeze))
	}
	return nil
}

// checkPrefix refuses what no node could route. To forward link-local or multicast destinations would cut off neighbours.
func checkPrefix(p netip.Prefix) error {
	why := ""
	switch a := p.Masked().Addr(); {
	case !p.IsValid():
		why = "want an IPv4 or IPv6 address with a prefix length"
	case a.Is4In6():
		why = "want an IPv4 prefix without ::ffff:"
	case a.IsLinkLocalUnicast():
		why = "link-local addresses are not routed"
	case a.IsMulticast():
		why = "multicast is not routed"
	default:
		return nil
	}
	return fmt.Errorf("%w: %v: %s", ErrBadPrefix, p, why)
}

// checkAttributes refuses values that Open/R does not have, and those that no route could meet.
func checkAttributes(e lsdb.PrefixEntry) error {
	why := ""
	switch {
	case !e.ForwardingType.IsDefined():
		why = fmt.Sprintf("forwardingType is %d: want 0 (IP) or 1 (SR_MPLS)", int64(e.ForwardingType))
	case !e.ForwardingAlgorithm.IsDefined():
		why = fmt.Sprintf("forwardingAlgorithm is %d: want 0 (SP_ECMP) or 1 (KSP2_ED_ECMP)", int64(e.ForwardingAlgorithm))
	case e.MinNexthop < 0:
		why = fmt.Sprintf("minNexthop is %d: want 0 (no condition) or more", e.MinNexthop)
	case e.Weight < 0:
		why = fmt.Sprintf("weight is %d: want 0 (none) or more", e.Weight)
	default:
		return nil
	}
	return fmt.Errorf("%w: %v: %s", ErrBadPrefix, e.Prefix, why)
}

// check makes entries ready for injection: by key, of equal keys the last. One that is wrong spoils all.
func (c *core) check(entries []lsdb.PrefixEntry) (map[injectedKey]origin, error) {
	set := make(map[injectedKey]origin, len(entries))
	for _, e := range entries {
		if err := checkPrefix(e.Prefix); err != nil {
			return nil, err
		}
		e.Prefix = e.Prefix.Masked()
		if err := checkAttributes(e); err != nil {
			return nil, err
		}
		k := injectedKey{e.Prefix, e.Type}
		if err := checkType(e.Type); err != nil {
			return nil, fmt.Errorf("%v: %w", e.Prefix, err)
		}
		if o, ok := c.origins[k.prefix][k.kind]; ok && !o.injected {
			return nil, fmt.Errorf("%w: this node advertises %v itself, for an address of an interface; use BREEZE", ErrTypeRefused, k)
		}
		set[k] = origin{entry: e, areas: destinations(c.areas, nil, e.AreaStack), injected: true}
	}
	return set, nil
}

// inject is PrefixManager.Advertise.
func (c *core) inject(entries []lsdb.PrefixEntry) error {
	set, err := c.check(entries)
	if err != nil {
		return err
	}
	n := len(c.injected)
	for k := range set {
		if _, had := c.injected[k]; !had {
			n++
		}
	}
	if n > maxInjected {
		return fmt.Errorf("%w: there are %d, and %d more were given; withdraw some first", ErrTooMany, len(c.injected), n-len(c.injected))
	}
	for k, o := range set {
		c.injected[k] = o
		c.advertise(k.prefix, o)
	}
	return nil
}

// eject is PrefixManager.Withdraw.
func (c *core) eject(entries []lsdb.PrefixEntry) error {
	known := 0
	var unknown []string
	for _, e := range entries {
		k := injectedKey{e.Prefix, e.Type}
		if e.Prefix.IsValid() {
			k.prefix = e.Prefix.Masked()
		}
		if _, ok := c.injected[k]; ok {
			known++
			c.remove(k)
		} else if len(unknown) < named {
			unknown = append(unknown, k.String())
		}
	}
	if known == 0 && len(entries) > 0 {
		more := ""
		if n := len(entries) - len(unknown); n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		return fmt.Errorf("%w: %s%s; breeze prefixmgr view shows what there is, and of which type", ErrUnknownPrefix, strings.Join(unknown, ", "), more)
	}
	return nil
}

func (c *core) remove(k injectedKey) {
	delete(c.injected, k)
	if c.origins[k.prefix][k.kind].injected {
		c.withdraw(k.prefix, k.kind)
	}
}

// replace is PrefixManager.SyncByType.
func (c *core) replace(t lsdb.PrefixType, entries []lsdb.PrefixEntry) error {
	if err := checkType(t); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type != t {
			return fmt.Errorf("%w: %v is of type %v, but type %v is to be replaced", ErrTypeRefused, e.Prefix, e.Type, t)
		}
	}
	set, err := c.check(entries)
	if err != nil {
		return err
	}
	others := 0
	for k := range c.injected {
		if k.kind != t {
			others++
		}
	}
	if others+len(set) > maxInjected {
		return fmt.Errorf("%w: there are %d of other types, and %d were given; withdraw some first", ErrTooMany, others, len(set))
	}
	for k := range c.injected {
		if _, stays := set[k]; k.kind == t && !stays {
			c.remove(k)
		}
	}
	for k, o := range set {
		c.injected[k] = o
		c.advertise(k.prefix, o)
	}
	return nil
}
