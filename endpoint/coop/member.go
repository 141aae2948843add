package coop

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"openr/endpoint"
)

// Member is what a node says of itself in the link-state database, under the key that MemberKey returns. Only members of
// an area have sessions with each other.
type Member struct {
	Node  string       `json:"node"`
	Role  Role         `json:"role"`
	TEPs  []netip.Addr `json:"teps"`
	Epoch uint64       `json:"epoch"`
	// Key is the public CURVE key in Z85; empty: the node speaks in the clear.
	Key string `json:"key,omitempty"`
	// Session and Feed are where an oracle's ROUTER and PUB sockets listen, host:port.
	Session string `json:"session,omitempty"`
	Feed    string `json:"feed,omitempty"`
	Ready   bool   `json:"ready,omitempty"` // of an oracle: it has a full directory
	Drained bool   `json:"drained,omitempty"`
	// Domains are what a leaf is interested in.
	Domains []endpoint.BD `json:"domains,omitempty"`
}

// Prefixes of the keys of members.
const (
	oraclePrefix = "coop:oracle:"
	leafPrefix   = "coop:leaf:"
)

// maxMember bounds a member's value in bytes: MaxInterest domains of 9 bytes fit.
const maxMember = 256 << 10

// MemberKey returns the key of a node's membership.
func MemberKey(role Role, node string) string {
	if role == RoleOracle {
		return oraclePrefix + node
	}
	return leafPrefix + node
}

// IsMemberKey reports whether a key of the link-state database is one of a member.
func IsMemberKey(key string) bool {
	return strings.HasPrefix(key, oraclePrefix) || strings.HasPrefix(key, leafPrefix)
}

// MarshalText returns "leaf" or "oracle".
func (r Role) MarshalText() ([]byte, error) {
	switch r {
	case RoleLeaf:
		return []byte("leaf"), nil
	case RoleOracle:
		return []byte("oracle"), nil
	}
	return nil, fmt.Errorf("role %d: want leaf or oracle", uint8(r))
}

// UnmarshalText reads what MarshalText returns.
func (r *Role) UnmarshalText(b []byte) error {
	switch string(b) {
	case "leaf":
		*r = RoleLeaf
	case "oracle":
		*r = RoleOracle
	default:
		return fmt.Errorf("role %q: want leaf or oracle", b)
	}
	return nil
}

// String returns the name in lower case.
func (r Role) String() string {
	if b, err := r.MarshalText(); err == nil {
		return string(b)
	}
	return "none"
}

// Value returns what stands under the member's key: JSON, for people to read.
func (m *Member) Value() ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	return json.Marshal(m)
}

// ParseMember reads a member's key and value. The error names what is wrong.
func ParseMember(key string, value []byte) (Member, error) {
	var m Member
	if len(value) > maxMember {
		return Member{}, fmt.Errorf("member %.64q: %d bytes, want at most %d", key, len(value), maxMember)
	}
	if err := json.Unmarshal(value, &m); err != nil {
		return Member{}, fmt.Errorf("member %.64q: %w", key, err)
	}
	if err := m.validate(); err != nil {
		return Member{}, fmt.Errorf("member %.64q: %w", key, err)
	}
	if key != MemberKey(m.Role, m.Node) {
		return Member{}, fmt.Errorf("member %.64q: the value is of %q", key, MemberKey(m.Role, m.Node))
	}
	return m, nil
}

func (m *Member) validate() error {
	switch {
	case m.Node == "" || len(m.Node) > MaxName:
		return fmt.Errorf("node name of %d bytes: want 1-%d", len(m.Node), MaxName)
	case m.Role != RoleLeaf && m.Role != RoleOracle:
		return errors.New("role: want leaf or oracle")
	case len(m.TEPs) > MaxTEPs:
		return fmt.Errorf("%d tunnel addresses: want at most %d", len(m.TEPs), MaxTEPs)
	case m.Role == RoleLeaf && len(m.TEPs) == 0:
		return errors.New("a leaf without a tunnel address")
	case len(m.Domains) > MaxInterest:
		return fmt.Errorf("%d bridge domains: want at most %d", len(m.Domains), MaxInterest)
	}
	for _, a := range m.TEPs {
		if !endpoint.ValidTEP(a) {
			return fmt.Errorf("tunnel address %v: want a unicast IPv4 or IPv6 address without zone", a)
		}
	}
	return nil
}
