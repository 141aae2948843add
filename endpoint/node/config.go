package node

import (
	"fmt"
	"net/netip"
	"time"

	"openr/config"
	"openr/endpoint"
	"openr/endpoint/linux"
)

// coreConfig returns what the core of a leaf is told. It was checked when the file was read; what is wrong all the same is
// named by the section's keys.
func coreConfig(c *config.Endpoint) (endpoint.Config, error) {
	out := endpoint.Default()
	out.Retention = retention(&c.Retention)
	r := &c.Rogue
	out.Rogue = endpoint.Rogue{
		Enabled: r.Enable, Interval: r.Interval, Factor: r.Factor, Hold: r.Hold,
		ExceptionInterval: r.ExceptionInterval, ExceptionFactor: r.ExceptionFactor, ExceptionHold: r.ExceptionHold,
	}
	var err error
	if out.Rogue.Exceptions, err = exceptions(c); err != nil {
		return out, err
	}
	l := &c.Loop
	out.Loop = endpoint.LoopProtection{
		Enabled: l.Enable, Interval: l.Interval, Factor: l.Factor, PortDisable: l.PortDisable, LearnDisable: l.LearnDisable,
		Recovery: l.Recovery, RecoveryAfter: l.RecoveryAfter,
	}
	out.MaxLocal, out.MaxRemote, out.MaxIPs = c.MaxLocal, c.MaxRemote, c.MaxIPs
	out.ProbeInterval, out.Refresh = c.ProbeInterval, c.Refresh
	for i := range c.Domains {
		d := &c.Domains[i]
		e := endpoint.Domain{
			BD: endpoint.BD(d.ID), VRF: endpoint.VRF(d.VRF), Group: uint32(d.Group), Subnets: d.Subnets, EnforceSubnet: d.EnforceSubnet,
			IPLearning: endpoint.IPLearning(d.IPLearning), IPAgeing: d.IPAgeing,
		}
		if d.Retention != nil {
			e.Retention = new(retention(d.Retention))
		}
		out.Domains = append(out.Domains, e)
	}
	if err := out.Validate(); err != nil {
		return out, fmt.Errorf("endpoint.%w", err)
	}
	return out, nil
}

func retention(r *config.Retention) endpoint.Retention {
	return endpoint.Retention{LocalAge: r.LocalAge, RemoteAge: r.RemoteAge, BounceAge: r.BounceAge, Hold: r.Hold, MoveFrequency: r.MoveFrequency}
}

func exceptions(c *config.Endpoint) ([]endpoint.Key, error) {
	var out []endpoint.Key
	for i, s := range c.Rogue.Exceptions {
		k, err := endpoint.ParseKey(s)
		if err != nil {
			return nil, fmt.Errorf("endpoint.rogue_control.exceptions[%d]: %w", i, err)
		}
		out = append(out, k)
	}
	return out, nil
}

// longIdle is the ageing time of a bridge whose endpoints do not age: what the kernel can count.
const longIdle = 24 * time.Hour

// kernelDomains returns what the kernel of a leaf is told of its bridge domains.
func kernelDomains(c *config.Endpoint) []linux.Domain {
	var out []linux.Domain
	for i := range c.Domains {
		d := &c.Domains[i]
		age := c.Retention.LocalAge
		if d.Retention != nil {
			age = d.Retention.LocalAge
		}
		k := linux.Domain{BD: endpoint.BD(d.ID), Bridge: d.Bridge, VXLAN: d.VXLAN, Idle: longIdle, Suppress: true, Limit: c.MaxLocal}
		if age != 0 {
			k.Idle = age / 4 * 3 // the core asks an endpoint whether it lives when three quarters of its age are over
		}
		k.Proxy = sameFamily(c.Anycast, c.TEPs)
		out = append(out, k)
	}
	return out
}

// sameFamily returns the first of all that is of the family of the first of like; invalid: there is none.
func sameFamily(all, like []netip.Addr) netip.Addr {
	for _, a := range all {
		if len(like) > 0 && a.Is4() == like[0].Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// area is the area whose members this node has sessions with.
func area(c *config.Config) string {
	if c.Endpoint.Area != "" || len(c.Areas) == 0 {
		return c.Endpoint.Area
	}
	return c.Areas[0].ID
}

func domainsOf(c *config.Endpoint) []endpoint.BD {
	var out []endpoint.BD
	for i := range c.Domains {
		out = append(out, endpoint.BD(c.Domains[i].ID))
	}
	return out
}
