package linux

import (
	"errors"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"openr/endpoint"
	"openr/internal/rtnl"
)

// never is how long ago a vxlan device has sent something by an entry that it does not have.
const never = time.Duration(math.MaxInt64)

// used tells when the vxlan devices last sent something to the endpoints that were asked about (endpoint.AskUsed). Each entry
// remembers that (vxlan_find_mac in drivers/net/vxlan), and can be read by itself since Linux 5.0. Reading many one by one
// in batches takes as long for each of them however many there are, which a dump of the whole table does not.
func (p *applier) used() error {
	k := p.k
	var told []endpoint.Event
	tell := func(key endpoint.Key, ago time.Duration) {
		told = append(told, endpoint.Event{Kind: endpoint.Used, Key: key, For: ago})
	}
	var buf []byte
	for part := range slices.Chunk(p.uses, batchMessages) {
		buf = buf[:0]
		var asked []endpoint.Key
		first := k.req.Seq + 1
		for _, key := range part {
			d := k.learn.domain(key.BD)
			if d == nil || !d.joined {
				tell(key, 0) // to be programmed again when there is a device
				continue
			}
			k.req.Seq++
			n := neighbour{family: unix.AF_BRIDGE, index: d.vxlan, mac: key.MAC, flags: unix.NTF_SELF}
			buf = appendNeighbour(buf, unix.RTM_GETNEIGH, 0, k.req.Seq, &n)
			asked = append(asked, key)
		}
		if len(asked) == 0 {
			continue
		}
		k.counters.Sum(counterUses, int64(len(asked)))
		err := k.req.Ask(buf, first, len(asked), func(i int, _ uint16, payload []byte, why rtnl.Error) {
			n, ok := parseNeighbour(payload)
			switch {
			case why.Errno == 0 && ok:
				tell(asked[i], n.used)
			case errors.Is(why, unix.ENOENT), errors.Is(why, unix.ENODEV):
				tell(asked[i], never)
			default: // not known; it is asked again
				k.counters.Sum(counterErrors, 1)
			}
		})
		if err != nil {
			return err
		}
	}
	p.uses = nil
	k.tell(told)
	return nil
}
