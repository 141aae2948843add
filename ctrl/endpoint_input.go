package ctrl

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"openr/endpoint"
	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrendpoint"
)

// Limits of what one answer holds.
const (
	defaultEndpoints = 10_000
	maxEndpoints     = 1_000_000
)

// endpointStates are the states that a filter may name: those of a leaf, those of an oracle, and drained, which an endpoint is
// besides its state at a leaf.
var endpointStates = []string{
	endpoint.Local.String(), endpoint.Probing.String(), endpoint.Remote.String(), endpoint.Bounce.String(), endpoint.Frozen.String(),
	endpoint.Active.String(), endpoint.Stale.String(), endpoint.Tombstone.String(), endpoint.Critical.String(), endpoint.Freeze.String(), stateDrained,
}

// checkDomain returns the bridge domain; 0 stands for all.
func checkDomain(field string, n int64) (endpoint.BD, error) {
	if n < 0 || n > int64(endpoint.MaxBD) {
		return 0, fmt.Errorf("%s is %d: want a bridge domain of 1-%d, or 0 for any", field, n, endpoint.MaxBD)
	}
	return endpoint.BD(n), nil
}

// checkMAC returns the MAC address of a host.
func checkMAC(field, text string) (endpoint.MAC, error) {
	m, err := endpoint.ParseMAC(text)
	if err != nil {
		const longest = 40 // as much of what came as a message should repeat
		return m, fmt.Errorf("%s is %.*q: want six pairs of hexadecimal digits as in 02:00:5e:10:00:01", field, longest, text)
	}
	if !m.IsHost() {
		return endpoint.MAC{}, fmt.Errorf("%s is %v: that is a group address or none, want a host's", field, m)
	}
	return m, nil
}

// checkAddress returns the address of a host, IPv4 as 4 bytes.
func checkAddress(field string, t *network.BinaryAddress) (netip.Addr, error) {
	a := lsdb.AddrFromThrift(t).Unmap()
	switch {
	case !a.IsValid():
		return a, fmt.Errorf("%s has %d bytes: want 4 or 16", field, len(t.Addr))
	case t.GetIfName() != "":
		return netip.Addr{}, fmt.Errorf("%s has an interface: endpoints are told apart by bridge domains", field)
	case !endpoint.ValidHostIP(a):
		return netip.Addr{}, fmt.Errorf("%s is %v: want the address of a host", field, a)
	}
	return a, nil
}

func checkPort(field, port string) error {
	if port == "" || len(port) > endpoint.MaxName {
		return fmt.Errorf("%s has %d bytes: want the name of an access port, of 1-%d bytes", field, len(port), endpoint.MaxName)
	}
	return nil
}

// endpointName reads a key. Where an endpoint is needed, a MAC or an address has to be there.
func endpointName(t *openrendpoint.EndpointKey, needed bool) (n EndpointName, err error) {
	if t == nil {
		return n, errMissing("key")
	}
	if n.BD, err = checkDomain("key.bridgeDomain", t.BridgeDomain); err != nil {
		return n, err
	}
	if t.Mac != nil {
		if n.MAC, err = checkMAC("key.mac", *t.Mac); err != nil {
			return n, err
		}
	}
	if t.Address != nil {
		if n.IP, err = checkAddress("key.address", t.Address); err != nil {
			return n, err
		}
	}
	if needed && t.Mac == nil && t.Address == nil {
		return n, fmt.Errorf("key names no endpoint: want key.mac or key.address")
	}
	return n, nil
}

// filter says which endpoints, or which changes of endpoints, are wanted. What is zero is not asked about.
type filter struct {
	name  EndpointName
	state string
	port  string
	limit int
	// has are the endpoints, at most one in each domain, that have name.IP; for changes only.
	has map[endpoint.BD]endpoint.MAC
}

// endpointFilter reads a filter; nil is one that all endpoints fit.
func endpointFilter(t *openrendpoint.EndpointFilter) (f *filter, err error) {
	f = &filter{limit: defaultEndpoints}
	if t == nil {
		return f, nil
	}
	if t.BridgeDomain != nil {
		if f.name.BD, err = checkDomain("filter.bridgeDomain", *t.BridgeDomain); err != nil {
			return nil, err
		}
	}
	if t.Mac != nil {
		if f.name.MAC, err = checkMAC("filter.mac", *t.Mac); err != nil {
			return nil, err
		}
	}
	if t.Address != nil {
		if f.name.IP, err = checkAddress("filter.address", t.Address); err != nil {
			return nil, err
		}
	}
	if t.State != nil {
		if f.state = *t.State; !slices.Contains(endpointStates, f.state) {
			return nil, fmt.Errorf("filter.state is %.40q: want one of %s", f.state, strings.Join(endpointStates, ", "))
		}
	}
	if t.Port != nil {
		if err := checkPort("filter.port", *t.Port); err != nil {
			return nil, err
		}
		f.port = *t.Port
	}
	if t.Limit < 0 || t.Limit > maxEndpoints {
		return nil, fmt.Errorf("filter.limit is %d: want at most %d, or 0 for %d", t.Limit, maxEndpoints, defaultEndpoints)
	}
	f.limit = cmp.Or(int(t.Limit), defaultEndpoints)
	return f, nil
}

// fits reports whether the endpoint is wanted.
func (f *filter) fits(s *EndpointStatus) bool {
	switch {
	case f.name.BD != 0 && s.Key.BD != f.name.BD, f.name.MAC != endpoint.MAC{} && s.Key.MAC != f.name.MAC,
		f.port != "" && s.Place.Port != f.port:
		return false
	case f.name.IP.IsValid() && !slices.ContainsFunc(s.IPs, func(p endpoint.IPView) bool { return p.Addr == f.name.IP }):
		return false
	case f.state == "":
		return s.State != endpoint.Absent || s.Status != endpoint.Tombstone
	}
	return s.state() == f.state || f.state == stateDrained && s.Drained && s.Status != endpoint.Tombstone
}

// changeFilter reads a filter of changes. Of both limits the smaller one counts; none is 0, for all.
func changeFilter(t *openrendpoint.EndpointFilter, limit int32) (*filter, error) {
	f, err := endpointFilter(t)
	switch {
	case err != nil:
		return nil, err
	case f.state != "":
		return nil, fmt.Errorf("filter.state is %q: changes have no state", f.state)
	case limit < 0:
		return nil, fmt.Errorf("limit is %d: want 0 for all, or more", limit)
	}
	f.limit = int(limit)
	if t != nil && t.Limit > 0 && (limit == 0 || t.Limit < limit) {
		f.limit = int(t.Limit)
	}
	return f, nil
}

// owners finds out who has the wanted address.
func (f *filter) owners(ctx context.Context, e Endpoints) error {
	if !f.name.IP.IsValid() {
		return nil
	}
	list, err := e.Known(ctx, EndpointName{endpoint.Key{BD: f.name.BD}, f.name.IP})
	if err != nil {
		return err
	}
	f.has = map[endpoint.BD]endpoint.MAC{}
	for _, s := range list {
		f.has[s.Key.BD] = s.Key.MAC
	}
	return nil
}

// fitsChange reports whether the change is wanted.
func (f *filter) fitsChange(c *endpoint.Change) bool {
	switch {
	case f.name.BD != 0 && c.Key.BD != f.name.BD, f.name.MAC != endpoint.MAC{} && c.Key.MAC != f.name.MAC:
		return false
	case f.port != "" && c.From.Port != f.port && c.To.Port != f.port:
		return false
	case !f.name.IP.IsValid() || c.IP == f.name.IP:
		return true
	}
	mac, known := f.has[c.Key.BD]
	return known && !c.IP.IsValid() && c.Key.MAC == mac
}

// follow notes who has the wanted address from now on.
func (f *filter) follow(c *endpoint.Change) {
	if f.has != nil && c.IP == f.name.IP {
		f.has[c.Key.BD] = c.Key.MAC
	}
}

// latest returns the last of the changes that are wanted, as many as are wanted.
func (f *filter) latest(all []endpoint.Change) []*openrendpoint.EndpointChange {
	out := []*openrendpoint.EndpointChange{}
	for i := range slices.Backward(all) {
		if f.limit > 0 && len(out) == f.limit {
			break
		}
		if f.fitsChange(&all[i]) {
			out = append(out, changeThrift(&all[i]))
		}
	}
	slices.Reverse(out)
	return out
}

// page collects the endpoints that fit a filter, and keeps the first of them only: the table may be large.
type page struct {
	filter *filter
	total  int
	kept   []EndpointStatus
	order  lastFirst
}

func (p *page) add(s EndpointStatus) {
	if !p.filter.fits(&s) {
		return
	}
	p.total++
	if len(p.kept) < p.filter.limit {
		p.kept = append(p.kept, s)
		heap.Push(&p.order, place{s.Key, len(p.kept) - 1})
	} else if last := &p.order[0]; s.Key.Compare(last.key) < 0 {
		p.kept[last.at], last.key = s, s.Key
		heap.Fix(&p.order, 0)
	}
}

func (p *page) sorted() ([]EndpointStatus, int) { return inOrder(p.kept), p.total }

// place is where page.kept has an endpoint.
type place struct {
	key endpoint.Key
	at  int
}

// lastFirst is a heap whose root is the last of the endpoints that are kept.
type lastFirst []place

func (l lastFirst) Len() int           { return len(l) }
func (l lastFirst) Less(i, j int) bool { return l[i].key.Compare(l[j].key) > 0 }
func (l lastFirst) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *lastFirst) Push(x any)        { *l = append(*l, x.(place)) }
func (l *lastFirst) Pop() any          { panic("nothing is taken out") }
