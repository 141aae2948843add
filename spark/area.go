package spark

import "openr/config"

// areaOf deduces the area of a neighbour from the local interface on which it was heard and from its name (Open/R
// Spark::getNeighborArea): the lowest id of those areas that want both. matches is how many do; with none, id means
// nothing.
func areaOf(areas []config.Area, ifName, node string) (id string, matches int) {
	for _, a := range areas {
		if !a.Discovers(ifName) || !a.Neighbors.Match(node) {
			continue
		}
		if matches++; matches == 1 || a.ID < id {
			id = a.ID
		}
	}
	return id, matches
}

// wildcardArea fits any other area in a handshake; each side goes on using the one it deduced itself.
const wildcardArea = "0"

// areasAgree compares the area that I deduced for a neighbour with the one it deduced for me. byWildcard is true if they
// agree only because one of them is the wildcard.
func areasAgree(mine, theirs string) (ok, byWildcard bool) {
	if mine == theirs {
		return true, false
	}
	wild := mine == wildcardArea || theirs == wildcardArea
	return wild, wild
}
