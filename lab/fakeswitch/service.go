package fakeswitch

import (
	"context"
	"fmt"
	"net/netip"

	"openr/thrift/gen/fb303core"
	"openr/thrift/gen/network"
	"openr/thrift/gen/platform"
	"openr/thrift/invoke"
)

// methods are those that the agent has; all others are unknown to it.
var methods = []string{
	"getSwitchRunState", "aliveSince", "getStatus", "getName", "getCounters", "addUnicastRoute", "addUnicastRoutes",
	"deleteUnicastRoute", "deleteUnicastRoutes", "syncFib", "getRouteTableByClient",
}

// handler implements the methods of FibService that are in methods; the others panic and cannot be reached.
type handler struct {
	platform.FibService
	*Agent
}

// service returns what is served in one life.
func (a *Agent) service() *invoke.Service {
	all := platform.NewFibServiceProcessor(handler{Agent: a})
	known := map[string]bool{}
	for _, m := range methods {
		known[m] = m != "getRouteTableByClient" || !a.o.NoDump
	}
	for name := range all.ProcessorMap() {
		if !known[name] {
			delete(all.ProcessorMap(), name)
		}
	}
	return &invoke.Service{Processor: all}
}

// enter counts a call and waits while the agent hangs.
func (h handler) enter(ctx context.Context, method string) error {
	h.mu.Lock()
	h.calls[method]++
	hang := h.hang
	h.mu.Unlock()
	if hang == nil {
		return nil
	}
	select {
	case <-hang:
		return fmt.Errorf("%s: the agent hung", method)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enterRoutes is enter for calls about routes.
func (h handler) enterRoutes(ctx context.Context, method string, client int16) error {
	if err := h.enter(ctx, method); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch _, known := protocols[client]; {
	case h.refuse:
		return &platform.PlatformError{Message: "told to refuse"}
	case h.state != platform.SwitchRunState_CONFIGURED:
		return &platform.PlatformError{Message: "the switch is not configured yet, but " + h.state.String()}
	case !known:
		return &platform.PlatformError{Message: fmt.Sprintf("client id %d is unknown", client)}
	}
	return nil
}

// fails reports whether a route was told to fail.
func (h handler) fails(p netip.Prefix) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.fail {
		if f.Overlaps(p) && f.Bits() <= p.Bits() {
			return true
		}
	}
	return false
}

func (h handler) GetSwitchRunState(ctx context.Context) (platform.SwitchRunState, error) {
	err := h.enter(ctx, "getSwitchRunState")
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state, err
}

func (h handler) AliveSince(ctx context.Context) (int64, error) {
	err := h.enter(ctx, "aliveSince")
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since, err
}

func (h handler) GetStatus(ctx context.Context) (fb303core.Fb303Status, error) {
	return fb303core.Fb303Status_ALIVE, h.enter(ctx, "getStatus")
}

func (h handler) GetName(ctx context.Context) (string, error) {
	return "openr lab agent", h.enter(ctx, "getName")
}

func (h handler) GetCounters(ctx context.Context) (map[string]int64, error) {
	err := h.enter(ctx, "getCounters")
	out := map[string]int64{}
	for client := range protocols {
		out[fmt.Sprintf("routes.client_%d", client)] = int64(len(h.table.routes(client)))
	}
	return out, err
}

func (h handler) AddUnicastRoute(ctx context.Context, client int16, route *network.UnicastRoute) error {
	return h.AddUnicastRoutes(ctx, client, []*network.UnicastRoute{route})
}

func (h handler) AddUnicastRoutes(ctx context.Context, client int16, routes []*network.UnicastRoute) error {
	if err := h.enterRoutes(ctx, "addUnicastRoutes", client); err != nil {
		return err
	}
	return h.add(client, routes, nil)
}

func (h handler) DeleteUnicastRoute(ctx context.Context, client int16, prefix *network.IpPrefix) error {
	return h.DeleteUnicastRoutes(ctx, client, []*network.IpPrefix{prefix})
}

func (h handler) DeleteUnicastRoutes(ctx context.Context, client int16, prefixes []*network.IpPrefix) error {
	if err := h.enterRoutes(ctx, "deleteUnicastRoutes", client); err != nil {
		return err
	}
	for _, t := range prefixes {
		p, err := parsePrefix(t)
		if err == nil && h.fails(p) {
			err = fmt.Errorf("told to fail %v", p)
		}
		if err == nil {
			err = h.table.remove(client, p)
		}
		if err != nil {
			return &platform.PlatformError{Message: err.Error()}
		}
	}
	return nil
}

func (h handler) SyncFib(ctx context.Context, client int16, routes []*network.UnicastRoute) error {
	if err := h.enterRoutes(ctx, "syncFib", client); err != nil {
		return err
	}
	stale := h.table.routes(client)
	for _, t := range routes {
		if p, err := parsePrefix(t.Dest); err == nil {
			delete(stale, p)
		}
	}
	return h.add(client, routes, stale)
}

// add brings in routes and takes out stale ones.
func (h handler) add(client int16, routes []*network.UnicastRoute, stale map[netip.Prefix][]string) error {
	adds, deletes := []*network.IpPrefix{}, []*network.IpPrefix{}
	for _, t := range routes {
		p, err := parsePrefix(t.Dest)
		if err != nil {
			return &platform.PlatformError{Message: err.Error()}
		}
		if !h.fails(p) {
			err = h.table.add(client, p, t)
		} else {
			err = fmt.Errorf("told to fail %v", p)
		}
		if err != nil {
			h.log.Sugar().Infof("route failed: %v", err)
			adds = append(adds, t.Dest)
		}
	}
	for p := range stale {
		if h.fails(p) || h.table.remove(client, p) != nil {
			deletes = append(deletes, prefixThrift(p))
		}
	}
	if len(adds)+len(deletes) == 0 {
		return nil
	}
	e := platform.NewPlatformFibUpdateError()
	e.Vrf2failedAddUpdatePrefixes = map[int32][]*network.IpPrefix{0: adds}
	e.Vrf2failedDeletePrefixes = map[int32][]*network.IpPrefix{0: deletes}
	return e
}

func (h handler) GetRouteTableByClient(ctx context.Context, client int16) ([]*network.UnicastRoute, error) {
	if err := h.enterRoutes(ctx, "getRouteTableByClient", client); err != nil {
		return nil, err
	}
	return h.table.thrift(client), nil
}

func parsePrefix(t *network.IpPrefix) (netip.Prefix, error) {
	var a netip.Addr
	if t != nil && t.PrefixAddress != nil {
		a, _ = netip.AddrFromSlice(t.PrefixAddress.Addr)
	}
	p, err := a.Prefix(int(t.GetPrefixLength()))
	if err != nil || !a.IsValid() {
		return p, fmt.Errorf("%v is not a prefix", t)
	}
	return p, nil
}

func prefixThrift(p netip.Prefix) *network.IpPrefix {
	a := network.NewBinaryAddress()
	a.Addr = p.Addr().AsSlice()
	return &network.IpPrefix{PrefixAddress: a, PrefixLength: int16(p.Bits())}
}
