package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"openr/fib"
	"openr/fib/netlink"
	"openr/monitor"
	"openr/platform"
	"openr/thrift/rpc"
)

// platformFlags are the options of `openr platform`.
type platformFlags struct {
	port     uint16
	listen   string
	table    uint32
	logLevel string
}

func platformCommand() *cobra.Command {
	var f platformFlags
	cmd := &cobra.Command{
		Use:   "platform",
		Short: "Program this machine's routes for other programs: Open/R's FibService over the Linux kernel",
		Long: "Offers Open/R's FibService (Platform.thrift) over the Linux kernel, in the foreground. Another agent programs its routes\n" +
			"through it (fib_port of its configuration), and so do breeze's fib commands. Client 786 is Open/R: its routes have protocol\n" +
			"99 and metric 10; client 0 is BGP: protocol 253, metric 20. Routes of other protocols are never touched. When it stops,\n" +
			"the routes stay.\n\n" +
			"Whoever reaches the port can change the routes, so it listens on this machine alone unless told otherwise.",
		Example: "  openr platform\n  openr platform --port 5909 --table 100\n\n  breeze fib --fib_agent_port 60100 routes-installed",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return runPlatform(ctx, f, nil)
		},
	}
	cmd.Flags().Uint16Var(&f.port, "port", 60100, "TCP port")
	cmd.Flags().StringVar(&f.listen, "listen", "::1", "address to listen on; :: is all addresses of this machine")
	cmd.Flags().Uint32Var(&f.table, "table", 254, "routing table; 254 is the main one")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd
}

// runPlatform serves until ctx ends. ready, if not nil, is told the address when clients can connect.
func runPlatform(ctx context.Context, f platformFlags, ready func(net.Addr)) error {
	log, err := logger(f.logLevel)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()
	if _, err := netip.ParseAddr(f.listen); err != nil {
		return fmt.Errorf("--listen %s: want an IP address of this machine, such as ::1", f.listen)
	}
	counters := monitor.NewCounters()
	open := func(c platform.Client) (fib.Programmer, error) {
		return netlink.New(netlink.Options{
			Table: int(f.table), Protocol: c.Protocol, Metric: c.Metric, Log: log.Named("netlink"), Counters: counters,
		})
	}
	// A table that cannot be opened (no rights, no such table) is better known now than when a client comes.
	probe, err := open(platform.Clients[0])
	if err != nil {
		return err
	}
	if err := probe.Close(); err != nil {
		return err
	}
	p := platform.New(platform.Options{Open: open, Version: version, Log: log.Named("platform"), Counters: counters})
	defer func() { _ = p.Close() }()
	l, err := rpc.Listen(ctx, net.JoinHostPort(f.listen, strconv.Itoa(int(f.port))), 0)
	if err != nil {
		return err
	}
	if ready != nil {
		ready(l.Addr())
	}
	log.Info("programming routes for others", zap.Stringer("listening", l.Addr()), zap.Uint32("table", f.table), zap.String("version", version))
	server := &rpc.Server{Service: p.Service(), Log: log.Named("rpc"), Counters: counters}
	err = server.Serve(ctx, l)
	log.Info("stopped; routes stay in place")
	return err
}
