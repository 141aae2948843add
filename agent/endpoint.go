package agent

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"time"

	"openr/ctrl"
	"openr/endpoint"
	"openr/endpoint/node"
	"openr/fib"
	"openr/internal/crash"
	"openr/msg"
	"openr/queue"
)

// endpointDirectory joins the endpoint directory to the rest: to fib, of which it only reads, and to the control API.
type endpointDirectory struct {
	node   *node.Node
	fib    *fib.Fib
	routes *queue.Queue[msg.RouteUpdate]
}

func newEndpointDirectory(f *fib.Fib, o node.Options) *endpointDirectory {
	routes := queue.New(msg.MergeRoutes)
	o.Routes = routes
	return &endpointDirectory{node: node.New(o), fib: f, routes: routes}
}

// run works until ctx is done.
func (d *endpointDirectory) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { defer crash.Guard(); d.followRoutes(ctx) })
	return d.node.Run(ctx)
}

// followRoutes tells the directory what stands in the forwarding table, from the side: it takes what a subscriber gets.
func (d *endpointDirectory) followRoutes(ctx context.Context) {
	const pause = time.Second
	for {
		first, subscription, err := d.fib.Subscribe(ctx)
		if err == nil {
			all := msg.RouteUpdate{Full: true, Update: make(map[netip.Prefix]msg.Route, len(first))}
			for _, r := range first {
				all.Update[r.Route.Prefix] = r.Route
			}
			d.routes.Push(all)
			for err == nil {
				var u msg.RouteUpdate
				if u, err = subscription.Next(ctx); err == nil {
					d.routes.PushShared(u, func(u msg.RouteUpdate) msg.RouteUpdate {
						u.Update, u.Delete = maps.Clone(u.Update), maps.Clone(u.Delete)
						return u
					})
				}
			}
			subscription.Close()
		}
		select { // fib has stopped, which ends the agent, or it has too many subscribers
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// Each implements ctrl.Endpoints, and so do the following.
func (d *endpointDirectory) Each(ctx context.Context, visit func(ctrl.EndpointStatus) bool) error {
	return d.node.Each(ctx, func(s node.Status) bool { return visit(ctrl.EndpointStatus(s)) })
}

func (d *endpointDirectory) Known(ctx context.Context, name ctrl.EndpointName) ([]ctrl.EndpointStatus, error) {
	return endpointStatuses(d.node.Known(ctx, node.Name(name)))
}

func (d *endpointDirectory) Ask(ctx context.Context, name ctrl.EndpointName) ([]ctrl.EndpointStatus, error) {
	return endpointStatuses(d.node.Ask(ctx, node.Name(name)))
}

func endpointStatuses(list []node.Status, err error) ([]ctrl.EndpointStatus, error) {
	out := make([]ctrl.EndpointStatus, len(list))
	for i, s := range list {
		out[i] = ctrl.EndpointStatus(s)
	}
	return out, err
}

func (d *endpointDirectory) Changes(context.Context) ([]endpoint.Change, error) {
	return d.node.Changes()
}

func (d *endpointDirectory) SubscribeChanges(context.Context) ([]endpoint.Change, ctrl.ChangeSubscription, error) {
	first, changes, err := d.node.SubscribeChanges()
	if err != nil {
		return nil, nil, err
	}
	return first, changes, nil
}

func (d *endpointDirectory) Faults(ctx context.Context) ([]endpoint.Fault, error) {
	return d.node.Faults(ctx)
}

func (d *endpointDirectory) Domains(ctx context.Context) ([]endpoint.DomainView, error) {
	return d.node.Domains(ctx)
}

func (d *endpointDirectory) Oracles(ctx context.Context) ([]ctrl.OracleStatus, error) {
	list, err := d.node.Oracles(ctx)
	out := make([]ctrl.OracleStatus, len(list))
	for i := range list {
		out[i] = oracleStatus(&list[i])
	}
	return out, err
}

func oracleStatus(o *node.Oracle) ctrl.OracleStatus {
	s := ctrl.OracleStatus{Node: o.Node, TEPs: o.TEPs, Ready: o.Ready, Records: o.Records, Unacknowledged: o.State.Pending}
	switch {
	case o.Linked && o.State.Resync:
		s.Session = ctrl.OracleSyncing
	case o.Linked && o.State.Accepted, o.Self:
		s.Session = ctrl.OracleUp
	case o.Linked:
		s.Session = ctrl.OracleConnecting
	}
	if s.Session == ctrl.OracleUp {
		s.Heard = time.Now() // within the three seconds after which a silent connection is closed
	}
	return s
}

func (d *endpointDirectory) ClearRogue(ctx context.Context, name ctrl.EndpointName) error {
	return d.node.ClearRogue(ctx, node.Name(name))
}

func (d *endpointDirectory) ClearEndpoint(ctx context.Context, key endpoint.Key) error {
	return d.node.ClearEndpoint(ctx, key)
}

func (d *endpointDirectory) EnablePort(ctx context.Context, port string) error {
	return d.node.EnablePort(ctx, port)
}

func (d *endpointDirectory) EnableLearning(ctx context.Context, bd endpoint.BD) error {
	return d.node.EnableLearning(ctx, bd)
}
