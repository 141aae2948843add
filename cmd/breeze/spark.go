package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/types"
)

func (a *app) spark() *cobra.Command {
	var detail bool
	neighbors := &cobra.Command{
		Use:   "neighbors",
		Short: "Neighbours that were heard, in any state",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			all, err := s.GetNeighbors(s.ctx)
			switch {
			case err != nil:
				return err
			case a.json:
				return a.printJSON(all)
			case detail:
				for _, n := range all {
					a.neighborDetail(n)
				}
				return nil
			}
			rows := make([][]string, len(all))
			for i, n := range all {
				rows[i] = []string{n.NodeName, n.State, n.Event, n.LocalIfName, n.RemoteIfName, n.Area, fmt.Sprint(n.RttUs)}
			}
			return a.table([]string{"Neighbor", "State", "Latest Event", "Local Intf", "Remote Intf", "Area", "Rtt(us)"}, rows)
		}),
	}
	neighbors.Flags().BoolVar(&detail, "detail", false, "addresses, port, and when packets were sent last")
	restart := &cobra.Command{
		Use:   "graceful-restart",
		Short: "Make the neighbours believe that the agent is about to restart",
		Args:  cobra.NoArgs,
	}
	sure := restart.Flags().Bool("yes", false, "do it")
	restart.RunE = func(cmd *cobra.Command, args []string) error {
		if !*sure {
			return fmt.Errorf("this tells all neighbours of %s that it restarts; say --yes to do it", a.address())
		}
		return a.run(func(s *session, _ []string) error {
			if err := s.FloodRestartingMsg(s.ctx); err != nil {
				return err
			}
			a.printf("Neighbours have been told that the agent restarts.\n")
			return nil
		})(cmd, args)
	}
	return group("spark", "Neighbour discovery", neighbors, restart)
}

func (a *app) neighborDetail(n *types.SparkNeighbor) {
	a.printf("Neighbor: %s, State: %s, Last Event: %s\n", n.NodeName, n.State, n.Event)
	a.printf("  Area: %s, Local Interface: %s, Remote Interface: %s, Rtt: %d us\n", n.Area, n.LocalIfName, n.RemoteIfName, n.RttUs)
	a.printf("  TransportAddressV6: %s, TransportAddressV4: %s, CtrlPort: %d\n", addrText(n.TransportAddressV6), addrText(n.TransportAddressV4), n.OpenrCtrlThriftPort)
	a.printf("  Last hello sent: %s, handshake sent: %s, heartbeat sent: %s\n\n",
		ago(n.LastHelloMsgSentTimeDelta), ago(n.LastHandshakeMsgSentTimeDelta), ago(n.LastHeartbeatMsgSentTimeDelta))
}

// ago prints how many milliseconds ago something was. Agents send a huge number for what never was.
func ago(ms int64) string {
	const longest = 100 * 365 * 24 * time.Hour
	if ms < 0 || ms > longest.Milliseconds() {
		return "never"
	}
	return duration(time.Duration(ms)*time.Millisecond) + " ago"
}
