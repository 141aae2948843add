package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestErrors has every rule. Each file is refused with exactly the lines given, "FILE:" left out.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	pem := filepath.Join(dir, "x.pem")
	if err := os.WriteFile(pem, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const metrics = `{"link_monitor_config": {"static_interface_metrics": [` + "\n"
	for _, tt := range []struct {
		name, src string
		want      []string
	}{
		// The file as a whole.
		{"empty", "", []string{`1:1: want JSON: a value, not the end of the file`}},
		{"only a comment", "// x", []string{`1:5: want JSON: a value, not the end of the file`}},
		{"no object", "\n [1]", []string{`2:2: value [1]: want the configuration as one JSON object {...}`}},
		{"not closed", "{\n\"areas\": [\n", []string{`3:1: want JSON: ] to close what begins at 2:10, not the end of the file`}},
		{"not closed behind a value", "{\"dryrun\": 1", []string{`1:13: want JSON: } to close what begins at 1:1, not the end of the file`}},
		{"no comma", "{\"dryrun\": 1\n \"enable_v4\": 1}", []string{`2:2: want JSON: , or }, not '"'`}},
		{"no colon", `{"dryrun" 1}`, []string{`1:11: want JSON: a colon behind the key "dryrun"`}},
		{"key without quotes", "{\n  node_name: 1}", []string{`2:3: want JSON: a key in double quotes, not 'n'`}},
		{"single quotes", `{"node_name": 'x'}`, []string{`1:15: want JSON: text in double quotes ("), not single ones`}},
		{"word", `{"dryrun": yes}`, []string{`1:12: want JSON: a number, true, false, or text in double quotes, not yes`}},
		{"number", `{"ip_tos": 0x10}`, []string{`1:12: want JSON: a number, true, false, or text in double quotes, not 0x10`}},
		{"no value", `{"ip_tos": }`, []string{`1:12: want JSON: a value, not '}'`}},
		{"only a comma", `{,}`, []string{`1:2: want JSON: a key in double quotes, not ','`}},
		{"two commas", `{"areas": [,]}`, []string{`1:12: want JSON: a value, not ','`}},
		{"text not closed", "{\"node_name\": \"x\n}", []string{`1:15: want JSON: " at the end of the text that begins here`}},
		{"text not closed at the end", `{"node_name`, []string{`1:2: want JSON: " at the end of the text that begins here`}},
		{"escape", `{"node_name": "\d"}`, []string{`1:15: want JSON: a JSON string (a backslash is written \\): invalid character 'd' in string escape code`}},
		{"not UTF-8", "{\"node_name\": \"\xff\"}", []string{`1:15: want JSON: text in UTF-8`}},
		{"comment not closed", `{"dryrun": 1 /* }`, []string{`1:14: want JSON: */ at the end of the comment that begins here`}},
		{"garbage behind", "{}\n}", []string{`2:1: want JSON: nothing behind the end of the configuration, which begins at 1:1`}},
		{"too deep", strings.Repeat("[", 1000), []string{`1:66: want JSON: values nested at most 64 deep`}},
		{"column counts characters", "{\"node_name\": \"\u00e4\", \"ip_tos\": -1}", []string{
			`1:15: node_name: value "` + "\u00e4" + `": want a name, unique in the network, of the characters a-z A-Z 0-9 . _ - only`,
			`1:30: ip_tos: value -1: want an integer from 0 to 255`,
		}},

		// Types and widths.
		{"bool", `{"dryrun": 2}`, []string{`1:12: dryrun: value 2: want true or false`}},
		{"bool in text", `{"dryrun": "true"}`, []string{`1:12: dryrun: value "true": want true or false`}},
		{"text", `{"node_name": 1}`, []string{`1:15: node_name: value 1: want text in double quotes`}},
		{"integer in text", `{"ip_tos": "1"}`, []string{`1:12: ip_tos: value "1": want an integer from 0 to 255`}},
		{"fraction", `{"ip_tos": 1.5}`, []string{`1:12: ip_tos: value 1.5: want an integer from 0 to 255`}},
		{"wider than 64 bits", `{"ip_tos": 99999999999999999999}`, []string{`1:12: ip_tos: value 99999999999999999999: want an integer from 0 to 255`}},
		{"i16", `{"originated_prefixes": [{"prefix": "::/0", "minimum_supporting_routes": 32768}]}`, []string{`1:74: originated_prefixes[0].minimum_supporting_routes: value 32768: want an integer from 0 to 32767`}},
		{"i32", `{"originated_prefixes": [{"prefix": "::/0", "path_preference": 2147483648}]}`, []string{`1:64: originated_prefixes[0].path_preference: value 2147483648: want an integer from -2147483648 to 2147483647`}},
		{"i64", `{"originated_prefixes": [{"prefix": "::/0", "minNexthop": -1}]}`, []string{`1:59: originated_prefixes[0].minNexthop: value -1: want an integer, at least 0`}},
		{"i32 not acted upon", `{"thrift_server": {"workers_join_timeout": 2147483648}}`, []string{`1:44: thrift_server.workers_join_timeout: value 2147483648: want an integer from -2147483648 to 2147483647`}},
		{"watchdog", `{"watchdog_config": {"interval_s": 0, "max_memory_mb": 0}}`, []string{
			`1:36: watchdog_config.interval_s: value 0: want an integer from 1 to 2147483647 (seconds)`,
			`1:56: watchdog_config.max_memory_mb: value 0: want an integer from 1 to 2147483647`,
		}},
		{"section", `{"spark_config": 1}`, []string{`1:18: spark_config: value 1: want a section {...}`}},
		{"list of sections", `{"areas": {"area_id": "0"}}`, []string{`1:11: areas: value {"area_id": "0"}: want a list [...]`}},
		{"list element", `{"areas": [null]}`, []string{`1:12: areas[0]: value null: want a section {...}`}},
		{"list of texts", `{"areas": [{"area_id": "0", "neighbor_regexes": ".*", "include_interface_regexes": [1]}]}`, []string{
			`1:49: areas[0].neighbor_regexes: value ".*": want a list of texts, as in ["a", "b"]`,
			`1:85: areas[0].include_interface_regexes[0]: value 1: want text in double quotes`,
		}},
		{"enumeration", `{"prefix_forwarding_type": 2, "prefix_forwarding_algorithm": "sp"}`, []string{
			`1:28: prefix_forwarding_type: value 2: want one of 0 (IP), 1 (SR_MPLS)`,
			`1:62: prefix_forwarding_algorithm: value "sp": want one of 0 (SP_ECMP), 1 (KSP2_ED_ECMP)`,
		}},
		{"within a policy", `{"area_policies": {"filters": {"routePropagationPolicy": {"objects": {"p": {"ruleset": 1}}}}}}`, []string{`1:88: area_policies.filters.routePropagationPolicy.objects.p.ruleset: value 1: want a list [...]`}},
		{"map", `{"area_policies": {"filters": {"routePropagationPolicy": {"objects": []}}}}`, []string{`1:70: area_policies.filters.routePropagationPolicy.objects: value []: want a section {...}`}},

		// The node and its areas.
		{"node name empty", `{"node_name": ""}`, []string{`1:15: node_name: value "": want a name, unique in the network, of the characters a-z A-Z 0-9 . _ - only`}},
		{"node name with a colon", `{"node_name": "a:b"}`, []string{`1:15: node_name: value "a:b": want a name, unique in the network, of the characters a-z A-Z 0-9 . _ - only`}},
		{"area id missing", `{"areas": [{}]}`, []string{`1:12: areas[0].area_id: missing: want text in double quotes`}},
		{"area id null", `{"areas": [{"area_id": null}]}`, []string{`1:12: areas[0].area_id: missing: want text in double quotes`}},
		{"area id empty", `{"areas": [{"area_id": ""}]}`, []string{`1:24: areas[0].area_id: value "": want an id that is not empty; if there is only one area, "0"`}},
		{"area id twice", "{\"areas\": [{\"area_id\": \"a\"}, {\"area_id\": \"b\"},\n{\"area_id\": \"a\"}]}", []string{`2:13: areas[2].area_id: value "a": want an id that no other area has (areas[0] has it)`}},
		{"area regex", `{"areas": [{"area_id": "0", "neighbor_regexes": ["a", "("], "exclude_interface_regexes": ["*"]}]}`, []string{
			"1:55: areas[0].neighbor_regexes[1]: value \"(\": want a regular expression (RE2 syntax): error parsing regexp: missing closing ): `(`",
			"1:91: areas[0].exclude_interface_regexes[0]: value \"*\": want a regular expression (RE2 syntax): error parsing regexp: missing argument to repetition operator: `*`",
		}},
		{"area policy", `{"areas": [{"area_id": "0", "import_policy_name": "p"}]}`, []string{`1:51: areas[0].import_policy_name: value "p": want the name of a policy in area_policies.filters.routePropagationPolicy.objects`}},
		{"area policy elsewhere", `{"areas": [{"area_id": "0", "import_policy_name": "p"}], "area_policies": {"filters": {"routeOriginationPolicy": {"objects": {"p": {}}}, "routePropagationPolicy": {"objects": {"q": {}}}}}}`, []string{
			`1:51: areas[0].import_policy_name: value "p": want the name of a policy in area_policies.filters.routePropagationPolicy.objects`,
		}},

		// The rest, section by section.
		{"ip_tos", `{"ip_tos": 256}`, []string{`1:12: ip_tos: value 256: want an integer from 0 to 255`}},
		{"ctrl port", `{"thrift_server": {"openr_ctrl_port": 0}}`, []string{`1:39: thrift_server.openr_ctrl_port: value 0: want an integer from 1 to 65535`}},
		{"fib port", `{"fib_port": 65536}`, []string{`1:14: fib_port: value 65536: want an integer from 0 to 65535`}},
		{"no way to program", `{"enable_netlink_fib_handler": false}`, []string{`1:32: enable_netlink_fib_handler: value false: want true, to program the Linux kernel, or in fib_port the port of a FibService, or zebra_fib.enable, or dryrun`}},
		{"two ways to program", `{"enable_netlink_fib_handler": true, "zebra_fib": {"enable": true}}`, []string{`1:62: zebra_fib.enable: value true: want false, as enable_netlink_fib_handler is true: routes go to zebra or to the kernel`}},
		{"soft drain", `{"softdrained_node_increment": 0}`, []string{`1:32: softdrained_node_increment: value 0: want an integer from 1 to 2147483647`}},
		{"adj hold", `{"adj_hold_time_s": -1}`, []string{`1:21: adj_hold_time_s: value -1: want an integer from 0 to 2147483647 (seconds)`}},
		{"delete delay", `{"route_delete_delay_ms": -1}`, []string{`1:27: route_delete_delay_ms: value -1: want an integer from 0 to 2147483647 (milliseconds)`}},
		{"event log", `{"monitor_config": {"max_event_log": -1}}`, []string{`1:38: monitor_config.max_event_log: value -1: want an integer from 0 to 2147483647`}},
		{"netlink", `{"netlink_fib": {"route_table": 4294967296, "route_protocol": 16, "route_metric": 0}}`, []string{
			`1:33: netlink_fib.route_table: value 4294967296: want an integer from 1 to 4294967295`,
			`1:63: netlink_fib.route_protocol: value 16: want an integer from 17 to 253`,
			`1:83: netlink_fib.route_metric: value 0: want an integer from 1 to 4294967295`,
		}},
		{"route protocol", `{"netlink_fib": {"route_protocol": 254}}`, []string{`1:36: netlink_fib.route_protocol: value 254: want an integer from 17 to 253`}},
		{"prefix", `{"originated_prefixes": [{"prefix": "10.0.0.0/33"}, {}, {"prefix": ""}, {"prefix": "fe80::1%eth0"}, {"prefix": "::ffff:10.0.0.0/104"}]}`, []string{
			`1:37: originated_prefixes[0].prefix: value "10.0.0.0/33": want an IPv4 or IPv6 prefix, as in 2001:db8::/32`,
			`1:53: originated_prefixes[1].prefix: missing: want text in double quotes`,
			`1:68: originated_prefixes[2].prefix: value "": want an IPv4 or IPv6 prefix, as in 2001:db8::/32`,
			`1:84: originated_prefixes[3].prefix: value "fe80::1%eth0": want an IPv4 or IPv6 prefix, as in 2001:db8::/32`,
			`1:112: originated_prefixes[4].prefix: value "::ffff:10.0.0.0/104": want an IPv4 prefix without ::ffff:`,
		}},
		{"spark port", `{"spark_config": {"neighbor_discovery_port": 65536}}`, []string{`1:46: spark_config.neighbor_discovery_port: value 65536: want an integer from 1 to 65535`}},
		{"spark zero", `{"spark_config": {"hello_time_s": 0, "fastinit_hello_time_ms": 0, "keepalive_time_s": 0, "hold_time_s": 0, "graceful_restart_time_s": 0}}`, []string{
			`1:35: spark_config.hello_time_s: value 0: want an integer from 1 to 2147483647 (seconds)`,
			`1:64: spark_config.fastinit_hello_time_ms: value 0: want an integer from 1 to 2147483647 (milliseconds)`,
			`1:87: spark_config.keepalive_time_s: value 0: want an integer from 1 to 2147483647 (seconds)`,
			`1:105: spark_config.hold_time_s: value 0: want an integer from 1 to 2147483647 (seconds)`,
			`1:135: spark_config.graceful_restart_time_s: value 0: want an integer from 1 to 2147483647 (seconds)`,
		}},
		{"fast hello", `{"spark_config": {"hello_time_s": 1, "fastinit_hello_time_ms": 1001}}`, []string{`1:64: spark_config.fastinit_hello_time_ms: value 1001: want at most 1000, which is spark_config.hello_time_s (1)`}},
		{"keep-alive", `{"spark_config": {"keepalive_time_s": 4, "hold_time_s": 3}}`, []string{`1:39: spark_config.keepalive_time_s: value 4: want at most 3, which is spark_config.hold_time_s (3)`}},
		{"graceful restart and keep-alive", `{"spark_config": {"keepalive_time_s": 11}}`, []string{`1:39: spark_config.graceful_restart_time_s: value 30 (the default): want at least 33, which is 3 * spark_config.keepalive_time_s (11)`}},
		{"graceful restart and hold", `{"spark_config": {"hold_time_s": 31}}`, []string{`1:34: spark_config.graceful_restart_time_s: value 30 (the default): want at least 31, which is spark_config.hold_time_s (31)`}},
		{"discovery", `{"spark_config": {"min_neighbor_discovery_interval_s": 15}}`, []string{`1:56: spark_config.max_neighbor_discovery_interval_s: value 15 (the default): want more than 15, which is spark_config.min_neighbor_discovery_interval_s (15)`}},
		{"step thresholds", `{"spark_config": {"step_detector_conf": {"lower_threshold": 5}}}`, []string{`1:61: spark_config.step_detector_conf.upper_threshold: value 5 (the default): want more than 5, which is spark_config.step_detector_conf.lower_threshold (5)`}},
		{"step threshold negative", `{"spark_config": {"step_detector_conf": {"lower_threshold": -1}}}`, []string{`1:61: spark_config.step_detector_conf.lower_threshold: value -1: want an integer from 0 to 2147483647`}},
		{"step windows", `{"spark_config": {"step_detector_conf": {"fast_window_size": 60}}}`, []string{`1:62: spark_config.step_detector_conf.slow_window_size: value 60 (the default): want more than 60, which is spark_config.step_detector_conf.fast_window_size (60)`}},
		{"debounce", `{"decision_config": {"debounce_min_ms": 20, "debounce_max_ms": 19}}`, []string{`1:64: decision_config.debounce_max_ms: value 19: want at least 20, which is decision_config.debounce_min_ms (20)`}},
		{"flap", `{"link_monitor_config": {"linkflap_initial_backoff_ms": 300001}}`, []string{`1:57: link_monitor_config.linkflap_max_backoff_ms: value 300000 (the default): want at least 300001, which is link_monitor_config.linkflap_initial_backoff_ms (300001)`}},
		{"flap negative", `{"link_monitor_config": {"linkflap_initial_backoff_ms": -1, "linkflap_max_backoff_ms": -2}}`, []string{
			`1:57: link_monitor_config.linkflap_initial_backoff_ms: value -1: want an integer from 0 to 2147483647 (milliseconds)`,
			`1:88: link_monitor_config.linkflap_max_backoff_ms: value -2: want an integer from 0 to 2147483647 (milliseconds)`,
		}},
		{"static metric zero", metrics + `{"interface_regexes": ["a"], "metric": 0}]}}`, []string{`2:40: link_monitor_config.static_interface_metrics[0].metric: value 0: want an integer from 1 to 2147483647`}},
		{"static metric above max", metrics + `{"interface_regexes": ["a"], "metric": 3, "max_metric": 3},` + "\n" + `{"interface_regexes": ["a"], "metric": 3, "max_metric": 2}]}}`, []string{`3:40: link_monitor_config.static_interface_metrics[1].metric: value 3: want at most 2, which is max_metric beside it`}},
		{"static metric empty", metrics + `{"max_metric": 0}]}}`, []string{
			`2:1: link_monitor_config.static_interface_metrics[0].interface_regexes: missing: want a list of texts, as in ["a", "b"]`,
			`2:1: link_monitor_config.static_interface_metrics[0].metric: missing: want an integer from 1 to 2147483647`,
			`2:16: link_monitor_config.static_interface_metrics[0].max_metric: value 0: want an integer from 1 to 2147483647`,
		}},
		{"static metric regex", metrics + `{"interface_regexes": ["["], "metric": 1}]}}`, []string{"2:24: link_monitor_config.static_interface_metrics[0].interface_regexes[0]: value \"[\": want a regular expression (RE2 syntax): error parsing regexp: missing closing ]: `[`"}},
		{"ttl", `{"kvstore_config": {"key_ttl_ms": -2147483648}}`, []string{`1:35: kvstore_config.key_ttl_ms: value -2147483648: want an integer from 1 to 2147483647 (milliseconds)`}},
		{"ttl decrement", `{"kvstore_config": {"key_ttl_ms": 5, "ttl_decrement_ms": 5}}`, []string{`1:35: kvstore_config.key_ttl_ms: value 5: want more than 5, which is kvstore_config.ttl_decrement_ms (5)`}},
		{"flood rate", `{"kvstore_config": {"flood_rate": {"flood_msg_per_sec": 0, "flood_msg_burst_size": -1}}}`, []string{
			`1:57: kvstore_config.flood_rate.flood_msg_per_sec: value 0: want an integer from 1 to 2147483647`,
			`1:84: kvstore_config.flood_rate.flood_msg_burst_size: value -1: want an integer from 1 to 2147483647`,
		}},
		{"flood rate half", `{"kvstore_config": {"flood_rate": {"flood_msg_per_sec": 1}}}`, []string{`1:35: kvstore_config.flood_rate.flood_msg_burst_size: missing: want an integer from 1 to 2147483647`}},
		{"sync backoff", `{"kvstore_config": {"sync_initial_backoff_ms": 2, "sync_max_backoff_ms": 1}}`, []string{`1:74: kvstore_config.sync_max_backoff_ms: value 1: want at least 2, which is kvstore_config.sync_initial_backoff_ms (2)`}},
		{"watchdog", `{"enable_watchdog": true}`, []string{`1:21: enable_watchdog: value true: want false, or a section watchdog_config`}},
		{"vip", `{"enable_vip_service": true}`, []string{`1:24: enable_vip_service: value true: want false, or a section vip_service_config`}},
		{"TLS", `{"thrift_server": {"enable_secure_thrift_server": true}}`, []string{
			`1:19: thrift_server.x509_ca_path: missing: want the file of the certificate authority, as thrift_server.enable_secure_thrift_server is true`,
			`1:19: thrift_server.x509_cert_path: missing: want the file of the certificate, as thrift_server.enable_secure_thrift_server is true`,
			`1:19: thrift_server.ecc_curve_name: missing: want the name of a curve, as in prime256v1, as thrift_server.enable_secure_thrift_server is true`,
		}},
		{"TLS files", fmt.Sprintf(`{"thrift_server": {"enable_secure_thrift_server": true, "ecc_curve_name": "prime256v1", "x509_ca_path": %q,`+"\n"+`"x509_cert_path": "/no/x",`+"\n"+`"x509_key_path": "/"}}`, pem), []string{
			`2:19: thrift_server.x509_cert_path: value "/no/x": want the file of the certificate, as thrift_server.enable_secure_thrift_server is true (stat /no/x: no such file or directory)`,
			`3:18: thrift_server.x509_key_path: value "/": want the file of the private key, as thrift_server.enable_secure_thrift_server is true (this is a directory)`,
		}},
		{"endpoint with nothing", `{"endpoint": {"enable": true}}`, []string{
			`1:14: endpoint.tunnel_addresses: missing: want an address of this node that the others can reach, as in ["2001:db8::1"], as endpoint.enable is true`,
			`1:25: endpoint.enable: value true: want false, or endpoint.leaf or endpoint.oracle true`,
		}},
		{"endpoint addresses", `{"endpoint": {"tunnel_addresses": ["2001:db8::1", "fe80::1", "10.0.0.1", "2001:db8::2"], "anycast_addresses": ["10.0.0.1", "::ffff:10.0.0.1"], "area": "x"}}`, []string{
			`1:51: endpoint.tunnel_addresses[1]: value "fe80::1": want a unicast IPv4 or IPv6 address that others can reach, as in 2001:db8::1`,
			`1:74: endpoint.tunnel_addresses[3]: value "2001:db8::2": want at most one address of each family`,
			`1:112: endpoint.anycast_addresses[0]: value "10.0.0.1": want an address that all oracles share, not one of endpoint.tunnel_addresses`,
			`1:124: endpoint.anycast_addresses[1]: value "::ffff:10.0.0.1": want a unicast IPv4 or IPv6 address that others can reach, as in 2001:db8::1`,
			`1:152: endpoint.area: value "x": want the area_id of one of areas, or "" for the first`,
		}},
		{"endpoint types", `{"endpoint": {"port": 65535, "vxlan_port": 0, "security": "none", "max_ips_per_endpoint": 0, "probe_interval_ms": 99, "refresh_interval_s": 59,` + "\n" +
			`"max_local_endpoints": 0, "max_remote_endpoints": 0, "max_directory_endpoints": 0, "max_endpoints_per_leaf": 0, "tunnel_addresses": "::1"}}`, []string{
			`1:23: endpoint.port: value 65535: want an integer from 1 to 65534`,
			`1:44: endpoint.vxlan_port: value 0: want an integer from 1 to 65535`,
			`1:59: endpoint.security: value "none": want one of 0 (strict), 1 (compatible)`,
			`1:91: endpoint.max_ips_per_endpoint: value 0: want an integer from 1 to 1024`,
			`1:115: endpoint.probe_interval_ms: value 99: want an integer from 100 to 75000 (milliseconds)`,
			`1:141: endpoint.refresh_interval_s: value 59: want an integer from 60 to 86400 (seconds)`,
			`2:24: endpoint.max_local_endpoints: value 0: want an integer from 1 to 1048576`,
			`2:51: endpoint.max_remote_endpoints: value 0: want an integer from 1 to 4194304`,
			`2:81: endpoint.max_directory_endpoints: value 0: want an integer from 1 to 16777216`,
			`2:110: endpoint.max_endpoints_per_leaf: value 0: want an integer from 1 to 4194304`,
			`2:133: endpoint.tunnel_addresses: value "::1": want a list of texts, as in ["a", "b"]`,
		}},
		{"endpoint retention", `{"endpoint": {"retention_policy": {"local_age_s": 119, "remote_age_s": 1, "bounce_age_s": 0, "hold_interval_s": 4, "move_frequency": 65536}}}`, []string{
			`1:51: endpoint.retention_policy.local_age_s: value 119: want an integer from 120 to 65535 or 0 (seconds)`,
			`1:72: endpoint.retention_policy.remote_age_s: value 1: want an integer from 120 to 65535 or 0 (seconds)`,
			`1:91: endpoint.retention_policy.bounce_age_s: value 0: want an integer from 150 to 65535 (seconds)`,
			`1:113: endpoint.retention_policy.hold_interval_s: value 4: want an integer from 5 to 65535 (seconds)`,
			`1:134: endpoint.retention_policy.move_frequency: value 65536: want an integer from 0 to 65535`,
		}},
		{"endpoint guards", `{"endpoint": {"rogue_control": {"detection_interval_s": 29, "detection_factor": 11, "hold_interval_s": 1799, "exception_interval_s": 3601, "exception_factor": 9, "exception_hold_interval_s": 29,` + "\n" +
			`"exceptions": ["1/02:00:5e:10:00:01", "1/02-00-5e-10-00-01", "1/0200.5e10.0001", "0/02:00:5e:10:00:01", "1/01:00:5e:10:00:01", "1/02:00:5e:10:00", "02:00:5e:10:00:01"]},` + "\n" +
			`"loop_protection": {"detection_interval_s": 301, "detection_factor": 0, "error_disabled_recovery_interval_s": 29}}}`, []string{
			`1:57: endpoint.rogue_control.detection_interval_s: value 29: want an integer from 30 to 3600 (seconds)`,
			`1:81: endpoint.rogue_control.detection_factor: value 11: want an integer from 2 to 10`,
			`1:104: endpoint.rogue_control.hold_interval_s: value 1799: want an integer from 1800 to 3600 (seconds)`,
			`1:134: endpoint.rogue_control.exception_interval_s: value 3601: want an integer from 30 to 3600 (seconds)`,
			`1:160: endpoint.rogue_control.exception_factor: value 9: want an integer from 10 to 10000`,
			`1:192: endpoint.rogue_control.exception_hold_interval_s: value 29: want an integer from 30 to 3600 (seconds)`,
			`2:82: endpoint.rogue_control.exceptions[3]: value "0/02:00:5e:10:00:01": want <bridge domain>/<MAC address of a host>, as in 10100/02:00:5e:10:00:01`,
			`2:105: endpoint.rogue_control.exceptions[4]: value "1/01:00:5e:10:00:01": want <bridge domain>/<MAC address of a host>, as in 10100/02:00:5e:10:00:01`,
			`2:128: endpoint.rogue_control.exceptions[5]: value "1/02:00:5e:10:00": want <bridge domain>/<MAC address of a host>, as in 10100/02:00:5e:10:00:01`,
			`2:148: endpoint.rogue_control.exceptions[6]: value "02:00:5e:10:00:01": want <bridge domain>/<MAC address of a host>, as in 10100/02:00:5e:10:00:01`,
			`3:45: endpoint.loop_protection.detection_interval_s: value 301: want an integer from 30 to 300 (seconds)`,
			`3:70: endpoint.loop_protection.detection_factor: value 0: want an integer from 1 to 255`,
			`3:111: endpoint.loop_protection.error_disabled_recovery_interval_s: value 29: want an integer from 30 to 65535 (seconds)`,
		}},
		{"endpoint domains", `{"endpoint": {"bridge_domains": [{"id": 1, "bridge": "br1", "vxlan": "vx1"},` + "\n" +
			`{"id": 1, "bridge": "br2", "vxlan": "br1"},` + "\n" +
			`{"id": 16777216, "bridge": "", "vxlan": "much-too-long-for"},` + "\n" +
			`{"vrf": -1, "group": 4294967296, "ip_learning": "nd", "subnets": ["10.0.0.0/33"], "retention_policy": {"local_age_s": 1}},` + "\n" +
			`{"id": 5, "bridge": "br5", "vxlan": "vx5", "enforce_subnet_check": true}]}}`, []string{
			`2:8: endpoint.bridge_domains[1].id: value 1: want an id that no other domain has (bridge_domains[0] has it)`,
			`2:37: endpoint.bridge_domains[1].vxlan: value "br1": want a device of its own (bridge_domains[0].bridge has it)`,
			`3:8: endpoint.bridge_domains[2].id: value 16777216: want an integer from 1 to 16777215`,
			`3:28: endpoint.bridge_domains[2].bridge: value "": want the name of a network device, of 1 to 15 bytes`,
			`3:41: endpoint.bridge_domains[2].vxlan: value "much-too-long-for": want the name of a network device, of 1 to 15 bytes`,
			`4:1: endpoint.bridge_domains[3].id: missing: want an integer from 1 to 16777215`,
			`4:1: endpoint.bridge_domains[3].bridge: missing: want text in double quotes`,
			`4:1: endpoint.bridge_domains[3].vxlan: missing: want text in double quotes`,
			`4:9: endpoint.bridge_domains[3].vrf: value -1: want an integer from 0 to 4294967295`,
			`4:22: endpoint.bridge_domains[3].group: value 4294967296: want an integer from 0 to 4294967295`,
			`4:49: endpoint.bridge_domains[3].ip_learning: value "nd": want one of 0 (on), 1 (arp), 2 (off)`,
			`4:67: endpoint.bridge_domains[3].subnets[0]: value "10.0.0.0/33": want an IPv4 or IPv6 prefix, as in 2001:db8::/32`,
			`4:119: endpoint.bridge_domains[3].retention_policy.local_age_s: value 1: want an integer from 120 to 65535 or 0 (seconds)`,
			`5:68: endpoint.bridge_domains[4].enforce_subnet_check: value true: want false, or subnets beside it: no address could be learned`,
		}},
		{"all at once, in the order of the file", "{\"spark_config\": {\n\"hold_time_s\": 60},\n\"ip_tos\": 300,\n\"node_name\": \"\"}", []string{
			`2:16: spark_config.graceful_restart_time_s: value 30 (the default): want at least 60, which is spark_config.hold_time_s (60)`,
			`3:11: ip_tos: value 300: want an integer from 0 to 255`,
			`4:14: node_name: value "": want a name, unique in the network, of the characters a-z A-Z 0-9 . _ - only`,
		}},
		{"long values are cut", `{"ip_tos": "` + strings.Repeat("x", 100) + `"}`, []string{`1:12: ip_tos: value "` + strings.Repeat("x", 59) + `...: want an integer from 0 to 255`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _, err := Parse("FILE", []byte(tt.src))
			var errs Errors
			if !errors.As(err, &errs) || c != nil {
				t.Fatalf("accepted, error %v", err)
			}
			var want []string
			for _, w := range tt.want {
				want = append(want, "FILE:"+w)
			}
			if got := strings.Split(err.Error(), "\n"); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestAccepted are the bounds of the rules above, from the other side.
func TestAccepted(t *testing.T) {
	pem := filepath.Join(t.TempDir(), "x.pem")
	if err := os.WriteFile(pem, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{
		`{"ip_tos": 0}`, `{"ip_tos": 255}`, "\xef\xbb\xbf{}", "{} // end", "/**/{}#",
		`{"spark_config": {"hello_time_s": 1, "fastinit_hello_time_ms": 1000, "keepalive_time_s": 10, "hold_time_s": 10}}`,
		`{"spark_config": {"min_neighbor_discovery_interval_s": 1, "max_neighbor_discovery_interval_s": 2}}`,
		`{"spark_config": {"hold_time_s": 2147483647, "graceful_restart_time_s": 2147483647, "hello_time_s": 2147483647}}`,
		`{"spark_config": {"step_detector_conf": {"fast_window_size": 59, "lower_threshold": 4}}}`,
		`{"decision_config": {"debounce_min_ms": 20, "debounce_max_ms": 20}}`,
		`{"link_monitor_config": {"linkflap_initial_backoff_ms": 0, "linkflap_max_backoff_ms": 0}}`,
		`{"enable_watchdog": true, "watchdog_config": {}}`, `{"enable_vip_service": true, "vip_service_config": {}}`,
		`{"areas": [{"area_id": "0", "import_policy_name": "p"}], "area_policies": {"filters": {"routePropagationPolicy": {"objects": {"p": {"ruleset": [{"_name": "r", "ruleMatchAction": "deny"}], "rulesetMissAction": "allow"}}}}}}`,
		fmt.Sprintf(`{"thrift_server": {"enable_secure_thrift_server": true, "ecc_curve_name": "prime256v1", "x509_ca_path": %q, "x509_cert_path": %q}}`, pem, pem),
		fmt.Sprintf(`{"thrift_server": {"enable_secure_thrift_server": true, "verify_client_type": "ALWAYS", "ecc_curve_name": "prime256v1", "x509_ca_path": %q, "x509_cert_path": %q}, "thrift_client": {"enable_secure_thrift_client": true, "verify_server_type": 1}}`, pem, pem),
		`{"endpoint": {}}`, `{"endpoint": {"enable": 1, "oracle": 1, "tunnel_addresses": ["::2"]}}`,
		`{"endpoint": {"enable": 1, "leaf": 1, "oracle": 1, "area": "0", "port": 65534, "security": "compatible", "tunnel_addresses": ["::2", "10.0.0.1"], "anycast_addresses": ["::3"],
		  "bridge_domains": [{"id": 16777215, "bridge": "b", "vxlan": "v", "ip_learning": "arp", "retention_policy": {"local_age_s": 0, "remote_age_s": 120}}]}}`,
		`{"netlink_fib": {"route_protocol": 17}}`, `{"netlink_fib": {"route_protocol": 253}}`,
	} {
		c, _, err := Parse("FILE", []byte(src))
		if err != nil {
			t.Errorf("%s\nrefused:\n%v", src, err)
			continue
		}
		again, _, err := Parse("again", c.JSON())
		if err != nil || !again.Equal(c) {
			t.Errorf("%s\nread again: %v\n%s", src, err, c.JSON())
		}
	}
}

// TestWarnings: each file, in which area 0 stands for nothing new, gives exactly the warnings given.
func TestWarnings(t *testing.T) {
	const area = `"areas": [{"area_id": "0", "include_interface_regexes": [".*"]}]`
	for _, tt := range []struct {
		src  string
		want []string
	}{
		{`{` + area + `}`, nil},
		{"{" + area + ",\n\"hold_time_s\": 3}", []string{`2:1: warning: hold_time_s: unknown key, ignored: did you mean spark_config.hold_time_s?`}},
		{"{" + area + ",\n\"spark_confg\": {}}", []string{`2:1: warning: spark_confg: unknown key, ignored: did you mean spark_config?`}},
		{"{" + area + ",\n\"spark_config\": {\"hodl_time_s\": 1}}", []string{`2:18: warning: spark_config.hodl_time_s: unknown key, ignored: did you mean hold_time_s?`}},
		{"{" + area + ",\n\"Enable_V4\": 1}", []string{`2:1: warning: Enable_V4: unknown key, ignored: did you mean enable_v4?`}},
		{"{" + area + ",\n\"xyzzy\": 1}", []string{`2:1: warning: xyzzy: unknown key, ignored`}},
		{"{" + area + ",\n\"debounce_max_ms\": 1}", []string{`2:1: warning: debounce_max_ms: unknown key, ignored: did you mean decision_config.debounce_max_ms?`}},
		{"{" + area + ",\n\"domain\": \"x\"}", []string{`2:1: warning: domain: ignored: Open/R dropped this key in 2022-09; it can be deleted`}},
		{"{" + area + ",\n\"dryrun\": 1,\n\"dryrun\": 0}", []string{`2:1: warning: dryrun: given again in line 3: this one is ignored`}},
		{"{" + area + ",\n\"dryrun\": null}", []string{`2:11: warning: dryrun: null counts as not given`}},
		{"{" + area + ",\n}", []string{`1:66: warning: a comma behind the last element is not JSON: other programs may refuse this file`}},
		{"{" + area + "} // x\n # y", []string{`1:68: warning: comments are not JSON: other programs may refuse this file`}},
		{"{" + area + ",\n\"enable_segment_routing\": 1}", []string{`2:1: warning: enable_segment_routing: has no effect, in Open/R neither: routes carry no labels`}},
		{"{" + area + ",\n\"enable_segment_routing\": 0, \"enable_rib_policy\": false, \"watchdog_config\": {}}", nil},
		{"{" + area + ",\n\"enable_rib_policy\": true}", nil},
		{"{" + area + ",\n\"enable_best_route_selection\": 0}", nil},
		{"{" + area[:len(area)-1] + ", {\"area_id\": \"1\", \"include_interface_regexes\": [\"x\"]}]}", nil},
		{"{" + area[:len(area)-1] + ", {\"area_id\": \"1\", \"include_interface_regexes\": [\"x\"]}],\n\"enable_best_route_selection\": false}", []string{
			`2:32: warning: enable_best_route_selection: is off, so that what has crossed areas counts as much as what has not: two nodes that join the same areas can send packets to each other`,
		}},
		{"{" + area + ",\n\"enable_watchdog\": true, \"watchdog_config\": {\"interval_s\": 5}}", nil},
		{"{" + area + ",\n\"openr_ctrl_port\": 2019}", []string{`2:1: warning: openr_ctrl_port: has no effect, in Open/R neither: set thrift_server.openr_ctrl_port`}},
		{"{" + area + ",\n\"thrift_server\": {\"workers_join_timeout\": 5, \"openr_ctrl_port\": 2020}}", []string{`2:19: warning: thrift_server.workers_join_timeout: accepted, not yet acted upon`}},
		{"{" + area + ",\n\"originated_prefixes\": [{\"prefix\": \"10.0.0.1/8\", \"forwardingType\": 1}, {\"prefix\": \"10.0.0.0/8\"}]}", []string{
			`2:36: warning: originated_prefixes[0].prefix: bits behind the prefix length are dropped: 10.0.0.1/8 is taken as 10.0.0.0/8`,
			`2:68: warning: originated_prefixes[0].forwardingType: SR_MPLS is advertised and has no effect: since 2024 Open/R forwards IP only`,
			`2:83: warning: originated_prefixes[1].prefix: 10.0.0.0/8 is given twice: this one is ignored`,
		}},
		{"{" + area + ",\n\"endpoint\": {\"enable\": true, \"leaf\": true, \"tunnel_addresses\": [\"::2\"]}}", []string{
			`2:13: warning: endpoint.bridge_domains: none: this leaf learns nothing`,
			`2:13: warning: endpoint.anycast_addresses: none: frames for endpoints that this leaf does not know go nowhere`,
		}},
		{"{" + area + ",\n\"endpoint\": {\"enable\": 1, \"oracle\": 1, \"tunnel_addresses\": [\"::2\"],\n\"rogue_control\": {\"enable\": 1}, \"loop_protection\": {\"enable\": 1},\n" +
			"\"bridge_domains\": [{\"id\": 1, \"bridge\": \"b\", \"vxlan\": \"v\", \"subnets\": [\"10.0.0.1/8\"]}]}}", []string{
			`3:63: warning: endpoint.loop_protection.enable: without effect, as endpoint.rogue_control.enable is true`,
			`4:19: warning: endpoint.bridge_domains: without effect, as endpoint.leaf is false`,
			`4:71: warning: endpoint.bridge_domains[0].subnets[0]: bits behind the prefix length are dropped: 10.0.0.1/8 is taken as 10.0.0.0/8`,
		}},
		{`{"areas": [{"area_id": "0"}]}`, []string{`1:12: warning: areas[0].include_interface_regexes: empty: no neighbour will be looked for in this area; for all interfaces say [".*"]`}},
	} {
		_, warnings := mustParse(t, tt.src)
		var got, want []string
		for _, w := range warnings {
			got = append(got, w.String())
		}
		for _, w := range tt.want {
			want = append(want, "test.conf:"+w)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngives\n%s\nwant\n%s", tt.src, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"hold", "hodl", 1}, {"kitten", "sitting", 3}, {"abc", "abc", 0}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
