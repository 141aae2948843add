package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"sync"

	"go.uber.org/zap"

	"openr/config"
	"openr/configstore"
	"openr/ctrl"
	"openr/decision"
	"openr/endpoint/node"
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
	"openr/watchdog"
)

// Options are what an agent needs from outside.
type Options struct {
	Config  *config.Config // required
	Log     *zap.Logger    // optional
	Version string         // optional: shown by the control API

	Surroundings *Surroundings // nil: the network, the kernel and the ports of this machine
}

// maxMessage is the longest request and answer of the control port, in bytes, and what all requests may take together while
// they come in: the digest of two million keys, the dump of a million keys with 400 bytes each.
const maxMessage = 512 << 20

// Agent is one router's routing agent.
type Agent struct {
	cfg        *config.Config
	log        *zap.Logger
	modules    []module
	listener   *listener // nil: in a simulation
	server     *rpc.Server
	fib        fib.Programmer
	configured func(ctx context.Context, waiting func(what string)) error // nil: what is to be programmed is always there
	forwarded  func() (packets uint64, known bool)
	store      *configstore.Store
	stages     *monitor.Initialization
	notifier   *systemd.Notifier
	watchdog   *watchdog.Watchdog
	ask        asked

	awaited    text          // what configured waits for
	unfinished nameSet       // modules that run
	failure    firstError    // why the agent ends by itself
	aborted    chan error    // see Abort
	leaving    sync.Mutex    // held from the beginning of DrainAndStop on, unless it comes to nothing
	left       chan struct{} // closed by DrainAndStop
}

// module is what runs for as long as the agent does.
type module struct {
	name  string
	run   func(context.Context) error
	early bool                        // does not wait until there is something to program
	alive func(context.Context) error // returns when the loop of run has come round; nil: it is not watched
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

	a := &Agent{
		cfg: cfg, log: log, stages: initialization, forwarded: forwardedPackets,
		aborted: make(chan error, 1), left: make(chan struct{}),
	}
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
		members       *queue.Queue[msg.Publication]      // kvstore -> endpoint; nil: there is no endpoint directory here
	)
	publications := []*queue.Queue[msg.Publication]{linkState, ownKeys, unrest}
	readers := []reader{{"decision", linkState}, {"prefixManager", ownKeys}, {"linkMonitor", unrest}}
	if cfg.Endpoint.Enable {
		members = queue.New(msg.MergePublications)
		publications, readers = append(publications, members), append(readers, reader{"endpoint", members})
	}

	countTraffic(counters, map[string][]reader{
		"kvStorePublicationsQueue": readers,
		"kvRequestQueue":           {{"kvStore", keyRequests}},
		"peerUpdatesQueue":         {{"kvStore", peers}, {"decision", expectedPeers}},
		"neighborUpdatesQueue":     {{"linkMonitor", neighbors}},
		"interfaceUpdatesQueue":    {{"spark", interfaces}},
		"prefixUpdatesQueue":       {{"prefixManager", prefixes}},
		"staticRouteUpdatesQueue":  {{"decision", staticRoutes}},
		"routeUpdatesQueue":        {{"fib", routes}},
		"fibRouteUpdatesQueue":     {{"prefixManager", programmed}},
	})

	outside := o.Surroundings
	if outside == nil {
		outside = &Surroundings{}
	}
	below, err := outside.forwarding(cfg, log, counters)
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
	if outside.Serve == nil {
		address := net.JoinHostPort("::", strconv.Itoa(cfg.CtrlPort))
		l, err := rpc.Listen(ctx, address, cfg.IPTOS)
		if err != nil {
			return nil, err
		}
		a.listener = newListener(l)
	}
	if outside.Programmer != nil {
		a.forwarded = func() (uint64, bool) { return 0, false }
	}
	dial := outside.Dial
	if dial == nil {
		dial = kvstore.DialThrift(kvstore.ThriftOptions{TOS: cfg.IPTOS, TLS: clientTLS, PlaintextFallback: !cfg.TLS.Required()})
	}

	linkMonitor, err := linkmonitor.New(linkmonitor.Options{
		Config: cfg, Log: log.Named("linkmonitor"), Counters: counters, Events: events, Init: initialization,
		Neighbors: neighbors, LinkState: unrest, Interfaces: interfaces, Peers: []*queue.Queue[msg.PeerUpdate]{peers, expectedPeers},
		KeyRequests: keyRequests, Prefixes: prefixes, Store: a.store, Links: outside.Links, Carrier: below.carrier,
	})
	if err != nil {
		return nil, err
	}
	store, err := kvstore.New(kvstore.Options{
		Config: cfg, Log: log.Named("kvstore"), Counters: counters, Events: events, Init: initialization,
		Peers: peers, Requests: keyRequests, Publish: publications,
		Dial: dial,
	})
	if err != nil {
		return nil, err
	}
	discovery, err := spark.New(spark.Options{
		Config: cfg, Log: log.Named("spark"), Counters: counters, Init: initialization,
		Interfaces: interfaces, Neighbors: neighbors, IO: outside.Packets, Random: outside.Random,
	})
	if err != nil {
		return nil, err
	}
	prefixManager := prefixmanager.New(prefixmanager.Options{
		Config: cfg, Log: log.Named("prefixmanager"), Counters: counters, Init: initialization,
		Prefixes: prefixes, Programmed: programmed, Publications: ownKeys, KeyRequests: keyRequests, StaticRoutes: staticRoutes,
	})
	routeComputation := decision.New(decision.Options{
		Config: cfg, Log: log.Named("decision"), Counters: counters, Init: initialization,
		Publications: linkState, Peers: expectedPeers, StaticRoutes: staticRoutes, Routes: routes,
		Alternates: below.alternates, Store: a.store,
	})
	forwarding := fib.New(fib.Options{
		Config: cfg, Log: log.Named("fib"), Counters: counters, Init: initialization,
		Routes: routes, Programmed: programmed, Programmer: a.fib,
	})
	var directory *endpointDirectory
	var endpoints ctrl.Endpoints
	if cfg.Endpoint.Enable {
		directory = newEndpointDirectory(forwarding, node.Options{
			Config: cfg, Log: log.Named("endpoint"), Counters: counters, Publications: members, KeyRequests: keyRequests, Prefixes: prefixes,
		})
		endpoints = directory
	}
	control := ctrl.New(ctrl.Options{
		Config: cfg, Log: log.Named("ctrl"), Counters: counters, Events: events, Init: initialization, Version: o.Version,
		KvStore: store, Spark: discovery, LinkMonitor: linkMonitor, Decision: routeComputation, Fib: forwarding, PrefixManager: prefixManager,
		ConfigStore: a.store, Endpoints: endpoints, KeyRequests: keyRequests, Agent: a,
	})
	a.ask = asked{
		kvStore: store, spark: discovery, linkMonitor: linkMonitor, decision: routeComputation, fib: forwarding, prefixManager: prefixManager,
		directory: directory,
	}
	a.server = &rpc.Server{
		Service: control.Service(), TLS: serverTLS, Log: log.Named("rpc"), Counters: counters, MaxFrame: maxMessage, MaxReceiving: maxMessage,
	}

	a.watchdog = watchdog.New(watchdog.Options{
		Enable: cfg.Watchdog.Enable, Interval: cfg.Watchdog.Interval, MaxMemory: cfg.Watchdog.MaxMemory << 20,
		Log: log.Named("watchdog"), Counters: counters,
	})
	a.notifier = systemd.New(systemd.Options{
		Init: initialization, Alive: a.watchdog.Alive, WaitsFor: a.waitsFor, Log: log.Named("systemd"), Counters: counters,
	})

	serve := module{name: "ctrl", early: true}
	if outside.Serve != nil {
		serve.run = func(ctx context.Context) error { return outside.Serve(ctx, a.server.Service) }
	} else {
		serve.run = func(ctx context.Context) error { return a.server.Serve(ctx, a.listener) }
		serve.alive = a.listener.alive
	}
	a.modules = []module{
		{name: "systemd", run: a.notifier.Run, early: true},
		{name: "watchdog", run: a.watchdog.Run, early: true},
		{name: "monitor", run: process.Run, early: true},
		serve,
		{name: "kvstore", run: store.Run, alive: store.Alive},
		{name: "prefixmanager", run: prefixManager.Run, alive: prefixManager.Alive},
		{name: "decision", run: routeComputation.Run, alive: routeComputation.Alive},
		{name: "fib", run: forwarding.Run, alive: forwarding.Alive},
		{name: "spark", run: discovery.Run, alive: discovery.Alive},
		{name: "linkmonitor", run: linkMonitor.Run, alive: linkMonitor.Alive},
	}
	if directory != nil {
		a.modules = append(a.modules, module{name: "endpoint", run: directory.run, alive: directory.node.Alive})
	}
	if below.redistributed != nil {
		r := newRedistribution(below.redistributed, prefixes)
		a.modules = append(a.modules, module{name: "redistribution", run: r.run, alive: r.alive})
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
