package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/gen/types"
)

// routeSnooper shows how routes change.
type routeSnooper struct {
	*app
	only map[netip.Prefix]bool // nothing: all routes
}

func (k *fibCommands) snoop() *cobra.Command {
	var (
		duration int
		initial  bool
		prefixes []string
	)
	cmd := &cobra.Command{
		Use:   "snoop",
		Short: "Watch the routes change",
		Long: "Prints how many routes there are, and then each change as it happens, until it is interrupted.\n\n" +
			"With --json: a line of JSON for each.",
		Args: cobra.NoArgs,
		RunE: k.run(func(s *session, _ []string) error {
			wanted, err := parsePrefixes(prefixes)
			if err != nil {
				return err
			}
			n := &routeSnooper{app: k.app, only: map[netip.Prefix]bool{}}
			for _, p := range wanted {
				n.only[p] = true
			}
			return n.run(s, time.Duration(duration)*time.Second, initial)
		}),
	}
	f := cmd.Flags()
	f.IntVarP(&duration, "duration", "d", 0, "seconds after which to stop; 0: never")
	pair(cmd, &initial, "initial-dump", "", false, "print the routes that there are at the beginning")
	f.StringSliceVarP(&prefixes, "prefixes", "p", nil, "only the routes to exactly these prefixes")
	return cmd
}

// run prints what there is at the beginning and then what changes.
func (n *routeSnooper) run(s *session, duration time.Duration, initial bool) error {
	ctx := s.ctx
	if duration > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, duration)
		defer stop()
	}
	first := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibResult()
	stream, err := s.subscribe("subscribeAndGetFib", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetFibArgs(), first)
	if err != nil {
		return err
	}
	defer stream.Close()
	db := first.Success
	if db == nil {
		db = types.NewRouteDatabase()
	}
	n.snapshot(db)
	if initial {
		n.update(&types.RouteDatabaseDelta{UnicastRoutesToUpdate: db.UnicastRoutes, MplsRoutesToUpdate: db.MplsRoutes})
	}
	for {
		n.flush()
		delta := types.NewRouteDatabaseDelta()
		if ended, err := next(ctx, stream, delta); ended {
			return err
		}
		n.update(delta)
	}
}

// snapshot prints what there is at the beginning, in figures.
func (n *routeSnooper) snapshot(db *types.RouteDatabase) {
	if n.json {
		n.line(map[string]any{"event": "SNAPSHOT", "unicastRoutes": len(db.UnicastRoutes), "mplsRoutes": len(db.MplsRoutes)})
		return
	}
	n.printf("Snapshot: %d unicast routes, %d MPLS routes\n", len(db.UnicastRoutes), len(db.MplsRoutes))
}

// update prints changes.
func (n *routeSnooper) update(delta *types.RouteDatabaseDelta) {
	set := slices.DeleteFunc(sortedRoutes(delta.UnicastRoutesToUpdate), func(r *network.UnicastRoute) bool { return !n.wanted(r.Dest) })
	gone := slices.DeleteFunc(slices.Clone(delta.UnicastRoutesToDelete), func(p *network.IpPrefix) bool { return !n.wanted(p) })
	mplsSet, mplsGone := delta.MplsRoutesToUpdate, delta.MplsRoutesToDelete
	if len(n.only) > 0 {
		mplsSet, mplsGone = nil, nil
	}
	if len(set)+len(gone)+len(mplsSet)+len(mplsGone) == 0 {
		return
	}
	if n.json {
		routes := routesJSON(set, mplsSet)
		n.line(map[string]any{
			"event": "UPDATE", "unicastRoutesToUpdate": routes["unicastRoutes"], "unicastRoutesToDelete": gone,
			"mplsRoutesToUpdate": routes["mplsRoutes"], "mplsRoutesToDelete": mplsGone,
		})
		return
	}
	n.printf("\nTimestamp: %s\n", clock(n.now()))
	for _, r := range set {
		n.printf("%s\n", n.paint(green, "+ "+prefixText(r.Dest)))
		for _, hop := range r.NextHops {
			n.printf("  %s\n", nextHopText(hop, false, nil))
		}
		if len(r.NextHops) == 0 {
			n.printf("    drop\n")
		}
	}
	for _, p := range gone {
		n.printf("%s\n", n.paint(red, "- "+prefixText(p)))
	}
	for _, r := range mplsSet {
		n.printf("%s (MPLS)\n", n.paint(green, "+ "+fmt.Sprint(r.TopLabel)))
		for _, hop := range r.NextHops {
			n.printf("  %s\n", nextHopText(hop, false, nil))
		}
	}
	for _, label := range mplsGone {
		n.printf("%s (MPLS)\n", n.paint(red, "- "+fmt.Sprint(label)))
	}
}

func (n *routeSnooper) wanted(p *network.IpPrefix) bool {
	return len(n.only) == 0 || n.only[prefixOf(p)]
}

// line prints JSON on one line, with the time.
func (n *routeSnooper) line(v map[string]any) { (&snooper{app: n.app}).line(v) }
