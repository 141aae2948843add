package hostile

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// Command returns the command `hostile`, which misbehaves towards the agent at the other end of a link.
func Command() *cobra.Command {
	var (
		o    Options
		list bool
	)
	cmd := &cobra.Command{
		Use:   "hostile [MODE...]",
		Short: "Be a neighbour that misbehaves, to see what that costs an agent",
		Long: "Speaks Spark and Rocket to the agent at the other end of a link, makes friends with it, and then misbehaves, in the named\n" +
			"ways or in all of them one after the other. Run it where the agent of a node would run; what it puts into the store is\n" +
			"gone after seconds. Needs root. Never point it at a network that somebody uses.\n\nModes:\n" + help(),
		Example: "  openr lab up --topology line:3\n" +
			"  openr lab exec demo n0 -- openr lab hostile --interface to-n1 packet-flood million-keys\n" +
			"  openr lab exec demo n1 -- breeze monitor counters",
		RunE: func(cmd *cobra.Command, modes []string) error {
			if list {
				fmt.Fprint(cmd.OutOrStdout(), help())
				return nil
			}
			if o.Interface == "" {
				return fmt.Errorf("which link? name it with --interface")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return run(ctx, cmd.OutOrStdout(), o, modes)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
			for _, m := range Modes() {
				names = append(names, m.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.Flags().StringVar(&o.Interface, "interface", "", "the link to the victim")
	cmd.Flags().StringVar(&o.Node, "node", "mallory", "own name")
	cmd.Flags().StringVar(&o.Other, "other", "n2", "the node whose name and keys are forged")
	cmd.Flags().StringVar(&o.Area, "area", "0", "the victim's area")
	cmd.Flags().IntVar(&o.Port, "port", 2018, "the victim's control port")
	cmd.Flags().IntVar(&o.Dose, "dose", 100, "how much of each, in percent")
	cmd.Flags().BoolVar(&list, "list", false, "list the modes and do nothing")
	return cmd
}

func help() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, m := range Modes() {
		fmt.Fprintf(t, "  %s\t%s\n", m.Name, m.What)
	}
	_ = t.Flush()
	return b.String()
}

func run(ctx context.Context, w io.Writer, o Options, modes []string) error {
	n, err := Open(ctx, o)
	if err != nil {
		return err
	}
	defer n.Close()
	fmt.Fprintf(w, "the victim is %s\n", n.Victim())
	if len(modes) == 0 {
		for _, m := range Modes() {
			modes = append(modes, m.Name)
		}
	}
	for _, mode := range modes {
		begin := time.Now()
		if err := n.Do(ctx, mode); err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: done in %v\n", mode, time.Since(begin).Round(time.Millisecond))
	}
	return nil
}
