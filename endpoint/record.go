package endpoint

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// MAC is the Ethernet address of an endpoint. It is comparable, so that it can be a map key.
type MAC [6]byte

// ParseMAC reads six pairs of hexadecimal digits separated by colons or dashes, or three groups of four separated by dots.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	digits := ""
	switch {
	case len(s) == 17 && (strings.Count(s, ":") == 5 || strings.Count(s, "-") == 5):
		for i := range m {
			digits += s[3*i : 3*i+2]
		}
	case len(s) == 14 && s[4] == '.' && s[9] == '.':
		digits = s[0:4] + s[5:9] + s[10:14]
	}
	if n, err := hex.Decode(m[:], []byte(digits)); err != nil || n != len(m) {
		return MAC{}, fmt.Errorf("MAC address %q: want six pairs of hexadecimal digits as in 02:00:5e:10:00:01", s)
	}
	return m, nil
}

// String returns the address as lower-case pairs with colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// MarshalText returns what String does.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what ParseMAC reads.
func (m *MAC) UnmarshalText(text []byte) error {
	parsed, err := ParseMAC(string(text))
	if err == nil {
		*m = parsed
	}
	return err
}

// IsHost reports whether the address can be a sender's: neither a group address (IEEE 802, lowest bit of the first octet)
// nor all zeros. Frames from other senders are forged.
func (m MAC) IsHost() bool { return m != MAC{} && m[0]&1 == 0 }

// BD is a bridge domain: one Ethernet segment across the fabric. Its number is the VXLAN network identifier (RFC 7348: 24
// bits), which every node of the fabric knows it by.
type BD uint32

// MaxBD is the largest bridge domain number; the smallest is 1.
const MaxBD BD = 1<<24 - 1

// VRF is a routing table of the fabric: IP addresses are unique within one. A bridge domain lies in exactly one VRF.
type VRF uint32

// Key names an endpoint: one MAC address in one bridge domain.
type Key struct {
	BD  BD
	MAC MAC
}

// String returns "<domain>/<MAC>", which ParseKey reads.
func (k Key) String() string { return strconv.FormatUint(uint64(k.BD), 10) + "/" + k.MAC.String() }

// ParseKey reads what Key.String returns.
func ParseKey(s string) (Key, error) {
	bd, mac, found := strings.Cut(s, "/")
	n, err := strconv.ParseUint(bd, 10, 32)
	if !found || err != nil || n == 0 || n > uint64(MaxBD) {
		return Key{}, fmt.Errorf("endpoint %q: want <bridge domain 1-%d>/<MAC>", s, MaxBD)
	}
	m, err := ParseMAC(mac)
	return Key{BD(n), m}, err
}

// Compare orders keys by domain, then by MAC address.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.BD, o.BD); c != 0 {
		return c
	}
	return slices.Compare(k.MAC[:], o.MAC[:])
}

// IP is one address of an endpoint.
type IP struct {
	Addr netip.Addr // unicast, IPv4 as 4 bytes, without a zone
	TS   int64      // when the owner learned it, in nanoseconds of its hybrid clock
}

// Flags say what is special about an endpoint. Unknown bits are kept and passed on.
type Flags uint16

// The flags of a record.
const (
	FlagStatic    Flags = 1 << iota // configured; it neither ages nor moves
	FlagFrozen                      // rogue: pinned to where it is until its hold ends
	FlagException                   // on the list of endpoints that may move often
	FlagSilent                      // never heard without being asked; to be gleaned after its port went down
	FlagForeign                     // another site's, republished by a border oracle: moves from and to there are not counted
)

// Status is what the directory thinks of a record.
type Status uint8

// The zero Status is that of a record which can be forwarded to.
const (
	Active    Status = iota
	Stale            // its publisher is lost: forwarding goes on until the hold ends
	Tombstone        // withdrawn, and kept so that an older record cannot come back
	Critical         // it changes too often: only withdrawals and refreshes of its owner are taken
	Freeze           // as Critical, and the rate did not fall: nothing is taken until it is cleared or decays
)

var statusNames = [...]string{"active", "stale", "tombstone", "critical", "freeze"}

// String returns the name in lower case.
func (s Status) String() string { return nameOf(statusNames[:], uint8(s)) }

// State is what a leaf does about an endpoint.
type State uint8

// Absent is the state of an endpoint that is not in the table. Every other state exists per leaf.
const (
	Absent  State = iota
	Local         // behind one of this leaf's ports and heard lately
	Probing       // as Local, but not heard for three quarters of its age: it is being asked
	Remote        // behind another leaf
	Bounce        // it was here and moved: what still arrives for it is sent on, with the outer source left as it is
	Frozen        // rogue: pinned here or behind another leaf; learning is off for it
)

var stateNames = [...]string{"absent", "local", "probing", "remote", "bounce", "frozen"}

// String returns the name in lower case.
func (s State) String() string { return nameOf(stateNames[:], uint8(s)) }

// IsLocal reports whether the endpoint is behind a port of this leaf and can move away from it.
func (s State) IsLocal() bool { return s == Local || s == Probing }

// Cause is why a record is published or withdrawn.
type Cause uint8

// Causes of a publication, then of a withdrawal.
const (
	CauseLearn     Cause = iota + 1 // a new endpoint
	CauseMove                       // it was elsewhere before
	CauseUpdate                     // an address, a port or a flag changed; the leaf did not
	CauseRefresh                    // nothing changed; repairs what got lost
	CauseAge                        // not heard, and no answer to probes
	CauseLinkDown                   // its port went down
	CauseClear                      // an operator removed it, or its hold ended
	CauseConfig                     // the bridge domain is no longer configured
	CauseWithdrawn                  // its owner withdrew it; not sent, only told to operators
)

var causeNames = [...]string{"", "learn", "move", "update", "refresh", "age", "linkdown", "clear", "config", "withdrawn"}

// String returns the name in lower case.
func (c Cause) String() string { return nameOf(causeNames[:], uint8(c)) }

// Withdraws reports whether the cause is one of a withdrawal.
func (c Cause) Withdraws() bool { return c >= CauseAge && c <= CauseConfig }

// Record is what leaves and oracles tell each other of one endpoint. The owner writes everything but Status, Penalty and
// the previous tunnel addresses, which belong to the oracle.
type Record struct {
	Key
	VRF   VRF
	Group uint32 // policy group (EPG); 0: none. Carried for others, not looked at
	IPs   []IP   // ascending by address, each address once, at most MaxIPs

	TEP  netip.Addr // tunnel address (IPv4 or IPv6) of the leaf behind which it is
	Port string     // that leaf's name for the access port; at most MaxName bytes
	VLAN uint16     // encapsulation on that port, 0-4094; 0: untagged

	Flags  Flags
	Status Status
	// Seq rises by one whenever the endpoint changes its owner, and is the first thing compared: the order of moves depends
	// on no clock (cf. RFC 7432 section 7.7).
	Seq uint32
	// TS is the owner's hybrid clock in nanoseconds: the time of day, but never running backwards and never the same twice.
	TS        int64
	Publisher string // name of the node that wrote the record; at most MaxName bytes
	Epoch     uint64 // of the publisher; a larger one means that it has started again

	PrevTEP, PrevPrevTEP netip.Addr // where it was before, and before that; invalid: unknown
	Penalty              uint16     // of the oracle's dampening
}

// Bounds of a record. They keep what one peer can make another one store in proportion to what it sends.
const (
	MaxIPs  = 1024
	MaxName = 255
)

// Compare returns which record of one endpoint is newer: negative if a is older than b, positive if a wins, 0 if they are
// the same statement. What counts is, in this order: Seq, TS, Publisher, Epoch. Two records that differ although all of
// these are equal break the rules; they are still ordered (a withdrawal wins, then the higher tunnel address), so that
// oracles which merge them in different orders agree.
func Compare(a, b *Record) int {
	if c := cmp.Or(
		cmp.Compare(a.Seq, b.Seq),
		cmp.Compare(a.TS, b.TS),
		strings.Compare(a.Publisher, b.Publisher),
		cmp.Compare(a.Epoch, b.Epoch),
	); c != 0 {
		return c
	}
	switch aw, bw := a.Status == Tombstone, b.Status == Tombstone; {
	case aw && !bw:
		return 1
	case bw && !aw:
		return -1
	}
	return a.TEP.Compare(b.TEP)
}

// String returns the record on one line, for logs.
func (r *Record) String() string {
	return fmt.Sprintf("%v %v at leaf %v port %q vlan %d, %v, seq %d ts %d of %q epoch %d", r.Key, r.IPs, r.TEP, r.Port, r.VLAN, r.Status,
		r.Seq, r.TS, r.Publisher, r.Epoch)
}

// Clone returns a copy that shares nothing that can change with r.
func (r *Record) Clone() Record {
	c := *r
	c.IPs = slices.Clone(r.IPs)
	return c
}

// HasIP reports whether the endpoint has the address.
func (r *Record) HasIP(a netip.Addr) bool {
	_, found := r.findIP(a)
	return found
}

func (r *Record) findIP(a netip.Addr) (int, bool) {
	return slices.BinarySearchFunc(r.IPs, a, func(ip IP, a netip.Addr) int { return ip.Addr.Compare(a) })
}

// Validate returns what makes the record unfit for any directory, naming the field. It says nothing of whether the
// publisher may write it.
func (r *Record) Validate() error {
	switch {
	case r.BD == 0 || r.BD > MaxBD:
		return fmt.Errorf("bridge domain %d: want 1-%d", r.BD, MaxBD)
	case !r.MAC.IsHost():
		return fmt.Errorf("MAC address %v: want that of a host, not a group's and not all zeros", r.MAC)
	case !ValidTEP(r.TEP):
		return fmt.Errorf("tunnel address %v: want a unicast IPv4 or IPv6 address without zone", r.TEP)
	case r.VLAN > 4094:
		return fmt.Errorf("VLAN %d: want 0-4094", r.VLAN)
	case r.Status > Freeze:
		return fmt.Errorf("status %d: want 0-%d", r.Status, Freeze)
	case len(r.Port) > MaxName:
		return fmt.Errorf("port name of %d bytes: want at most %d", len(r.Port), MaxName)
	case r.Publisher == "" || len(r.Publisher) > MaxName:
		return fmt.Errorf("publisher name of %d bytes: want 1-%d", len(r.Publisher), MaxName)
	case len(r.IPs) > MaxIPs:
		return fmt.Errorf("%d addresses: want at most %d", len(r.IPs), MaxIPs)
	}
	for i, ip := range r.IPs {
		if !ValidHostIP(ip.Addr) {
			return fmt.Errorf("address %v: want a unicast IPv4 or IPv6 address without zone", ip.Addr)
		}
		if i > 0 && !r.IPs[i-1].Addr.Less(ip.Addr) {
			return fmt.Errorf("address %v: want ascending order and each address once", ip.Addr)
		}
	}
	return nil
}

// ValidTEP reports whether a can be the tunnel address of a leaf.
func ValidTEP(a netip.Addr) bool { return ValidHostIP(a) && !a.IsLinkLocalUnicast() }

// ValidHostIP reports whether a can be the address of a host: unicast, specified, not the loopback, without zone, IPv4 as
// 4 bytes and not the limited broadcast address.
func ValidHostIP(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback() && !a.Is4In6() && a.Zone() == "" &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func nameOf(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return "unknown " + strconv.Itoa(int(i))
}
