package kvstore

import (
	"context"
	"time"

	"go.uber.org/zap"

	"openr/lsdb"
	"openr/thrift/rpc"
)

// Set brings values into the store of an area and, as far as they are news, to the modules and the peers. It returns the
// keys that were not taken over, each with the reason. The maps of set are left alone; its Data must not be changed
// afterwards. Whatever hash a value has, the store computes its own.
//
// A set from a neighbour that floods faster than kvstore_limits allows waits for up to two seconds, or is refused.
//
// Errors: ErrUnknownArea; a refusal; ctx's error or queue.ErrStopped if the store did not get to it.
func (k *KvStore) Set(ctx context.Context, area string, set KeySet) (map[string]NoMergeReason, error) {
	received := time.Now()
	vals := set.changes()
	set.giver = giverOf(rpc.Caller(ctx), set.sender())
	if err := k.rates.hold(ctx, set.giver, set.sender(), len(vals)); err != nil {
		return nil, err
	}
	for i := range vals {
		if v := &vals[i].value; v.HasData() {
			v.Hash, v.HasHash = Hash(v.Version, v.Originator, v.Data), true
		}
	}
	var reasons map[string]NoMergeReason
	err := k.ask(ctx, func() (err error) {
		reasons, err = k.core.receive(time.Now(), received, area, set, vals)
		return err
	})
	return reasons, err
}

// Get returns the values of the named keys as far as they exist, with the TTL that is left. Errors as Set.
func (k *KvStore) Get(ctx context.Context, area string, keys []string) (map[string]lsdb.Value, error) {
	vals := map[string]lsdb.Value{}
	err := k.ask(ctx, func() error {
		a, err := k.core.area(area, "getKvStoreKeyVals")
		if err != nil {
			return err
		}
		k.opts.Counters.Count(cntCmdKeyGet)
		for _, key := range keys {
			if e := a.table.entries[key]; e != nil {
				if v, ok := a.table.outgoing(time.Now(), e, 0); ok {
					vals[key] = v
				}
			}
		}
		return nil
	})
	return vals, err
}

// Dump answers a dump, or with p.Hashes the first leg of a full synchronization. The Data of the answer is shared with the
// store: do not change it. Many dumps of many keys take turns. Errors as Set.
func (k *KvStore) Dump(ctx context.Context, area string, p DumpParams) (SyncAnswer, error) {
	f, err := newFilter(p)
	if err != nil {
		k.opts.Log.Warn("dump is not filtered by key", zap.Error(err))
	}
	var s snapshot
	err = k.ask(ctx, func() error {
		a, err := k.core.area(area, "getKvStoreKeyValsFiltered")
		if err != nil {
			return err
		}
		if p.DoNotPublishValue {
			k.opts.Counters.Count(cntCmdHashDump)
		} else {
			k.opts.Counters.Count(cntCmdKeyDump)
		}
		if p.compares() {
			a.answered(time.Now(), p.SenderID)
		}
		s = a.table.snapshot()
		return nil
	})
	answer := SyncAnswer{Area: area}
	if err == nil {
		err = k.dumping(ctx, s.n, p.compares(), func() { s.answer(time.Now(), f, p, &answer) })
	}
	return answer, err
}

// PeersOf returns the peers in an area by name. Errors as Set.
func (k *KvStore) PeersOf(ctx context.Context, area string) (map[string]PeerStatus, error) {
	var peers map[string]PeerStatus
	err := k.ask(ctx, func() error {
		a, err := k.core.area(area, "getKvStorePeers")
		if err != nil {
			return err
		}
		k.opts.Counters.Count(cntCmdPeerDump)
		peers = a.statuses(time.Now())
		return nil
	})
	return peers, err
}

// Summary returns a summary of each area, sorted by area. Errors: ctx's, queue.ErrStopped.
func (k *KvStore) Summary(ctx context.Context) ([]AreaSummary, error) {
	var out []AreaSummary
	err := k.ask(ctx, func() error {
		for _, id := range k.core.order {
			a := k.core.areas[id]
			out = append(out, AreaSummary{Area: id, Peers: a.statuses(time.Now()), Keys: len(a.table.entries), Bytes: a.table.size})
		}
		return nil
	})
	return out, err
}

// ask runs f on the goroutine that owns the store.
func (k *KvStore) ask(ctx context.Context, f func() error) error {
	var ferr error
	if err := k.calls.Do(ctx, func() { ferr = f() }); err != nil {
		return err
	}
	return ferr
}
