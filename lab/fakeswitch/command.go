package fakeswitch

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
)

// Command returns the command `agent`, which runs an Agent in the foreground.
func Command() *cobra.Command {
	var (
		o     Options
		vlans []string
	)
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "A switch agent that is none: FibService and TUN interfaces, and faults on command",
		Long: "Runs a switch agent in the manner of FBOSS's, in the foreground. For each VLAN it makes a TUN interface fboss<vlan> that\n" +
			"carries what the port carries and is up while the port is, and it programs the routes that it gets by FibService into the\n" +
			"kernel. A routing agent with enable_netlink_fib_handler false and fib_port set, on the interfaces fboss.*, then runs as on a\n" +
			"switch. When it stops, its routes and interfaces go. Needs root.\n\n" +
			"Over the control socket it can be told what goes wrong (curl --unix-socket SOCKET ...):\n" +
			"  http://agent/                                             what is going on, as JSON\n" +
			"  -X POST 'http://agent/restart?down=2s&warm=false'         restart; warm=true keeps the routes\n" +
			"  -X POST 'http://agent/fail?prefix=fd00::/16&prefix=...'   routes in there fail; none: no longer\n" +
			"  -X POST 'http://agent/hang?on=true'                       answer nothing\n" +
			"  -X POST 'http://agent/refuse?on=true'                     refuse calls about routes\n" +
			"  -X POST 'http://agent/forget'                             lose the routes without a word\n" +
			"  -X POST 'http://agent/run-state?is=INITIALIZED'           not CONFIGURED (yet)",
		Example: "  openr lab up --topology line:2 --no-agents\n" +
			"  openr lab exec demo n0 -- openr lab agent --vlan 2001=to-n1 --control /run/switch-n0.sock\n" +
			"  curl --unix-socket /run/switch-n0.sock -X POST 'http://agent/restart?down=3s'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.VLANs, err = parseVLANs(vlans); err != nil {
				return err
			}
			if os.Geteuid() != 0 {
				return fmt.Errorf("TUN interfaces and routes need root")
			}
			c := zap.NewDevelopmentConfig()
			c.DisableCaller, c.DisableStacktrace = true, true
			c.Level = zap.NewAtomicLevelAt(zap.InfoLevel)
			if o.Log, err = c.Build(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return run(ctx, o)
		},
	}
	cmd.Flags().StringArrayVar(&vlans, "vlan", nil, "VLAN=PORT, a number and the interface that plays the port; may be repeated")
	cmd.Flags().StringVar(&o.Listen, "listen", "[::1]:60100", "address of the FibService")
	cmd.Flags().StringVar(&o.Control, "control", "", "path of the control socket; default: none")
	cmd.Flags().IntVar(&o.Table, "table", 254, "routing table that plays the hardware's; 0: routes are only remembered")
	cmd.Flags().BoolVar(&o.NoDump, "no-dump", false, "have no getRouteTableByClient, as some agents")
	return cmd
}

func run(ctx context.Context, o Options) error {
	a, err := New(o)
	if err != nil {
		return err
	}
	return a.Run(ctx, nil)
}

// parseVLANs reads VLAN=PORT.
func parseVLANs(list []string) (out []VLAN, err error) {
	seen := map[int]bool{}
	for _, text := range list {
		id, port, ok := strings.Cut(text, "=")
		n, err := strconv.Atoi(id)
		if !ok || err != nil || port == "" {
			return nil, fmt.Errorf("--vlan %s: want a number and an interface, as in 2001=eth0", text)
		}
		if seen[n] {
			return nil, fmt.Errorf("--vlan %s: VLAN %d is there already", text, n)
		}
		seen[n] = true
		out = append(out, VLAN{ID: n, Port: port})
	}
	return out, nil
}
