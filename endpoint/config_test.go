package endpoint

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestDefaults are the numbers that operators expect (C20-C25, C34, C35, C37, C43-C46), and they are valid.
func TestDefaults(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"C20 move frequency", c.Retention.MoveFrequency, 256},
		{"C21 hold interval", c.Retention.Hold, 300 * time.Second},
		{"C22 bounce age", c.Retention.BounceAge, 630 * time.Second},
		{"C23 local age", c.Retention.LocalAge, 900 * time.Second},
		{"C25 remote age", c.Retention.RemoteAge, 300 * time.Second},
		{"loop protection", c.Loop.Enabled, false},
		{"C34 loop detection interval", c.Loop.Interval, 60 * time.Second},
		{"C35 loop detection factor", c.Loop.Factor, 4},
		{"C37 port disable", c.Loop.PortDisable, true},
		{"C37 learn disable", c.Loop.LearnDisable, false},
		{"C39 recovery", c.Loop.Recovery, false},
		{"C43 rogue control", c.Rogue.Enabled, false},
		{"C44 detection interval", c.Rogue.Interval, 60 * time.Second},
		{"C45 detection factor", c.Rogue.Factor, 4},
		{"C46 hold interval", c.Rogue.Hold, 1800 * time.Second},
		{"exceptions", []any{c.Rogue.ExceptionFactor, c.Rogue.ExceptionInterval, c.Rogue.ExceptionHold}, []any{3000, 600 * time.Second, 30 * time.Second}},
	} {
		if fmt.Sprint(tt.got) != fmt.Sprint(tt.want) {
			t.Errorf("%s is %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

// TestC47Ranges: values outside the ranges are refused, with the field, the value and the range; the ends are allowed.
func TestC47Ranges(t *testing.T) {
	s := time.Second
	for _, tt := range []struct {
		field  string
		lo, hi int64
		text   string
		zero   bool // allowed although below lo
		set    func(*Config, int64)
	}{
		{"rogue_control.detection_interval_s", 30, 3600, "want 30-3600 s", false, func(c *Config, v int64) { c.Rogue.Interval = time.Duration(v) * s }},
		{"rogue_control.detection_factor", 2, 10, "want 2-10", false, func(c *Config, v int64) { c.Rogue.Factor = int(v) }},
		{"rogue_control.hold_interval_s", 1800, 3600, "want 1800-3600 s", false, func(c *Config, v int64) { c.Rogue.Hold = time.Duration(v) * s }},
		{"loop_protection.detection_interval_s", 30, 300, "want 30-300 s", false, func(c *Config, v int64) { c.Loop.Interval = time.Duration(v) * s }},
		{"loop_protection.detection_factor", 1, 255, "want 1-255", false, func(c *Config, v int64) { c.Loop.Factor = int(v) }},
		{"loop_protection.error_disabled_recovery_interval_s", 30, 65535, "want 30-65535 s", false, func(c *Config, v int64) { c.Loop.RecoveryAfter = time.Duration(v) * s }},
		{"retention_policy.local_age_s", 120, 65535, "want 120-65535 s, or 0 for never", true, func(c *Config, v int64) { c.Retention.LocalAge = time.Duration(v) * s }},
		{"retention_policy.remote_age_s", 120, 65535, "want 120-65535 s, or 0 for never", true, func(c *Config, v int64) { c.Retention.RemoteAge = time.Duration(v) * s }},
		{"retention_policy.bounce_age_s", 150, 65535, "want 150-65535 s", false, func(c *Config, v int64) { c.Retention.BounceAge = time.Duration(v) * s }},
		{"retention_policy.hold_interval_s", 5, 65535, "want 5-65535 s", false, func(c *Config, v int64) { c.Retention.Hold = time.Duration(v) * s }},
		{"retention_policy.move_frequency", 0, 65535, "want 0-65535", true, func(c *Config, v int64) { c.Retention.MoveFrequency = int(v) }},
		{"bridge_domains[0].retention_policy.local_age_s", 120, 65535, "want 120-65535 s", true, func(c *Config, v int64) {
			r := DefaultRetention()
			r.LocalAge = time.Duration(v) * s
			c.Domains = []Domain{{BD: 1, Retention: &r}}
		}},
		{"bridge_domains[0].id", 1, 1<<24 - 1, "want 1-16777215", false, func(c *Config, v int64) { c.Domains = []Domain{{BD: BD(v)}} }},
		{"probe_interval_ms", 100, 75000, "want 100-75000 ms", false, func(c *Config, v int64) { c.ProbeInterval = time.Duration(v) * time.Millisecond }},
	} {
		for _, v := range []int64{tt.lo, tt.hi, tt.lo - 1, tt.hi + 1, 0} {
			c := Default()
			tt.set(&c, v)
			err := c.Validate()
			if ok := v >= tt.lo && v <= tt.hi || v == 0 && tt.zero; ok != (err == nil) {
				t.Errorf("%s = %d: %v", tt.field, v, err)
			} else if err != nil && (!strings.HasPrefix(err.Error(), tt.field+": is ") || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("%s = %d: %q does not say %q", tt.field, v, err, tt.text)
			}
		}
	}
}

// TestConfigErrors are the mistakes that no range shows.
func TestConfigErrors(t *testing.T) {
	for _, tt := range []struct {
		want string
		set  func(*Config)
	}{
		{"bridge_domains[1].id: domain 5 is there twice", func(c *Config) { c.Domains = []Domain{{BD: 5}, {BD: 5}} }},
		{"bridge_domains[0].ip_learning: is 3, want one of on, arp, off", func(c *Config) { c.Domains = []Domain{{BD: 5, IPLearning: 3}} }},
		{"bridge_domains[0].enforce_subnet_check: no address could be learned; give subnets", func(c *Config) { c.Domains = []Domain{{BD: 5, EnforceSubnet: true}} }},
		{"bridge_domains[0].subnets[0]: 10.0.0.1/8 is no subnet; want one without host bits, as in 10.1.0.0/16", func(c *Config) {
			c.Domains = []Domain{{BD: 5, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}}}
		}},
		{"rogue_control.exceptions: has 101 endpoints, want at most 100", func(c *Config) {
			for n := range 101 {
				c.Rogue.Exceptions = append(c.Rogue.Exceptions, key(n))
			}
		}},
		{"rogue_control.exceptions[0]: 5/00:00:00:00:00:00 is no endpoint; want <bridge domain 1-16777215>/<MAC of a host>", func(c *Config) { c.Rogue.Exceptions = []Key{{BD: 5}} }},
	} {
		c := Default()
		tt.set(&c)
		if err := c.Validate(); err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	for _, o := range []Options{{}, {Config: Default()}, {Config: Default(), Node: "a"}, {Config: Default(), Node: "a", TEP: netip.MustParseAddr("fe80::1")},
		{Config: Default(), Node: strings.Repeat("a", 256), TEP: leaf1}} {
		if _, err := New(o); err == nil {
			t.Errorf("New takes %+v", o)
		}
	}
}
