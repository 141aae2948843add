package agent

import (
	"context"

	"go.uber.org/zap"

	"openr/config"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/monitor"
	"openr/spark"
	"openr/thrift/invoke"
)

// Surroundings stand in place of what an agent touches outside of itself, so that whole agents run in a simulation. What is
// nil is the real thing.
type Surroundings struct {
	Links      linkmonitor.LinkSource
	Packets    spark.PacketIO
	Dial       kvstore.DialFunc
	Programmer fib.Programmer
	Random     func() float64 // from 0 up to 1

	// Serve offers the control API until ctx is done, in place of the control port.
	Serve func(ctx context.Context, s *invoke.Service) error
}

// forwarding is what stands below fib.
func (s *Surroundings) forwarding(cfg *config.Config, log *zap.Logger, counters *monitor.Counters) (forwarding, error) {
	if s.Programmer != nil {
		return forwarding{programmer: s.Programmer}, nil
	}
	return newForwarding(cfg, log, counters)
}
