package linux

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/rtnl"
)

// Numbers of linux/netfilter/nfnetlink_log.h that golang.org/x/sys/unix does not name.
const (
	nfulnlPacket = 0 // message: NFULNL_MSG_PACKET
	nfulnlConfig = 1 // message: NFULNL_MSG_CONFIG

	nfulaCommand   = 1 // of a config: struct nfulnl_msg_config_cmd
	nfulaMode      = 2 // of a config: struct nfulnl_msg_config_mode
	nfulaThreshold = 5 // NFULA_CFG_QTHRESH
	nfulaPayload   = 9 // of a packet
	nfulnlBind     = 1
	nfulnlCopy     = 2 // NFULNL_COPY_PACKET
	ulog           = unix.NFNL_SUBSYS_ULOG << 8
	vxlanLen       = 8
	vxlanValidVNI  = 0x08 // RFC 7348 section 5: the I flag
	udpLen         = 8
)

// missLen is how much of a packet a miss shows: IPv6, UDP and VXLAN headers, and an ARP frame or what comes to the
// destination address of an IPv6 header or of a neighbour solicitation.
const missLen = 40 + udpLen + vxlanLen + etherLen + ipv6Len + 32

// Miss is a frame that a spine has dropped because it does not know where its endpoint is. The directory may look for it.
type Miss struct {
	endpoint.Key
	IP netip.Addr // that the frame is for, or asks for; invalid: not known
}

// appendListen appends the requests to be sent what goes to an NFLOG group.
func appendListen(b []byte, seq uint32, group uint16) []byte {
	b = appendNFT(b, ulog|nfulnlConfig, unix.NLM_F_ACK, seq, unix.AF_UNSPEC, group, func(b []byte) []byte {
		return rtnl.AppendAttr(b, nfulaCommand, []byte{nfulnlBind})
	})
	return appendNFT(b, ulog|nfulnlConfig, unix.NLM_F_ACK, seq+1, unix.AF_UNSPEC, group, func(b []byte) []byte {
		mode := binary.BigEndian.AppendUint32(nil, missLen)
		b = rtnl.AppendAttr(b, nfulaMode, append(mode, nfulnlCopy, 0))
		return rtnl.AppendAttr(b, nfulaThreshold, binary.BigEndian.AppendUint32(nil, 1)) // or the kernel gathers for a second
	})
}

// parseLogged returns the packet in a message of NFLOG; nil if there is none.
func parseLogged(h unix.NlMsghdr, payload []byte) (packet []byte) {
	if h.Type != ulog|nfulnlPacket || len(payload) < 4 {
		return nil
	}
	rtnl.EachAttr(payload[4:], func(typ uint16, v []byte) {
		if typ == nfulaPayload {
			packet = v
		}
	})
	return packet
}

// parseMiss reads the beginning of a VXLAN packet, which may be cut short.
func parseMiss(b []byte) (m Miss, err error) {
	if len(b) < 20 {
		return m, errShort
	}
	proto, header := b[9], int(b[0]&0xf)*4
	switch b[0] >> 4 {
	case 4:
	case 6:
		if len(b) < ipv6Len {
			return m, errShort
		}
		proto, header = b[6], ipv6Len
	default:
		return m, errForm
	}
	if proto != protoUDP || header < 20 {
		return m, errForm
	}
	if len(b) < header+udpLen+vxlanLen+etherLen {
		return m, errShort
	}
	vxlan := b[header+udpLen:]
	if vxlan[0]&vxlanValidVNI == 0 {
		return m, errForm
	}
	m.BD = endpoint.BD(binary.BigEndian.Uint32(vxlan[4:]) >> 8)
	frame := vxlan[vxlanLen:]
	copy(m.MAC[:], frame)
	if m.BD == 0 || m.MAC == (endpoint.MAC{}) {
		return m, errForm
	}
	if ip := target(binary.BigEndian.Uint16(frame[12:]), frame[etherLen:]); endpoint.ValidHostIP(ip) {
		m.IP = ip
	}
	return m, nil
}

// target returns the address that a frame is for, or asks for; an invalid one if it does not show.
func target(etherType uint16, b []byte) netip.Addr {
	switch {
	case etherType == etherARP && len(b) >= arpLen:
		return netip.AddrFrom4([4]byte(b[24:28]))
	case etherType == etherIPv4 && len(b) >= 20:
		return netip.AddrFrom4([4]byte(b[16:20]))
	case etherType == etherIPv6 && len(b) >= ipv6Len+24 && b[6] == protoICMP6 && b[ipv6Len] == ndNeighbourAsk:
		return netip.AddrFrom16([16]byte(b[ipv6Len+8 : ipv6Len+24]))
	case etherType == etherIPv6 && len(b) >= ipv6Len:
		return netip.AddrFrom16([16]byte(b[24:40]))
	}
	return netip.Addr{}
}
