package zebra

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// release is a run of FRR releases that number their commands and lay out their messages alike. ZAPI's version byte is 6
// for all of them from 6.0 on, so the release has to be known to speak with zebra.
type release struct {
	name   string // the first of the run: "8.4"
	until  string // the last
	live   bool   // seen on the wire; the others are known from FRR's source only
	column int    // of commandTable
	layout
}

// layout is how a release lays out its messages. Fields below a comment with a release are set from that release on.
type layout struct {
	zapi        uint8 // header version
	programming bool  // route messages are known: 6.0
	hello       helloForm
	routerIDAfi bool // ROUTER_ID_ADD names an AFI: 7.5
	types       []string

	// CAPABILITIES
	mlagRole    bool // 7.1
	v6ForV4     bool // a byte whether IPv4 routes may have IPv6 next hops: 9.1
	capRestart  bool // a byte whether zebra was started with -K: 10.2
	vrfBackend  int  // bytes of vrf_backend: none, from 7.0 4, from 10.6 1
	netnsLength int  // bytes of the namespace's name in VRF_ADD: 16, from 8.0 36

	// INTERFACE_ADD and its like
	ifNameLength int  // 20, from 8.3 16
	ifParent     bool // 7.2
	ifTxqlen     bool // 9.1
	ifType       bool // 10.6

	// Routes and next hops
	message32   bool    // the bits that say what follows are 32, not 8: 7.5
	hop         hopForm // 7.1, 7.3
	bitLabel    uint32  // all next hops have labels: until 7.2
	bitBackup   uint32  // 7.4
	bitNHG      uint32  // 8.0
	bitTable    uint32
	bitSRTE     uint32 // 7.5
	bitOpaque   uint32 // 8.0
	backupCount bool   // a hop's backups are counted, not one byte: 7.5
	rmacByHop   bool   // a hop's own flag says that it has a MAC address, not the route's: 8.4
	labelType   bool   // 9.0
	segments    bool   // several SRv6 segments: 9.1
	weight64    bool   // 10.1
	segEncap    bool   // 10.4
	tableFlag   bool   // a route flag goes with a table id: 10.4

	// ROUTE_NOTIFY_OWNER
	notifyAfi    bool // 8.0
	notifySource bool // 10.3

	// NHG_ADD
	groups       bool // 8.0
	groupBuckets bool // 8.5

	// NEXTHOP_REGISTER and NEXTHOP_UPDATE
	registerSafi bool // 8.2
	updateVRF    bool // next hops name their VRF: 7.0
	updateBits   bool // bits that say what follows come first: 7.5
	updateSafi   bool // 8.2
	updateMatch  bool // 8.2.2
	updateNum16  bool // 10.3
}

// helloForm is what HELLO says.
type helloForm uint8

const (
	helloNotify  helloForm = iota + 1 // protocol, instance, notify: 4.0 to 7.3
	helloSession                      // protocol, instance, session id, notify, synchronous: 7.4 to 9.1
	helloNoWish                       // protocol, instance, session id, synchronous: 10.0 on. ROUTE_NOTIFY_REQUEST asks for notifications
)

// hopForm is how a next hop begins after its VRF.
type hopForm uint8

const (
	hopPlain  hopForm = iota // type; the types without index have none: 6.0, 7.0
	hopOnlink                // type, on-link: 7.1, 7.2
	hopFlags                 // type, flags; every address is followed by an index: 7.3 on
)

// Route types of a run of releases by number. Unlike commands they have changed five times only. TABLE_DIRECT and what
// comes after it in 10.x are left out, since nothing here uses them, but for the number of types that max gives.
var (
	types60 = strings.Fields("system kernel connected static rip ripng ospf ospf6 isis bgp pim eigrp nhrp hsls olsr table ldp vnc " +
		"vnc-direct vnc-rn bgp-direct bgp-direct-to-nve babel sharp pbr bfd all max")
	types70  = insertType(types60, "bfd", "openfabric")
	types72  = insertType(types70, "openfabric", "vrrp")
	types73  = insertType(types72, "vrrp", "nhg")
	types75  = insertType(types73, "nhg", "srte")
	types100 = insertType(insertType(types75, "connected", "local"), "srte", "table-direct")
)

func insertType(types []string, after string, names ...string) []string {
	return slices.Insert(slices.Clone(types), slices.Index(types, after)+1, names...)
}

// releases are all known releases, oldest first. The layouts of 7.5, 8.4 and 10.3 were seen on the wire with Debian's
// packages of FRR 7.5.1, 8.4.4 and 10.3; the others were read in FRR's source at its release tags and never run. Of 2.0 to
// 5.0 only header and command numbers are known.
var releases = func() []*release {
	var out []*release
	last := layout{}
	add := func(name, until, col string, change func(l *layout)) {
		change(&last)
		r := &release{name: name, until: until, column: column(col), layout: last}
		r.live = name == "7.5" || name == "8.4" || name == "10.3"
		out = append(out, r)
	}
	same := func(*layout) {}
	add("2.0", "2.0", "2.0", func(l *layout) { l.zapi = 4 })
	add("3.0", "3.0", "3.0", same)
	add("4.0", "4.0", "4.0", func(l *layout) { l.zapi = 5 })
	add("5.0", "5.0", "5.0", same)
	add("6.0", "6.0.0", "6.0", func(l *layout) {
		*l = layout{zapi: 6, programming: true, hello: helloNotify, types: types60, netnsLength: 16, ifNameLength: 20, bitLabel: 0x40, bitTable: 0x80}
	})
	add("6.0.1", "6.0", "6.0.1", same)
	add("7.0", "7.0", "7.0", func(l *layout) { l.types, l.vrfBackend, l.updateVRF = types70, 4, true })
	add("7.1", "7.1", "7.1", func(l *layout) { l.mlagRole, l.hop = true, hopOnlink })
	add("7.2", "7.2", "7.2", func(l *layout) { l.types, l.ifParent = types72, true })
	add("7.3", "7.3", "7.3", func(l *layout) { l.types, l.hop, l.bitLabel = types73, hopFlags, 0 })
	add("7.4", "7.4", "7.4", func(l *layout) { l.hello, l.bitBackup = helloSession, 0x40 })
	add("7.5", "7.5", "7.5", func(l *layout) {
		l.routerIDAfi, l.types, l.message32, l.bitSRTE, l.backupCount, l.updateBits = true, types75, true, 0x100, true, true
	})
	add("8.0", "8.0", "8.0", func(l *layout) {
		l.netnsLength, l.bitNHG, l.bitTable, l.bitSRTE, l.bitOpaque = 36, 0x80, 0x100, 0x200, 0x400
		l.notifyAfi, l.groups = true, true
	})
	add("8.1", "8.1", "8.1", same)
	add("8.2", "8.2.1", "8.2", func(l *layout) { l.registerSafi, l.updateSafi = true, true })
	add("8.2.2", "8.2", "8.2", func(l *layout) { l.updateMatch = true })
	add("8.3", "8.3", "8.3", func(l *layout) { l.ifNameLength = 16 })
	add("8.4", "8.4", "8.3", func(l *layout) { l.rmacByHop = true })
	add("8.5", "8.5", "8.5", func(l *layout) { l.groupBuckets = true })
	add("9.0", "9.0", "8.5", func(l *layout) { l.labelType = true })
	add("9.1", "9.1", "9.1", func(l *layout) { l.v6ForV4, l.ifTxqlen, l.segments = true, true, true })
	add("10.0", "10.0", "10.0", func(l *layout) { l.hello, l.types = helloNoWish, types100 })
	add("10.1", "10.1", "10.0", func(l *layout) { l.weight64 = true })
	add("10.2", "10.2", "10.2", func(l *layout) { l.capRestart = true })
	add("10.3", "10.3", "10.3", func(l *layout) { l.notifySource, l.updateNum16 = true, true })
	add("10.4", "10.5", "10.3", func(l *layout) { l.segEncap, l.tableFlag = true, true })
	add("10.6", "10.7", "10.3", func(l *layout) { l.vrfBackend, l.ifType = 1, true })
	return out
}()

func (r *release) String() string {
	if r.until == r.name || strings.HasPrefix(r.name, r.until+".") || strings.HasPrefix(r.until, r.name+".") {
		return r.name
	}
	return r.name + " to " + r.until
}

// number returns the number of a command; false if the release has no such command.
func (r *release) number(c command) (uint16, bool) {
	n := commandTable[c].numbers[r.column]
	return uint16(n), n >= 0
}

// command returns what a number stands for; false if the release has no such number.
func (r *release) command(n uint16) (command, bool) {
	c, ok := commandsByNumber[r.column][n]
	return c, ok
}

// routeType returns the number of a route type by its name in FRR's configuration language.
func (r *release) routeType(name string) (uint8, bool) {
	i := slices.Index(r.types, name)
	return uint8(i), i >= 0
}

// typeName is the reverse of routeType.
func (r *release) typeName(n uint8) string {
	if int(n) < len(r.types) {
		return r.types[n]
	}
	return "type " + strconv.Itoa(int(n))
}

// maxTypes is the number of route types: those of a session and of routes must be less.
func (r *release) maxTypes() uint32 { return uint32(len(r.types) - 1) }

// groupRange returns the first id and the number of ids that a protocol has for its own nexthop groups (FRR:
// zebra_nhg_get_lower_bound).
func (r *release) groupRange(routeType uint8) (first, n uint32) {
	const all = 250000000
	n = all / r.maxTypes()
	return n * uint32(routeType), n
}

// Releases returns the names of the FRR releases that Options.Release may have, without patch numbers, oldest first.
func Releases() (names []string) {
	for _, r := range releases {
		if !r.programming {
			continue
		}
		for _, n := range []string{r.name, r.until} {
			v, _ := parseVersion(n)
			if n = fmt.Sprintf("%d.%d", v[0], v[1]); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// findRelease returns the release that speaks like version, "8.4" or "8.4.4".
func findRelease(version string) (*release, error) {
	v, err := parseVersion(version)
	if err != nil {
		return nil, err
	}
	for _, r := range slices.Backward(releases) {
		from, _ := parseVersion(r.name)
		if slices.Compare(from[:], v[:]) > 0 {
			continue
		}
		if until, _ := parseVersion(r.until); slices.Compare(v[:2], until[:2]) > 0 {
			break // between two known ones, or later than all
		}
		if !r.programming {
			return nil, fmt.Errorf("FRR release %s speaks ZAPI version %d, of which only headers and command numbers are known; routes can be programmed with %s",
				version, r.zapi, strings.Join(Releases(), ", "))
		}
		return r, nil
	}
	return nil, fmt.Errorf("FRR release %q is not known; known are %s", version, strings.Join(Releases(), ", "))
}

// parseVersion reads major.minor or major.minor.patch, with anything that Debian adds after a minus ignored.
func parseVersion(s string) (v [3]int, err error) {
	plain, _, _ := strings.Cut(s, "-")
	parts := strings.Split(plain, ".")
	if len(parts) < 2 || len(parts) > 4 {
		err = fmt.Errorf("FRR release %q: write it as 8.4 or 8.4.4", s)
	}
	for i := 0; i < min(len(parts), 3) && err == nil; i++ {
		if v[i], err = strconv.Atoi(parts[i]); err != nil || v[i] < 0 {
			err = fmt.Errorf("FRR release %q: write it as 8.4 or 8.4.4", s)
		}
	}
	return v, err
}
