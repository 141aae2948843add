package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/types"
)

func (a *app) spark() *cobra.Command {
	validate := a.validateCommand("Check that all neighbours are established, and where they should be", "Spark", (*session).checkSpark)
	var detail bool // Open/R's has it; failures are always explained
	validate.Flags().BoolVar(&detail, "detail", false, "")
	validate.Flags().Lookup("detail").Hidden = true
	return group("spark", "Neighbour discovery", a.sparkNeighbors(), a.gracefulRestart(), validate)
}

func (a *app) sparkNeighbors() *cobra.Command {
	var detail bool
	cmd := &cobra.Command{
		Use:   "neighbors",
		Short: "Neighbours that were heard, in any state",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			all, err := s.GetNeighbors(s.ctx)
			if err != nil {
				return err
			}
			slices.SortStableFunc(all, func(x, y *types.SparkNeighbor) int {
				if c := naturalCompare(x.NodeName, y.NodeName); c != 0 {
					return c
				}
				return naturalCompare(x.LocalIfName, y.LocalIfName)
			})
			switch {
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
				rows[i] = []string{n.NodeName, a.sparkState(n.State), n.Event, n.LocalIfName, n.RemoteIfName, n.Area, fmt.Sprint(n.RttUs)}
			}
			return a.table([]string{"Neighbor", "State", "Latest Event", "Local Intf", "Remote Intf", "Area", "Rtt(us)"}, rows)
		}),
	}
	cmd.Flags().BoolVar(&detail, "detail", false, "addresses, port, and when packets were sent last")
	return cmd
}

func (a *app) sparkState(state string) string {
	return a.paintIf(state != types.SparkNeighState_ESTABLISHED.String(), yellow, state)
}

func (a *app) gracefulRestart() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "graceful-restart",
		Short: "Make the neighbours believe that the agent is about to restart",
		Args:  cobra.NoArgs,
	}
	sure := yesFlag(cmd)
	cmd.RunE = a.run(func(s *session, _ []string) error {
		if err := s.confirm("Tell all neighbours of the agent that it restarts?", *sure); err != nil {
			return err
		}
		if err := s.FloodRestartingMsg(s.ctx); err != nil {
			return err
		}
		return a.done("Neighbours have been told that the agent restarts.")
	})
	return cmd
}

func (a *app) neighborDetail(n *types.SparkNeighbor) {
	a.printf("Neighbor: %s, State: %s, Last Event: %s\n", n.NodeName, a.sparkState(n.State), n.Event)
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

// checkSpark validates what discovery has found.
func (s *session) checkSpark() ([]check, error) {
	all, err := s.GetNeighbors(s.ctx)
	if err != nil {
		return nil, err
	}
	discovered, err := s.checkStage(kvstore.InitializationEvent_NEIGHBOR_DISCOVERED)
	if err != nil {
		return nil, err
	}
	config, err := s.GetRunningConfigThrift(s.ctx)
	if err != nil {
		return nil, err
	}
	state, names := check{title: "Neighbor State"}, check{title: "Neighbor Names"}
	areas := areaConfig(config)
	for _, n := range all {
		if n.State != types.SparkNeighState_ESTABLISHED.String() {
			state.faults = append(state.faults, fmt.Sprintf("%s on %s is %s after %s", n.NodeName, n.LocalIfName, n.State, n.Event))
			continue // until then it has no area for good
		}
		area, ok := areas[n.Area]
		switch {
		case !ok:
			names.faults = append(names.faults, fmt.Sprintf("%s on %s is in area %s, which is not configured", n.NodeName, n.LocalIfName, n.Area))
		case !matchesAny(area.NeighborRegexes, n.NodeName):
			names.faults = append(names.faults, fmt.Sprintf("%s on %s matches none of the neighbor_regexes of area %s", n.NodeName, n.LocalIfName, n.Area))
		}
	}
	slices.Sort(state.faults)
	slices.Sort(names.faults)
	return []check{state, discovered, names}, nil
}
