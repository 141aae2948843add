package node

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"openr/config"
	"openr/endpoint"
)

func parsed(t *testing.T, section string) *config.Config {
	t.Helper()
	c, _, err := config.Parse("test.conf", fmt.Appendf(nil, `{"node_name": "leaf1", "dryrun": true, "areas": [{"area_id": "a"}, {"area_id": "b"}], "endpoint": %s}`, section))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRangesAgree: what package config lets through, package endpoint takes, and the other way round. Neither may import the
// other, so the ranges stand twice.
func TestRangesAgree(t *testing.T) {
	type limits struct{ span, or string }
	var collect func(typ reflect.Type, path string, into map[string]limits)
	collect = func(typ reflect.Type, path string, into map[string]limits) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			key := strings.Replace(f.Tag.Get("key"), "enabled", "enable", 1)
			at := path + "." + key
			e := f.Type
			for e.Kind() == reflect.Pointer || e.Kind() == reflect.Slice {
				e = e.Elem()
			}
			if e.Kind() == reflect.Struct && e.PkgPath() == typ.PkgPath() && key != "exceptions" {
				collect(e, at, into)
				continue
			}
			into[at] = limits{f.Tag.Get("range"), f.Tag.Get("or")}
		}
	}
	want, got := map[string]limits{}, map[string]limits{}
	collect(reflect.TypeFor[endpoint.Config](), "", want)
	collect(reflect.TypeFor[config.Endpoint](), "", got)
	delete(want, ".activity_events") // not the operator's: a Linux bridge tells
	for key, w := range want {
		if g, there := got[key]; !there || g != w {
			t.Errorf("%s: range %+v in package config, %+v in package endpoint", key, g, w)
		}
	}
	if len(want) < 30 {
		t.Errorf("only %d settings compared", len(want))
	}
}

// TestDefaults (requirements C20 to C25, C34, C35, C37, C43 to C46): without a word of the operator's the core is as its own
// package says.
func TestDefaults(t *testing.T) {
	got, err := coreConfig(&parsed(t, `{}`).Endpoint)
	want := endpoint.Default()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, want)
	}
}

func TestCoreConfig(t *testing.T) {
	c := parsed(t, `{"enable": true, "leaf": true, "tunnel_addresses": ["10.0.0.1", "2001:db8::1"], "anycast_addresses": ["2001:db8::a", "10.0.0.10"],
		"bridge_domains": [
			{"id": 7, "vrf": 8, "group": 9, "bridge": "br7", "vxlan": "vx7", "subnets": ["10.1.0.0/16"], "enforce_subnet_check": true, "ip_learning": "off", "ip_aging": true,
			 "retention_policy": {"local_age_s": 0, "remote_age_s": 120, "bounce_age_s": 150, "hold_interval_s": 5, "move_frequency": 0}},
			{"id": 8, "bridge": "br8", "vxlan": "vx8", "ip_learning": "arp"}],
		"retention_policy": {"local_age_s": 1200},
		"rogue_control": {"enable": true, "detection_interval_s": 30, "detection_factor": 2, "hold_interval_s": 3600, "exceptions": ["7/02-00-00-00-00-01"],
			"exception_interval_s": 31, "exception_factor": 10, "exception_hold_interval_s": 32},
		"loop_protection": {"detection_interval_s": 33, "detection_factor": 1, "port_disable": false, "bd_learn_disable": true, "frequent_ep_moves": true, "error_disabled_recovery_interval_s": 34},
		"max_local_endpoints": 1, "max_remote_endpoints": 2, "max_ips_per_endpoint": 3, "probe_interval_ms": 100, "refresh_interval_s": 60}`)
	got, err := coreConfig(&c.Endpoint)
	s := time.Second
	want := endpoint.Config{
		Domains: []endpoint.Domain{
			{BD: 7, VRF: 8, Group: 9, Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, EnforceSubnet: true, IPLearning: endpoint.IPLearningOff,
				IPAgeing: true, Retention: &endpoint.Retention{RemoteAge: 120 * s, BounceAge: 150 * s, Hold: 5 * s}},
			{BD: 8, IPLearning: endpoint.IPLearningARP},
		},
		Retention: endpoint.Retention{LocalAge: 1200 * s, RemoteAge: 300 * s, BounceAge: 630 * s, Hold: 300 * s, MoveFrequency: 256},
		Rogue: endpoint.Rogue{Enabled: true, Interval: 30 * s, Factor: 2, Hold: 3600 * s, Exceptions: []endpoint.Key{{BD: 7, MAC: endpoint.MAC{2, 0, 0, 0, 0, 1}}},
			ExceptionInterval: 31 * s, ExceptionFactor: 10, ExceptionHold: 32 * s},
		Loop:     endpoint.LoopProtection{Interval: 33 * s, Factor: 1, LearnDisable: true, Recovery: true, RecoveryAfter: 34 * s},
		MaxLocal: 1, MaxRemote: 2, MaxIPs: 3, Activity: true, ProbeInterval: 100 * time.Millisecond, Refresh: 60 * s,
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, got, want)
	}
	d := kernelDomains(&c.Endpoint)
	if len(d) != 2 || d[0].Idle != longIdle || d[1].Idle != 900*s || d[0].Proxy != netip.MustParseAddr("10.0.0.10") || !d[1].Suppress || d[1].VXLAN != "vx8" || d[1].Limit != 1 {
		t.Errorf("the kernel is told %+v", d)
	}
	if area(c) != "a" || area(parsed(t, `{"area": "b"}`)) != "b" {
		t.Error("wrong area")
	}
}
