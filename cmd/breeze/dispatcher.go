package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) dispatcher() *cobra.Command {
	return group("dispatcher", "Which modules read what of the store", a.dispatcherFilters(), a.dispatcherQueues())
}

func (a *app) dispatcherFilters() *cobra.Command {
	return &cobra.Command{
		Use:   "filters",
		Short: "Which keys each reader of the store is told of, by what they begin with",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			filters, err := s.GetDispatcherFilters(s.ctx)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(filters)
			}
			var rows [][]string
			for i, prefixes := range filters {
				rows = append(rows, []string{fmt.Sprint(i), strings.Join(prefixes, ", ")})
			}
			return a.table([]string{"Reader ID", "Prefix Filters"}, rows)
		}),
	}
}

func (a *app) dispatcherQueues() *cobra.Command {
	return &cobra.Command{
		Use:   "queues",
		Short: "The queues between the store and its readers",
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			counters, err := s.GetCounters(s.ctx)
			if err != nil {
				return err
			}
			const queue = "kvStorePublicationsQueue"
			maps.DeleteFunc(counters, func(name string, _ int64) bool {
				return !strings.HasPrefix(name, "messaging.replicate_queue."+queue) && !strings.HasPrefix(name, "messaging.rw_queue."+queue)
			})
			if a.json {
				return a.printJSON(counters)
			}
			if len(counters) == 0 {
				a.printf("this agent counts no queues\n")
				return nil
			}
			var rows [][]string
			for _, name := range slices.SortedFunc(maps.Keys(counters), naturalCompare) {
				rows = append(rows, []string{strings.TrimPrefix(name, "messaging."), fmt.Sprint(counters[name])})
			}
			return a.table([]string{"Queue", "Value"}, rows)
		}),
	}
}
