package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"openr/config"
	"openr/configstore"
	"openr/ctrl"
	"openr/decision"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/monitor"
	"openr/msg"
	"openr/prefixmanager"
	"openr/queue"
	"openr/spark"
	"openr/systemd"
	"openr/thrift/rpc"
)

// Options are what an agent needs from outside.
type Options struct {
	Config  *config.Config // required
	Log     *zap.Logger    // optional
	Version string         // optional: shown by the control API
}

// maxMessage is the longest request and answer of the control port, in bytes, and what all requests may take together while
// they come in: the digest of two million keys, the dump of a million keys with 400 bytes each.
const maxMessage = 512 << 20

// Agent is one router's routing agent.
type Agent struct {
	log        *zap.Logger
	modules    []module
	listener   net.Listener
	server     *rpc.Server
	fib        fib.Programmer
	configured func(context.Context) error // nil: what is to be programmed is always there
	store      *configstore.Store
	stages     *monitor.Initialization
	notifier   *systemd.Notifier
}

// module is what runs for as long as the agent does.
type module struct {
	name  string
	run   func(context.Context) error
	early bool // does not wait until there is something to program
}

// New opens the sockets, makes all modules and joins them. An error names what could not be had; nothing is left open
// then. The agent does nothing before Run.
func New(ctx context.Context, o Options) (_ *Agent, err error) {
	cfg, log := o.Config, o.Log
	if log == nil {
		log = zap.NewNop()
	}
	counters := monitor.NewCounters()
	events := monitor.NewEventLog(cfg.NodeName, cfg.Monitor.MaxEventLog)
	initialization := monitor.NewInitialization(log, counters)
	process := monitor.WatchProcess(counters)

	a := &Agent{log: log, stages: initialization}
	defer func() {
		if err != nil {
			a.close()
		}
	}()

	// Every queue, producer -> consumer. None blocks its producer; what waits is merged (package queue).
	var (
		interfaces    = queue.Latest[msg.Interfaces]()   // linkmonitor -> spark
		neighbors     = queue.New(msg.MergeNeighbors)    // spark -> linkmonitor
		peers         = queue.New(msg.MergePeers)        // linkmonitor -> kvstore
		expectedPeers = queue.New(msg.MergePeers)        // linkmonitor -> decision
		keyRequests   = queue.New(msg.MergeKeyRequests)  // linkmonitor, prefixmanager, ctrl -> kvstore
		linkState     = queue.New(msg.MergePublications) // kvstore -> decision
		ownKeys       = queue.New(msg.MergePublications) // kvstore -> prefixmanager
		unrest        = queue.New(msg.MergePublications) // kvstore -> linkmonitor: a sign to look at the carriers
		prefixes      = queue.New(msg.MergePrefixes)     // linkmonitor, redistribution -> prefixmanager
		staticRoutes  = queue.New(msg.MergeRoutes)       // prefixmanager -> decision
		routes        = queue.New(msg.MergeRoutes)       // decision -> fib
		programmed    = queue.New(msg.MergeProgrammed)   // fib -> prefixmanager
	)

	countTraffic(counters, map[string][]reader{
		"kvStorePublicationsQueue": {{"decision", linkState}, {"prefixManager", ownKeys}, {"linkMonitor", unrest}},
		"kvRequestQueue":           {{"kvStore", keyRequests}},
		"peerUpdatesQueue":         {{"kvStore", peers}, {"decision", expectedPeers}},
		"neighborUpdatesQueue":     {{"linkMonitor", neighbors}},
		"interfaceUpdatesQueue":    {{"spark", interfaces}},
		"prefixUpdatesQueue":       {{"prefixManager", prefixes}},
		"staticRouteUpdatesQueue":  {{"decision", staticRoutes}},
		"routeUpdatesQueue":        {{"fib", routes}},
		"fibRouteUpdatesQueue":     {{"prefixManager", programmed}},
	})

	below, err := newForwarding(cfg, log, counters)
	if err != nil {
		return nil, err
	}
	a.fib, a.configured = below.programmer, below.configured
	if a.store, err = configstore.New(configstore.Options{Path: cfg.StorePath, Log: log.Named("configstore"), Counters: counters}); err != nil {
		return nil, err
	}
	serverTLS, clientTLS, err := secure(cfg, log.Named("tls"), counters)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort("::", strconv.Itoa(cfg.CtrlPort))
	if a.listener, err = rpc.Listen(ctx, address, cfg.IPTOS); err != nil {
		return nil, err
	}

	linkMonitor, err := linkmonitor.New(linkmonitor.Options{
		Config: cfg, Log: log.Named("linkmonitor"), Counters: counters, Events: events, Init: initialization,
		Neighbors: neighbors, LinkState: unrest, Interfaces: interfaces, Peers: []*queue.Queue[msg.PeerUpdate]{peers, expectedPeers},
		KeyRequests: keyRequests, Prefixes: prefixes, Store: a.store,
	})
	if err != nil {
		return nil, err
	}
	store, err := kvstore.New(kvstore.Options{
		Config: cfg, Log: log.Named("kvstore"), Counters: counters, Events: events, Init: initialization,
		Peers: peers, Requests: keyRequests, Publish: []*queue.Queue[msg.Publication]{linkState, ownKeys, unrest},
		Dial: kvstore.DialThrift(kvstore.ThriftOptions{TOS: cfg.IPTOS, TLS: clientTLS, PlaintextFallback: !cfg.TLS.Required()}),
	})
	if err != nil {
		return nil, err
	}
	discovery, err := spark.New(spark.Options{
		Config: cfg, Log: log.Named("spark"), Counters: counters, Init: initialization,
		Interfaces: interfaces, Neighbors: neighbors,
	})
	if err != nil {
		return nil, err
	}
	prefixManager := prefixmanager.New(prefixmanager.Options{
		Config: cfg, Log: log.Named("prefixmanager"), Counters: counters, Init: initialization,
		Prefixes: prefixes, Programmed: programmed, Publications: ownKeys, KeyRequests: keyRequests, StaticRoutes: staticRoutes,
		ImportPolicies: importPolicies(cfg),
	})
	routeComputation := decision.New(decision.Options{
		Config: cfg, Log: log.Named("decision"), Counters: counters, Init: initialization,
		Publications: linkState, Peers: expectedPeers, StaticRoutes: staticRoutes, Routes: routes,
		Alternates: below.alternates,
	})
	forwarding := fib.New(fib.Options{
		Config: cfg, Log: log.Named("fib"), Counters: counters, Init: initialization,
		Routes: routes, Programmed: programmed, Programmer: a.fib,
	})
	control := ctrl.New(ctrl.Options{
		Config: cfg, Log: log.Named("ctrl"), Counters: counters, Events: events, Init: initialization, Version: o.Version,
		KvStore: store, Spark: discovery, LinkMonitor: linkMonitor, Decision: routeComputation, Fib: forwarding, PrefixManager: prefixManager,
		ConfigStore: a.store, KeyRequests: keyRequests,
	})
	a.server = &rpc.Server{
		Service: control.Service(), TLS: serverTLS, Log: log.Named("rpc"), Counters: counters, MaxFrame: maxMessage, MaxReceiving: maxMessage,
	}

	a.notifier = systemd.New(systemd.Options{Init: initialization, Log: log.Named("systemd"), Counters: counters})

	a.modules = []module{
		{"systemd", a.notifier.Run, true},
		{"monitor", process.Run, true},
		{"ctrl", func(ctx context.Context) error { return a.server.Serve(ctx, a.listener) }, true},
		{"kvstore", store.Run, false},
		{"prefixmanager", prefixManager.Run, false},
		{"decision", routeComputation.Run, false},
		{"fib", forwarding.Run, false},
		{"spark", discovery.Run, false},
		{"linkmonitor", linkMonitor.Run, false},
	}
	if below.redistributed != nil {
		a.modules = append(a.modules, module{"redistribution", redistribution{below.redistributed, prefixes}.run, false})
	}
	return a, nil
}

// secure returns how connections are encrypted: those that others make to this node, and those that it makes. nil stands
// for plaintext.
func secure(cfg *config.Config, log *zap.Logger, counters *monitor.Counters) (server *rpc.ServerTLS, client *tls.Config, err error) {
	files := rpc.TLSFiles{CA: cfg.TLS.CA, Cert: cfg.TLS.Cert, Key: cfg.TLS.Key}
	if files.Key == "" {
		files.Key = files.Cert
	}
	if cfg.TLS.Server {
		server, err = rpc.NewServerTLS(rpc.ServerTLSOptions{
			Files: files, Verify: rpc.VerifyClient(cfg.TLS.VerifyClient), AcceptablePeers: cfg.TLS.AcceptablePeers,
			Curve: cfg.TLS.Curve, TicketSeeds: cfg.TLS.TicketSeeds, Log: log, Counters: counters,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("thrift_server: %w", err)
		}
	}
	if cfg.TLS.Client {
		client, err = rpc.ClientTLS(rpc.ClientTLSOptions{
			Files: files, Verify: rpc.VerifyServer(cfg.TLS.VerifyServer), AcceptablePeers: cfg.TLS.AcceptablePeers, Log: log, Counters: counters,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("thrift_client: %w", err)
		}
	}
	return server, client, nil
}

// importPolicies returns the names of the areas' policies.
func importPolicies(cfg *config.Config) map[string]string {
	names := map[string]string{}
	for _, a := range cfg.Thrift().Areas {
		if a.ImportPolicyName != nil {
			names[a.AreaID] = *a.ImportPolicyName
		}
	}
	return names
}

// Run runs the agent until ctx ends or a module fails. When ctx ends, neighbours are told that this is a restart, and
// routes, adjacencies and keys are left in place for the next run to take over.
func (a *Agent) Run(ctx context.Context) error {
	defer a.close()
	group, ctx := errgroup.WithContext(ctx)
	start := func(early bool) {
		for _, m := range a.modules {
			if m.early == early {
				group.Go(func() error { return a.run(ctx, m) })
			}
		}
	}
	start(true)
	if a.configured == nil || a.configured(ctx) == nil {
		a.stages.Reached(monitor.AgentConfigured)
		start(false)
	}
	return group.Wait()
}

func (a *Agent) run(ctx context.Context, m module) error {
	if err := m.run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", m.name, err)
	}
	a.log.Debug("stopped", zap.String("module", m.name))
	return nil
}

// Initialized returns a channel that is closed when the agent has its routes in place and takes part in forwarding
// (INITIALIZED).
func (a *Agent) Initialized() <-chan struct{} { return a.stages.Done(monitor.Initialized) }

// Reload has f take over a new configuration, and tells the service manager when that begins and ends. It returns f's error.
func (a *Agent) Reload(f func() error) error { return a.notifier.Reload(f) }

// close frees what New opened and no module owns.
func (a *Agent) close() {
	if a.fib != nil {
		_ = a.fib.Close()
	}
	if a.store != nil {
		_ = a.store.Close() // what could not be written was logged
	}
	if a.listener != nil {
		_ = a.listener.Close() // already closed when the server has run
	}
}
