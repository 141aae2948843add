package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/vishvananda/netns"

	"openr/lab/hostile"
)

// defaultName is the lab that is meant when none is named.
const defaultName = "demo"

// Command returns the command `lab` with its subcommands up, down, list and exec, for a program that is itself the agent:
// `up` starts this program again in every node.
func Command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Networks of namespaces on this machine, with an agent in each node",
		Long: "Build networks of Linux network namespaces joined by veth pairs, run an agent in every node, and look at them.\n" +
			"Needs root.\n\nTopologies:\n" + TopologyHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(upCommand(), downCommand(), listCommand(), execCommand(), hostCommand(), hostile.Command())
	return cmd
}

func upCommand() *cobra.Command {
	var o Options
	var noAgents, flood bool
	var fabric string
	var hosts int
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:     "up",
		Short:   "Build a lab, start its agents and wait until all kernels have the right routes",
		Long:    "Build a lab, start its agents and wait until all kernels have the right routes.\n\nTopologies:\n" + TopologyHelp,
		Example: "  openr lab up --topology clos:2x2\n  openr lab up --topology 'ring:6*2' --name twin\n  openr lab up --fabric 2x3 --hosts 4",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if noAgents {
				o.Binary = ""
			} else if o.Binary == "" {
				self, err := os.Executable()
				if err != nil {
					return fmt.Errorf("cannot tell which binary this is (name one with --binary): %w", err)
				}
				o.Binary = self
			}
			if fabric != "" {
				if cmd.Flags().Changed("topology") {
					return errors.New("--topology and --fabric: a lab is one or the other")
				}
				var err error
				if o.Fabric, err = ParseFabric(fabric, hosts); err != nil {
					return err
				}
				o.Fabric.Flood, o.Topology = flood, ""
			} else if flood || cmd.Flags().Changed("hosts") {
				return errors.New("--hosts and --flood are for a --fabric")
			}
			return up(ctx, cmd.OutOrStdout(), o, timeout)
		},
	}
	cmd.Flags().StringVar(&o.Name, "name", defaultName, "name of the lab, part of its namespaces' names")
	cmd.Flags().StringVar(&o.Topology, "topology", "clos:2x2", "which network; see above")
	cmd.Flags().StringVar(&fabric, "fabric", "", "SPINESxLEAVES: a fabric with hosts and an endpoint directory, instead of a topology")
	cmd.Flags().IntVar(&hosts, "hosts", 4, "how many hosts a fabric has")
	cmd.Flags().BoolVar(&flood, "flood", false, "a fabric without the endpoint directory: its leaves flood and learn")
	cmd.Flags().StringVar(&o.Binary, "binary", "", "the agent; default: this program")
	cmd.Flags().BoolVar(&noAgents, "no-agents", false, "build the network only")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long to wait for the routes")
	return cmd
}

func up(ctx context.Context, w io.Writer, o Options, timeout time.Duration) error {
	l, err := Up(ctx, o)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Fprintf(w, "lab %s: %s, %d nodes, %d links\n", l.Name, l.Topology.Spec, l.Topology.Nodes, len(l.Topology.Links))
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	report, err := l.WaitConverged(waiting)
	if ctx.Err() != nil { // interrupted: nobody wants half a lab
		return errors.Join(errors.New("interrupted; the lab is removed"), Down(l.Name))
	}
	if err != nil {
		return fmt.Errorf("%w\nthe lab is left as it is: look at %s/*.log, then remove it with: openr lab down %s", err, folder(l.Name), l.Name)
	}
	l.print(w, report)
	if l.Fabric != nil {
		fmt.Fprintln(w)
		printHosts(w, l.hosts)
		l.hintFabric(w)
		return nil
	}
	l.hint(w)
	return nil
}

// print writes the table of nodes.
func (l *Lab) print(w io.Writer, report Report) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "NODE\tNAMESPACE\tLOOPBACK\tNEIGHBOURS\tROUTES\tCONVERGED AFTER")
	for i, n := range l.nodes {
		v6, v4 := Loopbacks(i)
		r := report.Nodes[i]
		neighbors, routes, after := "-", "-", "no agent"
		if r.Running {
			neighbors, routes, after = fmt.Sprint(r.Neighbors), fmt.Sprint(r.Routes), r.After.Round(time.Millisecond).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%v %v\t%s\t%s\t%s\n", n.Name, n.Namespace, v6.Addr(), v4.Addr(), neighbors, routes, after)
	}
	_ = t.Flush()
}

// hint writes what to try next.
func (l *Lab) hint(w io.Writer) {
	last := len(l.nodes) - 1
	v6, v4 := Loopbacks(last)
	fmt.Fprintf(w, "\nTry:\n")
	try := func(what, command string) { fmt.Fprintf(w, "  openr lab %-58s # %s\n", command, what) }
	if l.binary != "" {
		try("from one end to the other", fmt.Sprintf("exec %s n0 -- ping -c 3 %v", l.Name, v6.Addr()))
		try("IPv4, through IPv6 next hops", fmt.Sprintf("exec %s n0 -- ping -c 3 %v", l.Name, v4.Addr()))
		try("what the agent thinks", fmt.Sprintf("exec %s n0 -- breeze decision routes", l.Name))
		try("what the kernel has", fmt.Sprintf("exec %s n0 -- ip -6 route show proto %d", l.Name, Protocol))
	}
	if len(l.Topology.Links) > 0 {
		link := l.Topology.Links[0]
		try("take a link down", fmt.Sprintf("exec %s %s -- ip link set %s down", l.Name, NodeName(link.A), link.IfA))
	}
	try("a shell in a node", fmt.Sprintf("exec %s n0 -- bash", l.Name))
	try("remove it all", fmt.Sprintf("down %s", l.Name))
	fmt.Fprintf(w, "Configurations and logs: %s\n", folder(l.Name))
}

func downCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down [NAME...]",
		Short: "Remove labs (default: " + defaultName + "), with every process that runs in their namespaces",
		RunE: func(cmd *cobra.Command, names []string) error {
			if all {
				labs, err := List()
				if err != nil {
					return err
				}
				names = nil
				for _, l := range labs {
					names = append(names, l.Name)
				}
			} else if len(names) == 0 {
				names = []string{defaultName}
			}
			for _, name := range names {
				_, missing := os.Stat(folder(name))
				if err := Down(name); err != nil {
					return err
				}
				what := "removed"
				if missing != nil {
					what = "was not there"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "lab %s %s\n", name, what)
			}
			return nil
		},
		ValidArgsFunction: completeNames,
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove all labs of this machine")
	return cmd
}

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the labs of this machine",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			labs, err := List()
			if err != nil {
				return err
			}
			if len(labs) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no labs; make one with: openr lab up")
				return nil
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(t, "NAME\tTOPOLOGY\tNODES\tAGENTS RUNNING\tCREATED")
			for _, l := range labs {
				if l.Topology == "" {
					fmt.Fprintf(t, "%s\t(incomplete; remove it with: openr lab down %s)\t\t\t\n", l.Name, l.Name)
					continue
				}
				fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", l.Name, l.Topology, len(l.Nodes), l.Agents, l.Created.Format(time.DateTime))
			}
			return t.Flush()
		},
	}
}

func execCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "exec LAB NODE -- COMMAND [ARGUMENT...]",
		Short:   "Run a command in a node",
		Example: "  openr lab exec demo n0 -- breeze decision routes\n  openr lab exec demo n0 -- bash",
		RunE: func(_ *cobra.Command, args []string) error {
			argv := args[min(2, len(args)):]
			if len(argv) > 0 && argv[0] == "--" { // the flag parser takes it for an argument when it comes after the first one
				argv = argv[1:]
			}
			if len(argv) == 0 {
				return errors.New("which command, and where? usage: openr lab exec LAB NODE -- COMMAND [ARGUMENT...]")
			}
			return Exec(args[0], args[1], argv)
		},
		ValidArgsFunction: completeNames,
	}
	cmd.Flags().SetInterspersed(false) // what follows belongs to the command
	return cmd
}

func completeNames(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	labs, _ := List()
	for _, l := range labs {
		if len(args) == 0 {
			names = append(names, l.Name)
		} else if len(args) == 1 && args[0] == l.Name {
			names = append(append(names, l.Nodes...), l.Hosts...)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// Exec replaces this program by argv, run in the namespace of a node; it returns only if that fails. The folder of this
// program is searched for argv[0] first: its companion tools stand beside it.
func Exec(name, nodeName string, argv []string) error {
	if err := needRoot(); err != nil {
		return err
	}
	s, err := find(name)
	if err != nil {
		return err
	}
	var names []string
	namespace := ""
	for _, n := range s.Nodes {
		names = append(names, n.Name)
		if n.Name == nodeName {
			namespace = n.Namespace
		}
	}
	for _, h := range s.Hosts {
		names = append(names, h.Name)
		if h.Name == nodeName {
			namespace = h.Namespace
		}
	}
	if namespace == "" {
		return fmt.Errorf("lab %s has no node %q; it has: %s", name, nodeName, strings.Join(names, " "))
	}
	if self, err := os.Executable(); err == nil {
		if err := os.Setenv("PATH", filepath.Dir(self)+":"+os.Getenv("PATH")); err != nil {
			return err
		}
	}
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", namespace, err)
	}
	runtime.LockOSThread()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("failed to enter namespace %s: %w", namespace, err)
	}
	return fmt.Errorf("failed to run %s: %w", program, syscall.Exec(program, argv, os.Environ()))
}
