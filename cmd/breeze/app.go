package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// app is one run of breeze: its global flags, what it reads and where it prints.
type app struct {
	host    string
	port    uint16
	timeout time.Duration
	json    bool
	color   colorMode
	tls     tlsFlags

	in       io.Reader
	out      io.Writer
	errOut   io.Writer // warnings and the final error
	terminal bool      // out is a terminal that can show colours
	noColor  bool      // the environment says NO_COLOR
	now      func() time.Time

	warned map[string]bool // the warnings that have been given
}

// execute runs a command line and returns the exit code: 0 if all went well, 1 if not, 2 if the command line is wrong, or
// what the command says.
func (a *app) execute(ctx context.Context, args []string) int {
	buffered := bufio.NewWriterSize(a.out, 1<<16)
	a.out = buffered
	root := a.command()
	if firstWord(root, args) == completionName {
		root.AddCommand(a.completion(root)) // only now: else "c" and "co" would be ambiguous
	}
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if flushed := buffered.Flush(); err == nil && flushed != nil {
		err = fmt.Errorf("failed to write: %w", flushed)
	}
	var (
		code  exitCode
		usage *usageError
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		fmt.Fprintln(a.errOut, "breeze:", err)
		return 2
	}
	fmt.Fprintln(a.errOut, "breeze:", err)
	return 1
}

// firstWord returns the first argument that is not a global flag.
func firstWord(root *cobra.Command, args []string) string {
	probe := pflag.NewFlagSet("", pflag.ContinueOnError)
	probe.SetInterspersed(false)
	probe.SetOutput(io.Discard)
	probe.AddFlagSet(root.PersistentFlags())
	if probe.Parse(args) != nil {
		return "" // cobra says what is wrong
	}
	return probe.Arg(0)
}

// flush writes out what was printed so far. Commands that wait call it.
func (a *app) flush() {
	if b, ok := a.out.(*bufio.Writer); ok {
		b.Flush()
	}
}

// command is the tree of all commands.
func (a *app) command() *cobra.Command {
	cobra.EnablePrefixMatching = true
	cobra.EnableCommandSorting = false
	root := &cobra.Command{
		Use:   "breeze",
		Short: "Shows what an openr agent knows and does",
		Long: "Shows what an openr agent knows and does, by asking its control API, and tells it what to do.\n" +
			"Any beginning of a command's name will do as long as it is not ambiguous: breeze s n.\n" +
			"Shell completion: breeze completion bash|zsh|fish.",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	f := root.PersistentFlags()
	f.StringVarP(&a.host, "host", "H", "localhost", "host or address of the agent; link-local addresses with %interface")
	f.Uint16Var(&a.port, "port", 2018, "TCP port of the agent's control API")
	f.VarP((*timeoutValue)(&a.timeout), "timeout", "t", "how long to wait for each answer: milliseconds, or with a unit as in 10s")
	f.BoolVar(&a.json, "json", false, "print JSON")
	f.Var(&a.color, "color", "auto (on terminals), always or never; the environment variable NO_COLOR means never")
	a.tls.register(f)
	a.timeout = 10 * time.Second
	f.Lookup("timeout").DefValue = "10s"
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	for _, g := range []*cobra.Command{
		a.spark(), a.linkMonitor(), a.kvStore(), a.decision(), a.fib(), a.prefixManager(), a.openr(), a.monitor(), a.config(),
		a.dispatcher(), a.perf(), a.endpoint(), a.techSupport(),
	} {
		root.AddCommand(g)
	}
	root.CompletionOptions.DisableDefaultCmd = true // see execute
	root.Args, root.RunE = cobra.ArbitraryArgs, pick
	root.SetHelpCommand(helpCommand(root))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	a.completeFlags(root)
	blameArgs(root)
	return root
}

// blameArgs makes usage errors of what the commands of a tree say about the number of their arguments.
func blameArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef("%s: %s; usage: %s", cmd.CommandPath(), err, cmd.UseLine())
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		blameArgs(c)
	}
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
