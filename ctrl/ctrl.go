package ctrl

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"go.uber.org/zap"

	"openr/config"
	"openr/decision"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/prefixmanager"
	"openr/queue"
	"openr/spark"
	"openr/thrift/gen/openrctrl"
)

// KvStore is what ctrl asks of package kvstore.
type KvStore interface {
	Set(ctx context.Context, area string, set kvstore.KeySet) (map[string]kvstore.NoMergeReason, error)
	Get(ctx context.Context, area string, keys []string) (map[string]lsdb.Value, error)
	Dump(ctx context.Context, area string, p kvstore.DumpParams) (kvstore.SyncAnswer, error)
	PeersOf(ctx context.Context, area string) (map[string]kvstore.PeerStatus, error)
	Summary(ctx context.Context) ([]kvstore.AreaSummary, error)
}

// Spark is what ctrl asks of package spark.
type Spark interface {
	Neighbors(ctx context.Context) ([]spark.Neighbor, error)
	FloodRestarting(ctx context.Context) error
}

// LinkMonitor is what ctrl asks of package linkmonitor.
type LinkMonitor interface {
	Links(ctx context.Context) (linkmonitor.LinksStatus, error)
	Adjacencies(ctx context.Context) ([]lsdb.AdjacencyDatabase, error)
}

// Decision is what ctrl asks of package decision.
type Decision interface {
	RouteDB(ctx context.Context, node string) ([]msg.Route, error)
	Adjacencies(ctx context.Context, areas []string) (map[string][]lsdb.AdjacencyDatabase, error)
	ReceivedRoutes(ctx context.Context, prefixes []netip.Prefix, node, area string) ([]decision.ReceivedRoute, error)
}

// Fib is what ctrl asks of package fib.
type Fib interface {
	Routes(ctx context.Context) ([]fib.RouteStatus, error)
}

// PrefixManager is what ctrl asks of package prefixmanager.
type PrefixManager interface {
	Advertised(ctx context.Context) ([]prefixmanager.Advertised, error)
}

var (
	_ KvStore       = (*kvstore.KvStore)(nil)
	_ Spark         = (*spark.Spark)(nil)
	_ LinkMonitor   = (*linkmonitor.LinkMonitor)(nil)
	_ Decision      = (*decision.Decision)(nil)
	_ Fib           = (*fib.Fib)(nil)
	_ PrefixManager = (*prefixmanager.PrefixManager)(nil)
)

// Options are what a Ctrl is made of. Config, the modules and KeyRequests are required.
type Options struct {
	Config   *config.Config
	Log      *zap.Logger
	Counters *monitor.Counters
	Events   *monitor.EventLog
	Init     *monitor.Initialization
	Version  string // of the program, for people

	KvStore       KvStore
	Spark         Spark
	LinkMonitor   LinkMonitor
	Decision      Decision
	Fib           Fib
	PrefixManager PrefixManager

	KeyRequests *queue.Queue[msg.KeyRequests] // ctrl -> kvstore: keys that clients have this node originate
}

// Ctrl answers the methods of OpenrCtrl. Its methods may be called from any goroutine; those that are not in this package
// come from the embedded interface, which is nil: Processor does not reach them.
type Ctrl struct {
	openrctrl.OpenrCtrl
	Options
	started time.Time

	mu      sync.Mutex // guards options
	options map[string]string
}

// New returns the service. It runs nothing by itself: serve its Processor with package rpc.
func New(o Options) *Ctrl {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Ctrl{Options: o, started: time.Now(), options: map[string]string{}}
}

// Processor returns the service as package rpc serves it: the implemented methods only.
func (c *Ctrl) Processor() thrift.TProcessor {
	p := openrctrl.NewOpenrCtrlProcessor(c)
	known := map[string]bool{}
	for _, name := range methods {
		known[name] = true
	}
	for name := range p.ProcessorMap() {
		if !known[name] {
			delete(p.ProcessorMap(), name)
		}
	}
	return p
}

// methods are the names of the implemented methods by service.
var methods = []string{
	// fb303 BaseService
	"getStatus", "getName", "getVersion", "getStatusDetails", "aliveSince",
	"getCounters", "getRegexCounters", "getSelectedCounters", "getCounter",
	"getExportedValues", "getSelectedExportedValues", "getRegexExportedValues", "getExportedValue",
	"setOption", "getOption", "getOptions",
	// KvStoreService
	"persistSelfOriginatedKey", "unsetSelfOriginatedKey", "getKvStoreKeyVals", "getKvStoreKeyValsArea", "getKvStoreKeyValsFiltered", "getKvStoreKeyValsFilteredArea",
	"getKvStoreHashFiltered", "getKvStoreHashFilteredArea", "setKvStoreKeyVals", "setKvStoreKeyValues",
	"getKvStorePeers", "getKvStorePeersArea", "getKvStoreAreaSummary",
	// OpenrCtrl: the agent
	"getMyNodeName", "getOpenrVersion", "getBuildInfo", "getRunningConfig", "getRunningConfigThrift",
	"getInitializationEvents", "initializationConverged", "getInitializationDurationMs", "getEventLogs",
	// OpenrCtrl: links and neighbours
	"getNeighbors", "floodRestartingMsg", "getInterfaces",
	"getLinkMonitorAdjacencies", "getLinkMonitorAdjacenciesFiltered", "getLinkMonitorAreaAdjacenciesFiltered",
	// OpenrCtrl: topology and routes
	"getDecisionAdjacencyDbs", "getDecisionAdjacenciesFiltered", "getDecisionAreaAdjacenciesFiltered", "getDrainState",
	"getReceivedRoutes", "getReceivedRoutesFiltered", "getRouteDb", "getRouteDetailDb", "getRouteDbComputed",
	"getUnicastRoutes", "getUnicastRoutesFiltered", "getMplsRoutes", "getMplsRoutesFiltered",
	// OpenrCtrl: own prefixes
	"getPrefixes", "getPrefixesByType", "getAdvertisedRoutes", "getAdvertisedRoutesFiltered",
	"getAreaAdvertisedRoutes", "getAreaAdvertisedRoutesFiltered",
}

// patience is how long a module may take to answer. They answer in microseconds, unless they have not started yet.
const patience = 5 * time.Second

// ask puts a question to a module. The error names the module and is fit for the client.
func ask[T any](ctx context.Context, module string, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := question(ctx)
	if err != nil {
		err = fmt.Errorf("%s: %w", module, err)
	}
	return answer, err
}

// openrError makes the exception that the methods of OpenrCtrl declare; nil of nil.
func openrError(err error) error {
	if err == nil {
		return nil
	}
	return &openrctrl.OpenrError{Message: err.Error()}
}

func openrErrorf(format string, args ...any) error { return openrError(fmt.Errorf(format, args...)) }

// singleArea returns the only area. The methods that have no area argument are for nodes with one.
func (c *Ctrl) singleArea() (string, error) {
	if ids := c.Config.AreaIDs(); len(ids) != 1 {
		return "", fmt.Errorf("this node has %d areas %q: name one", len(ids), ids)
	}
	return c.Config.Areas[0].ID, nil
}
