package main

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/openrendpoint"
)

func (a *app) endpointMoves() *cobra.Command {
	var (
		q     endpointFlags
		limit int32
	)
	cmd := &cobra.Command{
		Use:   "moves [MAC|IP]",
		Short: "How endpoints came, moved and went, the latest last",
		Long: "How endpoints came, moved and went, as this node saw it, the latest last. Of an IP address: what happened to the address, and to\n" +
			"the endpoint that has it now.\n\n" +
			"Changes: attach, detach, move; bounce and bounce end, between which a leaf sends on what still comes for an endpoint that has left\n" +
			"it; rogue and rogue end, between which an endpoint or address is pinned.",
		Example: "  breeze endpoint moves --limit 20\n  breeze endpoint moves 192.0.2.7\n  breeze endpoint moves --access-port eth3 --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.runEndpoint(func(s *session, args []string) error {
			filter, err := q.filter(args)
			if err != nil {
				return err
			}
			if limit < 0 {
				return usagef("--limit is %d: want 0 for all, or more", limit)
			}
			changes, err := s.own.GetEndpointChanges(s.ctx, filter, limit)
			if err == nil && len(changes) == 0 {
				err = q.known(s)
			}
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(changes)
			}
			if len(changes) == 0 {
				a.printf("Nothing has happened.\n")
				return nil
			}
			rows := make([][]string, len(changes))
			for i, c := range changes {
				from := c.FromPlace
				if from == c.ToPlace { // it stays there
					from = ""
				}
				rows[i] = []string{
					a.at("%s", c.AtMs), a.changeKind(c), fmt.Sprint(c.BridgeDomain), c.Mac, cmp.Or(addrText(c.Address), "-"), cmp.Or(from, "-"),
					cmp.Or(c.ToPlace, "-"), c.Cause,
				}
			}
			return a.table([]string{"Time", "Change", "Domain", "MAC", "Address", "From", "To", "Cause"}, rows)
		}),
	}
	q.register(a, cmd, "bd", "access-port")
	cmd.Flags().Int32Var(&limit, "limit", 100, "how many at most, of the latest; 0: all that the node remembers")
	return cmd
}

func (a *app) changeKind(c *openrendpoint.EndpointChange) string {
	switch c.Kind {
	case "attach":
		return a.paint(green, c.Kind)
	case "detach", "rogue":
		return a.paint(red, c.Kind)
	case "move", "bounce":
		return a.paint(yellow, c.Kind)
	}
	return c.Kind
}

func (a *app) endpointSnoop() *cobra.Command {
	var (
		q        endpointFlags
		last     int32
		duration int
	)
	cmd := &cobra.Command{
		Use:   "snoop [MAC|IP]",
		Short: "Watch endpoints come, move and go",
		Long: "Prints the latest changes, and then each as it happens, until it is interrupted: on a leaf, of all endpoints that it knows. What the\n" +
			"changes are called: see moves.\n\nWith --json: a line of JSON for each.",
		Example: "  breeze endpoint snoop\n  breeze endpoint snoop 192.0.2.7 --last 0\n  breeze endpoint snoop --bd 10 --json --duration 60",
		Args:    cobra.MaximumNArgs(1),
		RunE: a.runEndpoint(func(s *session, args []string) error {
			filter, err := q.filter(args)
			if err != nil {
				return err
			}
			if last < 0 {
				return usagef("--last is %d: want 0 or more", last)
			}
			if err := q.known(s); err != nil {
				return err
			}
			return s.snoopEndpoints(filter, last, time.Duration(duration)*time.Second)
		}),
	}
	q.register(a, cmd, "bd", "access-port")
	f := cmd.Flags()
	f.Int32Var(&last, "last", 10, "how many of the latest changes to begin with")
	f.IntVarP(&duration, "duration", "d", 0, "seconds after which to stop; 0: never")
	return cmd
}

func (s *session) snoopEndpoints(filter *openrendpoint.EndpointFilter, last int32, duration time.Duration) error {
	ctx := s.ctx
	if duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, duration)
		defer stop()
	}
	first := openrendpoint.NewOpenrEndpointGetEndpointChangesResult()
	args := &openrendpoint.OpenrEndpointGetEndpointChangesArgs{Filter: filter, Limit: max(1, last)} // 0 would mean all
	stream, err := s.subscribe("subscribeAndGetEndpointChanges", args, first)
	if err != nil {
		return err
	}
	defer stream.Close()
	if first.Error != nil {
		return first.Error
	}
	if last > 0 {
		for _, c := range first.Success {
			s.printChange(c)
		}
	}
	for {
		s.flush()
		c := openrendpoint.NewEndpointChange()
		if ended, err := next(ctx, stream, c); ended {
			return err
		}
		s.printChange(c)
	}
}

// printChange prints a change on one line.
func (a *app) printChange(c *openrendpoint.EndpointChange) {
	if a.json {
		line := plainStruct(reflect.ValueOf(c).Elem())
		line["event"] = "CHANGE"
		(&snooper{app: a}).line(line)
		return
	}
	who := fmt.Sprintf("%d/%s", c.BridgeDomain, c.Mac)
	if addr := addrText(c.Address); addr != "" {
		who += " " + addr
	}
	where := cmp.Or(c.FromPlace, c.ToPlace)
	if c.FromPlace != "" && c.ToPlace != "" && c.FromPlace != c.ToPlace {
		where = fromTo(c.FromPlace, c.ToPlace)
	}
	const longest = len("bounce end")
	kind := a.changeKind(c) + strings.Repeat(" ", max(0, longest-len(c.Kind)))
	a.printf("%s  %s  %s  %s", a.at("%s", c.AtMs), kind, who, where)
	if c.Cause != "" {
		a.printf("  (%s)", c.Cause)
	}
	a.printf("\n")
}
