package spark

import (
	"net/netip"
	"time"

	"go.uber.org/zap"
)

// noticeGap is the least time between two lines in the log about the same fault on the same interface.
const noticeGap = time.Minute

// notice is what has happened since the log was told last.
type notice struct {
	at    time.Time
	count int
}

// blame counts a packet that is not as it should be, by its cause and by the interface, nil if it came in where nobody is
// wanted, and tells the operator on which link it was and as far as known from whom: an address, the name that the sender
// gives itself.
func (c *core) blame(now time.Time, i *iface, cause string, src netip.Addr, node string) {
	c.counters.Sum(cause, 1)
	if i == nil {
		return
	}
	c.counters.Sum(cntFoul+i.name, 1)
	o := i.blamed[cause]
	if o == nil {
		if i.blamed == nil {
			i.blamed = map[string]*notice{}
		}
		o = &notice{}
		i.blamed[cause] = o // the causes are few
	}
	if o.count++; !o.at.IsZero() && now.Sub(o.at) < noticeGap {
		return
	}
	c.log.Warn("somebody on the link sends what should not come; find out who",
		zap.String("interface", i.name), zap.String("cause", cause), zap.Stringer("source", src), zap.String("neighbor", node[:min(len(node), 100)]), zap.Int("packets", o.count))
	o.count, o.at = 0, now
}
