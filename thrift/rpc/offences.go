package rpc

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// offences tell the operator who misuses the port: a line in the log and a counter for each network, which of a link-local
// address is the link.
type offences struct {
	mu   sync.Mutex // guards what follows
	seen map[offence]*notice
	nets map[string]bool
}

// offence is what somebody does wrong.
type offence struct{ network, cause string }

// notice is how often it has happened since the log was told last.
type notice struct {
	at    time.Time
	count int
}

const (
	offenceGap  = time.Minute // the least time between two lines about the same
	maxNetworks = 1024        // that are kept apart; all others share one name
)

// note counts an offence, and returns the name under which to count it and how many there were since the last line if it is
// time for one.
func (o *offences) note(now time.Time, x offence) (network string, count int, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen == nil {
		o.seen, o.nets = map[offence]*notice{}, map[string]bool{}
	}
	if !o.nets[x.network] && len(o.nets) >= maxNetworks {
		x.network = "others"
	}
	o.nets[x.network] = true
	n := o.seen[x]
	if n == nil {
		n = &notice{}
		o.seen[x] = n
	}
	if n.count++; !n.at.IsZero() && now.Sub(n.at) < offenceGap {
		return x.network, 0, false
	}
	count, n.count, n.at = n.count, 0, now
	return x.network, count, true
}

// offends notes that a host does something wrong; err, which may be nil, says what exactly.
func (s *Server) offends(host, network, cause string, err error) {
	network, count, due := s.offences.note(time.Now(), offence{network, cause})
	s.Counters.Count(counterOffences + network)
	if due {
		s.Log.Warn("a client misuses the control port; find out who", zap.String("peer", host), zap.String("network", network),
			zap.String("cause", cause), zap.Int("times", count), zap.Error(err))
	}
}
