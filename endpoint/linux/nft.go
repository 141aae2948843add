package linux

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
)

// expression is an encoded expression of a rule of nftables (linux/netfilter/nf_tables.h). They are encoded here because
// google/nftables v0.3.0 cannot say what an IPv6 underlay needs: a write that changes the UDP checksum (which covers the
// addresses) but no header checksum (there is none).
type expression []byte

// register is the one register that the rules need: 16 bytes.
const register = unix.NFT_REG_1

func be32(b []byte, typ uint16, v uint32) []byte {
	return rtnl.AppendAttr(b, typ, binary.BigEndian.AppendUint32(nil, v))
}

func appendText(b []byte, typ uint16, s string) []byte {
	return rtnl.AppendAttr(b, typ, append([]byte(s), 0))
}

func newExpression(name string, data func(b []byte) []byte) expression {
	b := appendText(nil, unix.NFTA_EXPR_NAME, name)
	return rtnl.AppendNest(b, unix.NFTA_EXPR_DATA, data)
}

func load(base, offset, length uint32) expression {
	return newExpression("payload", func(b []byte) []byte {
		b = be32(b, unix.NFTA_PAYLOAD_DREG, register)
		b = be32(b, unix.NFTA_PAYLOAD_BASE, base)
		b = be32(b, unix.NFTA_PAYLOAD_OFFSET, offset)
		return be32(b, unix.NFTA_PAYLOAD_LEN, length)
	})
}

// store writes to the network header. sumAt is where its checksum is, 0 if there is none; pseudo says that checksums of
// the transport header cover what is written.
func store(offset, length, sumAt uint32, pseudo bool) expression {
	return newExpression("payload", func(b []byte) []byte {
		b = be32(b, unix.NFTA_PAYLOAD_SREG, register)
		b = be32(b, unix.NFTA_PAYLOAD_BASE, unix.NFT_PAYLOAD_NETWORK_HEADER)
		b = be32(b, unix.NFTA_PAYLOAD_OFFSET, offset)
		b = be32(b, unix.NFTA_PAYLOAD_LEN, length)
		if sumAt != 0 {
			b = be32(b, unix.NFTA_PAYLOAD_CSUM_TYPE, unix.NFT_PAYLOAD_CSUM_INET)
			b = be32(b, unix.NFTA_PAYLOAD_CSUM_OFFSET, sumAt)
		}
		if pseudo {
			b = be32(b, unix.NFTA_PAYLOAD_CSUM_FLAGS, unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR)
		}
		return b
	})
}

func loadProtocol() expression {
	return newExpression("meta", func(b []byte) []byte {
		b = be32(b, unix.NFTA_META_DREG, register)
		return be32(b, unix.NFTA_META_KEY, unix.NFT_META_L4PROTO)
	})
}

func appendData(b []byte, typ uint16, v []byte) []byte {
	return rtnl.AppendNest(b, typ, func(b []byte) []byte { return rtnl.AppendAttr(b, unix.NFTA_DATA_VALUE, v) })
}

func equal(v []byte) expression {
	return newExpression("cmp", func(b []byte) []byte {
		b = be32(b, unix.NFTA_CMP_SREG, register)
		b = be32(b, unix.NFTA_CMP_OP, unix.NFT_CMP_EQ)
		return appendData(b, unix.NFTA_CMP_DATA, v)
	})
}

// mask sets the register to itself AND mask XOR xor.
func mask(mask, xor []byte) expression {
	return newExpression("bitwise", func(b []byte) []byte {
		b = be32(b, unix.NFTA_BITWISE_SREG, register)
		b = be32(b, unix.NFTA_BITWISE_DREG, register)
		b = be32(b, unix.NFTA_BITWISE_LEN, uint32(len(mask)))
		b = appendData(b, unix.NFTA_BITWISE_MASK, mask)
		return appendData(b, unix.NFTA_BITWISE_XOR, xor)
	})
}

// lookup sets the register to what the map has for it; without that the rule does not match.
func lookup(set string) expression {
	return newExpression("lookup", func(b []byte) []byte {
		b = appendText(b, unix.NFTA_LOOKUP_SET, set)
		b = be32(b, unix.NFTA_LOOKUP_SREG, register)
		return be32(b, unix.NFTA_LOOKUP_DREG, register)
	})
}

func counter() expression { return newExpression("counter", func(b []byte) []byte { return b }) }

// logTo copies up to length bytes of the packet to those who listen to an NFLOG group.
func logTo(group uint16, length uint32) expression {
	return newExpression("log", func(b []byte) []byte {
		b = rtnl.AppendAttr(b, unix.NFTA_LOG_GROUP, binary.BigEndian.AppendUint16(nil, group))
		return be32(b, unix.NFTA_LOG_SNAPLEN, length)
	})
}

const (
	nfDrop   = 0
	nfAccept = 1
)

func verdict(code uint32) expression {
	return newExpression("immediate", func(b []byte) []byte {
		b = be32(b, unix.NFTA_IMMEDIATE_DREG, unix.NFT_REG_VERDICT)
		return rtnl.AppendNest(b, unix.NFTA_IMMEDIATE_DATA, func(b []byte) []byte {
			return rtnl.AppendNest(b, unix.NFTA_DATA_VERDICT, func(b []byte) []byte { return be32(b, unix.NFTA_VERDICT_CODE, code) })
		})
	})
}

// appendNFT appends a message of nfnetlink: header, struct nfgenmsg, attributes.
func appendNFT(b []byte, typ, flags uint16, seq uint32, family uint8, resource uint16, attrs func(b []byte) []byte) []byte {
	start := len(b)
	b = rtnl.Begin(b, typ, flags, seq)
	b = append(b, family, 0)
	b = binary.BigEndian.AppendUint16(b, resource)
	return rtnl.End(attrs(b), start)
}

const nftables = unix.NFNL_SUBSYS_NFTABLES << 8

// appendRules appends the transaction that makes a chain and fills it with rules. All of it is done, or nothing. seq is the
// number of the first message; the one that makes the chain and those with rules ask for answers.
func appendRules(b []byte, seq uint32, family uint8, table, chain string, priority int32, rules []rule) []byte {
	none := func(b []byte) []byte { return b }
	b = appendNFT(b, unix.NFNL_MSG_BATCH_BEGIN, 0, seq, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, none)
	b = appendNFT(b, nftables|unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE|unix.NLM_F_ACK, seq+1, family, 0, func(b []byte) []byte {
		b = appendText(b, unix.NFTA_CHAIN_TABLE, table)
		b = appendText(b, unix.NFTA_CHAIN_NAME, chain)
		b = rtnl.AppendNest(b, unix.NFTA_CHAIN_HOOK, func(b []byte) []byte {
			b = be32(b, unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_PRE_ROUTING)
			return be32(b, unix.NFTA_HOOK_PRIORITY, uint32(priority))
		})
		return appendText(b, unix.NFTA_CHAIN_TYPE, "filter")
	})
	for i, r := range rules {
		b = appendNFT(b, nftables|unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND|unix.NLM_F_ACK, seq+2+uint32(i), family, 0, func(b []byte) []byte {
			b = appendText(b, unix.NFTA_RULE_TABLE, table)
			b = appendText(b, unix.NFTA_RULE_CHAIN, chain)
			b = rtnl.AppendNest(b, unix.NFTA_RULE_EXPRESSIONS, func(b []byte) []byte {
				for _, e := range r.expressions {
					b = rtnl.AppendNest(b, unix.NFTA_LIST_ELEM, func(b []byte) []byte { return append(b, e...) })
				}
				return b
			})
			return rtnl.AppendAttr(b, unix.NFTA_RULE_USERDATA, r.mark())
		})
	}
	return appendNFT(b, unix.NFNL_MSG_BATCH_END, 0, seq+2+uint32(len(rules)), unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES, none)
}

// setRules makes a chain of nftables with rules.
func setRules(c *rtnl.Conn, family uint8, table, chain string, rules []rule) error {
	first := c.Seq + 1
	b := appendRules(nil, first, family, table, chain, priority, rules)
	c.Seq += uint32(len(rules)) + 3
	var failure error
	err := c.Exchange(b, first, len(rules)+2, func(i int, why rtnl.Error) { // the last rule is the last to be answered
		if failure == nil {
			failure = fmt.Errorf("message %d of the rules: %w", i, why)
		}
	})
	return errors.Join(err, failure)
}
