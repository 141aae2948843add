package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/apache/thrift/lib/go/thrift"
	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/rpc"
)

// app is one run of breeze: its global flags and where it prints.
type app struct {
	host    string
	port    uint16
	timeout time.Duration
	json    bool

	out io.Writer
	now func() time.Time
}

// command is the tree of all commands.
func (a *app) command() *cobra.Command {
	cobra.EnablePrefixMatching = true
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use:   "breeze",
		Short: "Shows what an openr agent knows and does",
		Long: "Shows what an openr agent knows and does, by asking its control API.\n" +
			"Any beginning of a command's name will do as long as it is not ambiguous: breeze s n.",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.host, "host", "H", "localhost", "host or address of the agent; link-local addresses with %interface")
	f.Uint16Var(&a.port, "port", 2018, "TCP port of the agent's control API")
	f.VarP((*timeoutValue)(&a.timeout), "timeout", "t", "how long to wait for each answer: milliseconds, or with a unit as in 10s")
	f.BoolVar(&a.json, "json", false, "print JSON")
	a.timeout = 10 * time.Second
	f.Lookup("timeout").DefValue = "10s"
	root.SetOut(a.out)
	for _, g := range []*cobra.Command{
		a.spark(), a.linkMonitor(), a.kvStore(), a.decision(), a.fib(), a.prefixManager(), a.openr(), a.monitor(), a.config(),
	} {
		root.AddCommand(g)
	}
	root.CompletionOptions.DisableDefaultCmd = true // its name would make "c" ambiguous
	root.Args, root.RunE = cobra.ArbitraryArgs, pick
	root.SetHelpCommand(helpCommand(root))
	return root
}

// helpCommand is cobra's, but it complains about a command that is not there.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 {
				return pick(cmd, rest)
			}
			if err != nil {
				return err
			}
			return cmd.Help()
		},
	}
}

// group is a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: pick}
	g.AddCommand(commands...)
	return g
}

// pick is what a group does by itself: help, or a complaint about a command that it does not have.
func pick(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var begin, all []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c.Name())
			if strings.HasPrefix(c.Name(), args[0]) {
				begin = append(begin, c.Name())
			}
		}
	}
	if len(begin) > 1 {
		return fmt.Errorf("%q is ambiguous in %q: %s", args[0], cmd.CommandPath(), strings.Join(begin, ", "))
	}
	return fmt.Errorf("%q has no command %q; it has %s", cmd.CommandPath(), args[0], strings.Join(all, ", "))
}

// timeoutValue is a flag that takes a duration, or a number of milliseconds as Open/R's breeze does.
type timeoutValue time.Duration

func (t *timeoutValue) String() string { return time.Duration(*t).String() }

func (t *timeoutValue) Type() string { return "duration" }

func (t *timeoutValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if ms, number := strconv.Atoi(s); number == nil {
		d, err = time.Duration(ms)*time.Millisecond, nil
	}
	if err != nil || d <= 0 {
		return errors.New("want milliseconds, or a duration as in 10s")
	}
	*t = timeoutValue(d)
	return nil
}

// session is a connection to an agent, for one command.
type session struct {
	*app
	*openrctrl.OpenrCtrlClient
	ctx context.Context
}

// run makes a cobra function of f: it connects first, and explains what goes wrong.
func (a *app) run(f func(s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		addr := a.address()
		conn, err := rpc.Dial(cmd.Context(), addr, rpc.DialOptions{ConnectTimeout: a.timeout, RequestTimeout: a.timeout})
		if err != nil {
			return a.explain(addr, err)
		}
		defer conn.Close()
		s := &session{app: a, OpenrCtrlClient: openrctrl.NewOpenrCtrlClient(conn.Client()), ctx: cmd.Context()}
		return a.explain(addr, f(s, args))
	}
}

func (a *app) address() string {
	host := a.host
	if host == "localhost" {
		host = "::1"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(int(a.port)))
}

// linkLocal reports whether host is a link-local address that does not say on which interface.
func linkLocal(host string) bool {
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLinkLocalUnicast() && addr.Zone() == ""
}

// explain turns an error into what an operator needs to know.
func (a *app) explain(addr string, err error) error {
	var (
		failed  *openrctrl.OpenrError
		kv      *kvstore.KvStoreError
		remote  thrift.TApplicationException
		network net.Error
		lookup  *net.DNSError
		number  syscall.Errno
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failed):
		return errors.New(failed.Message)
	case errors.As(err, &kv):
		return errors.New(kv.Message)
	case errors.As(err, &remote) && remote.TypeId() == thrift.UNKNOWN_METHOD:
		return fmt.Errorf("the openr at %s does not know this question: %s", addr, remote.Error())
	case errors.As(err, &remote):
		return errors.New(remote.Error())
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.As(err, &lookup):
		return fmt.Errorf("cannot find out the address of %s: %s", lookup.Name, lookup.Err)
	case errors.Is(err, syscall.EINVAL) && linkLocal(a.host):
		return fmt.Errorf("%s is a link-local address: say on which interface, as in %s%%eth0", a.host, a.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("cannot reach openr at %s: connection refused - is it running?", addr)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("cannot reach openr at %s: no answer within %s", addr, a.timeout)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("openr at %s closed the connection - is this its control port, and a plain-text one?", addr)
	case errors.As(err, &network) && errors.As(err, &number):
		return fmt.Errorf("cannot reach openr at %s: %s", addr, number)
	case errors.As(err, &network):
		return fmt.Errorf("cannot reach openr at %s: %w", addr, err)
	}
	return err
}
