package kvstore

import (
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"openr/config"
	"openr/monitor"
)

// Accounts keep count of how much of the store has come from where, and refuse new keys where a limit is reached.
//
// Who hands values over is told by the link over which they come, not by the name that a sender gives itself: names, and
// addresses on a link, can be had for nothing. What is in the store may always be updated, unless it grows; so a network
// that has reached a limit still converges on what it has. What was refused is fetched when there is room again.

// giver is where values come from: a link, or without one the node that hands them over.
type giver string

const (
	thisNode    giver = ""          // own keys: without any limit
	localClient giver = "localhost" // without limits of its own

	linkGiver = "link." // the name of an interface follows
)

// giverOf returns who is at an address; sender is the name it gives itself, for addresses that are none.
func giverOf(address, sender string) giver {
	addr, err := netip.ParseAddr(address)
	switch {
	case err != nil && sender == "":
		return localClient
	case err != nil:
		return giver("node." + sender)
	case addr.Unmap().IsLoopback():
		return localClient
	case addr.Zone() != "":
		return giver(linkGiver + addr.Zone())
	}
	bits := 64
	if addr = addr.Unmap(); addr.Is4() {
		bits = 24
	}
	network, _ := addr.Prefix(bits) // fits
	return giver("network." + network.String())
}

// account is how much of the store a giver has brought.
type account struct {
	giver giver
	keys  int
	bytes int64
	notice
	blamed, damped notice // other things to be told of it
}

// accounts are those of one node, over all areas.
type accounts struct {
	limits config.KvStoreLimits
	keys   int
	bytes  int64
	list   []account // by number, which keys carry; 0 is thisNode
	number map[giver]int32
}

// maxAccounts bounds how many are kept apart; all others share one.
const maxAccounts = 1024

func newAccounts(limits config.KvStoreLimits) *accounts {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&limits.MaxKeys, 2000000}, {&limits.MaxMB, 1024}, {&limits.PeerMaxKeys, 1000000}, {&limits.PeerMaxMB, 512},
		{&limits.PeerKeysPerS, 10000}, {&limits.PeerBurst, 1000000},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	return &accounts{limits: limits, list: []account{{giver: thisNode}}, number: map[giver]int32{thisNode: 0}}
}

// of returns the number of a giver's account.
func (x *accounts) of(g giver) int32 {
	if n, ok := x.number[g]; ok {
		return n
	}
	if len(x.list) >= maxAccounts {
		g = "others"
		if n, ok := x.number[g]; ok {
			return n
		}
	}
	n := int32(len(x.list))
	x.list, x.number[g] = append(x.list, account{giver: g}), n
	return n
}

// isLink reports whether the account is that of a link: a neighbour's.
func (x *accounts) isLink(n int32) bool { return strings.HasPrefix(string(x.list[n].giver), linkGiver) }

// add puts a key of so many bytes, or with a negative count takes one off, the account with this number.
func (x *accounts) add(n int32, keys int, bytes int64) {
	x.keys, x.bytes = x.keys+keys, x.bytes+bytes
	x.list[n].keys, x.list[n].bytes = x.list[n].keys+keys, x.list[n].bytes+bytes
}

// over returns the limit that stands in the way of so many keys and bytes more; "" if none does.
func (x *accounts) over(n int32, keys int, bytes int64) (limit string) {
	a, l := &x.list[n], &x.limits
	switch {
	case a.giver == thisNode:
	case keys > 0 && x.keys+keys > l.MaxKeys:
		return "max_keys"
	case x.bytes+bytes > int64(l.MaxMB)<<20:
		return "max_mb"
	case a.giver == localClient:
	case keys > 0 && a.keys+keys > l.PeerMaxKeys:
		return "peer_max_keys"
	case a.bytes+bytes > int64(l.PeerMaxMB)<<20:
		return "peer_max_mb"
	}
	return ""
}

// roomy reports whether an account that was full has room again that is worth a synchronization: an eighth of the limits.
func (x *accounts) roomy(n int32) bool {
	l := x.limits
	return x.over(n, max(min(l.MaxKeys, l.PeerMaxKeys)/8, 1), int64(min(l.MaxMB, l.PeerMaxMB))<<17) == ""
}

// noticeGap is the least time between two lines in the log about the same offender.
const noticeGap = time.Minute

// notice is what has happened since the log was told last.
type notice struct {
	at    time.Time
	count int
}

// due adds n occurrences, and returns how many there were since the last line if it is time for the next.
func (o *notice) due(now time.Time, n int) (count int, ok bool) {
	if o.count += n; !o.at.IsZero() && now.Sub(o.at) < noticeGap {
		return 0, false
	}
	count, o.count, o.at = o.count, 0, now
	return count, true
}

// refusal is what of a set was refused.
type refusal struct {
	count           int
	limit           string // that stood in the way of the first, or what is wrong with it
	key, originator string // the first
}

// add notes that a key was refused.
func (r *refusal) add(limit string, c *change) {
	if r.count++; r.count == 1 {
		r.limit, r.key, r.originator = limit, c.key, c.value.Originator
	}
}

// complain counts refused keys, and tells the operator who sends them and what can be done.
func (x *accounts) complain(now time.Time, log *zap.Logger, counters *monitor.Counters, n int32, area, sender string, r refusal) {
	a := &x.list[n]
	counters.Sum(cntLimitedKeyVals, int64(r.count))
	counters.Sum(cntLimitedFrom+string(a.giver), int64(r.count))
	if count, ok := a.due(now, r.count); ok {
		log.Warn("keys refused: the store, or what it takes from one link, is full; find out why so much is advertised, or raise the limit in kvstore_limits",
			zap.String("limit", r.limit), zap.String("from", string(a.giver)), zap.String("sender", sender), zap.String("area", area),
			zap.Int("refused", count), zap.Int("has", a.keys), zap.Int("keys", x.keys), zap.Int64("bytes", x.bytes),
			zap.String("firstKey", shorten(r.key)), zap.String("originator", shorten(r.originator)))
	}
}

// blame counts values that no store would accept, and tells the operator who sends them.
func (x *accounts) blame(now time.Time, log *zap.Logger, counters *monitor.Counters, n int32, area, sender string, r refusal) {
	a := &x.list[n]
	counters.Sum(cntRejectedKeyVals, int64(r.count))
	counters.Sum(cntRejectedFrom+string(a.giver), int64(r.count))
	if count, ok := a.blamed.due(now, r.count); ok {
		log.Warn("values refused that no store passes on; find out who makes them",
			zap.String("cause", r.limit), zap.String("from", string(a.giver)), zap.String("sender", sender), zap.String("area", area),
			zap.Int("refused", count), zap.String("firstKey", shorten(r.key)), zap.String("originator", shorten(r.originator)))
	}
}

// shorten bounds what a neighbour can put into the log.
func shorten(s string) string { return s[:min(len(s), 100)] }
