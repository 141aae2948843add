package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func hostCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host",
		Short: "The hosts of a fabric: where they are, move one, loop one",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var name string
	cmd.PersistentFlags().StringVar(&name, "name", defaultName, "name of the lab")
	cmd.AddCommand(hostListCommand(&name), hostMoveCommand(&name), hostLoopCommand(&name))
	return cmd
}

func hostListCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the hosts with their addresses and the leaves they are behind",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := find(*name)
			if err != nil {
				return err
			}
			if len(s.Hosts) == 0 {
				return fmt.Errorf("lab %s has no hosts; a fabric has: openr lab up --fabric 2x3", *name)
			}
			printHosts(cmd.OutOrStdout(), s.Hosts)
			return nil
		},
	}
}

func hostMoveCommand(name *string) *cobra.Command {
	var silent bool
	cmd := &cobra.Command{
		Use:   "move HOST LEAF",
		Short: "Unplug a host and plug it in at another leaf, with its MAC and IP addresses",
		Long: "Unplug a host and plug it in at another leaf, with its MAC and IP addresses. Then one gratuitous ARP and one\n" +
			"unsolicited neighbour advertisement tell of it, as a hypervisor does for a machine that it has taken over.",
		Example: "  openr lab host move h1 n4",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openFabric(*name)
			if err != nil {
				return err
			}
			defer l.Close()
			leaf, err := l.leaf(args[1])
			if err != nil {
				return err
			}
			took, err := l.MoveHost(args[0], leaf, !silent)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is behind %s now; it was unplugged for %v\n", args[0], args[1], took.Round(100*time.Microsecond))
			return nil
		},
	}
	cmd.Flags().BoolVar(&silent, "silent", false, "send nothing for it")
	return cmd
}

func hostLoopCommand(name *string) *cobra.Command {
	var rate int
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "loop HOST OTHER",
		Short: "Send frames with a host's MAC address at its own port and at that of another host, as a loop would",
		Example: "  openr lab host loop h1 h3                      # ten frames within a second\n" +
			"  openr lab host loop h1 h3 --rate 0 --for 10s   # as fast as possible",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openFabric(*name)
			if err != nil {
				return err
			}
			defer l.Close()
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, lasts)
			defer cancel()
			sent, err := l.LoopHost(ctx, args[0], args[1], rate)
			fmt.Fprintf(cmd.OutOrStdout(), "%d frames with the MAC address of %s sent, half of them at the port of %s\n", sent, args[0], args[1])
			return err
		},
	}
	cmd.Flags().IntVar(&rate, "rate", 10, "frames per second; 0: as many as possible")
	cmd.Flags().DurationVar(&lasts, "for", time.Second, "how long")
	return cmd
}

// openFabric opens a lab that is a fabric.
func openFabric(name string) (*Lab, error) {
	if err := needRoot(); err != nil {
		return nil, err
	}
	l, err := Open(name)
	if err != nil {
		return nil, err
	}
	if l.Fabric == nil {
		l.Close()
		return nil, fmt.Errorf("lab %s is no fabric; make one with: openr lab up --fabric 2x3", name)
	}
	return l, nil
}

// leaf returns the node that a leaf's name means.
func (l *Lab) leaf(name string) (int, error) {
	i, err := strconv.Atoi(strings.TrimPrefix(name, "n"))
	if err != nil || NodeName(i) != name || !l.Fabric.isLeaf(i) || i >= len(l.nodes) {
		return 0, fmt.Errorf("%q is no leaf of lab %s; its leaves are %s to %s", name, l.Name, NodeName(l.Fabric.Spines), NodeName(len(l.nodes)-1))
	}
	return i, nil
}

func printHosts(w io.Writer, hosts []Host) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "HOST\tLEAF\tMAC\tADDRESSES")
	for _, h := range hosts {
		fmt.Fprintf(t, "%s\t%s\t%s\t%v %v\n", h.Name, NodeName(h.Leaf), h.MAC, h.V4.Addr(), h.V6.Addr())
	}
	_ = t.Flush()
}

// hintFabric is hint for a fabric.
func (l *Lab) hintFabric(w io.Writer) {
	fmt.Fprintf(w, "\nTry:\n")
	try := func(what, command string) { fmt.Fprintf(w, "  openr lab %-58s # %s\n", command, what) }
	if len(l.hosts) > 1 {
		a, b := l.hosts[0], l.hosts[1]
		try("from host to host", fmt.Sprintf("exec %s %s -- ping %v", l.Name, a.Name, b.V4.Addr()))
		if l.Fabric.Leaves > 2 {
			try("and meanwhile to another leaf", fmt.Sprintf("host move --name %s %s %s", l.Name, b.Name, NodeName(len(l.nodes)-1)))
		}
		try("a loop: its MAC address at two ports", fmt.Sprintf("host loop --name %s %s %s", l.Name, a.Name, b.Name))
	}
	if !l.Fabric.Flood && l.binary != "" {
		leaf := NodeName(l.Fabric.Spines)
		try("what a leaf knows of endpoints", fmt.Sprintf("exec %s %s -- breeze endpoint show", l.Name, leaf))
		try("its sessions with the oracles", fmt.Sprintf("exec %s %s -- breeze endpoint oracles", l.Name, leaf))
		try("what is wrong", fmt.Sprintf("exec %s %s -- breeze endpoint faults", l.Name, leaf))
	}
	try("remove it all", fmt.Sprintf("down %s", l.Name))
	fmt.Fprintf(w, "Configurations and logs: %s\n", folder(l.Name))
}
