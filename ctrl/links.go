package ctrl

import (
	"context"
	"slices"
	"time"

	"openr/linkmonitor"
	"openr/lsdb"
	"openr/spark"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// GetNeighbors returns the neighbours that spark knows, in any state.
func (c *Ctrl) GetNeighbors(ctx context.Context) ([]*types.SparkNeighbor, error) {
	neighbors, err := ask(ctx, "spark", c.Spark.Neighbors)
	if err != nil {
		return nil, openrError(err)
	}
	now := time.Now()
	out := make([]*types.SparkNeighbor, len(neighbors))
	for i, n := range neighbors {
		out[i] = neighborThrift(n, now)
	}
	return out, nil
}

func neighborThrift(n spark.Neighbor, now time.Time) *types.SparkNeighbor {
	t := types.NewSparkNeighbor()
	t.NodeName, t.State, t.Event, t.Area = n.Node, n.State.String(), n.Event.String(), n.Area
	t.TransportAddressV6, t.TransportAddressV4 = lsdb.Address(n.V6), lsdb.Address(n.V4)
	t.OpenrCtrlThriftPort = int32(n.CtrlPort)
	t.LocalIfName, t.RemoteIfName = n.IfName, n.OtherIfName
	t.RttUs = n.RTT.Microseconds()
	t.LastHelloMsgSentTimeDelta = since(now, n.LastHello)
	t.LastHandshakeMsgSentTimeDelta = since(now, n.LastHandshake)
	t.LastHeartbeatMsgSentTimeDelta = since(now, n.LastHeartbeat)
	return t
}

// never is what C++ Open/R in effect shows for packets that were never sent: more milliseconds than anything has been up.
const never int64 = 1 << 53

func since(now, t time.Time) int64 {
	if t.IsZero() {
		return never
	}
	return now.Sub(t).Milliseconds()
}

// FloodRestartingMsg makes the neighbours believe that this node is about to restart gracefully.
func (c *Ctrl) FloodRestartingMsg(ctx context.Context) error {
	return openrError(tell(ctx, "spark", c.Spark.FloodRestarting))
}

// GetInterfaces returns the interfaces that an area matches.
func (c *Ctrl) GetInterfaces(ctx context.Context) (*types.DumpLinksReply, error) {
	links, err := ask(ctx, "linkmonitor", c.LinkMonitor.Links)
	if err != nil {
		return nil, openrError(err)
	}
	t := types.NewDumpLinksReply()
	t.ThisNodeName, t.IsOverloaded, t.NodeMetricIncrementVal = links.Node, links.Drain.Overloaded, links.Drain.MetricIncrement
	t.InterfaceDetails = map[string]*types.InterfaceDetails{}
	for _, l := range links.Interfaces {
		t.InterfaceDetails[l.Name] = linkThrift(l)
	}
	return t, nil
}

func linkThrift(l linkmonitor.LinkStatus) *types.InterfaceDetails {
	t := types.NewInterfaceDetails()
	t.Info = &types.InterfaceInfo{IsUp: l.Running, IfIndex: int64(l.Index), Networks: make([]*network.IpPrefix, len(l.Addrs))}
	for i, p := range l.Addrs {
		t.Info.Networks[i] = lsdb.Prefix(p)
	}
	if ms := l.Backoff.Milliseconds(); ms > 0 {
		t.LinkFlapBackOffMs = &ms
	}
	t.IsOverloaded, t.LinkMetricIncrementVal = l.Overloaded, l.MetricIncrement
	if l.MetricOverride > 0 {
		t.MetricOverride = &l.MetricOverride
	}
	return t
}

// GetLinkMonitorAdjacencies returns this node's adjacencies in the only area.
func (c *Ctrl) GetLinkMonitorAdjacencies(ctx context.Context) (*types.AdjacencyDatabase, error) {
	area, err := c.singleArea("getLinkMonitorAdjacencies")
	if err != nil {
		return nil, openrError(err)
	}
	dbs, err := c.GetLinkMonitorAdjacenciesFiltered(ctx, nil)
	if err != nil {
		return nil, err
	}
	if len(dbs) == 0 {
		return lsdb.AdjacencyDatabase{Node: c.Config.NodeName, Area: area}.Thrift(), nil // nothing advertised yet
	}
	return dbs[0], nil
}

// GetLinkMonitorAdjacenciesFiltered returns this node's adjacencies in the given areas; none given: all.
func (c *Ctrl) GetLinkMonitorAdjacenciesFiltered(ctx context.Context, filter *openrctrl.AdjacenciesFilter) ([]*types.AdjacencyDatabase, error) {
	dbs, err := ask(ctx, "linkmonitor", c.LinkMonitor.Adjacencies)
	if err != nil {
		return nil, openrError(err)
	}
	areas := selectAreas(filter)
	out := []*types.AdjacencyDatabase{}
	for _, db := range dbs {
		if len(areas) == 0 || slices.Contains(areas, db.Area) {
			out = append(out, db.Thrift())
		}
	}
	return out, nil
}

// GetLinkMonitorAreaAdjacenciesFiltered is GetLinkMonitorAdjacenciesFiltered by area.
func (c *Ctrl) GetLinkMonitorAreaAdjacenciesFiltered(ctx context.Context, filter *openrctrl.AdjacenciesFilter) (map[string][]*types.AdjacencyDatabase, error) {
	dbs, err := c.GetLinkMonitorAdjacenciesFiltered(ctx, filter)
	if err != nil {
		return nil, err
	}
	out := map[string][]*types.AdjacencyDatabase{}
	for _, db := range dbs {
		out[db.Area] = append(out[db.Area], db)
	}
	return out, nil
}
