package chaos

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"openr/lab"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
)

// Events in which somebody tampers with what is an agent's.

// meddle does something to the kernel of a node whose agent programs it; a gives the random choices.
func meddle(w *world, how func(w *world, i int, a int)) *event {
	n := w.agents(func(n *node) bool { return n.id != zebraNode && n.id != switchNode })[0]
	a := w.rng.IntN(1 << 20)
	return &event{what: n.String(), begin: once(func() {
		if !n.away {
			how(w, n.id, a)
		}
	})}
}

// tamper runs ip in a node. What it is to change may be gone by now.
func (w *world) tamper(i int, args ...string) {
	if out, err := w.Run(w.t.Context(), i, append([]string{"ip"}, args...)...); err != nil {
		w.say("  (not done: %v: %s)", err, strings.TrimSpace(string(out)))
	}
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "-4"
	}
	return "-6"
}

// prefixes returns what the kernel of a node has routes of its agent to.
func (w *world) prefixes(i int) []netip.Prefix {
	r, err := w.Routes(i)
	w.must(err)
	return slices.SortedFunc(maps.Keys(r), netip.Prefix.Compare)
}

func deleteRoutes(w *world, i, a int) {
	for k, p := range w.prefixes(i) {
		if (k+a)%3 == 0 {
			w.tamper(i, family(p), "route", "del", p.String(), "proto", strconv.Itoa(lab.Protocol))
		}
	}
}

func changeRoute(w *world, i, a int) {
	all := w.prefixes(i)
	if len(all) == 0 {
		return
	}
	p := all[a%len(all)]
	w.tamper(i, family(p), "route", "replace", "blackhole", p.String(), "proto", strconv.Itoa(lab.Protocol), "metric", "10")
}

func deleteObjects(w *world, i, a int) {
	all, err := w.objects(i)
	w.must(err)
	for k, o := range all {
		if (k+a)%4 == 0 {
			w.tamper(i, "nexthop", "del", "id", fmt.Sprint(o.ID))
		}
	}
}

// changeObject lets a nexthop object lead to where nobody is.
func changeObject(w *world, i, a int) {
	all, err := w.objects(i)
	w.must(err)
	all = slices.DeleteFunc(all, func(o object) bool { return len(o.Group) > 0 || o.Gateway == "" })
	if len(all) == 0 {
		return
	}
	o := all[a%len(all)]
	w.tamper(i, "nexthop", "replace", "id", fmt.Sprint(o.ID), "via", "fe80::dead", "dev", o.Dev, "proto", strconv.Itoa(lab.Protocol))
}

func flush(w *world, i, _ int) { w.flush(i) }

// flush takes all routes and nexthop objects of the agent out of a node's kernel.
func (w *world) flush(i int) {
	protocol := strconv.Itoa(lab.Protocol)
	w.tamper(i, "nexthop", "flush", "proto", protocol) // with what is on them
	w.tamper(i, "-4", "route", "flush", "proto", protocol)
	w.tamper(i, "-6", "route", "flush", "proto", protocol)
}

// overwriteKey puts a key of one node into another's store, newer than its owner has it: with other content, or about to
// expire. The owner has to win.
func overwriteKey(w *world) *event {
	order := w.rng.Perm(len(w.nodes))
	owner, at, choice, how := w.nodes[order[0]], w.nodes[order[1]], w.rng.IntN(1<<20), w.rng.IntN(3)
	words := [...]string{"expires soon", "is garbage", "is another's"}[how]
	ahead := int64(1 + w.rng.IntN(1000))
	return &event{what: fmt.Sprintf("of %v, in the store of %v: %s", owner, at, words), begin: once(func() {
		if owner.away || at.away {
			return
		}
		w.operate(at, func(ctx context.Context, c *openrctrl.OpenrCtrlClient) error {
			dump := kvstore.NewKeyDumpParams()
			all, err := c.GetKvStoreKeyValsFilteredArea(ctx, dump, "0")
			if err != nil {
				return err
			}
			var keys, others []string
			for key, v := range all.KeyVals {
				if v.OriginatorId == lab.NodeName(owner.id) {
					keys = append(keys, key)
				} else {
					others = append(others, key)
				}
			}
			slices.Sort(keys)
			slices.Sort(others)
			if len(keys) == 0 || len(others) == 0 {
				return nil
			}
			key := keys[choice%len(keys)]
			old := all.KeyVals[key]
			v := &kvstore.Value{Version: old.Version + ahead, OriginatorId: old.OriginatorId, Value: old.Value, TTL: 60_000, TtlVersion: old.TtlVersion + 1}
			switch how {
			case 0:
				v.TTL = 1000
			case 1:
				v.Value = []byte("not what anybody expects")
			case 2:
				v.Value, v.OriginatorId = all.KeyVals[others[choice%len(others)]].Value, "somebody"
			}
			w.say("  %s, version %d of %s", key, v.Version, v.OriginatorId)
			return c.SetKvStoreKeyVals(ctx, &kvstore.KeySetParams{KeyVals: kvstore.KeyVals{key: v}}, "0")
		})
	})}
}
