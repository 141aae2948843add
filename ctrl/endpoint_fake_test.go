package ctrl

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"openr/endpoint"
)

// fakeEndpoints is an endpoint directory that answers from its fields, or with Err if that is set.
type fakeEndpoints struct {
	All       []EndpointStatus
	Elsewhere []EndpointStatus // what oracles know besides
	History   []endpoint.Change
	Feed      ChangeSubscription // nil: there are no subscriptions
	Wrong     []endpoint.Fault
	BDs       []endpoint.DomainView
	Spines    []OracleStatus
	Orders    []string // what it was told, as in "enable port eth0"
	Err       error
}

func (f *fakeEndpoints) Each(_ context.Context, visit func(EndpointStatus) bool) error {
	for _, s := range f.All {
		if !visit(s) {
			break
		}
	}
	return f.Err
}

func (n EndpointName) of(s EndpointStatus) bool {
	return (n.BD == 0 || n.BD == s.Key.BD) && (n.MAC == endpoint.MAC{} || n.MAC == s.Key.MAC) &&
		(!n.IP.IsValid() || slices.ContainsFunc(s.IPs, func(p endpoint.IPView) bool { return p.Addr == n.IP }))
}

func thoseNamed(list []EndpointStatus, name EndpointName) (out []EndpointStatus) {
	for _, s := range list {
		if name.of(s) {
			out = append(out, s)
		}
	}
	return out
}

func (f *fakeEndpoints) Known(_ context.Context, name EndpointName) ([]EndpointStatus, error) {
	return thoseNamed(f.All, name), f.Err
}

func (f *fakeEndpoints) Ask(_ context.Context, name EndpointName) ([]EndpointStatus, error) {
	return thoseNamed(f.Elsewhere, name), f.Err
}

func (f *fakeEndpoints) Changes(context.Context) ([]endpoint.Change, error) { return f.History, f.Err }

func (f *fakeEndpoints) SubscribeChanges(context.Context) ([]endpoint.Change, ChangeSubscription, error) {
	if f.Err != nil || f.Feed == nil {
		return nil, nil, cmp.Or(f.Err, errNoStreams)
	}
	return f.History, f.Feed, nil
}

func (f *fakeEndpoints) Faults(context.Context) ([]endpoint.Fault, error) { return f.Wrong, f.Err }

func (f *fakeEndpoints) Domains(context.Context) ([]endpoint.DomainView, error) { return f.BDs, f.Err }

func (f *fakeEndpoints) Oracles(context.Context) ([]OracleStatus, error) { return f.Spines, f.Err }

func (f *fakeEndpoints) order(format string, args ...any) error {
	f.Orders = append(f.Orders, fmt.Sprintf(format, args...))
	return f.Err
}

func (f *fakeEndpoints) ClearRogue(_ context.Context, name EndpointName) error {
	return f.order("clear rogue %v %v", name.Key, name.IP)
}

func (f *fakeEndpoints) ClearEndpoint(_ context.Context, key endpoint.Key) error {
	return f.order("clear endpoint %v", key)
}

func (f *fakeEndpoints) EnablePort(_ context.Context, port string) error {
	return f.order("enable port %s", port)
}

func (f *fakeEndpoints) EnableLearning(_ context.Context, bd endpoint.BD) error {
	return f.order("enable learning %d", bd)
}
