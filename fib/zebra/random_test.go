package zebra

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openr/config"
	"openr/fib"
	"openr/msg"
	"openr/queue"
)

// speak ends all that is wrong with it; routes that it has kept to itself win.
func (f *fake) speak() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.silent)
	clear(f.refuses)
	clear(f.lies)
	for p, k := range f.kept {
		f.kernel[p] = k
		for _, c := range f.conns {
			q := newPeer(c)
			q.rel = f.rel
			f.send(q, cmdRouteNotifyOwner, func(b []byte) []byte {
				return f.rel.appendRouteNote(b, routeNote{note: noteInstalled, prefix: p, table: mainTable})
			})
			_ = q.flush()
		}
	}
	clear(f.kept)
}

// TestAnyFaults runs package fib over a zebra that drops sessions, hangs, refuses, says nothing, lies, forgets and restarts, by
// random schedules. When it behaves again, the kernel comes to have what is wanted.
func TestAnyFaults(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		f := newFake(t, "8.4")
		defer f.end()
		p := f.open(func(o *Options) { o.patience = 20 * time.Millisecond })
		defer p.Close()
		updates := queue.New(msg.MergeRoutes)
		module := fib.New(fib.Options{Config: &config.Config{}, Routes: updates, Programmer: p})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- module.Run(ctx) }()
		defer func() { cancel(); must(t, <-ended) }()

		wanted := map[netip.Prefix]msg.Route{}
		want := func() {
			clear(wanted)
			for i := range 6 {
				hops := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"fe80::1 za0", "fe80::2 za0 3", "fe80::1 za1"}), 0, 2, rapid.ID).Draw(r, "next hops")
				if x := newRoute(fmt.Sprintf("2001:db8:%x::/48", i), hops...); rapid.IntRange(0, 3).Draw(r, "which") > 0 {
					wanted[x.Prefix] = x
				}
			}
			updates.Push(msg.RouteUpdate{Full: true, Update: maps.Clone(wanted)})
		}
		want()
		for range rapid.IntRange(1, 10).Draw(r, "steps") {
			victim := prefix(fmt.Sprintf("2001:db8:%x::/48", rapid.IntRange(0, 5).Draw(r, "victim")))
			note := func(faults map[netip.Prefix]bool) {
				f.mu.Lock()
				defer f.mu.Unlock()
				faults[victim] = !faults[victim]
			}
			switch rapid.IntRange(0, 8).Draw(r, "step") {
			case 0, 1:
				want()
			case 2:
				f.drop()
			case 3:
				note(f.refuses)
			case 4:
				note(f.silent)
			case 5:
				note(f.lies)
			case 6:
				f.hang(rapid.Bool().Draw(r, "hang"))
			case 7: // somebody takes a route out of the kernel, and nobody tells
				f.mu.Lock()
				delete(f.kernel, victim)
				f.mu.Unlock()
			case 8: // it restarts, with an empty table
				f.mu.Lock()
				clear(f.kernel)
				clear(f.groups)
				f.mu.Unlock()
				f.drop()
			}
			time.Sleep(time.Duration(rapid.IntRange(0, 10).Draw(r, "ms")) * time.Millisecond) // how much of it is noticed
		}
		f.hang(false)
		f.speak()
		right := func() (wrong string) {
			status, err := module.Routes(ctx)
			if err != nil {
				return err.Error()
			}
			for _, s := range status {
				if s.State != fib.RouteProgrammed {
					wrong += fmt.Sprintf("%v is %v: %v\n", s.Route.Prefix, s.State, s.Err)
				}
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.kernel) != len(wanted) {
				wrong += fmt.Sprintf("the kernel has %d routes, %d are wanted\n", len(f.kernel), len(wanted))
			}
			for prefix, x := range wanted {
				var hops []kernelHop
				for _, h := range fib.Forwarding(x) {
					hops = append(hops, kernelHop{index: uint32(h.IfName[2]-'0') + 1, addr: h.Addr, weight: h.Weight})
				}
				slices.SortFunc(hops, compareKernelHops)
				if k, there := f.kernel[prefix]; !there || !sameInKernel(hops, k.hops) {
					wrong += fmt.Sprintf("%v is %+v in the kernel, there: %v; want %+v\n", prefix, k, there, hops)
				}
			}
			return wrong
		}
		for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			signal(p.invalidated) // what nobody has told of is found when the table is compared
			wrong := right()
			if wrong == "" {
				return
			}
			if time.Now().After(end) {
				r.Fatal(wrong)
			}
		}
	})
}
