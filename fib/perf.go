package fib

import (
	"context"
	"slices"
	"time"

	"openr/lsdb"
)

// perfKept is how many chains of time stamps Perf returns at most (Open/R Constants.h, kPerfBufferSize).
const perfKept = 10

// What fib adds to a chain of time stamps: the update has come, and its routes are programmed.
const (
	eventReceived   = "FIB_ROUTE_DB_RECVD"
	eventProgrammed = "OPENR_FIB_ROUTES_PROGRAMMED"
)

// perfEvents is a chain of time stamps, of all nodes that a change has come through. It is never changed, only copied.
type perfEvents []lsdb.PerfEvent

func (e perfEvents) with(node, what string) perfEvents {
	return append(slices.Clip(e), lsdb.PerfEvent{Node: node, Description: what, UnixMillis: time.Now().UnixMilli()})
}

// first returns the earliest time of a chain, of one node's events only unless node is empty; 0 if there is none.
func (e perfEvents) first(node string) (first int64) {
	for _, x := range e {
		if (node == "" || x.Node == node) && (first == 0 || x.UnixMillis < first) {
			first = x.UnixMillis
		}
	}
	return first
}

// converge notes the chain of an update whose routes are to be programmed, if it started before the one that runs.
func (f *Fib) converge(chain perfEvents) {
	start := chain.first("")
	if start != 0 && (f.converging == nil || start < f.converging.first("")) {
		f.converging = chain.with(f.opts.Config.NodeName, eventReceived)
	}
	f.checkConverged()
}

// checkConverged ends the chain that runs if everything new has been programmed.
func (f *Fib) checkConverged() {
	if f.converging == nil || !f.table.known || f.table.pending(firstTry) {
		return
	}
	me := f.opts.Config.NodeName
	chain := f.converging.with(me, eventProgrammed)
	f.converging = nil
	end := chain[len(chain)-1].UnixMillis
	f.opts.Counters.Avg(counterConvergenceTime, end-chain.first(""))
	f.opts.Counters.Avg(counterLocalTime, end-chain.first(me))
	if len(f.perf) == perfKept {
		f.perf = slices.Delete(f.perf, 0, 1)
	}
	f.perf = append(f.perf, chain)
	f.converged = chain
}

// Perf returns the chains of time stamps of the last changes, from their origin until this node had programmed its routes,
// the oldest change first and each chain in the order of its stamps. There are none unless enable_perf_measurement is set
// on the nodes involved. It fails as Routes does.
func (f *Fib) Perf(ctx context.Context) (chains [][]lsdb.PerfEvent, err error) {
	err = f.calls.Do(ctx, func() {
		for _, chain := range f.perf {
			chains = append(chains, chain)
		}
	})
	return chains, err
}
