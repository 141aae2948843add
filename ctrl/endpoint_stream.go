package ctrl

import (
	"context"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/endpoint"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/openrendpoint"
	"openr/thrift/invoke"
)

// endpointChangesStream is the stream of changes. Its arguments and its first response are those of getEndpointChanges; each element is
// one EndpointChange.
const endpointChangesStream = "subscribeAndGetEndpointChanges"

func (c *Ctrl) endpointStream() invoke.StreamMethod {
	return invoke.StreamMethod{
		NewArgs: func() thrift.TStruct { return openrendpoint.NewOpenrEndpointGetEndpointChangesArgs() },
		Open: func(ctx context.Context, args thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
			a := args.(*openrendpoint.OpenrEndpointGetEndpointChangesArgs)
			first, items, err := c.subscribeEndpointChanges(ctx, a.Filter, a.Limit)
			if refusal, ok := err.(*openrctrl.OpenrError); ok {
				return &openrendpoint.OpenrEndpointGetEndpointChangesResult{Error: refusal}, nil, nil
			}
			return &openrendpoint.OpenrEndpointGetEndpointChangesResult{Success: first}, items, err
		},
	}
}

// subscribeEndpointChanges returns the latest changes that are wanted, and from then on all that are.
func (c *Ctrl) subscribeEndpointChanges(ctx context.Context, t *openrendpoint.EndpointFilter, limit int32) ([]*openrendpoint.EndpointChange, invoke.Items, error) {
	type answer struct {
		first []*openrendpoint.EndpointChange
		f     *filter
		sub   ChangeSubscription
	}
	a, err := askEndpoints(ctx, c, func(ctx context.Context, e Endpoints) (a answer, err error) {
		if a.f, err = changeFilter(t, limit); err != nil {
			return a, err
		}
		all, sub, err := e.SubscribeChanges(ctx)
		if err != nil {
			return a, err
		}
		// After the subscription: whoever gets the address from now on is among the changes to come.
		if err := a.f.owners(ctx, e); err != nil {
			sub.Close()
			return a, err
		}
		a.first, a.sub = a.f.latest(all), sub
		return a, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return a.first, stream(c, streamEndpoints, a.sub, func(change endpoint.Change, _ time.Time) thrift.TStruct {
		wanted := a.f.fitsChange(&change)
		a.f.follow(&change)
		if !wanted {
			return nil
		}
		return changeThrift(&change)
	}), nil
}
