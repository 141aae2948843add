package lsdb

import (
	"net/netip"
	"regexp"
	"strings"
)

// Prefixes of the key names in KvStore (Open/R common/Constants.h).
const (
	AdjPrefix    = "adj:"
	PrefixPrefix = "prefix:"
)

var prefixKey = regexp.MustCompile(`^prefix:([a-zA-Z\d.\-_]+):\[([a-fA-F\d.:]+/\d{1,3})\]$`)

// AdjKey returns the key of a node's adjacency database.
func AdjKey(node string) string { return AdjPrefix + node }

// ParseAdjKey returns the node that an adj: key names.
func ParseAdjKey(key string) (node string, ok bool) {
	node, ok = strings.CutPrefix(key, AdjPrefix)
	node, _, _ = strings.Cut(node, ":")
	return node, ok && node != ""
}

// PrefixKey returns the key of a node's advertisement of p: prefix:<node>:[<address>/<length>], in RFC 5952 text.
func PrefixKey(node string, p netip.Prefix) string {
	return PrefixPrefix + node + ":[" + p.Masked().String() + "]"
}

// ParsePrefixKey returns the node and the masked prefix that a prefix: key names (Open/R common/LsdbTypes.h, PrefixKey).
func ParsePrefixKey(key string) (node string, p netip.Prefix, ok bool) {
	m := prefixKey.FindStringSubmatch(key)
	if m == nil {
		return "", netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(m[2])
	return m[1], p.Masked(), err == nil
}
