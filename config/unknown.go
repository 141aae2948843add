package config

import (
	"reflect"
	"slices"
	"strings"
)

// notes say more than "not yet acted upon" about keys that Open/R knows.
var notes = map[string]string{
	"openr_ctrl_port":           "has no effect, in Open/R neither: set thrift_server.openr_ctrl_port",
	"listen_addr":               "has no effect, in Open/R neither: the control port listens on all addresses",
	"thrift_server.listen_addr": "has no effect, in Open/R neither: the control port listens on all addresses",
	"thrift_server.substitute_x509_paths_from_env": "has no effect: name the files in the x509_ keys",
	"decision_config.save_rib_policy_min_ms":       "has no effect: a RibPolicy is stored at once",
	"decision_config.save_rib_policy_max_ms":       "has no effect: a RibPolicy is stored at once",
	"kvstore_config.set_leaf_node":                 "has no effect, in Open/R neither (since 2023-02)",
	"kvstore_config.key_prefix_filters":            "has no effect, in Open/R neither (since 2023-02)",
	"kvstore_config.key_originator_id_filters":     "has no effect, in Open/R neither (since 2023-02)",
	"prefix_forwarding_type":                       "has no effect, in Open/R neither: set it per prefix",
	"prefix_forwarding_algorithm":                  "has no effect, in Open/R neither: set it per prefix",
	"enable_segment_routing":                       "has no effect, in Open/R neither: routes carry no labels",
	"kvstore_config.kvstore_sync_timeout_ms":       "has no effect, in Open/R neither",
}

// removed are keys that Open/R had once: the month it dropped them in, and what to do today.
var removed = map[string]string{
	"domain":                           "2022-09",
	"enable_fib_service_waiting":       "2023-04",
	"eor_time_s":                       "2022-06",
	"prefix_min_nexthop":               "2024-05; set originated_prefixes[].minNexthop",
	"enable_prefix_allocation":         "2023-05; give each node its loopback address",
	"prefix_allocation_config":         "2023-05; give each node its loopback address",
	"enable_ordered_fib_programming":   "2022-06",
	"enable_kvstore_thrift":            "2021-05; it is always on",
	"enable_periodic_sync":             "2021-05",
	"prefer_openr_originated_routes":   "2024-04",
	"prefix_hold_time_s":               "2022-07",
	"mpls_route_delete_delay_s":        "2024-05; set route_delete_delay_ms",
	"enable_new_gr_behavior":           "2022-06; it is always on",
	"segment_routing_config":           "2023-05",
	"enable_new_prefix_format":         "2022-03; it is always on",
	"enable_fib_ack":                   "2022-06; it is always on",
	"enable_kvstore_request_queue":     "2022-03; it is always on",
	"enable_ucmp":                      "2023-04",
	"enable_bgp_peering":               "2024-04",
	"bgp_config":                       "2024-04",
	"bgp_use_igp_metric":               "2020-08",
	"bgp_translation_config":           "2024-04",
	"enable_initialization_process":    "2022-07; it is always on",
	"originated_prefixes_v4":           "2020-11; it is called originated_prefixes now",
	"thrift_server_config":             "2021-02; it is called thrift_server now",
	"areas[].area_type":                "2021-06",
	"areas[].sr_adj_label":             "2023-05",
	"areas[].prepend_label_ranges":     "2022-12",
	"areas[].ingress_policy":           "2021-03; it is called import_policy_name now",
	"kvstore_config.sync_interval_s":   "2021-09",
	"kvstore_config.zmq_hwm":           "2022-04",
	"kvstore_config.is_flood_root":     "2022-05",
	"kvstore_config.flood_msg_per_sec": "2020-04; set kvstore_config.flood_rate",

	"kvstore_config.enable_flood_optimization":           "2022-05",
	"kvstore_config.enable_thrift_dual_msg":              "2022-04",
	"link_monitor_config.include_interface_regexes":      "2022-03; set it in each of areas",
	"link_monitor_config.exclude_interface_regexes":      "2022-03; set it in each of areas",
	"link_monitor_config.redistribute_interface_regexes": "2022-03; set it in each of areas",
	"decision_config.enable_bgp_route_programming":       "2023-04",
	"thrift_client.reload_certificate_interval_s":        "2022-09",
	"originated_prefixes[].nexthop":                      "2021-05",
	"watchdog_config.threshold_s":                        "2020-05; it is called thread_timeout_s now",

	"area_policies.definitions.bgpCommunityNameToClassId": "2022-06",
}

// unknown warns about a key that its section does not have. It is never an error: Open/R ignores such keys, and files
// outlive versions.
func (d *decoder) unknown(path string, m member, keys []key) {
	at := join(path, m.key)
	if since, ok := removed[pattern(at)]; ok {
		month, todo, _ := strings.Cut(since, "; ")
		if todo == "" {
			todo = "it can be deleted"
		}
		d.warn(m.off, at, "ignored: Open/R dropped this key in %s; %s", month, todo)
		return
	}
	if guess := guess(m.key, keys); guess != "" {
		d.warn(m.off, at, "unknown key, ignored: did you mean %s?", guess)
		return
	}
	d.warn(m.off, at, "unknown key, ignored")
}

// guess returns the key that was probably meant: the same one of another section, or the nearest of this one. Empty if
// nothing is near.
func guess(name string, keys []key) string {
	if places := elsewhere[strings.ToLower(name)]; len(places) > 0 {
		return strings.Join(places, " or ")
	}
	best, most := "", max(2, len(name)/3)+1
	for _, k := range keys {
		if n := distance(strings.ToLower(name), strings.ToLower(k.name)); n < most {
			best, most = k.name, n
		}
	}
	return best
}

// elsewhere has the paths of every key of the file outside the routing policies, by the key in lower case.
var elsewhere = func() map[string][]string {
	m := map[string][]string{}
	var add func(t reflect.Type, path string)
	add = func(t reflect.Type, path string) {
		for _, k := range keysOf(t) {
			at := join(path, k.name)
			m[strings.ToLower(k.name)] = append(m[strings.ToLower(k.name)], at)
			e := k.typ
			if e.Kind() == reflect.Slice {
				e, at = e.Elem(), at+"[]"
			}
			if e.Kind() == reflect.Pointer {
				e = e.Elem()
			}
			if e.Kind() == reflect.Struct && k.name != "area_policies" {
				add(e, at)
			}
		}
	}
	add(reflect.TypeFor[file](), "")
	return m
}()

// distance is the least number of characters to insert, delete, change or swap with the next to make b of a.
func distance(a, b string) int {
	before, last := []int(nil), []int(nil)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = slices.Min([]int{change, last[j] + 1, row[j-1] + 1})
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
