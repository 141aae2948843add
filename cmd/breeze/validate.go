package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrconfig"
)

// check is one thing that a validate command has looked at.
type check struct {
	title  string
	faults []string // what is wrong, a line each; nothing: passed
}

func (c check) passed() bool { return len(c.faults) == 0 }

// validation is the validate command of a module.
type validation struct {
	module string // as `breeze openr validate --json` calls it
	checks func(s *session) ([]check, error)
}

// validations are what `breeze openr validate` runs, in this order.
var validations = []validation{
	{"Spark", (*session).checkSpark},
	{"Link Monitor", (*session).checkLinkMonitor},
	{"KvStore", (*session).checkKvStore},
	{"Fib", func(s *session) ([]check, error) { return s.checkFib(defaultFibClient, 0) }},
	{"Decision", func(s *session) ([]check, error) { return s.checkDecision(nil) }},
	{"Prefix Manager", (*session).checkPrefixManager},
}

// validateCommand makes the validate command of a module: it prints what passed and what did not, and exits with 1 if
// anything did not.
func (a *app) validateCommand(short, module string, checks func(s *session) ([]check, error)) *cobra.Command {
	var suppress bool
	cmd := &cobra.Command{
		Use:   "validate",
		Short: short,
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			list, err := checks(s)
			if err != nil {
				return err
			}
			if a.json {
				if err := a.printJSON(checksJSON(list)); err != nil {
					return err
				}
			} else {
				a.printChecks(module, list, suppress)
			}
			if failures(list) > 0 {
				return exitCode(1)
			}
			return nil
		}),
	}
	suppressFlag(cmd, &suppress)
	return cmd
}

func suppressFlag(cmd *cobra.Command, v *bool) {
	cmd.Flags().BoolVar(v, "suppress-error", false, "say only what passed and what failed, not why")
}

// failures counts the checks that did not pass.
func failures(list []check) int {
	n := 0
	for _, c := range list {
		if !c.passed() {
			n++
		}
	}
	return n
}

// printChecks prints a line for each check, with what is wrong below it unless that is to be suppressed.
func (a *app) printChecks(module string, list []check, suppress bool) {
	for _, c := range list {
		verdict := a.paint(green, "PASS")
		if !c.passed() {
			verdict = a.paint(red, "FAIL")
		}
		a.printf("[%s] %s: %s\n", module, c.title, verdict)
		if suppress {
			continue
		}
		for _, fault := range c.faults {
			a.printf("%s", indent(strings.TrimRight(fault, "\n")))
		}
	}
}

// checksJSON is {"pass": ..., "checks": [{"check", "pass", "errors"}]}.
func checksJSON(list []check) map[string]any {
	checks := []any{}
	for _, c := range list {
		checks = append(checks, map[string]any{"check": c.title, "pass": c.passed(), "errors": slices.Concat([]string{}, c.faults)})
	}
	return map[string]any{"pass": failures(list) == 0, "checks": checks}
}

// checkStage checks that the agent has come to a stage of its initialization.
func (s *session) checkStage(stage kvstore.InitializationEvent) (check, error) {
	events, err := s.GetInitializationEvents(s.ctx)
	if err != nil {
		return check{}, err
	}
	c := check{title: "Initialization Event " + stage.String()}
	if _, ok := events[stage]; !ok {
		c.faults = append(c.faults, stage.String()+" was not reached; breeze openr status shows how far the agent has come")
	}
	return c, nil
}

// matchesAny reports whether one of an area's regular expressions matches a name as a whole, as the agent matches them. An
// expression that is none matches nothing.
func matchesAny(expressions []string, name string) bool {
	return slices.ContainsFunc(expressions, func(e string) bool {
		re, err := regexp.Compile("(?i)^(?:" + e + ")$")
		return err == nil && re.MatchString(name)
	})
}

// areaConfig returns the configuration of each area by its id.
func areaConfig(c *openrconfig.OpenrConfig) map[string]*openrconfig.AreaConfig {
	areas := map[string]*openrconfig.AreaConfig{}
	for _, area := range c.Areas {
		areas[area.AreaID] = area
	}
	return areas
}
