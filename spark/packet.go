package spark

import (
	"errors"
	"net/netip"

	"openr/lsdb"
	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

// Constants of the protocol (Open/R common/Constants.h).
const (
	protocolVersion  = 20200825 // written into every hello
	supportedVersion = 20200604 // lowest version of a neighbour
	maxPacketSize    = 1280     // bytes of UDP payload, both ways
	hopLimit         = 255      // sent, and required of what is received
)

// packet is a SparkHelloPacket: one of its three messages is set. If a sender sets several, hello counts before
// heartbeat before handshake.
type packet struct {
	hello     *hello
	heartbeat *heartbeat
	handshake *handshake
}

// hello is SparkHelloMsg. Times are microseconds since 1970 by the sender's clock.
type hello struct {
	node, ifName  string
	seq           int64
	neighbors     map[string]reflected // whom the sender hears on its interface
	version       int32
	solicit       bool  // answer at once
	restarting    bool  // sender is about to restart gracefully
	sentUs        int64 // when this hello was sent
	addressChange *bool // sender's address has changed; agents before 2025 do not have the field
}

// reflected is ReflectedNeighborInfo: what the sender of a hello last got from the neighbour it lists.
type reflected struct {
	seq    int64
	sentUs int64 // when the neighbour sent it, by the neighbour's clock
	rcvdUs int64 // when the sender received it, by the sender's clock
}

// heartbeat is SparkHeartbeatMsg.
type heartbeat struct {
	node string
	seq  int64
	hold bool // sender is still initializing: nobody but its neighbours should use the link
}

// handshake is SparkHandshakeMsg.
type handshake struct {
	node        string
	established bool // false asks for an answer
	holdMs      int64
	restartMs   int64
	v6, v4      netip.Addr // v4 is 0.0.0.0 for none
	ctrlPort    int32
	area        string  // the area that the sender deduced for the receiver
	to          *string // whom it is meant for; nil: everybody
}

var errNoMessage = errors.New("packet holds neither hello nor heartbeat nor handshake")

// encode returns the bytes that go into a UDP packet; the caller checks their number.
func (p packet) encode() []byte {
	t := types.NewSparkHelloPacket()
	if h := p.hello; h != nil {
		infos := make(map[string]*types.ReflectedNeighborInfo, len(h.neighbors))
		for name, r := range h.neighbors {
			infos[name] = &types.ReflectedNeighborInfo{SeqNum: r.seq, LastNbrMsgSentTsInUs: r.sentUs, LastMyMsgRcvdTsInUs: r.rcvdUs}
		}
		t.HelloMsg = &types.SparkHelloMsg{NodeName: h.node, IfName: h.ifName, SeqNum: h.seq, NeighborInfos: infos,
			Version: types.OpenrVersion(h.version), SolicitResponse: h.solicit, Restarting: h.restarting, SentTsInUs: h.sentUs, AddressChange: h.addressChange}
	}
	if h := p.heartbeat; h != nil {
		t.HeartbeatMsg = &types.SparkHeartbeatMsg{NodeName: h.node, SeqNum: h.seq, HoldAdjacency: h.hold}
	}
	if h := p.handshake; h != nil {
		t.HandshakeMsg = &types.SparkHandshakeMsg{NodeName: h.node, IsAdjEstablished: h.established, HoldTime: h.holdMs, GracefulRestartTime: h.restartMs,
			TransportAddressV6: lsdb.Address(h.v6), TransportAddressV4: lsdb.Address(h.v4), OpenrCtrlThriftPort: h.ctrlPort, Area: h.area, NeighborNodeName: h.to}
	}
	return compact.Marshal(t)
}

// decode reads what encode or another implementation wrote. Unknown fields and bytes after the packet are ignored.
func decode(b []byte) (p packet, err error) {
	t := types.NewSparkHelloPacket()
	if err := compact.Unmarshal(b, t); err != nil {
		return packet{}, err
	}
	switch {
	case t.HelloMsg != nil:
		m := t.HelloMsg
		infos := make(map[string]reflected, len(m.NeighborInfos))
		for name, r := range m.NeighborInfos {
			if r != nil {
				infos[name] = reflected{seq: r.SeqNum, sentUs: r.LastNbrMsgSentTsInUs, rcvdUs: r.LastMyMsgRcvdTsInUs}
			}
		}
		p.hello = &hello{node: m.NodeName, ifName: m.IfName, seq: m.SeqNum, neighbors: infos, version: int32(m.Version), solicit: m.SolicitResponse,
			restarting: m.Restarting, sentUs: m.SentTsInUs, addressChange: m.AddressChange}
	case t.HeartbeatMsg != nil:
		m := t.HeartbeatMsg
		p.heartbeat = &heartbeat{node: m.NodeName, seq: m.SeqNum, hold: m.HoldAdjacency}
	case t.HandshakeMsg != nil:
		m := t.HandshakeMsg
		p.handshake = &handshake{node: m.NodeName, established: m.IsAdjEstablished, holdMs: m.HoldTime, restartMs: m.GracefulRestartTime,
			v6: lsdb.AddrFromThrift(m.TransportAddressV6), v4: lsdb.AddrFromThrift(m.TransportAddressV4), ctrlPort: m.OpenrCtrlThriftPort, area: m.Area, to: m.NeighborNodeName}
	default:
		return packet{}, errNoMessage
	}
	return p, nil
}

// sender returns the name of the node that sent p.
func (p packet) sender() string {
	switch {
	case p.hello != nil:
		return p.hello.node
	case p.heartbeat != nil:
		return p.heartbeat.node
	default:
		return p.handshake.node
	}
}

// listingSize returns how many bytes a hello grows by when it lists a neighbour of that name: the name with its length,
// three fields of one header byte and a number, and the end of the struct. The first entry costs mapSize more.
func listingSize(name string, r reflected) int {
	return uvarintSize(uint64(len(name))) + len(name) + 3 + varintSize(r.seq) + varintSize(r.sentUs) + varintSize(r.rcvdUs) + 1
}

// mapSize is at most how many bytes the header of a map with entries is longer than that of one without.
const mapSize = 2

// varintSize is the length of v as a compact-protocol integer (zigzag, seven bits to a byte).
func varintSize(v int64) int { return uvarintSize(uint64(v<<1) ^ uint64(v>>63)) }

func uvarintSize(u uint64) int {
	n := 1
	for ; u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
