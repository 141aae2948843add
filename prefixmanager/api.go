package prefixmanager

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"openr/config"
	"openr/lsdb"
)

// OriginatedStatus is a prefix of the configuration's originated_prefixes, and how far it is from being advertised.
type OriginatedStatus struct {
	Prefix     config.OriginatedPrefix
	Supporting []netip.Prefix // programmed routes inside the prefix, sorted
	Installed  bool           // there are enough of them (and the forwarding table is known), and its policy accepts it
}

// Advertised returns everything this node has reason to advertise, sorted by prefix and type.
func (m *PrefixManager) Advertised(ctx context.Context) (all []Advertised, err error) {
	err = m.calls.Do(ctx, func() { all = m.core.list() })
	return all, err
}

// AreaRoutes returns the best entry of each prefix that is to be advertised in an area now, on one side of the area's import
// policy, sorted by prefix. Without a policy all are let through. It fails with ErrUnknownArea for an area that is not
// configured.
func (m *PrefixManager) AreaRoutes(ctx context.Context, area string, stage Stage) (routes []AreaRoute, err error) {
	if !slices.Contains(m.core.areas, area) {
		return nil, fmt.Errorf("%w: %q; there are %q", ErrUnknownArea, area, m.core.areas)
	}
	if err := stage.check(); err != nil {
		return nil, err
	}
	err = m.calls.Do(ctx, func() { routes = m.core.inArea(area, stage) })
	return routes, err
}

// OriginationRoutes returns the prefixes of the configuration that have an origination policy and enough supporting routes,
// on one side of that policy, sorted by prefix.
func (m *PrefixManager) OriginationRoutes(ctx context.Context, stage Stage) (routes []AreaRoute, err error) {
	if err := stage.check(); err != nil {
		return nil, err
	}
	err = m.calls.Do(ctx, func() { routes = m.core.underPolicy(stage) })
	return routes, err
}

func (s Stage) check() error {
	if s < BeforePolicy || s > Rejected {
		return fmt.Errorf("filter type %d: want 0 (before the policy), 1 (after it) or 2 (rejected by it)", s)
	}
	return nil
}

// Originated returns how the prefixes of the configuration stand, in the order of the file.
func (m *PrefixManager) Originated(ctx context.Context) (all []OriginatedStatus, err error) {
	err = m.calls.Do(ctx, func() {
		for _, p := range m.Config.OriginatedPrefixes {
			all = append(all, m.core.status(p.Prefix.Masked()))
		}
	})
	return all, err
}

// Advertise adds prefixes, or changes those that this node has of the same prefix and type through this API. What says the
// same as before changes nothing; of entries with equal prefix and type the last counts. Entries go to all areas except
// those in their AreaStack. They are forgotten when the agent stops.
//
// It fails, and changes nothing, if any prefix cannot be advertised (ErrBadPrefix), any type is RIB, CONFIG, unknown or has
// been taken for the same prefix by an interface address (ErrTypeRefused), or there would be too many (ErrTooMany).
func (m *PrefixManager) Advertise(ctx context.Context, entries []lsdb.PrefixEntry) error {
	return m.change(ctx, func() error { return m.core.inject(entries) })
}

// Withdraw takes back what came through Advertise or SyncByType and has the prefix and type of one of the entries, whose
// other fields do not matter. Entries that were not there are passed over, so that a withdrawal can be repeated with more;
// but if none of them was, that is ErrUnknownPrefix.
func (m *PrefixManager) Withdraw(ctx context.Context, entries []lsdb.PrefixEntry) error {
	return m.change(ctx, func() error { return m.core.eject(entries) })
}

// WithdrawByType takes back all of a type that came through Advertise or SyncByType; that may be none. It fails with
// ErrTypeRefused as Advertise does.
func (m *PrefixManager) WithdrawByType(ctx context.Context, t lsdb.PrefixType) error {
	return m.SyncByType(ctx, t, nil)
}

// SyncByType makes entries all there is of a type through this API. It fails, and changes nothing, as Advertise does, or if
// an entry is of another type (ErrTypeRefused). The addresses of interfaces, type LOOPBACK, are not touched.
func (m *PrefixManager) SyncByType(ctx context.Context, t lsdb.PrefixType, entries []lsdb.PrefixEntry) error {
	return m.change(ctx, func() error { return m.core.replace(t, entries) })
}

func (m *PrefixManager) change(ctx context.Context, f func() error) (err error) {
	stopped := m.calls.Do(ctx, func() {
		err = f()
		m.changed = true
	})
	if stopped != nil {
		return stopped
	}
	return err
}

// status returns how an originated prefix stands.
func (c *core) status(p netip.Prefix) OriginatedStatus {
	o := c.originated[p]
	return OriginatedStatus{
		Prefix: o.OriginatedPrefix, Supporting: slices.SortedFunc(maps.Keys(o.support), netip.Prefix.Compare),
		Installed: c.reported && o.wanted(),
	}
}
