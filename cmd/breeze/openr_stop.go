package main

import (
	"time"

	"github.com/spf13/cobra"
)

// answerSlack is how much longer than the time-out of the network an answer may take: the agent tells its neighbours first.
const answerSlack = 5 * time.Second

// openrDrain takes a node out of the network, and with --and-stop ends its agent.
func (a *app) openrDrain() *cobra.Command {
	var stop bool
	cmd := a.nodeOverload(true)
	drain := cmd.RunE
	cmd.Use = "drain"
	cmd.Short = "Hard drain of the node (lm set-node-overload); with --and-stop the agent ends when nothing comes through it any more"
	cmd.Long = "Lets no other node send transit traffic through this node, until it is undrained (lm set-node-overload).\n\n" +
		"With --and-stop: takes the node out of all paths, waits until the other nodes have turned and the kernel forwards nothing any\n" +
		"more, for --timeout at most, ends all adjacencies at once, and ends the agent. No restart is announced, so the neighbors do not\n" +
		"wait for one; the service manager does not start it again, as it ends with exit status 0. This drain is not stored: the\n" +
		"agent's next start is an ordinary one. To keep it from starting with the machine: systemctl disable openr."
	cmd.Example = "  breeze openr drain --and-stop\n  breeze openr drain --and-stop --timeout 30s --yes"
	cmd.Flags().BoolVar(&stop, "and-stop", false, "end the agent when the network has turned; --timeout is for how long that is waited for")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !stop {
			return drain(cmd, args)
		}
		patience := a.timeout
		a.timeout += answerSlack
		return a.run(func(s *session, _ []string) error {
			node, err := s.GetMyNodeName(s.ctx)
			if err != nil {
				return err
			}
			yes, err := cmd.Flags().GetBool("yes")
			if err != nil {
				return err
			}
			if err := a.confirm("Take node "+node+" out of the network and stop its agent?", yes); err != nil {
				return err
			}
			if err := s.own.DrainAndStop(s.ctx, patience.Milliseconds()); err != nil {
				return err
			}
			return a.done("Node %s has left the network; its agent ends.", node)
		})(cmd, args)
	}
	return cmd
}
