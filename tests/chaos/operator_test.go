package chaos

import (
	"context"
	"errors"
	"fmt"
	"time"

	"openr/thrift/gen/openrctrl"
	"openr/thrift/rpc"
)

// callTimeout bounds a call to an agent that should answer.
const callTimeout = 20 * time.Second

// call calls node i's control API once.
func (w *world) call(i int, what request) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), callTimeout)
	defer cancel()
	var conn *rpc.Conn
	err := w.Do(i, func() (err error) {
		conn, err = rpc.Dial(ctx, "[::1]:2018", rpc.DialOptions{RequestTimeout: callTimeout})
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	return what(ctx, openrctrl.NewOpenrCtrlClient(conn.Client()))
}

// operate calls node i's control API until it answers. An agent that has just been started takes its time; one that refuses is
// wrong.
func (w *world) operate(n *node, what request) {
	w.t.Helper()
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		err := w.call(n.id, what)
		var refused *openrctrl.OpenrError
		switch {
		case err == nil:
			return
		case errors.As(err, &refused) && !n.fresh:
			w.t.Fatalf("n%d refuses: %v", n.id, refused.Message)
		case time.Since(begin) > patience:
			w.t.Fatalf("n%d does not answer: %v", n.id, err)
		}
	}
}

// notReady tells why a node that was started, or what is below it, cannot be judged yet; empty: it can.
func (w *world) notReady(i int) string {
	why := ""
	err := w.call(i, func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
		ready, err := c.InitializationConverged(ctx)
		if err != nil {
			return err
		}
		if !ready {
			why = "not initialized"
			return nil
		}
		counters, err := c.GetCounters(ctx)
		if err != nil {
			return err
		}
		for name, want := range map[int]map[string]int64{
			zebraNode:  {"fib.zebra.connected": 1, "fib.zebra.routes_stale": 0},
			switchNode: {"fib.switch_agent.connected": 1},
		}[i] {
			if counters[name] != want {
				why = fmt.Sprintf("%s is %d", name, counters[name])
			}
		}
		if counters["fib.synced"] != 1 || counters["fib.num_dirty_routes"] != 0 {
			why = fmt.Sprintf("fib.synced is %d, fib.num_dirty_routes is %d", counters["fib.synced"], counters["fib.num_dirty_routes"])
		}
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return why
}

// request is a call to an agent's control API.
type request func(context.Context, *openrctrl.OpenrCtrlClient) error

// operation is an event in which an operator sets something at a node, and in the end undoes it; note writes it down. A node
// that is away is left alone.
func (w *world) operation(n *node, what string, l *link, set, unset request, note func(on bool)) *event {
	e := &event{what: what}
	if l != nil {
		e.claims.links = []*link{l}
		if n.id == switchNode { // whose interfaces go with the switch agent
			e.claims.nodes = []*node{n}
		}
	}
	done := false
	e.begin = once(func() {
		if n.away {
			return
		}
		w.operate(n, set)
		done = true
		note(true)
	})
	e.end = []step{{last: true, do: func() {
		if !done {
			return
		}
		w.operate(n, unset)
		note(false)
	}}}
	return e
}
