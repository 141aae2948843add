package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) perf() *cobra.Command {
	return group("perf", "Performance", a.perfFib())
}

func (a *app) perfFib() *cobra.Command {
	return &cobra.Command{
		Use:   "fib",
		Short: "How long the last changes took from their origin to the forwarding table",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			db, err := s.GetPerfDb(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(db)
			}
			if len(db.EventInfo) == 0 {
				a.printf("nothing is recorded\n")
				return nil
			}
			for i, chain := range db.EventInfo {
				var rows [][]string
				var first, last int64
				for n, e := range chain.Events {
					took := ""
					if n == 0 {
						first = e.UnixTs
					} else {
						took = fmt.Sprintf("%d ms", e.UnixTs-last)
					}
					last = e.UnixTs
					rows = append(rows, []string{e.NodeName, e.EventDescr, took, clock(time.UnixMilli(e.UnixTs).In(a.now().Location()))})
				}
				a.caption("Perf Event Item: %d, total duration: %d ms", i, last-first)
				if err := a.table([]string{"Node", "Events", "Duration", "Unix Timestamp"}, rows); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}
