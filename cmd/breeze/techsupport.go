package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// machine is the file system of the machine that breeze runs on. Tests have another.
var machine fs.FS = os.DirFS("/")

// section is a part of the report: a command of breeze, or else something about the machine.
type section struct {
	title    string
	args     []string
	local    func(a *app) error // instead of args
	optional bool               // many agents cannot answer: their error is printed but is no failure
}

func breezeSection(line string) section {
	return section{title: "breeze " + line, args: strings.Fields(line)}
}

func (a *app) techSupport() *cobra.Command {
	var (
		routes bool
		port   uint16
	)
	cmd := &cobra.Command{
		Use:   "tech-support",
		Short: "All there is to know, for a report",
		Long: "Prints all there is to know, for a report: the answers of many other commands, each below its title. It goes on if one of\n" +
			"them fails, lists those that did at the end, and exits with 1 then. It waits for an answer for 1s, unless --timeout is given.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.report(cmd.Context(), cmd.Flags().Changed("timeout"), sections(routes, port, cmd.Flags().Changed("fib_agent_port")))
		},
	}
	pair(cmd, &routes, "routes", "", true, "with the routes")
	cmd.Flags().Uint16Var(&port, "fib_agent_port", defaultFibPort, "TCP port of the switch agent's FibService")
	return cmd
}

// sections are the parts of the report.
func sections(routes bool, port uint16, portGiven bool) []section {
	list := []section{
		{title: "openr config file", local: (*app).configFiles},
		{title: "openr runtime params", local: (*app).processes},
	}
	add := func(lines ...string) {
		for _, line := range lines {
			list = append(list, breezeSection(line))
		}
	}
	add("openr version", "openr status", "config show", "config link-monitor-config", "config prefix-manager-config")
	list[len(list)-1].optional, list[len(list)-2].optional = true, true // not every agent keeps anything
	add("spark neighbors", "lm links", "lm adj", "kvstore peers", "kvstore nodes", "kvstore prefixes --nodes all", "kvstore keys --ttl",
		"kvstore summary", "decision adj", "decision validate", "prefixmgr advertised-routes --no-detail", "prefixmgr originated-routes")
	if routes {
		add("decision routes")
	}
	switchAgent := ""
	if portGiven {
		switchAgent = fmt.Sprintf(" --fib_agent_port %d", port)
	}
	add("fib validate" + switchAgent)
	if routes {
		add("fib unicast-routes", "fib mpls-routes", "fib routes-installed"+switchAgent)
		list[len(list)-1].optional = !portGiven // most machines have no switch agent
	}
	add("perf fib", "monitor statistics", "monitor counters", "monitor logs")
	return list
}

// report prints the sections.
func (a *app) report(ctx context.Context, patient bool, list []section) error {
	const patience = time.Second
	document := map[string]any{}
	var failures []string
	for _, part := range list {
		quick := *a
		var out bytes.Buffer
		if a.json {
			quick.out = &out
		} else {
			a.printf("\n%s\n\n", a.paint(bold, "--------  "+part.title+"  --------"))
		}
		if !patient {
			quick.timeout = patience
		}
		err := part.run(ctx, &quick)
		var code exitCode
		if errors.As(err, &code) {
			err = nil // a validation that did not pass has said so
		}
		if errors.Is(err, context.Canceled) {
			return err
		}
		if err != nil && !part.optional {
			failures = append(failures, part.title)
		}
		switch {
		case a.json && err != nil:
			document[part.title] = map[string]string{"error": err.Error()}
		case a.json && json.Valid(out.Bytes()):
			document[part.title] = json.RawMessage(out.Bytes())
		case a.json:
			document[part.title] = out.String()
		case err != nil:
			a.printf("%s\n", a.paint(red, err.Error()))
		}
		a.flush()
	}
	if a.json {
		err := a.printJSON(map[string]any{"sections": document, "failures": slices.Concat([]string{}, failures)})
		if err != nil {
			return err
		}
	} else if len(failures) > 0 {
		a.printf("\n%s\n\n%s\n", a.paint(red, "--------  failures  --------"), strings.Join(failures, "\n"))
	}
	if len(failures) > 0 {
		return exitCode(1)
	}
	return nil
}

// run prints one section. a is for this section alone.
func (p section) run(ctx context.Context, a *app) error {
	if p.local != nil {
		return p.local(a)
	}
	given := *a
	root := a.command() // gives all global flags their defaults
	a.host, a.port, a.timeout, a.json, a.color, a.tls = given.host, given.port, given.timeout, given.json, given.color, given.tls
	root.SetArgs(p.args)
	return root.ExecuteContext(ctx)
}

// here reports whether the agent that is asked runs on this machine.
func (a *app) here() bool {
	addr, err := netip.ParseAddr(strings.Trim(a.host, "[]"))
	return a.host == "localhost" || err == nil && addr.IsLoopback()
}

// configFiles prints the files that an agent is usually started with.
func (a *app) configFiles() error {
	if !a.here() {
		a.printf("on another machine\n")
		return nil
	}
	found := false
	for _, name := range []string{"etc/openr/openr.conf", "etc/openr.conf", "etc/sysconfig/openr", "etc/default/openr"} {
		text, err := fs.ReadFile(machine, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found = true
		a.printf("/%s:\n", name)
		if err != nil {
			a.printf("%s\n", err)
			continue
		}
		a.printf("%s\n", strings.TrimRight(string(text), "\n"))
	}
	if !found {
		a.printf("Missing Config File\n")
	}
	return nil
}

// processes prints the command lines of all running agents.
func (a *app) processes() error {
	if !a.here() {
		a.printf("on another machine\n")
		return nil
	}
	entries, err := fs.ReadDir(machine, "proc")
	if err != nil {
		return fmt.Errorf("failed to list processes: %w", err)
	}
	found := false
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		text, err := fs.ReadFile(machine, "proc/"+e.Name()+"/cmdline")
		words := strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		if err != nil || !strings.HasPrefix(words[0][strings.LastIndexByte(words[0], '/')+1:], "openr") { // it has ended, or is another
			continue
		}
		found = true
		a.printf("%s %s\n", e.Name(), strings.Join(words, " "))
	}
	if !found {
		a.printf("no openr is running\n")
	}
	return nil
}
