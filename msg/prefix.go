package msg

import (
	"maps"
	"net/netip"

	"openr/lsdb"
)

// PrefixUpdate replaces everything that one source wants this node to advertise under one prefix type.
type PrefixUpdate map[lsdb.PrefixType]map[netip.Prefix]PrefixOrigin

// PrefixOrigin is one prefix to advertise, and where.
type PrefixOrigin struct {
	Entry lsdb.PrefixEntry
	Areas []string // destination areas; empty: all
}

// MergePrefixes lets the latest set of each type win.
func MergePrefixes(waiting, next PrefixUpdate) PrefixUpdate {
	if waiting == nil {
		return next
	}
	maps.Copy(waiting, next)
	return waiting
}
