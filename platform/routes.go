package platform

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"openr/fib"
	"openr/fib/switchagent"
	"openr/lsdb"
	"openr/msg"
	"openr/thrift/gen/network"
	gen "openr/thrift/gen/platform"
)

// GetSwitchRunState is CONFIGURED: a kernel always is.
func (p *Platform) GetSwitchRunState(context.Context) (gen.SwitchRunState, error) {
	return gen.SwitchRunState_CONFIGURED, nil
}

// AddUnicastRoute brings in a route, in place of what the client has for its prefix.
func (p *Platform) AddUnicastRoute(ctx context.Context, id int16, route *network.UnicastRoute) error {
	return p.AddUnicastRoutes(ctx, id, []*network.UnicastRoute{route})
}

// AddUnicastRoutes brings in routes, each in place of what the client has for its prefix.
func (p *Platform) AddUnicastRoutes(ctx context.Context, id int16, routes []*network.UnicastRoute) error {
	update, err := p.parse(routes)
	if err != nil {
		return err
	}
	return p.with(id, func(t fib.Programmer) error { return p.apply(ctx, id, t, update, nil) })
}

// DeleteUnicastRoute takes out the client's route; that there is none is a success.
func (p *Platform) DeleteUnicastRoute(ctx context.Context, id int16, prefix *network.IpPrefix) error {
	return p.DeleteUnicastRoutes(ctx, id, []*network.IpPrefix{prefix})
}

// DeleteUnicastRoutes takes out the client's routes; that there is none is a success. The only exception it declares is
// PlatformError, whose text then names the first routes that failed.
func (p *Platform) DeleteUnicastRoutes(ctx context.Context, id int16, prefixes []*network.IpPrefix) error {
	del := make([]netip.Prefix, 0, len(prefixes))
	for i, t := range prefixes {
		prefix, err := lsdb.PrefixFromThrift(t)
		if err != nil {
			return p.refuse("prefixes[%d]: %v; nothing was deleted", i, err)
		}
		del = append(del, prefix)
	}
	return p.with(id, func(t fib.Programmer) error {
		err := p.apply(ctx, id, t, nil, del)
		var partial *gen.PlatformFibUpdateError
		if errors.As(err, &partial) {
			return refusal("failed to delete routes: %s", strings.Join(p.reasons(id, del), "; "))
		}
		return err
	})
}

// reasons returns why the first of some prefixes failed.
func (p *Platform) reasons(id int16, prefixes []netip.Prefix) (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, prefix := range prefixes {
		if why, failed := p.failed[route{id, prefix}]; failed && len(out) < logged {
			out = append(out, why)
		}
	}
	return out
}

// SyncFib makes routes all that the client has. What stands as it should is not touched.
func (p *Platform) SyncFib(ctx context.Context, id int16, routes []*network.UnicastRoute) error {
	wanted, err := p.parse(routes)
	if err != nil {
		return err
	}
	return p.with(id, func(t fib.Programmer) error {
		start := time.Now()
		standing, err := t.Dump(ctx)
		if err != nil {
			return p.failure("read the routes", err)
		}
		var del []netip.Prefix
		for prefix, r := range standing {
			want, ok := wanted[prefix]
			switch {
			case !ok:
				del = append(del, prefix)
			case same(want, r):
				delete(wanted, prefix)
			}
		}
		p.forget(id)
		p.o.Log.Info("synchronising", zap.Int16("client", id), zap.Int("wanted", len(routes)), zap.Int("standing", len(standing)),
			zap.Int("to change", len(wanted)), zap.Int("to delete", len(del)))
		err = p.apply(ctx, id, t, wanted, del)
		p.o.Counters.Avg(counterSyncTime, time.Since(start).Milliseconds())
		return err
	})
}

// forget forgets why routes of a client have failed.
func (p *Platform) forget(id int16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.failed, func(r route, _ string) bool { return r.client == id })
}

// same reports whether a wanted route is what stands.
func same(want, have msg.Route) bool {
	want.NextHops, have.NextHops = fib.Forwarding(want), fib.Forwarding(have)
	return want.SameForwarding(have)
}

// GetRouteTableByClient returns the client's routes, by prefix. One that stands in a form that the client cannot have given
// it is left out, so that a client which compares brings it in again.
func (p *Platform) GetRouteTableByClient(ctx context.Context, id int16) (out []*network.UnicastRoute, err error) {
	err = p.with(id, func(t fib.Programmer) error {
		standing, err := t.Dump(ctx)
		if err != nil {
			return p.failure("read the routes", err)
		}
		out = make([]*network.UnicastRoute, 0, len(standing))
		for _, r := range slices.SortedFunc(maps.Values(standing), func(a, b msg.Route) int { return a.Prefix.Compare(b.Prefix) }) {
			if !r.DoNotInstall {
				out = append(out, switchagent.RouteThrift(r))
			}
		}
		return nil
	})
	return out, err
}

const noMPLS = "MPLS routes are not supported"

// AddMplsRoutes is refused, unless there are none.
func (p *Platform) AddMplsRoutes(_ context.Context, _ int16, routes []*network.MplsRoute) error {
	return p.refuseMPLS(len(routes))
}

// DeleteMplsRoutes is refused, unless there are none.
func (p *Platform) DeleteMplsRoutes(_ context.Context, _ int16, topLabels []int32) error {
	return p.refuseMPLS(len(topLabels))
}

// SyncMplsFib is refused, unless there are none: agents that can do MPLS, but have no label routes, synchronise so.
func (p *Platform) SyncMplsFib(_ context.Context, _ int16, routes []*network.MplsRoute) error {
	return p.refuseMPLS(len(routes))
}

func (p *Platform) refuseMPLS(n int) error {
	if n == 0 {
		return nil
	}
	return p.refuse(noMPLS)
}

// GetMplsRouteTableByClient is refused.
func (p *Platform) GetMplsRouteTableByClient(context.Context, int16) ([]*network.MplsRoute, error) {
	return nil, p.refuse(noMPLS)
}

// BatchedSyncFib is refused; syncFib does the same in one call.
func (p *Platform) BatchedSyncFib(context.Context, *gen.BatchedSyncFibRequest) (*gen.BatchedSyncFibResponse, error) {
	return nil, p.refuse("batchedSyncFib is not supported; use syncFib")
}

// SendNeighborDownInfo is refused: the kernel sees for itself that a link is down.
func (p *Platform) SendNeighborDownInfo(context.Context, []string) error {
	return p.refuse("sendNeighborDownInfo is not supported")
}

// RegisterNextHops is refused.
func (p *Platform) RegisterNextHops(context.Context, *gen.NextHopRegistrationRequest) (*gen.NextHopRegistrationResponse, error) {
	return nil, p.refuse("registerNextHops is not supported")
}

// DeregisterNextHops is refused.
func (p *Platform) DeregisterNextHops(context.Context, *gen.NextHopDeregistrationRequest) (*gen.NextHopDeregistrationResponse, error) {
	return nil, p.refuse("deregisterNextHops is not supported")
}

// UpdateConnectedNextHopStatus is refused.
func (p *Platform) UpdateConnectedNextHopStatus(context.Context, *gen.ConnectedNextHopStatusRequest) (*gen.ConnectedNextHopStatusResponse, error) {
	return nil, p.refuse("updateConnectedNextHopStatus is not supported")
}

// GetFibCachedState is refused.
func (p *Platform) GetFibCachedState(context.Context, *gen.FibCachedStateRequest) (*gen.FibCachedStateResponse, error) {
	return nil, p.refuse("getFibCachedState is not supported; use getRouteTableByClient")
}
