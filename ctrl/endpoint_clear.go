package ctrl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"openr/endpoint"
	"openr/thrift/gen/openrendpoint"
)

// ClearRogue implements OpenrEndpoint. An endpoint that this node does not know is an error; one that is not held is none.
func (c *Ctrl) ClearRogue(ctx context.Context, t *openrendpoint.EndpointKey) error {
	return tellEndpoints(ctx, c, func(ctx context.Context, e Endpoints) error {
		name, err := endpointName(t, false)
		if err != nil {
			return err
		}
		if name.MAC == (endpoint.MAC{}) && !name.IP.IsValid() {
			if name.BD != 0 {
				if err := hasDomain(ctx, e, name.BD); err != nil {
					return err
				}
			}
			return e.ClearRogue(ctx, name)
		}
		return eachKnown(ctx, e, name, func(k endpoint.Key) error {
			if name.IP.IsValid() {
				k.MAC = endpoint.MAC{}
			}
			return e.ClearRogue(ctx, EndpointName{k, name.IP})
		})
	})
}

// ClearEndpoint implements OpenrEndpoint: in domain 0, the endpoint is removed from all domains. One that this node does not
// know is an error.
func (c *Ctrl) ClearEndpoint(ctx context.Context, t *openrendpoint.EndpointKey) error {
	return tellEndpoints(ctx, c, func(ctx context.Context, e Endpoints) error {
		name, err := endpointName(t, true)
		if err != nil {
			return err
		}
		return eachKnown(ctx, e, name, func(k endpoint.Key) error { return e.ClearEndpoint(ctx, k) })
	})
}

// eachKnown does something to all endpoints of a name.
func eachKnown(ctx context.Context, e Endpoints, name EndpointName, do func(endpoint.Key) error) error {
	list, err := e.Known(ctx, name)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("this node knows no endpoint %v", name)
	}
	for _, s := range inOrder(list) {
		if err := do(s.Key); err != nil {
			return err
		}
	}
	return nil
}

// String returns the name for people.
func (n EndpointName) String() string {
	var text string
	switch {
	case n.MAC != endpoint.MAC{} && n.IP.IsValid():
		text = fmt.Sprintf("%v with address %v", n.MAC, n.IP)
	case n.IP.IsValid():
		text = "with address " + n.IP.String()
	default:
		text = n.MAC.String()
	}
	if n.BD != 0 {
		text += fmt.Sprintf(" in domain %d", n.BD)
	}
	return text
}

// EnableEndpointPort implements OpenrEndpoint.
func (c *Ctrl) EnableEndpointPort(ctx context.Context, port string) error {
	return tellEndpoints(ctx, c, func(ctx context.Context, e Endpoints) error {
		if err := checkPort("port", port); err != nil {
			return err
		}
		return e.EnablePort(ctx, port)
	})
}

// EnableEndpointLearning implements OpenrEndpoint. A domain that learns already is no error.
func (c *Ctrl) EnableEndpointLearning(ctx context.Context, bridgeDomain int64) error {
	return tellEndpoints(ctx, c, func(ctx context.Context, e Endpoints) error {
		bd, err := checkDomain("bridgeDomain", bridgeDomain)
		if err == nil && bd == 0 {
			err = fmt.Errorf("bridgeDomain is 0: want one of 1-%d", endpoint.MaxBD)
		}
		if err == nil {
			err = hasDomain(ctx, e, bd)
		}
		if err != nil {
			return err
		}
		return e.EnableLearning(ctx, bd)
	})
}

// hasDomain returns an error if this node takes no part in a bridge domain.
func hasDomain(ctx context.Context, e Endpoints, bd endpoint.BD) error {
	all, err := e.Domains(ctx)
	if err != nil || slices.ContainsFunc(all, func(d endpoint.DomainView) bool { return d.BD == bd }) {
		return err
	}
	has := make([]string, len(all))
	for i, d := range all {
		has[i] = fmt.Sprint(d.BD)
	}
	return fmt.Errorf("this node has no bridge domain %d; it has %s", bd, cmp.Or(strings.Join(has, ", "), "none"))
}
