package agent

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"openr/config"
	"openr/fib"
	fibnetlink "openr/fib/netlink"
	"openr/fib/switchagent"
	"openr/fib/zebra"
	"openr/monitor"
	"openr/queue"
)

// forwarding is what stands below fib, as the configuration says: the Linux kernel, FRR's zebra, a switch agent, or
// nothing.
type forwarding struct {
	programmer    fib.Programmer
	configured    func(ctx context.Context, waiting func(what string)) error // waits until it can be programmed, and says what for; nil: it always can
	alternates    bool                                                       // it has a use for loop-free alternates
	carrier       func(ifName string, alive bool)                            // to be told of a carrier that the kernel is slow to tell of; nil: no need
	redistributed *queue.Queue[zebra.Redistribution]                         // routes of others to advertise; nil: there are none
}

func newForwarding(cfg *config.Config, log *zap.Logger, counters *monitor.Counters) (f forwarding, err error) {
	switch {
	case cfg.DryRun:
		f.programmer = fib.DryRun()
	case cfg.Fib.Netlink:
		o := fibnetlink.Options{
			Table: cfg.Fib.Table, Protocol: cfg.Fib.Protocol, Metric: cfg.Fib.Metric, MultipathRoutes: !cfg.Fib.NexthopObjects,
			Standing: cfg.Fib.StandingFrom, Log: log.Named("netlink"), Counters: counters,
		}
		if cfg.Fib.FastFailover {
			o.Standing = 1
		}
		var p *fibnetlink.Programmer
		if p, err = fibnetlink.New(o); err != nil {
			return f, err
		}
		f.programmer, f.alternates, f.carrier = p, p.Abilities().Backup, p.Link
	case cfg.Fib.Zebra.Enable:
		z := cfg.Fib.Zebra
		o := zebra.Options{
			Socket: z.Socket, Release: z.Release, Protocol: z.RouteType, Instance: uint16(z.Instance), Table: uint32(cfg.Fib.Table),
			Distance: uint8(z.Distance), Tag: uint32(z.Tag), StaleTime: z.StaleTime, Redistribute: z.Redistribute,
			Log: log.Named("zebra"), Counters: counters,
		}
		if z.StaleTime == 0 {
			o.StaleTime = -1 // not at all
		}
		if len(z.Redistribute) > 0 {
			f.redistributed = queue.New(zebra.MergeRedistribution)
			o.Redistributed = f.redistributed
		}
		if f.programmer, err = zebra.New(o); err != nil {
			err = fmt.Errorf("zebra_fib: %w", err)
		}
	case cfg.Fib.Port == 0:
		err = errors.New("enable_netlink_fib_handler is false: set it to true, or set fib_port, zebra_fib.enable or dryrun")
	default:
		var p *switchagent.Programmer
		p, err = switchagent.New(switchagent.Options{Port: cfg.Fib.Port, Log: log.Named("switchagent"), Counters: counters})
		if err != nil {
			return f, fmt.Errorf("fib_port: %w", err)
		}
		f.programmer = p
		f.configured = p.Wait
	}
	return f, err
}
