package lab

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
)

// DefaultConfig returns the configuration of node i: Open/R's JSON, one area, timers short enough to watch a network react.
func DefaultConfig(i int) map[string]any {
	return map[string]any{
		"node_name": NodeName(i),
		"areas": []any{map[string]any{
			"area_id":                        "0",
			"neighbor_regexes":               []any{".*"},
			"include_interface_regexes":      []any{"to-.*"},
			"redistribute_interface_regexes": []any{"lo"},
		}},
		"enable_v4":                   true,
		"v4_over_v6_nexthop":          true,
		"enable_netlink_fib_handler":  true,
		"enable_best_route_selection": true,
		"assume_drained":              false,
		"ip_tos":                      192,
		"spark_config": map[string]any{
			"hello_time_s":                      20,
			"fastinit_hello_time_ms":            100,
			"keepalive_time_s":                  1,
			"hold_time_s":                       3,
			"graceful_restart_time_s":           30,
			"min_neighbor_discovery_interval_s": 1,
			"max_neighbor_discovery_interval_s": 4,
		},
		"link_monitor_config": map[string]any{
			"linkflap_initial_backoff_ms": 1,
			"linkflap_max_backoff_ms":     8,
			"use_rtt_metric":              false,
		},
		"kvstore_config": map[string]any{
			"sync_initial_backoff_ms": 100,
			"sync_max_backoff_ms":     8000,
		},
		"decision_config": map[string]any{
			"debounce_min_ms": 10,
			"debounce_max_ms": 250,
		},
	}
}

// overlay puts the values of top over those of base: objects key by key, everything else as a whole. A nil value removes.
func overlay(base, top map[string]any) map[string]any {
	result := maps.Clone(base)
	for key, value := range top {
		below, isObject := result[key].(map[string]any)
		above, wantsObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(result, key)
		case isObject && wantsObject:
			result[key] = overlay(below, above)
		default:
			result[key] = value
		}
	}
	return result
}

// configured is what the lab itself needs to know of a node's configuration in order to tell which routes to expect.
type configured struct {
	ipv4       bool // it routes IPv4
	nativeV4   bool // through IPv4 next hops
	originated []netip.Prefix
}

func readConfig(text []byte) (configured, error) {
	var file struct {
		EnableV4   bool  `json:"enable_v4"`
		V4OverV6   *bool `json:"v4_over_v6_nexthop"`
		Originated []struct {
			Prefix netip.Prefix `json:"prefix"`
		} `json:"originated_prefixes"`
		Endpoint struct {
			Enable  bool         `json:"enable"`
			Oracle  bool         `json:"oracle"`
			Anycast []netip.Addr `json:"anycast_addresses"`
		} `json:"endpoint"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return configured{}, fmt.Errorf("failed to read back the node's configuration: %w", err)
	}
	overV6 := file.V4OverV6 == nil || *file.V4OverV6
	c := configured{ipv4: file.EnableV4 || overV6, nativeV4: file.EnableV4 && !overV6}
	for _, o := range file.Originated {
		c.originated = append(c.originated, o.Prefix.Masked())
	}
	if file.Endpoint.Enable && file.Endpoint.Oracle {
		for _, a := range file.Endpoint.Anycast {
			c.originated = append(c.originated, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return c, nil
}
