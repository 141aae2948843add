package decision

import (
	"math"
	"slices"

	"openr/msg"
)

// weightedWay is an advertiser that asks for a share of the traffic (PrefixEntry.weight), and the next hops towards it.
type weightedWay struct {
	weight int64
	hops   []msg.NextHop
}

// spread gives the next hops of a prefix the weights that its advertisers ask for: each advertiser's share goes through all
// next hops towards it, in equal parts. Unless every advertiser asks for a share, and where the shares of all next hops are
// equal, the next hops are returned as they are. The list given is not changed.
//
// Today's Open/R carries the weight and does not act on it; its former mode SP_UCMP_PREFIX_WEIGHT_PROPAGATION did. Next hops
// are the same with and without weights, so that nodes of both kinds can be mixed.
func spread(hops []msg.NextHop, ways []weightedWay) []msg.NextHop {
	if len(ways) < 2 || len(hops) < 2 {
		return hops
	}
	parts := uint64(1) // into so many each share can be cut evenly
	for _, w := range ways {
		if w.weight <= 0 || len(w.hops) == 0 {
			return hops
		}
		if n := uint64(len(w.hops)); parts <= maxParts {
			parts *= n / gcd(parts, n)
		}
	}
	parts = min(parts, maxParts)
	shares := make([]uint64, len(hops))
	for _, w := range ways {
		part := uint64(min(w.weight, math.MaxInt32)) * parts / uint64(len(w.hops))
		for _, h := range w.hops {
			for i := range hops {
				if hops[i].Addr == h.Addr && hops[i].IfName == h.IfName {
					shares[i] += part
				}
			}
		}
	}
	return weigh(hops, shares)
}

// maxParts bounds the common multiple of the numbers of next hops; it is that of 1 to 16. With it and weights of 31 bits,
// thousands of advertisers do not overflow.
const maxParts = 720720

// weigh returns the next hops with weights in the proportion of their shares, as small as they can be; as they are if all
// shares are equal.
func weigh(hops []msg.NextHop, shares []uint64) []msg.NextHop {
	common, most := uint64(0), uint64(0)
	for _, s := range shares {
		common, most = gcd(common, s), max(most, s)
	}
	if common == 0 || common == most && equal(shares) {
		return hops
	}
	shrink := uint64(1) // to fit into 31 bits
	if most/common > math.MaxInt32 {
		shrink = (most/common + math.MaxInt32 - 1) / math.MaxInt32
	}
	out := make([]msg.NextHop, len(hops))
	for i, h := range hops {
		h.Weight = int32(max(shares[i]/common/shrink, 1))
		out[i] = h
	}
	return out
}

func equal(shares []uint64) bool {
	for _, s := range shares {
		if s != shares[0] {
			return false
		}
	}
	return true
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// spread weighs hops, the next hops to those of the selected advertisers that are cost away, if all selected ones ask for a
// share.
func (s *solver) spread(selected []candidate, hops *nextHops, cost uint64, v4 bool) *nextHops {
	if len(selected) < 2 || slices.ContainsFunc(selected, func(a candidate) bool { return a.entry.Weight <= 0 }) {
		return hops
	}
	var ways []weightedWay
	of := map[int32]int{} // a node that advertises in several areas is one
	for _, v := range s.views {
		if v.tree == nil {
			continue
		}
		for _, a := range selected {
			if a.view != v || a.dist != cost {
				continue
			}
			i, known := of[a.node]
			if !known {
				i = len(ways)
				of[a.node] = i
				ways = append(ways, weightedWay{weight: a.entry.Weight})
			}
			for _, h := range v.tree.nextHops([]int32{a.node}, v4).list {
				if !slices.Contains(ways[i].hops, h) {
					ways[i].hops = append(ways[i].hops, h)
				}
			}
		}
	}
	if list := spread(hops.list, ways); &list[0] != &hops.list[0] {
		return &nextHops{list: list}
	}
	return hops
}
