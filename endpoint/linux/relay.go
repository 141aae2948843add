package linux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	nft "github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/rtnl"
)

// VXLANPort is the UDP port of VXLAN (RFC 7348), which the relays look at unless another is given.
const VXLANPort = 4789

const (
	missGroup = 7    // NFLOG group to which a spine copies what it drops
	chunk     = 256  // elements in one message, whose attribute holds 64 KiB at most
	perFlush  = 2048 // elements in one transaction: the kernel takes each whole or not at all
)

// Forward says where packets for an endpoint go.
type Forward struct {
	endpoint.Key
	TEP netip.Addr
	For time.Duration // for how long at most; 0: for ever
}

// relayKind is what a relay is for.
type relayKind string

const (
	bounceRelay relayKind = "bounce" // of a leaf: what still arrives for endpoints that have moved
	proxyRelay  relayKind = "proxy"  // of a spine: what leaves do not know where to send
)

// relay rewrites the outer destination of VXLAN packets by the endpoint that they are for, and nothing else: the outer
// source stays the leaf that sent them. It is a table of nftables for each family of the underlay. The kernel does it
// without state, and goes on when this program does not run.
//
// It remembers what it has put there, because the kernel refuses a transaction that adds what stands or deletes what does
// not. What it finds in the kernel it takes over; where it turns out to be wrong about it, it reads it again.
type relay struct {
	kind   relayKind
	conn   *nft.Conn
	raw    *rtnl.Conn // for what conn has no words for
	log    *zap.Logger
	tables map[bool]*relayTable // by whether the underlay is IPv4
}

// relayTable is the part for one family.
type relayTable struct {
	table *nft.Table
	elems *nft.Set
	own   netip.Addr
	port  uint16
	has   map[endpoint.Key]netip.Addr
}

// newRelay makes or takes over the tables for this node's addresses, at most one of each family. It works in the network
// namespace of the calling thread.
func newRelay(kind relayKind, own []netip.Addr, port uint16, log *zap.Logger) (_ *relay, err error) {
	if port == 0 {
		port = VXLANPort
	}
	conn, err := nft.New(nft.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("failed to open a netlink socket for nftables: %w", err)
	}
	r := &relay{kind: kind, conn: conn, log: log, tables: map[bool]*relayTable{}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.raw, err = rtnl.Dial(unix.NETLINK_NETFILTER, requestBuffer, requestBuffer); err != nil {
		return nil, err
	}
	for _, a := range own {
		switch {
		case !endpoint.ValidTEP(a):
			return nil, fmt.Errorf("tunnel address %v: want a unicast IPv4 or IPv6 address without zone", a)
		case r.tables[a.Is4()] != nil:
			return nil, fmt.Errorf("tunnel addresses %v: want at most one of each family", own)
		}
		t := &relayTable{own: a, port: port, has: map[endpoint.Key]netip.Addr{}}
		r.tables[a.Is4()] = t
		if err := r.open(t); err != nil {
			return nil, fmt.Errorf("failed to set up the %s relay for %v: %w", kind, a, err)
		}
	}
	for _, warning := range forwardingOff(own) {
		log.Warn("the relay cannot work", zap.String("relay", string(kind)), zap.String("why", warning))
	}
	return r, nil
}

func (r *relay) close() {
	if r != nil {
		_ = r.conn.CloseLasting()
		_ = r.raw.Close()
	}
}

// forwardingOff returns which settings of the kernel prevent packets from being sent on.
func forwardingOff(own []netip.Addr) (out []string) {
	read := func(path string) string {
		b, _ := os.ReadFile("/proc/sys/net/" + path)
		return strings.TrimSpace(string(b))
	}
	for _, a := range own {
		switch {
		case a.Is4() && read("ipv4/ip_forward") == "0":
			out = append(out, "net.ipv4.ip_forward is 0; set it to 1")
		case a.Is6() && read("ipv6/conf/all/forwarding") == "0":
			out = append(out, "net.ipv6.conf.all.forwarding is 0; set it to 1")
		}
		if a.Is4() && read("ipv4/conf/all/rp_filter") == "1" {
			out = append(out, "net.ipv4.conf.all.rp_filter is 1, which drops packets whose sender is reached by another way; set it to 0 or 2")
		}
	}
	return out
}

// open makes the table of a family, or takes over the one that is there.
func (r *relay) open(t *relayTable) error {
	family := nft.TableFamilyIPv4
	if t.own.Is6() {
		family = nft.TableFamilyIPv6
	}
	t.table = &nft.Table{Family: family, Name: "openr-" + string(r.kind)}
	key, value := nft.TypeInteger, nft.TypeIPAddr
	key.Bytes = keyLen
	if t.own.Is6() {
		value = nft.TypeIP6Addr
	}
	t.elems = &nft.Set{
		Table: t.table, Name: mapName, IsMap: true, HasTimeout: true, KeyType: key, DataType: value, Size: 1 << 20,
	}
	chain := &nft.Chain{Table: t.table, Name: chainName}
	rules := rulesOf(r.kind, t)
	if found, err := r.adopt(t, chain, rules); found || err != nil {
		return err
	}
	r.conn.AddTable(t.table)
	r.conn.DelTable(t.table) // in one transaction: whether or not there is one, with rules of another kind
	r.conn.AddTable(t.table)
	if err := r.conn.AddSet(t.elems, nil); err != nil {
		return err
	}
	if err := r.conn.Flush(); err != nil {
		return err
	}
	return setRules(r.raw, uint8(family), t.table.Name, chain.Name, rules)
}

// adopt takes over a table that an earlier run has left, if its rules are those wanted.
func (r *relay) adopt(t *relayTable, chain *nft.Chain, rules []rule) (bool, error) {
	tables, err := r.conn.ListTablesOfFamily(t.table.Family)
	if err != nil {
		return false, fmt.Errorf("failed to read the tables: %w", err)
	}
	if !slices.ContainsFunc(tables, func(have *nft.Table) bool { return have.Name == t.table.Name }) {
		return false, nil
	}
	have, err := r.conn.GetRules(t.table, chain)
	if err != nil || !slices.EqualFunc(have, rules, func(have *nft.Rule, want rule) bool { return bytes.Equal(have.UserData, want.mark()) }) {
		return false, nil // without the chain, or with others: made anew
	}
	return true, r.read(t)
}

// read takes in what stands in the kernel.
func (r *relay) read(t *relayTable) error {
	list, err := r.listTable(t)
	if err != nil {
		return err
	}
	clear(t.has)
	for _, f := range list {
		t.has[f.Key] = f.TEP
	}
	return nil
}

func (r *relay) listTable(t *relayTable) ([]Forward, error) {
	elems, err := r.conn.GetSetElements(t.elems)
	if err != nil {
		return nil, fmt.Errorf("failed to read the entries: %w", err)
	}
	out := make([]Forward, 0, len(elems))
	for _, e := range elems {
		key, ok := parseKey(e.Key)
		tep, valid := netip.AddrFromSlice(e.Val)
		if ok && valid {
			out = append(out, Forward{Key: key, TEP: tep, For: e.Expires})
		}
	}
	return out, nil
}

// list returns what stands in the kernel. For is the time that is left.
func (r *relay) list() ([]Forward, error) {
	var out []Forward
	for _, t := range r.tables {
		part, err := r.listTable(t)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

const (
	chainName = "prerouting"
	mapName   = "endpoints"
	priority  = -310 // before connection tracking, which need not see tunnels
)

// keyLen is the length of what a relay looks for: the VXLAN header from the network identifier on (24 bits, and 8 reserved),
// and the inner destination MAC address.
const keyLen = 10

func appendKey(b []byte, k endpoint.Key) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(k.BD)<<8)
	return append(b, k.MAC[:]...)
}

func parseKey(b []byte) (k endpoint.Key, ok bool) {
	if len(b) != keyLen || b[3] != 0 {
		return k, false
	}
	return endpoint.Key{BD: endpoint.BD(binary.BigEndian.Uint32(b) >> 8), MAC: endpoint.MAC(b[4:])}, true
}

// check returns what is wrong with an entry.
func (r *relay) check(f *Forward) error {
	switch {
	case !endpoint.ValidTEP(f.TEP):
		return fmt.Errorf("tunnel address %v: want a unicast IPv4 or IPv6 address without zone", f.TEP)
	case r.tables[f.TEP.Is4()] == nil:
		return fmt.Errorf("tunnel address %v: this node has no tunnel address of its family", f.TEP)
	case f.TEP == r.tables[f.TEP.Is4()].own:
		return fmt.Errorf("tunnel address %v is this node's own: packets would go in a circle", f.TEP)
	case f.For < 0:
		return fmt.Errorf("time %v: want more than 0, or 0 for ever", f.For)
	}
	return nil
}

// set brings entries in, in place of those that there are.
func (r *relay) set(list []Forward) error {
	for i := range list {
		if err := r.check(&list[i]); err != nil {
			return err
		}
	}
	return r.change(list, nil)
}

// unset takes entries out; what is not there need not be.
func (r *relay) unset(keys []endpoint.Key) error { return r.change(nil, keys) }

// change brings entries in and takes others out, in transactions of some thousand entries.
func (r *relay) change(set []Forward, unset []endpoint.Key) error {
	for len(set)+len(unset) > 0 {
		s, u := set[:min(len(set), perFlush)], unset[:min(len(unset), perFlush)]
		set, unset = set[len(s):], unset[len(u):]
		err := r.transaction(s, u)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) { // some have timed out, or somebody else was here
			for _, t := range r.tables {
				if err := r.read(t); err != nil {
					return err
				}
			}
			err = r.transaction(s, u)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *relay) transaction(set []Forward, unset []endpoint.Key) error {
	type plan struct{ add, del []nft.SetElement }
	plans := map[*relayTable]*plan{}
	for _, t := range r.tables {
		plans[t] = &plan{}
	}
	gone := map[endpoint.Key]bool{}
	drop := func(key endpoint.Key) {
		if gone[key] {
			return
		}
		gone[key] = true
		for _, t := range r.tables {
			if _, there := t.has[key]; there {
				plans[t].del = append(plans[t].del, nft.SetElement{Key: appendKey(nil, key)})
			}
		}
	}
	for _, key := range unset {
		drop(key)
	}
	last := map[endpoint.Key]*Forward{}
	for i := range set {
		drop(set[i].Key)
		last[set[i].Key] = &set[i]
	}
	for _, f := range last {
		p := plans[r.tables[f.TEP.Is4()]]
		p.add = append(p.add, nft.SetElement{Key: appendKey(nil, f.Key), Val: f.TEP.AsSlice(), Timeout: f.For})
	}
	for t, p := range plans {
		for part := range slices.Chunk(p.del, chunk) {
			if err := r.conn.SetDeleteElements(t.elems, part); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(p.add, chunk) {
			if err := r.conn.SetAddElements(t.elems, part); err != nil {
				return err
			}
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("the kernel refuses entries of the %s relay: %w", r.kind, err)
	}
	for key := range gone {
		for _, t := range r.tables {
			delete(t.has, key)
		}
	}
	for key, f := range last {
		r.tables[f.TEP.Is4()].has[key] = f.TEP
	}
	return nil
}

// counted returns how many packets the relay has sent on, and how many came that it did not: to a leaf those that
// have been bounced once already, to a spine those for endpoints that it does not know.
func (r *relay) counted() (sent, not uint64, err error) {
	for _, t := range r.tables {
		rules, err := r.conn.GetRules(t.table, &nft.Chain{Name: chainName})
		if err != nil {
			return 0, 0, fmt.Errorf("failed to read the counters: %w", err)
		}
		for _, have := range rules {
			comment, _ := userdata.GetString(have.UserData, userdata.TypeComment)
			if strings.Contains(comment, markSent) {
				sent += countOf(have)
			} else {
				not += countOf(have)
			}
		}
	}
	return sent, not, nil
}

func countOf(r *nft.Rule) uint64 {
	for _, e := range r.Exprs {
		if c, ok := e.(*expr.Counter); ok {
			return c.Packets
		}
	}
	return 0
}
