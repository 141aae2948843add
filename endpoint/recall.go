package endpoint

import "time"

// Recall takes what an earlier run of this leaf has published of an endpoint, as the directory has it. Of one that this run has
// found behind a port, too, the addresses are taken back that nobody else has by now, as if they were heard now: those that are
// no longer right age, or are taken over by who uses them. A leaf that starts finds MAC addresses in the kernel, but no others.
func (c *Core) Recall(now time.Time, r *Record) []Action {
	c.begin(now)
	c.recall(r)
	return c.finish()
}

func (c *Core) recall(r *Record) {
	if r == nil || r.Validate() != nil || r.Publisher != c.node || r.Epoch >= c.epoch || r.Status == Tombstone {
		c.refuse(refusedRecord)
		return
	}
	e := c.find(r.Key)
	if e == nil || e.port == nil || r.VRF != e.dom.cfg.VRF {
		return
	}
	had := len(e.ips)
	for _, ip := range r.IPs {
		if c.ips[keyOfIP(e.dom, ip.Addr)] == nil && e.dom.cfg.allows(ip.Addr, false) {
			c.bindIP(e, ip.Addr, min(max(1, ip.TS), c.wall))
		}
	}
	if len(e.ips) > had {
		c.publish(e, CauseUpdate)
	}
}
