package ctrl

import (
	"net/netip"
	"time"

	"openr/endpoint"
	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrendpoint"
)

// endpointFlags are the names of flags, in the order in which they are told.
var endpointFlags = []struct {
	flag endpoint.Flags
	name string
}{
	{endpoint.FlagStatic, "static"}, {endpoint.FlagFrozen, "frozen"}, {endpoint.FlagException, "exception"}, {endpoint.FlagSilent, "silent"},
	{endpoint.FlagForeign, "foreign"},
}

const flagPublished = "published" // the directory has it from this leaf

func endpointsThrift(list []EndpointStatus, now time.Time) []*openrendpoint.Endpoint {
	return thriftList(list, func(s *EndpointStatus) *openrendpoint.Endpoint { return endpointThrift(s, now) })
}

// thriftList converts all elements; the list that it returns is never nil.
func thriftList[T, U any](list []T, convert func(*T) *U) []*U {
	out := make([]*U, len(list))
	for i := range list {
		out[i] = convert(&list[i])
	}
	return out
}

func endpointThrift(s *EndpointStatus, now time.Time) *openrendpoint.Endpoint {
	t := &openrendpoint.Endpoint{
		BridgeDomain: int64(s.Key.BD), Mac: s.Key.MAC.String(), Addresses: make([]*openrendpoint.EndpointAddress, len(s.IPs)),
		State: s.state(), Node: s.Node, TunnelAddress: optionalAddress(s.Place.TEP), Port: s.Place.Port, Vlan: int32(s.Place.VLAN),
		Sequence: int64(s.Seq), AgeMs: agoMs(s.Heard, now), Moves: int64(s.Moves), Flags: []string{},
	}
	for i, p := range s.IPs {
		t.Addresses[i] = &openrendpoint.EndpointAddress{Address: lsdb.Address(p.Addr), LearnedMs: epochMs(p.Heard), Frozen: !p.Until.IsZero()}
	}
	if left := s.Until.Sub(now); !s.Until.IsZero() {
		t.ExpiresMs = max(1, left.Milliseconds()) // it may be over at this moment
	}
	for _, f := range endpointFlags {
		if s.Flags&f.flag != 0 {
			t.Flags = append(t.Flags, f.name)
		}
	}
	if s.Drained {
		t.Flags = append(t.Flags, stateDrained)
	}
	if s.Owned {
		t.Flags = append(t.Flags, flagPublished)
	}
	return t
}

func changeThrift(c *endpoint.Change) *openrendpoint.EndpointChange {
	return &openrendpoint.EndpointChange{
		AtMs: epochMs(c.At), Kind: c.Kind.String(), BridgeDomain: int64(c.Key.BD), Mac: c.Key.MAC.String(), Address: optionalAddress(c.IP),
		FromPlace: placeText(c.From), ToPlace: placeText(c.To), Cause: c.Cause.String(),
	}
}

// placeText is empty where there is no place: before an endpoint appeared, and after it went.
func placeText(p endpoint.Place) string {
	if p == (endpoint.Place{}) {
		return ""
	}
	return p.String()
}

func faultThrift(f *endpoint.Fault) *openrendpoint.EndpointFault {
	t := &openrendpoint.EndpointFault{
		Kind: f.Kind.String(), Text: f.String(), BridgeDomain: int64(f.Key.BD), Address: optionalAddress(f.IP), Port: f.Port,
		SinceMs: epochMs(f.Since), UntilMs: epochMs(f.Until),
	}
	if f.Key.MAC != (endpoint.MAC{}) {
		t.Mac = new(f.Key.MAC.String())
	}
	return t
}

func domainThrift(d *endpoint.DomainView) *openrendpoint.BridgeDomain {
	return &openrendpoint.BridgeDomain{
		ID: int64(d.BD), Vrf: int64(d.VRF), Subnets: prefixesThrift(d.Subnets), Endpoints: int64(d.Endpoints),
		LearningOffUntilMs: epochMs(d.LearningOff), EnforceSubnet: d.EnforceSubnet, IpLearning: d.IPLearning.String(),
	}
}

func oracleThrift(o *OracleStatus, now time.Time) *openrendpoint.Oracle {
	t := &openrendpoint.Oracle{
		Node: o.Node, TunnelAddresses: make([]*network.BinaryAddress, len(o.TEPs)), Session: o.Session.String(), Ready: o.Ready,
		Records: int64(o.Records), Unacknowledged: int64(o.Unacknowledged),
	}
	for i, a := range o.TEPs {
		t.TunnelAddresses[i] = lsdb.Address(a)
	}
	if !o.Heard.IsZero() {
		t.LastHeardMs = max(1, agoMs(o.Heard, now)) // 0 stands for never
	}
	return t
}

func optionalAddress(a netip.Addr) *network.BinaryAddress {
	if !a.IsValid() {
		return nil
	}
	return lsdb.Address(a)
}

// epochMs returns milliseconds since the epoch, 0 for no time.
func epochMs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// agoMs returns how many milliseconds ago t was, 0 for no time or one to come.
func agoMs(t, now time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(0, now.Sub(t).Milliseconds())
}
