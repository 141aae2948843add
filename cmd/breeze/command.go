package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageError is an error in what was typed.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// usagef makes an error in what was typed: breeze exits with 2.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// exitCode is an error that has been explained already: breeze exits with this code and says nothing more.
type exitCode int

func (c exitCode) Error() string { return "exit code " + strconv.Itoa(int(c)) }

// group is a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: pick}
	for _, c := range commands {
		if c != nil {
			g.AddCommand(c)
		}
	}
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
		return usagef("%q is ambiguous in %q: %s", args[0], cmd.CommandPath(), strings.Join(begin, ", "))
	}
	return usagef("%q has no command %q; it has %s", cmd.CommandPath(), args[0], strings.Join(all, ", "))
}

// helpCommand is cobra's, but it complains about a command that is not there.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND...]",
		Short: "Explain a command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil && len(rest) > 0 && cmd.HasSubCommands() {
				return pick(cmd, rest)
			}
			if err != nil {
				return &usageError{err}
			}
			return cmd.Help()
		},
	}
}

// shortcut offers the command called name of a freshly made group under another name and place. It takes the group's flags
// along.
func shortcut(as string, g *cobra.Command, name string) *cobra.Command {
	for _, c := range g.Commands() {
		if c.Name() != name {
			continue
		}
		g.RemoveCommand(c)
		_, arguments, _ := strings.Cut(c.Use, " ")
		c.Short += " (" + g.Name() + " " + name + ")"
		c.Use = strings.TrimSpace(as + " " + arguments)
		c.Aliases = nil
		c.Flags().AddFlagSet(g.PersistentFlags())
		return c
	}
	return nil
}

// pair declares a switch as two flags, --name and --no-name. shorthands has the letters of both, if they have any: "dD".
func pair(cmd *cobra.Command, v *bool, name, shorthands string, value bool, usage string) {
	letters := strings.Split(shorthands+"  ", "")
	f := cmd.Flags()
	f.BoolVarP(v, name, strings.TrimSpace(letters[0]), value, usage)
	no := f.VarPF((*negation)(v), "no-"+name, strings.TrimSpace(letters[1]), "the opposite of --"+name)
	no.NoOptDefVal, no.DefValue, no.Hidden = "true", "false", true
}

// negation is a flag that sets a bool to the opposite of its value.
type negation bool

var _ pflag.Value = (*negation)(nil)

func (n *negation) String() string { return strconv.FormatBool(!bool(*n)) }

func (n *negation) Type() string { return "bool" }

func (n *negation) Set(s string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return errors.New("want true or false")
	}
	*n = negation(!v)
	return nil
}

// yesFlag declares --yes.
func yesFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().BoolP("yes", "y", false, "do not ask, do it")
}

// confirm asks a question and returns nil if the answer is yes, or if yes is set already.
func (a *app) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	a.flush()
	fmt.Fprintf(a.errOut, "%s [yn] ", question)
	in := bufio.NewReader(a.in)
	for {
		line, err := in.ReadString('\n')
		switch strings.ToLower(strings.TrimSpace(line)) {
		case "y", "yes":
			return nil
		case "n", "no":
			return errors.New("nothing was done")
		}
		if err != nil {
			fmt.Fprintln(a.errOut)
			if errors.Is(err, io.EOF) {
				return errors.New("nothing was done; answer y, or say --yes")
			}
			return fmt.Errorf("nothing was done: failed to read the answer: %w", err)
		}
		fmt.Fprint(a.errOut, "Answer y or n: ")
	}
}

// done says that what a command was asked for is done.
func (a *app) done(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if a.json {
		return a.printJSON(map[string]any{"success": true, "message": text})
	}
	a.printf("%s\n", text)
	return nil
}
