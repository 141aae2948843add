package config

import (
	"net/netip"
	"time"
)

// Config is the whole configuration. The name of each field in the file stands behind it (Open/R OpenrConfig.thrift).
type Config struct {
	NodeName string // node_name; default: the host name
	Areas    []Area // areas

	DryRun          bool // dryrun: compute everything, program nothing
	EnableV4        bool // enable_v4: interfaces need and advertise IPv4 addresses
	V4OverV6NextHop bool // v4_over_v6_nexthop: IPv4 routes through IPv6 next hops (RFC 5549); default true
	IPTOS           int  // ip_tos: traffic class of all packets to other agents; default 192 (DSCP 48)
	CtrlPort        int  // thrift_server.openr_ctrl_port: TCP port of KvStore and the control API; default 2018

	BestRouteSelection bool               // enable_best_route_selection; default true
	OriginatedPrefixes []OriginatedPrefix // originated_prefixes

	AssumeDrained      bool          // assume_drained: start drained when no earlier state is known; default false
	SoftDrain          bool          // enable_soft_drain: draining raises metrics instead of setting the overload bit
	SoftDrainIncrement int32         // softdrained_node_increment
	UndrainedFlagPath  string        // undrained_flag_path: start undrained if this file exists, drained if not; overrides AssumeDrained
	StorePath          string        // persistent_config_store_path
	AdjHold            time.Duration // adj_hold_time_s: longest wait for neighbours before the first adjacency advertisement
	InitOptimization   bool          // enable_init_optimization

	Spark       Spark
	KvStore     KvStore
	LinkMonitor LinkMonitor
	Decision    Decision
	Fib         Fib
	Monitor     Monitor
}

// Area is a flooding domain and which interfaces and neighbours belong to it.
type Area struct {
	ID                    string // area_id
	Neighbors             Match  // neighbor_regexes; empty: all
	IncludeInterfaces     Match  // include_interface_regexes: where to look for neighbours; empty: nowhere
	ExcludeInterfaces     Match  // exclude_interface_regexes: wins over include
	RedistributeInterface Match  // redistribute_interface_regexes: whose addresses to advertise
}

// Discovers reports whether neighbours are to be looked for on the interface.
func (a Area) Discovers(ifName string) bool {
	return a.IncludeInterfaces.Match(ifName) && !a.ExcludeInterfaces.Match(ifName)
}

// Spark is spark_config: neighbour discovery.
type Spark struct {
	Port            int           // neighbor_discovery_port
	HelloTime       time.Duration // hello_time_s
	FastInitHello   time.Duration // fastinit_hello_time_ms
	KeepAlive       time.Duration // keepalive_time_s: how long to wait for an answer to a handshake
	HoldTime        time.Duration // hold_time_s: a neighbour silent for so long is down; heartbeats are sent three times as often
	GracefulRestart time.Duration // graceful_restart_time_s
	MinDiscovery    time.Duration // min_neighbor_discovery_interval_s
	MaxDiscovery    time.Duration // max_neighbor_discovery_interval_s
	StepDetector    StepDetector
}

// StepDetector is spark_config.step_detector_conf: when a change of round-trip time counts.
type StepDetector struct {
	FastWindow     int   // fast_window_size, samples
	SlowWindow     int   // slow_window_size, samples
	LowerThreshold int   // lower_threshold, per cent
	UpperThreshold int   // upper_threshold, per cent
	AdsThreshold   int64 // ads_threshold, microseconds
}

// KvStore is kvstore_config.
type KvStore struct {
	KeyTTL             time.Duration // key_ttl_ms
	TTLDecrement       time.Duration // ttl_decrement_ms: subtracted at each hop
	FloodRate          int           // flood_rate.flood_msg_per_sec; 0: no limit
	FloodBurst         int           // flood_rate.flood_msg_burst_size
	SyncInitialBackoff time.Duration // sync_initial_backoff_ms
	SyncMaxBackoff     time.Duration // sync_max_backoff_ms
	SelfAdjTimeout     time.Duration // self_adjacency_timeout_ms
}

// LinkMonitor is link_monitor_config.
type LinkMonitor struct {
	FlapInitialBackoff time.Duration // linkflap_initial_backoff_ms
	FlapMaxBackoff     time.Duration // linkflap_max_backoff_ms
	UseRTTMetric       bool          // use_rtt_metric
	PerfMeasurement    bool          // enable_perf_measurement: adjacency databases carry time stamps
	StaticMetrics      []StaticMetric
}

// StaticMetric is an element of link_monitor_config.static_interface_metrics; the first that matches counts.
type StaticMetric struct {
	Interfaces Match // interface_regexes
	Metric     int32 // metric
	MaxMetric  int32 // max_metric: upper bound after all increments; 0: none
}

// Decision is decision_config.
type Decision struct {
	DebounceMin          time.Duration // debounce_min_ms
	DebounceMax          time.Duration // debounce_max_ms
	UnblockInitialRoutes time.Duration // unblock_initial_routes_ms
}

// Fib is how routes are programmed.
type Fib struct {
	RouteDeleteDelay time.Duration // route_delete_delay_ms: how long a withdrawn route stays, in case it comes back
	Netlink          bool          // enable_netlink_fib_handler; default true: program the Linux kernel
	Port             int           // fib_port: TCP port of a switch agent's FibService on ::1, when Netlink is false
	Table            int           // netlink_fib.route_table (extension): Linux routing table; default 254 (main)
	Protocol         int           // netlink_fib.route_protocol (extension): rtm_protocol of our routes; default 99
	Metric           int           // netlink_fib.route_metric (extension): priority of our routes; default 10
}

// Monitor is monitor_config.
type Monitor struct {
	MaxEventLog int // max_event_log
}

// OriginatedPrefix is an element of originated_prefixes.
type OriginatedPrefix struct {
	Prefix              netip.Prefix // prefix, masked
	PathPreference      int32        // path_preference
	SourcePreference    int32        // source_preference
	Tags                []string     // tags, sorted
	AreaStack           []string     // area_stack
	MinNexthop          int64        // minNexthop
	MinSupportingRoutes int          // minimum_supporting_routes: advertise only while so many more specific routes are programmed
	InstallToFib        bool         // install_to_fib: also install a blackhole route for the prefix
}

// AreaIDs returns the ids of all areas in the order of the file.
func (c *Config) AreaIDs() []string {
	ids := make([]string, len(c.Areas))
	for i, a := range c.Areas {
		ids[i] = a.ID
	}
	return ids
}
