package linkmonitor

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"openr/config"
	"openr/msg"
)

// interfaces is what is known of the interfaces that some area matches, and what others have been told of them.
type interfaces struct {
	cfg   *config.Config
	start time.Time

	table *linkTable
	roles map[string]role   // by interface name; the answers of the regular expressions
	flaps map[string]*flaps // by interface name; survives an interface that vanishes while it is held down

	skipped map[dadKey]time.Time // of addresses that are tentative still: when skipping the detection was last attempted

	complete   bool // a snapshot has been seen
	discovered bool // interfaces have been published at least once
	dirty      bool // what is published may be out of date
	pushed     time.Time
	wake       time.Time // when the next back-off ends

	published  msg.Interfaces
	advertised map[netip.Prefix]msg.PrefixOrigin // nil: never
}

// role is what an interface is for.
type role struct {
	discover     bool     // neighbours are looked for on it
	redistribute []string // areas to which its addresses are advertised
}

func (r role) tracked() bool { return r.discover || len(r.redistribute) > 0 }

func newInterfaces(cfg *config.Config, start time.Time) *interfaces {
	return &interfaces{cfg: cfg, start: start, table: newLinkTable(), roles: map[string]role{}, flaps: map[string]*flaps{}, skipped: map[dadKey]time.Time{}}
}

func (s *interfaces) damping() damping {
	return damping{s.cfg.LinkMonitor.FlapInitialBackoff, s.cfg.LinkMonitor.FlapMaxBackoff}
}

func (s *interfaces) role(name string) role {
	r, ok := s.roles[name]
	if ok {
		return r
	}
	for _, area := range s.cfg.Areas {
		r.discover = r.discover || area.Discovers(name)
		if area.RedistributeInterface.Match(name) {
			r.redistribute = append(r.redistribute, area.ID)
		}
	}
	s.roles[name] = r
	return r
}

// news is what an event means for the links on which neighbours are looked for.
type news int

const (
	nothing   news = iota
	different      // something about them
	unsettled      // one went up or down, or all are new
)

// apply takes an event into the table and notes which interfaces went up or down by it.
func (s *interfaces) apply(e LinkEvent, now time.Time, out *effects) news {
	known := s.table.knows(e)
	names := s.table.apply(e)
	s.skipDAD(e, now, out)
	if known {
		return nothing // or each look would ask for another
	}
	is := nothing
	if e.Kind == LinkSnapshot {
		if !s.complete {
			is = unsettled
		}
		s.complete, s.dirty = true, true
		names = slices.Sorted(maps.Keys(union(s.flaps, names)))
	}
	for _, name := range names {
		if !s.role(name).tracked() {
			continue
		}
		s.dirty = true
		is = max(is, different)
		link, exists := s.table.link(name)
		f := s.flaps[name]
		if f == nil {
			if !exists {
				continue
			}
			f = &flaps{}
			s.flaps[name] = f
		}
		if f.set(exists && link.Up, now, s.damping()) {
			if s.role(name).discover {
				is = unsettled
			}
			event := "IFACE_DOWN"
			if f.up {
				event = "IFACE_UP"
			}
			out.event(event, map[string]string{"interface": name}, map[string]int64{"backoff_ms": f.left(now).Milliseconds()})
		}
		if f.forgive(now, s.damping()); !exists && f.backoff == 0 {
			delete(s.flaps, name)
		}
	}
	if e.Kind == LinkSnapshot {
		maps.DeleteFunc(s.roles, func(name string, _ role) bool {
			_, exists := s.table.link(name)
			return !exists && s.flaps[name] == nil
		})
	}
	return is
}

func union[V any](m map[string]V, names []string) map[string]bool {
	all := map[string]bool{}
	for name := range m {
		all[name] = true
	}
	for _, name := range names {
		all[name] = true
	}
	return all
}

// compute returns the interfaces as they are to be published, what of their addresses to advertise, and when a back-off
// ends next.
func (s *interfaces) compute(now time.Time) (ifs msg.Interfaces, prefixes map[netip.Prefix]msg.PrefixOrigin, wake time.Time) {
	ifs, prefixes = msg.Interfaces{}, map[netip.Prefix]msg.PrefixOrigin{}
	for _, name := range slices.Sorted(maps.Keys(s.flaps)) {
		link, exists := s.table.link(name)
		if !exists {
			continue
		}
		f := s.flaps[name]
		f.forgive(now, s.damping())
		i := msg.Interface{Name: name, Index: link.Index, Up: f.active(now), Addrs: s.table.usable(link.Index)}
		if f.up && !i.Up {
			wake = earliest(wake, now.Add(f.left(now)))
		}
		r := s.role(name)
		if r.discover {
			ifs[name] = i
		}
		redistribute(prefixes, s.cfg, i, r.redistribute)
	}
	return ifs, prefixes, wake
}

// flush publishes what has changed, if its time has come.
func (s *interfaces) flush(now time.Time, out *effects) {
	overdue := !s.discovered && !now.Before(s.start.Add(maxLinkDiscovery))
	if !s.wake.IsZero() && !now.Before(s.wake) {
		s.dirty, s.wake = true, time.Time{}
	}
	if !(s.dirty && (s.complete || s.discovered)) && !overdue {
		return
	}
	if s.discovered && now.Before(s.pushed.Add(interfaceInterval)) && !s.loses(now) {
		s.dirty = true // next brings us back
		return
	}
	ifs, prefixes, wake := s.compute(now)
	s.wake, s.dirty = wake, false
	changed := s.discovered && !equalInterfaces(ifs, s.published)
	first := !s.discovered && (len(ifs) > 0 || overdue)
	readdress := s.complete && (s.advertised == nil || !equalPrefixes(prefixes, s.advertised))
	if first || changed || readdress {
		s.pushed = now
	}
	if first || changed {
		s.published = ifs
		out.interfaces = maps.Clone(ifs)
	}
	if first {
		s.discovered, out.linkDiscovered = true, true
	}
	if readdress {
		s.advertised = prefixes
		out.prefixes = maps.Clone(prefixes)
	}
}

// loses reports whether an interface that was published as up no longer is.
func (s *interfaces) loses(now time.Time) bool {
	for name, i := range s.published {
		if !i.Up {
			continue
		}
		if _, exists := s.table.link(name); !exists || !s.flaps[name].active(now) {
			return true
		}
	}
	return false
}

// next returns when flush has something to do; zero: not before an event.
func (s *interfaces) next() time.Time {
	var t time.Time
	if !s.discovered {
		t = s.start.Add(maxLinkDiscovery)
	}
	if !s.complete && !s.discovered {
		return t
	}
	if s.dirty {
		t = earliest(t, s.pushed.Add(interfaceInterval))
	}
	return earliest(t, s.wake)
}

func equalInterfaces(a, b msg.Interfaces) bool {
	return maps.EqualFunc(a, b, func(x, y msg.Interface) bool {
		return x.Name == y.Name && x.Index == y.Index && x.Up == y.Up && slices.Equal(x.Addrs, y.Addrs)
	})
}
