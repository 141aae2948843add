package config

import (
	"net/netip"
	"time"

	"openr/policy"
	"openr/thrift/gen/openrconfig"
)

// Config is the whole configuration, and at the same time the table that files are read and written by: the tag of each
// field says where it stands in the file (Open/R OpenrConfig.thrift) and what is allowed there.
//
//	key    path in the file below the enclosing struct; none: the struct stands for no level of the file
//	range  smallest and largest value in the unit of the file; the width of Open/R's field bounds the open ends
//	need   the section cannot be given without it
//	zero   "value": 0 is a value like others, and not the same as not given
//	or     "0": 0 is allowed too, outside the range
//
// The unit of a duration is the ending of its key, _s or _ms.
type Config struct {
	NodeName string `key:"node_name"` // default: the host name
	Areas    []Area `key:"areas"`

	DryRun          bool `key:"dryrun"`                                         // compute everything, program nothing
	EnableV4        bool `key:"enable_v4"`                                      // route IPv4 without V4OverV6NextHop too: links need IPv4 addresses then
	V4OverV6NextHop bool `key:"v4_over_v6_nexthop"`                             // IPv4 routes through IPv6 next hops (RFC 5549); default true
	IPTOS           int  `key:"ip_tos" range:"0..255"`                          // traffic class of all packets to other agents; default 192 (DSCP 48)
	CtrlPort        int  `key:"thrift_server.openr_ctrl_port" range:"1..65535"` // TCP port of KvStore and the control API; default 2018

	BestRouteSelection bool               `key:"enable_best_route_selection"` // default true
	RouteSelection     RouteSelection     `key:"route_selection_algorithm"`   // extension; default SHORTEST_DISTANCE
	RibPolicy          bool               `key:"enable_rib_policy"`           // clients may set a policy that weighs next hops
	OriginatedPrefixes []OriginatedPrefix `key:"originated_prefixes"`

	AssumeDrained      bool          `key:"assume_drained"`    // start drained; default false
	SoftDrain          bool          `key:"enable_soft_drain"` // draining raises metrics instead of setting the overload bit
	SoftDrainIncrement int32         `key:"softdrained_node_increment" range:"1.."`
	UndrainedFlagPath  string        `key:"undrained_flag_path"`          // start undrained if this file exists, drained if not; overrides AssumeDrained
	StorePath          string        `key:"persistent_config_store_path"` // file that keeps the drain state and what clients store; default /tmp/openr_persistent_config_store.bin
	AdjHold            time.Duration `key:"adj_hold_time_s" range:"0.."`  // longest wait for neighbours before the first adjacency advertisement
	InitOptimization   bool          `key:"enable_init_optimization"`
	SkipDAD            bool          `key:"netlink_links.skip_duplicate_address_detection"` // extension: on links to neighbours, use link-local addresses at once; default true

	Spark       Spark       `key:"spark_config"`
	KvStore     KvStore     `key:"kvstore_config"`
	LinkMonitor LinkMonitor `key:"link_monitor_config"`
	Decision    Decision    `key:"decision_config"`
	Fib         Fib
	Monitor     Monitor       `key:"monitor_config"`
	Limits      KvStoreLimits `key:"kvstore_limits"`
	Endpoint    Endpoint      `key:"endpoint"`
	Watchdog    Watchdog
	TLS         TLS

	rest *openrconfig.OpenrConfig // the file with what the agent accepts but does not use yet; nil: defaults
}

// RouteSelection is what best route selection does with the distances of advertisements that are equally good otherwise (Open/R
// OpenrConfig.thrift, RouteSelectionAlgorithm, which its configuration has no key for).
type RouteSelection openrconfig.RouteSelectionAlgorithm

// The algorithms of route selection.
const (
	ShortestDistance        = RouteSelection(openrconfig.RouteSelectionAlgorithm_SHORTEST_DISTANCE)          // the nearest of all areas
	PerAreaShortestDistance = RouteSelection(openrconfig.RouteSelectionAlgorithm_PER_AREA_SHORTEST_DISTANCE) // the nearest of each area
)

// Area is a flooding domain and which interfaces and neighbours belong to it.
type Area struct {
	ID                    string `key:"area_id" need:"true"`
	Neighbors             Match  `key:"neighbor_regexes"`               // empty: all
	IncludeInterfaces     Match  `key:"include_interface_regexes"`      // where to look for neighbours; empty: nowhere
	ExcludeInterfaces     Match  `key:"exclude_interface_regexes"`      // wins over include
	RedistributeInterface Match  `key:"redistribute_interface_regexes"` // whose addresses to advertise
	ImportPolicy          string `key:"import_policy_name"`             // of area_policies, for all that this node advertises to the area; empty: none
}

// Discovers reports whether neighbours are to be looked for on the interface.
func (a Area) Discovers(ifName string) bool {
	return a.IncludeInterfaces.Match(ifName) && !a.ExcludeInterfaces.Match(ifName)
}

// Spark is spark_config: neighbour discovery.
type Spark struct {
	Port            int           `key:"neighbor_discovery_port" range:"1..65535"`
	HelloTime       time.Duration `key:"hello_time_s" range:"1.."`
	FastInitHello   time.Duration `key:"fastinit_hello_time_ms" range:"1.."`
	KeepAlive       time.Duration `key:"keepalive_time_s" range:"1.."` // how long to wait for an answer to a handshake
	HoldTime        time.Duration `key:"hold_time_s" range:"1.."`      // a neighbour silent for so long is down; heartbeats are sent three times as often
	GracefulRestart time.Duration `key:"graceful_restart_time_s" range:"1.."`
	MinDiscovery    time.Duration `key:"min_neighbor_discovery_interval_s" range:"1.."`
	MaxDiscovery    time.Duration `key:"max_neighbor_discovery_interval_s" range:"1.."`
	StepDetector    StepDetector  `key:"step_detector_conf"`
}

// StepDetector is spark_config.step_detector_conf: when a change of round-trip time counts.
type StepDetector struct {
	FastWindow     int   `key:"fast_window_size" range:"1.."` // samples
	SlowWindow     int   `key:"slow_window_size" range:"1.."` // samples
	LowerThreshold int   `key:"lower_threshold" range:"0.."`  // per cent
	UpperThreshold int   `key:"upper_threshold" range:"0.."`  // per cent
	AdsThreshold   int64 `key:"ads_threshold" range:"0.."`    // microseconds
}

// KvStore is kvstore_config.
type KvStore struct {
	KeyTTL             time.Duration `key:"key_ttl_ms" range:"1.."`
	TTLDecrement       time.Duration `key:"ttl_decrement_ms" range:"1.."`                         // subtracted at each hop
	FloodRate          int           `key:"flood_rate.flood_msg_per_sec" range:"1.." need:"true"` // 0: no limit
	FloodBurst         int           `key:"flood_rate.flood_msg_burst_size" range:"1.." need:"true"`
	SyncInitialBackoff time.Duration `key:"sync_initial_backoff_ms" range:"1.."`
	SyncMaxBackoff     time.Duration `key:"sync_max_backoff_ms" range:"1.."`
	SelfAdjTimeout     time.Duration `key:"self_adjacency_timeout_ms" range:"1.."`
}

// KvStoreLimits is kvstore_limits, an extension: what others may put into the store. The defaults leave a network of 10,000
// nodes with 10 prefixes each an order of magnitude of room. Updates of keys that are there, own keys, and what local clients
// do are bounded only by what the store may hold in all, if at all.
type KvStoreLimits struct {
	MaxKeys      int `key:"max_keys" range:"1.."`             // in all areas; default 2,000,000
	MaxMB        int `key:"max_mb" range:"1..1048576"`        // MiB of keys, originators, values and 152 bytes for each, in all areas; default 1024
	PeerMaxKeys  int `key:"peer_max_keys" range:"1.."`        // of MaxKeys, those that came over one link; default 1,000,000
	PeerMaxMB    int `key:"peer_max_mb" range:"1..1048576"`   // of MaxMB, what came over one link; default 512
	PeerKeysPerS int `key:"peer_keys_per_second" range:"1.."` // values that neighbours on one link may flood on average; default 10,000
	PeerBurst    int `key:"peer_keys_burst" range:"1.."`      // how many they may flood at once after a quiet time; default 1,000,000
}

// LinkMonitor is link_monitor_config.
type LinkMonitor struct {
	FlapInitialBackoff time.Duration  `key:"linkflap_initial_backoff_ms" range:"0.."`
	FlapMaxBackoff     time.Duration  `key:"linkflap_max_backoff_ms" range:"0.."`
	UseRTTMetric       bool           `key:"use_rtt_metric"`
	PerfMeasurement    bool           `key:"enable_perf_measurement"` // adjacency databases carry time stamps
	StaticMetrics      []StaticMetric `key:"static_interface_metrics"`
}

// StaticMetric is an element of link_monitor_config.static_interface_metrics; the first that matches counts.
type StaticMetric struct {
	Interfaces Match `key:"interface_regexes" need:"true"`
	Metric     int32 `key:"metric" range:"1.." need:"true"`
	MaxMetric  int32 `key:"max_metric" range:"1.."` // upper bound after all increments; 0: none
}

// Decision is decision_config.
type Decision struct {
	DebounceMin          time.Duration `key:"debounce_min_ms" range:"0.."`
	DebounceMax          time.Duration `key:"debounce_max_ms" range:"0.."`
	UnblockInitialRoutes time.Duration `key:"unblock_initial_routes_ms" range:"0.."`
}

// Fib is how routes are programmed.
type Fib struct {
	RouteDeleteDelay time.Duration `key:"route_delete_delay_ms" range:"0.."`              // how long a withdrawn route stays, in case it comes back
	Netlink          bool          `key:"enable_netlink_fib_handler"`                     // default true: program the Linux kernel
	Port             int           `key:"fib_port" range:"0..65535"`                      // TCP port of a switch agent's FibService on ::1, when Netlink is false; 0: none
	Table            int           `key:"netlink_fib.route_table" range:"1..4294967295"`  // extension: Linux routing table; default 254 (main)
	Protocol         int           `key:"netlink_fib.route_protocol" range:"17..253"`     // extension: rtm_protocol of our routes; default 99
	Metric           int           `key:"netlink_fib.route_metric" range:"1..4294967295"` // extension: priority of our routes; default 10
	NexthopObjects   bool          `key:"netlink_fib.nexthop_objects"`                    // extension: let routes with the same next hops share them, where the kernel can; default true
	FastFailover     bool          `key:"netlink_fib.fast_failover"`                      // extension: alternates stand by in the kernel for all destinations with one way: StandingFrom is 1
	StandingFrom     int           `key:"netlink_fib.standing_alternates" range:"0.."`    // extension: from how many routes with the same single way on alternates stand by in the kernel; 0: never; default 100
	Zebra            Zebra
}

// Zebra is our own section zebra_fib: programming routes through FRR's zebra.
type Zebra struct {
	Enable       bool          `key:"zebra_fib.enable"`                    // instead of the kernel
	Socket       string        `key:"zebra_fib.socket"`                    // default /var/run/frr/zserv.api
	Release      string        `key:"zebra_fib.frr_release"`               // as in 8.4; empty: found out
	RouteType    string        `key:"zebra_fib.route_type"`                // by FRR's name; default openfabric
	Instance     int           `key:"zebra_fib.instance" range:"0..65535"` // tells users of the same route type apart
	Distance     int           `key:"zebra_fib.distance" range:"0..255"`   // lower wins against other protocols; 0: FRR's for the route type
	Tag          int           `key:"zebra_fib.tag" range:"0..4294967295"`
	StaleTime    time.Duration `key:"zebra_fib.stale_time_s" range:"0.."` // for how long zebra keeps the routes when the agent stops; default 120
	Redistribute []string      `key:"zebra_fib.redistribute"`             // FRR's route types whose routes this node advertises
}

// Watchdog is when the agent ends itself, to be started again.
type Watchdog struct {
	Enable        bool          `key:"enable_watchdog"`                              // as in Open/R only if the file says so
	Interval      time.Duration `key:"watchdog_config.interval_s" range:"1.."`       // between looks
	ModuleTimeout time.Duration `key:"watchdog_config.thread_timeout_s" range:"1.."` // for how long a module's loop may not come round
	MaxMemory     int64         `key:"watchdog_config.max_memory_mb" range:"1.."`    // MiB of resident memory that the process may have for longer than ten minutes
}

// TLS is how connections to the control port are secured: thrift_server for those that others make, thrift_client for those
// that this node makes to the stores of its neighbours, with the same files.
type TLS struct {
	Server          bool         `key:"thrift_server.enable_secure_thrift_server"`
	CA              string       `key:"thrift_server.x509_ca_path"` // PEM; who may sign the certificates of the other side
	Cert            string       `key:"thrift_server.x509_cert_path"`
	Key             string       `key:"thrift_server.x509_key_path"`                                // default: the key is in the file of the certificate
	Curve           string       `key:"thrift_server.ecc_curve_name"`                               // preferred in the key exchange
	AcceptablePeers string       `key:"thrift_server.acceptable_peers"`                             // comma-separated names, one of which a client's certificate must carry; empty: any
	TicketSeeds     string       `key:"thrift_server.ticket_seed_path"`                             // file with the secrets of session tickets, shared by servers
	VerifyClient    VerifyClient `key:"thrift_server.verify_client_type" range:"0..2" zero:"value"` // default VerifyClientNever
	Client          bool         `key:"thrift_client.enable_secure_thrift_client"`
	VerifyServer    VerifyServer `key:"thrift_client.verify_server_type" range:"0..1"` // default VerifyServerIfPresented
}

// VerifyClient is what the server asks of its clients (OpenrConfig.thrift, VerifyClientType; same numbers).
type VerifyClient int

// What the server may ask of its clients.
const (
	VerifyClientAlways      = VerifyClient(openrconfig.VerifyClientType_ALWAYS)         // TLS and a certificate
	VerifyClientIfPresented = VerifyClient(openrconfig.VerifyClientType_IF_PRESENTED)   // nothing; a certificate, if there is one, must be valid
	VerifyClientNever       = VerifyClient(openrconfig.VerifyClientType_DO_NOT_REQUEST) // plaintext: Open/R switches TLS off then
)

// VerifyServer is what this node as a client asks of servers (OpenrConfig.thrift, VerifyServerType; same numbers).
type VerifyServer int

// What a client may ask of servers.
const (
	VerifyServerIfPresented = VerifyServer(openrconfig.VerifyServerType_IF_PRESENTED)         // a valid certificate
	VerifyServerIgnore      = VerifyServer(openrconfig.VerifyServerType_IGNORE_VERIFY_RESULT) // any certificate
)

// Required reports whether the control port speaks nothing but TLS. A node that demands it of others does not speak
// plaintext to them either.
func (t TLS) Required() bool { return t.Server && t.VerifyClient == VerifyClientAlways }

// Monitor is monitor_config.
type Monitor struct {
	MaxEventLog int `key:"max_event_log" range:"0.."`
}

// OriginatedPrefix is an element of originated_prefixes.
type OriginatedPrefix struct {
	Prefix              netip.Prefix `key:"prefix" need:"true"`                    // masked
	PathPreference      int32        `key:"path_preference"`                       // larger wins; default 0
	SourcePreference    int32        `key:"source_preference"`                     // compared after PathPreference; default 0
	Tags                []string     `key:"tags"`                                  // sorted
	AreaStack           []string     `key:"area_stack"`                            // areas to which the prefix is not advertised
	MinNexthop          int64        `key:"minNexthop" range:"0.."`                // next hops without which others do not use the prefix; 0: no condition
	MinSupportingRoutes int          `key:"minimum_supporting_routes" range:"0.."` // advertise only while so many more specific routes are programmed
	InstallToFib        bool         `key:"install_to_fib"`                        // also install a blackhole route for the prefix
	OriginationPolicy   string       `key:"origination_policy"`                    // of area_policies; empty: none

	// Carried on; nobody has acted on them since Open/R dropped them in 2024.
	ForwardingType      openrconfig.PrefixForwardingType      `key:"forwardingType"`
	ForwardingAlgorithm openrconfig.PrefixForwardingAlgorithm `key:"forwardingAlgorithm"`
}

// Policies returns the route policies of area_policies, ready for use.
func (c *Config) Policies() *policy.Policies {
	if c.rest == nil {
		return nil
	}
	p, _ := policy.Compile(c.rest.AreaPolicies) // what is wrong was found when the file was read
	return p
}

// AreaIDs returns the ids of all areas in the order of the file.
func (c *Config) AreaIDs() []string {
	ids := make([]string, len(c.Areas))
	for i, a := range c.Areas {
		ids[i] = a.ID
	}
	return ids
}
