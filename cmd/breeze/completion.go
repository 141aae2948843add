package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/openrctrl"
)

// completionName is the command that prints completion scripts. It is there only when it is asked for by its full name.
const completionName = "completion"

// completion prints the script that teaches a shell to complete breeze's commands.
func (a *app) completion(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   completionName + " bash|zsh|fish",
		Short: "Print the script that completes breeze's commands in a shell",
		Long: "Prints the script that completes breeze's commands in a shell. To load it now, and for good:\n\n" +
			"  bash  source <(breeze completion bash)\n        breeze completion bash > /etc/bash_completion.d/breeze\n" +
			"  zsh   source <(breeze completion zsh)\n        breeze completion zsh > \"${fpath[1]}/_breeze\"\n" +
			"  fish  breeze completion fish | source\n        breeze completion fish > ~/.config/fish/completions/breeze.fish",
		Hidden:    true,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)(cmd, args); err != nil {
				return usagef("%s: want bash, zsh or fish", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			}
			return root.GenFishCompletion(a.out, true)
		},
	}
}

// completer proposes values.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// proposal makes a completer of a question to the agent. It gives up soon: who types does not wait. Values may be
// separated by commas where list is set.
func (a *app) proposal(list bool, ask func(s *session) ([]string, error)) completer {
	return func(cmd *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		const patience = time.Second
		quick := *a
		quick.timeout = min(a.timeout, patience)
		quick.errOut, quick.warned = discard{}, nil
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		s, err := quick.connect(ctx, a.host)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer s.Close()
		values, err := ask(s)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		before := ""
		if i := strings.LastIndexByte(typed, ','); list && i >= 0 {
			before = typed[:i+1]
		}
		var out []string
		for _, v := range values {
			if strings.HasPrefix(before+v, typed) {
				out = append(out, before+v)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func (s *session) nodeNames() ([]string, error) {
	dbs, err := s.GetDecisionAdjacenciesFiltered(s.ctx, openrctrl.NewAdjacenciesFilter())
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, db := range dbs {
		names[db.ThisNodeName] = true
	}
	return slices.SortedFunc(maps.Keys(names), naturalCompare), nil
}

func (s *session) interfaceNames() ([]string, error) {
	reply, err := s.GetInterfaces(s.ctx)
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(reply.InterfaceDetails), naturalCompare), nil
}

// completeFlags gives all flags of the tree that take the names of nodes or areas, or one of a few words, their completers.
func (a *app) completeFlags(root *cobra.Command) {
	words := func(w ...string) completer { return cobra.FixedCompletions(w, cobra.ShellCompDirectiveNoFileComp) }
	byName := map[string]completer{
		"nodes":     a.proposal(true, (*session).nodeNames),
		"node":      a.proposal(false, (*session).nodeNames),
		"src":       a.proposal(false, (*session).nodeNames),
		"dst":       a.proposal(false, (*session).nodeNames),
		"area":      a.proposal(false, (*session).areaNames),
		"areas":     a.proposal(true, (*session).areaNames),
		"color":     words("auto", "always", "never"),
		"cert-reqs": words("none", "optional", "required"),
	}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		for name, f := range byName {
			if cmd.Flags().Lookup(name) != nil || cmd.PersistentFlags().Lookup(name) != nil {
				// It fails for a flag that has one already, which then is the better one.
				_ = cmd.RegisterFlagCompletionFunc(name, f)
			}
		}
		if strings.Contains(cmd.Use, "AREA") && cmd.ValidArgsFunction == nil {
			cmd.ValidArgsFunction = byName["area"]
		}
		if strings.Contains(cmd.Use, " IF") && cmd.ValidArgsFunction == nil {
			cmd.ValidArgsFunction = a.proposal(false, (*session).interfaceNames)
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
}
