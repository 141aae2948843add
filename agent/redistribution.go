package agent

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"openr/fib/zebra"
	"openr/lsdb"
	"openr/msg"
	"openr/queue"
)

// Preferences of redistributed routes: those of redistributed interface addresses (Open/R common/Constants.h,
// kDefaultPathPreference and kDefaultSourcePreference, one class lower for what comes from elsewhere).
const (
	redistributedPathPreference   = 1000
	redistributedSourcePreference = 100
)

// redistribution has prefixmanager advertise what zebra tells of the routes of others, as prefixes of type DEFAULT.
type redistribution struct {
	from  *queue.Queue[zebra.Redistribution]
	to    *queue.Queue[msg.PrefixUpdate]
	calls *queue.Calls
}

func newRedistribution(from *queue.Queue[zebra.Redistribution], to *queue.Queue[msg.PrefixUpdate]) *redistribution {
	return &redistribution{from, to, queue.NewCalls()}
}

// alive returns nil when the loop of run has come round, or an error when ctx ends.
func (r *redistribution) alive(ctx context.Context) error { return r.calls.Do(ctx, func() {}) }

// run works until ctx is done.
func (r *redistribution) run(ctx context.Context) error {
	defer r.calls.Stop()
	routes := map[zebra.RedistributedKey]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case call := <-r.calls.C():
			call()
			continue
		case <-r.from.C():
		}
		u, ok := r.from.Take()
		if !ok {
			continue
		}
		follow(routes, u)
		r.to.Push(msg.PrefixUpdate{lsdb.PrefixDefault: advertised(routes)})
	}
}

// follow applies u to what is known.
func follow(routes map[zebra.RedistributedKey]bool, u zebra.Redistribution) {
	if u.Full {
		clear(routes)
	}
	for k := range u.Update {
		routes[k] = true
	}
	maps.DeleteFunc(routes, func(k zebra.RedistributedKey, _ bool) bool { return u.Delete[k] })
}

// advertised returns what to advertise for routes; what is of use on one link only is left out.
func advertised(routes map[zebra.RedistributedKey]bool) map[netip.Prefix]msg.PrefixOrigin {
	out := map[netip.Prefix]msg.PrefixOrigin{}
	for k := range routes {
		addr := k.Prefix.Addr()
		if addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsLoopback() {
			continue
		}
		entry := out[k.Prefix].Entry
		entry.Prefix, entry.Type = k.Prefix, lsdb.PrefixDefault
		entry.Metrics.PathPreference, entry.Metrics.SourcePreference = redistributedPathPreference, redistributedSourcePreference
		if tag := "ZEBRA:" + k.Type; !slices.Contains(entry.Tags, tag) {
			entry.Tags = append(entry.Tags, tag)
			slices.Sort(entry.Tags)
		}
		out[k.Prefix] = msg.PrefixOrigin{Entry: entry}
	}
	return out
}
