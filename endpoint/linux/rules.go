package linux

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// BouncedDSCP is the codepoint that marks a packet which has been bounced once: no leaf bounces it again. It must not be in
// use in the underlay, and the vxlan devices must not inherit it from inside. (A smaller TTL would not do: it comes anew with
// each rewrite that sets it; and receivers drop packets with reserved bits of the VXLAN header set.)
const BouncedDSCP = 62

// rule is a rule of a relay, and the comment by which it is known again.
type rule struct {
	comment     string
	expressions []expression
}

// revision is in the comments; to be raised whenever a rule changes, so that older ones are replaced.
const revision = 1

const (
	markSent    = "sent on"
	markBounced = "bounced already"
	markMissed  = "known to nobody"
)

func (r rule) mark() []byte { return userdata.AppendString(nil, userdata.TypeComment, r.comment) }

// rulesOf returns the rules of a relay for one family.
//
//	bounce: ip daddr OWN udp dport 4789 ip dscp 62 counter accept
//	        ip daddr OWN udp dport 4789 ip daddr set @th,96,80 map @endpoints ip dscp set 62 counter
//	proxy:  ip daddr OWN udp dport 4789 ip daddr set @th,96,80 map @endpoints counter
//	        ip daddr OWN udp dport 4789 counter log group 7 drop
//
// A packet that was rewritten is no longer for OWN. One that is in no map goes on: to this leaf's own vxlan device, or to
// the spine's last rule.
func rulesOf(kind relayKind, t *relayTable) []rule {
	h := headerOf(t)
	named := func(mark string, parts ...[]expression) rule {
		return rule{fmt.Sprintf("openr %s %d: %v port %d %s", kind, revision, t.own, t.port, mark), slices.Concat(parts...)}
	}
	count := []expression{counter()}
	if kind == bounceRelay {
		return []rule{
			named(markBounced, h.forUs(), h.isBounced(), count, []expression{verdict(nfAccept)}),
			named(markSent, h.forUs(), h.rewrite(), h.markBounced(), count),
		}
	}
	return []rule{
		named(markSent, h.forUs(), h.rewrite(), count),
		named(markMissed, h.forUs(), count, []expression{logTo(missGroup, missLen), verdict(nfDrop)}),
	}
}

// header is where things are in an IP header (RFC 791, RFC 8200).
type header struct {
	own       []byte
	port      uint16
	dst       uint32 // offset of the destination address
	sumAt     uint32 // offset of the header checksum; 0: there is none
	dscp, set []byte // in the first two bytes: mask of the DSCP, BouncedDSCP
}

func headerOf(t *relayTable) header {
	if t.own.Is4() {
		return header{own: t.own.AsSlice(), port: t.port, dst: 16, sumAt: 10, dscp: []byte{0, 0xfc}, set: []byte{0, BouncedDSCP << 2}}
	}
	return header{own: t.own.AsSlice(), port: t.port, dst: 24, dscp: []byte{0x0f, 0xc0}, set: []byte{BouncedDSCP >> 2, BouncedDSCP << 6 & 0xff}}
}

func (h header) forUs() []expression {
	return []expression{
		load(unix.NFT_PAYLOAD_NETWORK_HEADER, h.dst, uint32(len(h.own))), equal(h.own),
		loadProtocol(), equal([]byte{protoUDP}),
		load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), equal(binary.BigEndian.AppendUint16(nil, h.port)),
	}
}

// vxlanKeyAt is where the key of an endpoint begins: after the UDP header and the flags of the VXLAN header.
const vxlanKeyAt = 12

// rewrite sets the destination by the endpoint; the rule ends here if that is not in the map.
func (h header) rewrite() []expression {
	return []expression{
		load(unix.NFT_PAYLOAD_TRANSPORT_HEADER, vxlanKeyAt, keyLen), lookup(mapName), store(h.dst, uint32(len(h.own)), h.sumAt, true),
	}
}

func (h header) isBounced() []expression {
	return []expression{load(unix.NFT_PAYLOAD_NETWORK_HEADER, 0, 2), mask(h.dscp, []byte{0, 0}), equal(h.set)}
}

func (h header) markBounced() []expression {
	rest := []byte{^h.dscp[0], ^h.dscp[1]}
	return []expression{load(unix.NFT_PAYLOAD_NETWORK_HEADER, 0, 2), mask(rest, h.set), store(0, 2, h.sumAt, false)}
}
