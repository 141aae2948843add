package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"openr/thrift/gen/openrctrl"
)

// streamSummary makes the command that lists who is subscribed to a module's stream.
func (a *app) streamSummary(kind openrctrl.StreamSubscriberType, short string) *cobra.Command {
	return &cobra.Command{
		Use:   "stream-summary",
		Short: short,
		Args:  cobra.NoArgs,
		RunE: a.run(func(s *session, _ []string) error {
			all, err := s.GetSubscriberInfo(s.ctx, int64(kind))
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(all)
			}
			if len(all) == 0 {
				a.printf("nobody is subscribed\n")
				return nil
			}
			var rows [][]string
			for _, i := range all {
				last := "never"
				if i.LastMsgSentTime > 0 {
					last = clock(time.UnixMilli(i.LastMsgSentTime).In(a.now().Location()))
				}
				rows = append(rows, []string{
					fmt.Sprint(i.SubscriberID), duration(time.Duration(i.Uptime) * time.Millisecond), fmt.Sprint(i.TotalStreamedMsgs), last,
				})
			}
			return a.table([]string{"SubscriberID", "Uptime", "Total Messages", "Time of Last Message"}, rows)
		}),
	}
}
