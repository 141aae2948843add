// The configuration file, as Open/R writes it (SimpleJSON of OpenrConfig).
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go openrconfig

include "routing_policy.thrift"
include "vip_service_config.thrift"

enum PrefixForwardingType {
  IP = 0,
  SR_MPLS = 1,
}

enum PrefixForwardingAlgorithm {
  SP_ECMP = 0,
  KSP2_ED_ECMP = 1,
}

exception ConfigError {
  1: string message;
}

struct KvstoreFloodRate {
  1: i32 flood_msg_per_sec;
  2: i32 flood_msg_burst_size;
}

struct KvstoreConfig {
  1: i32 key_ttl_ms = 300000;
  3: i32 ttl_decrement_ms = 1;
  4: optional KvstoreFloodRate flood_rate;
  5: optional bool set_leaf_node;
  6: optional list<string> key_prefix_filters;
  7: optional list<string> key_originator_id_filters;
  8: i32 sync_initial_backoff_ms = 4000;
  9: i32 sync_max_backoff_ms = 256000;
  10: optional i32 self_adjacency_timeout_ms;
  11: optional i32 kvstore_sync_timeout_ms;
  12: optional bool enable_flood_pub_pre_compression;
}

enum RouteSelectionAlgorithm {
  SHORTEST_DISTANCE = 0,
  PER_AREA_SHORTEST_DISTANCE = 2,
}

struct DecisionConfig {
  1: i32 debounce_min_ms = 10;
  2: i32 debounce_max_ms = 250;
  3: i32 save_rib_policy_min_ms = 10000;
  4: i32 save_rib_policy_max_ms = 60000;
  5: i32 unblock_initial_routes_ms = 120000;
}

struct InterfaceMetricStatic {
  1: list<string> interface_regexes;
  2: i32 metric;
  3: optional i32 max_metric;
}

struct LinkMonitorConfig {
  1: i32 linkflap_initial_backoff_ms = 60000;
  2: i32 linkflap_max_backoff_ms = 300000;
  3: bool use_rtt_metric = true;
  7: bool enable_perf_measurement = true;
  8: bool enable_link_status_measurement = false;
  9: list<InterfaceMetricStatic> static_interface_metrics = [];
}

struct StepDetectorConfig {
  1: i64 fast_window_size = 10;
  2: i64 slow_window_size = 60;
  3: i32 lower_threshold = 2;
  4: i32 upper_threshold = 5;
  5: i64 ads_threshold = 500;
}

struct SparkConfig {
  1: i32 neighbor_discovery_port = 6666;
  2: i32 hello_time_s = 20;
  3: i32 fastinit_hello_time_ms = 500;
  4: i32 keepalive_time_s = 2;
  5: i32 hold_time_s = 30;
  6: i32 graceful_restart_time_s = 30;
  7: StepDetectorConfig step_detector_conf;
  8: i32 min_neighbor_discovery_interval_s = 2;
  9: i32 max_neighbor_discovery_interval_s = 15;
}

struct WatchdogConfig {
  1: i32 interval_s = 20;
  2: i32 thread_timeout_s = 300;
  3: i32 max_memory_mb = 800;
}

struct MonitorConfig {
  1: i32 max_event_log = 100;
  2: bool enable_event_log_submission = true;
}

struct MemoryProfilingConfig {
  1: bool enable_memory_profiling = false;
  2: i32 heap_dump_interval_s = 300;
}

enum VerifyClientType {
  ALWAYS = 0,
  IF_PRESENTED = 1,
  DO_NOT_REQUEST = 2,
}

enum VerifyServerType {
  IF_PRESENTED = 0,
  IGNORE_VERIFY_RESULT = 1,
}

struct ThriftServerConfig {
  1: string listen_addr = "::";
  2: i32 openr_ctrl_port = 2018;
  3: bool enable_secure_thrift_server = false;
  4: optional string x509_ca_path;
  5: optional string x509_cert_path;
  6: optional string x509_key_path;
  7: optional string ecc_curve_name;
  8: optional string acceptable_peers;
  9: optional string ticket_seed_path;
  10: optional VerifyClientType verify_client_type;
  11: optional bool enable_non_default_vrf_thrift_server;
  12: i32 workers_join_timeout = 4;
  13: list<string> vrf_names = [];
  14: optional string default_vrf_name;
  15: optional bool substitute_x509_paths_from_env;
}

struct ThriftClientConfig {
  1: bool enable_secure_thrift_client = false;
  2: VerifyServerType verify_server_type;
}

struct OriginatedPrefix {
  1: string prefix;
  2: PrefixForwardingType forwardingType = PrefixForwardingType.IP;
  3: PrefixForwardingAlgorithm forwardingAlgorithm = PrefixForwardingAlgorithm.SP_ECMP;
  4: i16 minimum_supporting_routes = 0;
  5: optional bool install_to_fib;
  6: optional i32 source_preference;
  7: optional i32 path_preference;
  8: optional set<string> tags;
  9: optional list<string> area_stack;
  10: optional string origination_policy;
  11: optional i64 minNexthop;
}

struct AreaConfig {
  1: string area_id;
  3: list<string> neighbor_regexes;
  4: list<string> include_interface_regexes;
  5: list<string> exclude_interface_regexes;
  6: list<string> redistribute_interface_regexes;
  7: optional string import_policy_name;
  8: optional bool per_region;
}

struct FabricConfig {
  1: string fabric_name = "";
  2: list<string> fabric_prefixes = [];
  3: list<string> fabric_leaf_regexes = [];
  4: list<string> fabric_spine_regexes = [];
  5: list<string> fabric_control_regexes = [];
  6: list<string> fabric_interface_regexes = [];
}

struct OpenrConfig {
  1: string node_name;
  3: list<AreaConfig> areas = [];
  4: string listen_addr = "::";
  5: i32 openr_ctrl_port = 2018;
  6: optional bool dryrun;
  7: optional bool enable_v4;
  8: optional bool enable_netlink_fib_handler;
  11: PrefixForwardingType prefix_forwarding_type = PrefixForwardingType.IP;
  12: PrefixForwardingAlgorithm prefix_forwarding_algorithm = PrefixForwardingAlgorithm.SP_ECMP;
  13: optional bool enable_segment_routing;
  15: KvstoreConfig kvstore_config;
  16: LinkMonitorConfig link_monitor_config;
  17: SparkConfig spark_config;
  18: optional bool enable_watchdog;
  19: optional WatchdogConfig watchdog_config;
  23: i32 fib_port;
  24: bool enable_rib_policy = false;
  25: MonitorConfig monitor_config;
  28: optional bool v4_over_v6_nexthop;
  29: DecisionConfig decision_config;
  30: optional i32 ip_tos;
  31: optional list<OriginatedPrefix> originated_prefixes;
  32: optional routing_policy.PolicyConfig area_policies;
  33: ThriftServerConfig thrift_server;
  34: optional ThriftClientConfig thrift_client;
  35: bool assume_drained = true;
  36: optional string undrained_flag_path;
  37: string persistent_config_store_path = "/tmp/openr_persistent_config_store.bin";
  38: optional MemoryProfilingConfig memory_profiling_config;
  39: bool enable_soft_drain = true;
  40: i64 softdrained_node_increment = 100;
  51: bool enable_best_route_selection = false;
  55: i32 adj_hold_time_s = 4;
  60: i32 route_delete_delay_ms = 1000;
  90: optional bool enable_vip_service;
  91: optional vip_service_config.VipServiceConfig vip_service_config;
  105: bool enable_neighbor_monitor = false;
  106: bool enable_clear_fib_state = false;
  201: optional bool enable_init_optimization;
  202: optional FabricConfig fabric_config;
  203: optional bool disable_fib_route_update_coalescing;
}
