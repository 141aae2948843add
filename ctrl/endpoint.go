package ctrl

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"openr/endpoint"
	"openr/thrift/gen/openrendpoint"
)

// Endpoints is what ctrl asks of the endpoint directory on this node, whether that is a leaf or an oracle.
type Endpoints interface {
	// Each shows all endpoints in the table, in any order, until visit returns false. It does not keep the table's owner from its
	// work: what comes, changes or goes meanwhile is shown as it was or as it is, once or not at all.
	Each(ctx context.Context, visit func(EndpointStatus) bool) error
	// Known returns the endpoints in the table that have the name.
	Known(ctx context.Context, name EndpointName) ([]EndpointStatus, error)
	// Ask returns what the oracles know of a name, which is empty if they know nothing.
	Ask(ctx context.Context, name EndpointName) ([]EndpointStatus, error)

	// Changes returns the changes that are kept, the oldest first.
	Changes(ctx context.Context) ([]endpoint.Change, error)
	// SubscribeChanges returns what Changes does, and all changes after these.
	SubscribeChanges(ctx context.Context) ([]endpoint.Change, ChangeSubscription, error)

	Faults(ctx context.Context) ([]endpoint.Fault, error)
	Domains(ctx context.Context) ([]endpoint.DomainView, error)
	Oracles(ctx context.Context) ([]OracleStatus, error)

	// ClearRogue ends the holds of a rogue endpoint (Key), of a rogue address (IP in domain BD), of a domain (BD alone) or of
	// all. Nothing is held: no error.
	ClearRogue(ctx context.Context, name EndpointName) error
	ClearEndpoint(ctx context.Context, key endpoint.Key) error
	// EnablePort brings a port back that loop protection has shut. A port that this node does not have is an error.
	EnablePort(ctx context.Context, port string) error
	// EnableLearning ends the time in which a domain does not learn.
	EnableLearning(ctx context.Context, bd endpoint.BD) error
}

// ChangeSubscription are changes as they happen. They cannot be merged, so a subscriber that is too slow loses the
// subscription: Next returns an error that says so. It returns io.EOF when the module has stopped.
type ChangeSubscription interface {
	Next(ctx context.Context) (endpoint.Change, error)
	Close()
}

// EndpointName names endpoints by MAC, by address, or by both. What is zero is not asked about: BD 0 is any domain.
type EndpointName struct {
	endpoint.Key
	IP netip.Addr
}

// EndpointStatus is an endpoint as this node knows it. At an oracle View.State is Absent, View.Place.TEP the leaf's, and Status
// says what the directory thinks of the record; at a leaf Status does not count.
type EndpointStatus struct {
	endpoint.View
	Status endpoint.Status
	Node   string // the leaf that has it; empty: its name is not known
	Flags  endpoint.Flags
	// Drained: an operator has drained that leaf. The endpoint stays there until it is heard elsewhere.
	Drained bool
}

// stateDrained is the state of a record that is in use and whose leaf is drained.
const stateDrained = "drained"

// state is the name of the state of the endpoint, or at an oracle that of its record.
func (s *EndpointStatus) state() string {
	switch {
	case s.State == endpoint.Absent && s.Status == endpoint.Active && s.Drained:
		return stateDrained
	case s.State == endpoint.Absent:
		return s.Status.String()
	}
	return s.State.String()
}

// OracleStatus is an oracle as a leaf sees it, or as another oracle does.
type OracleStatus struct {
	Node           string
	TEPs           []netip.Addr
	Session        OracleSession
	Ready          bool      // it holds all that the others hold, and answers for the anycast address
	Records        int       // 0: not known
	Unacknowledged int       // publications that it has not taken yet
	Heard          time.Time // zero: never
}

// OracleSession is how far a session with an oracle is.
type OracleSession uint8

// The zero OracleSession is that of an oracle that cannot be reached.
const (
	OracleDown OracleSession = iota
	OracleConnecting
	OracleSyncing // it is being told what this node has
	OracleUp
)

var sessionNames = [...]string{"down", "connecting", "syncing", "up"}

// String returns the name in lower case.
func (s OracleSession) String() string {
	if int(s) < len(sessionNames) {
		return sessionNames[s]
	}
	return "unknown"
}

var errNoDirectory = errors.New(`no endpoint directory on this node: add an "endpoint" section to the configuration`)

// askEndpoints puts a question to the endpoint directory. The error is the exception that the methods declare.
func askEndpoints[T any](ctx context.Context, c *Ctrl, question func(context.Context, Endpoints) (T, error)) (T, error) {
	if c.Endpoints == nil {
		var none T
		return none, openrError(errNoDirectory)
	}
	answer, err := ask(ctx, "endpoint", func(ctx context.Context) (T, error) { return question(ctx, c.Endpoints) })
	return answer, openrError(err)
}

// tellEndpoints has the endpoint directory do something.
func tellEndpoints(ctx context.Context, c *Ctrl, order func(context.Context, Endpoints) error) error {
	_, err := askEndpoints(ctx, c, func(ctx context.Context, e Endpoints) (struct{}, error) { return struct{}{}, order(ctx, e) })
	return err
}

// GetEndpoints implements OpenrEndpoint. Tombstones are left out unless the filter names that state.
func (c *Ctrl) GetEndpoints(ctx context.Context, t *openrendpoint.EndpointFilter) (*openrendpoint.EndpointPage, error) {
	return askEndpoints(ctx, c, func(ctx context.Context, e Endpoints) (*openrendpoint.EndpointPage, error) {
		f, err := endpointFilter(t)
		if err != nil {
			return nil, err
		}
		list, total, err := f.find(ctx, e)
		if err != nil {
			return nil, err
		}
		return &openrendpoint.EndpointPage{Endpoints: endpointsThrift(list, time.Now()), Total: int64(total)}, nil
	})
}

// find returns the first endpoints that fit, in order, and how many fit.
func (f *filter) find(ctx context.Context, e Endpoints) ([]EndpointStatus, int, error) {
	p := page{filter: f}
	if f.name.MAC == (endpoint.MAC{}) && !f.name.IP.IsValid() {
		err := e.Each(ctx, func(s EndpointStatus) bool {
			p.add(s)
			return ctx.Err() == nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, 0, err
		}
	} else {
		list, err := e.Known(ctx, f.name)
		if err != nil {
			return nil, 0, err
		}
		for _, s := range list {
			p.add(s)
		}
	}
	list, total := p.sorted()
	return list, total, nil
}

// FindEndpoint implements OpenrEndpoint. What nobody knows is no error: the answer is empty.
func (c *Ctrl) FindEndpoint(ctx context.Context, t *openrendpoint.EndpointKey) ([]*openrendpoint.Endpoint, error) {
	return askEndpoints(ctx, c, func(ctx context.Context, e Endpoints) ([]*openrendpoint.Endpoint, error) {
		name, err := endpointName(t, true)
		if err != nil {
			return nil, err
		}
		list, err := e.Known(ctx, name)
		if err == nil && len(list) == 0 {
			list, err = e.Ask(ctx, name)
		}
		return endpointsThrift(inOrder(list), time.Now()), err
	})
}

// inOrder sorts endpoints by their keys. The same endpoint may have been found several times.
func inOrder(list []EndpointStatus) []EndpointStatus {
	list = slices.SortedFunc(slices.Values(list), func(a, b EndpointStatus) int { return a.Key.Compare(b.Key) })
	return slices.CompactFunc(list, func(a, b EndpointStatus) bool { return a.Key == b.Key })
}

// GetEndpointChanges implements OpenrEndpoint. Changes of an address are those of that address alone, and those of the
// endpoints that have it now. Changes have no state: a filter that names one is refused.
func (c *Ctrl) GetEndpointChanges(ctx context.Context, t *openrendpoint.EndpointFilter, limit int32) ([]*openrendpoint.EndpointChange, error) {
	return askEndpoints(ctx, c, func(ctx context.Context, e Endpoints) ([]*openrendpoint.EndpointChange, error) {
		f, err := changeFilter(t, limit)
		if err != nil {
			return nil, err
		}
		if err := f.owners(ctx, e); err != nil {
			return nil, err
		}
		all, err := e.Changes(ctx)
		return f.latest(all), err
	})
}

// GetEndpointFaults implements OpenrEndpoint.
func (c *Ctrl) GetEndpointFaults(ctx context.Context) ([]*openrendpoint.EndpointFault, error) {
	return askEndpoints(ctx, c, func(ctx context.Context, e Endpoints) ([]*openrendpoint.EndpointFault, error) {
		all, err := e.Faults(ctx)
		return thriftList(all, faultThrift), err
	})
}

// GetBridgeDomains implements OpenrEndpoint.
func (c *Ctrl) GetBridgeDomains(ctx context.Context) ([]*openrendpoint.BridgeDomain, error) {
	return askEndpoints(ctx, c, func(ctx context.Context, e Endpoints) ([]*openrendpoint.BridgeDomain, error) {
		all, err := e.Domains(ctx)
		all = slices.SortedFunc(slices.Values(all), func(a, b endpoint.DomainView) int { return cmp.Compare(a.BD, b.BD) })
		return thriftList(all, domainThrift), err
	})
}

// GetOracles implements OpenrEndpoint.
func (c *Ctrl) GetOracles(ctx context.Context) ([]*openrendpoint.Oracle, error) {
	return askEndpoints(ctx, c, func(ctx context.Context, e Endpoints) ([]*openrendpoint.Oracle, error) {
		all, err := e.Oracles(ctx)
		all = slices.SortedFunc(slices.Values(all), func(a, b OracleStatus) int { return cmp.Compare(a.Node, b.Node) })
		now := time.Now()
		return thriftList(all, func(o *OracleStatus) *openrendpoint.Oracle { return oracleThrift(o, now) }), err
	})
}
