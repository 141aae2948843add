package ctrl

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/kvstore"
	"openr/lsdb"
	"openr/msg"
	wire "openr/thrift/gen/kvstore"
)

// kvError makes the exception that the methods of KvStoreService declare; nil of nil.
func kvError(err error) error {
	if err == nil {
		return nil
	}
	return &wire.KvStoreError{Message: err.Error()}
}

// GetKvStoreKeyVals returns the named keys of the only area, as far as they exist.
func (c *Ctrl) GetKvStoreKeyVals(ctx context.Context, keys []string) (*wire.Publication, error) {
	area, err := c.singleArea("getKvStoreKeyVals")
	if err != nil {
		return nil, kvError(err)
	}
	return c.GetKvStoreKeyValsArea(ctx, keys, area)
}

// GetKvStoreKeyValsArea returns the named keys of an area, as far as they exist.
func (c *Ctrl) GetKvStoreKeyValsArea(ctx context.Context, keys []string, area string) (*wire.Publication, error) {
	answer := kvstore.SyncAnswer{Area: area}
	var err error
	answer.KeyVals, err = ask(ctx, "kvstore", func(ctx context.Context) (map[string]lsdb.Value, error) {
		return c.KvStore.Get(ctx, area, keys)
	})
	if err != nil {
		return nil, kvError(err)
	}
	return kvstore.PublicationToThrift(answer), nil
}

// GetKvStoreKeyValsFiltered dumps the only area.
func (c *Ctrl) GetKvStoreKeyValsFiltered(ctx context.Context, filter *wire.KeyDumpParams) (*wire.Publication, error) {
	area, err := c.singleArea("getKvStoreKeyValsFiltered")
	if err != nil {
		return nil, kvError(err)
	}
	return c.GetKvStoreKeyValsFilteredArea(ctx, filter, area)
}

// GetKvStoreKeyValsFilteredArea dumps an area; with hashes in the filter it answers the first leg of a full
// synchronization.
func (c *Ctrl) GetKvStoreKeyValsFilteredArea(ctx context.Context, filter *wire.KeyDumpParams, area string) (*wire.Publication, error) {
	return c.dump(ctx, area, kvstore.DumpParamsFromThrift(filter))
}

// GetKvStoreHashFiltered dumps the only area without values.
func (c *Ctrl) GetKvStoreHashFiltered(ctx context.Context, filter *wire.KeyDumpParams) (*wire.Publication, error) {
	area, err := c.singleArea("getKvStoreHashFiltered")
	if err != nil {
		return nil, kvError(err)
	}
	return c.GetKvStoreHashFilteredArea(ctx, filter, area)
}

// GetKvStoreHashFilteredArea dumps an area without values. Of the filter only the keys count.
func (c *Ctrl) GetKvStoreHashFilteredArea(ctx context.Context, filter *wire.KeyDumpParams, area string) (*wire.Publication, error) {
	return c.dump(ctx, area, kvstore.DumpParamsFromThrift(filter).HashesOnly())
}

func (c *Ctrl) dump(ctx context.Context, area string, p kvstore.DumpParams) (*wire.Publication, error) {
	answer, err := c.dumpArea(ctx, area, p)
	if err != nil {
		return nil, kvError(err)
	}
	return kvstore.PublicationToThrift(answer), nil
}

func (c *Ctrl) dumpArea(ctx context.Context, area string, p kvstore.DumpParams) (kvstore.SyncAnswer, error) {
	if err := checkFilter(p); err != nil {
		return kvstore.SyncAnswer{}, err
	}
	return askFor(ctx, "kvstore", dumpPatience, func(ctx context.Context) (kvstore.SyncAnswer, error) {
		return c.KvStore.Dump(ctx, area, p)
	})
}

// bulk returns the methods that carry many keys, to be run instead of the generated ones, which do the same more slowly.
func (c *Ctrl) bulk() map[string]thrift.TProcessorFunction {
	return kvstore.Bulk{
		Set:  c.setKeys,
		Dump: c.dumpArea,
		DumpHashes: func(ctx context.Context, area string, p kvstore.DumpParams) (kvstore.SyncAnswer, error) {
			return c.dumpArea(ctx, area, p.HashesOnly())
		},
	}.Functions()
}

func (c *Ctrl) setKeys(ctx context.Context, area string, set kvstore.KeySet) (map[string]kvstore.NoMergeReason, error) {
	return ask(ctx, "kvstore", func(ctx context.Context) (map[string]kvstore.NoMergeReason, error) {
		return c.KvStore.Set(ctx, area, set)
	})
}

// SetKvStoreKeyVals merges values into an area: from peers by flooding, or from clients.
func (c *Ctrl) SetKvStoreKeyVals(ctx context.Context, params *wire.KeySetParams, area string) error {
	_, err := c.SetKvStoreKeyValues(ctx, params, area)
	return err
}

// SetKvStoreKeyValues is SetKvStoreKeyVals, and says which keys were not taken over and why.
func (c *Ctrl) SetKvStoreKeyValues(ctx context.Context, params *wire.KeySetParams, area string) (*wire.SetKeyValsResult_, error) {
	if params == nil {
		return nil, kvError(errMissing("setParams"))
	}
	reasons, err := c.setKeys(ctx, area, kvstore.KeySetFromThrift(params))
	if err != nil {
		return nil, kvError(err)
	}
	return kvstore.NoMergeReasonsToThrift(reasons), nil
}

func errMissing(argument string) error { return fmt.Errorf("argument %s is missing", argument) }

// PersistSelfOriginatedKey makes this node originate keys: refresh them, and defend them against overwriting. Entries
// without value are skipped.
func (c *Ctrl) PersistSelfOriginatedKey(_ context.Context, params *wire.KeySetParams, area string) error {
	return kvError(c.request(msg.KeyPersist, params, area))
}

// UnsetSelfOriginatedKey makes this node give up keys; the values it is given are their last words. Entries without value
// are skipped.
func (c *Ctrl) UnsetSelfOriginatedKey(_ context.Context, params *wire.KeySetParams, area string) error {
	return kvError(c.request(msg.KeyClear, params, area))
}

func (c *Ctrl) request(op msg.KeyOp, params *wire.KeySetParams, area string) error {
	if params == nil {
		return errMissing("setParams")
	}
	ids := c.Config.AreaIDs()
	if !slices.Contains(ids, area) {
		// A node with one area takes "0" for it, and anything if it is "0" itself (Open/R's compatibility rule).
		if len(ids) != 1 || ids[0] != "0" && area != "0" {
			return fmt.Errorf("%w: %q", kvstore.ErrUnknownArea, area)
		}
		area = ids[0]
	}
	requests := msg.KeyRequests{}
	for key, v := range params.KeyVals {
		if v != nil && v.Value != nil {
			if err := kvstore.CheckLimits(key, v.Value); err != nil {
				return err // no store would ever take it
			}
			requests[msg.AreaKey{Area: area, Key: key}] = msg.KeyRequest{Op: op, Data: v.Value}
		}
	}
	if len(requests) > 0 {
		c.KeyRequests.Push(requests)
	}
	return nil
}

// GetKvStorePeers returns the peers in the only area.
func (c *Ctrl) GetKvStorePeers(ctx context.Context) (wire.PeersMap, error) {
	area, err := c.singleArea("getKvStorePeers")
	if err != nil {
		return nil, kvError(err)
	}
	return c.GetKvStorePeersArea(ctx, area)
}

// GetKvStorePeersArea returns the peers in an area.
func (c *Ctrl) GetKvStorePeersArea(ctx context.Context, area string) (wire.PeersMap, error) {
	peers, err := ask(ctx, "kvstore", func(ctx context.Context) (map[string]kvstore.PeerStatus, error) {
		return c.KvStore.PeersOf(ctx, area)
	})
	if err != nil {
		return nil, kvError(err)
	}
	return kvstore.PeersToThrift(peers), nil
}

// GetKvStoreAreaSummary sums up the given areas; none given: all.
func (c *Ctrl) GetKvStoreAreaSummary(ctx context.Context, selectAreas []string) ([]*wire.KvStoreAreaSummary, error) {
	areas, err := ask(ctx, "kvstore", c.KvStore.Summary)
	if err != nil {
		return nil, kvError(err)
	}
	out := []*wire.KvStoreAreaSummary{}
	for _, a := range areas {
		if len(selectAreas) == 0 || slices.Contains(selectAreas, a.Area) {
			out = append(out, kvstore.AreaSummaryToThrift(a))
		}
	}
	if len(out) == 0 && len(selectAreas) > 0 {
		return nil, kvError(fmt.Errorf("%w: %q", kvstore.ErrUnknownArea, selectAreas))
	}
	return out, nil
}

// LongPollKvStoreAdj is LongPollKvStoreAdjArea for the only area.
func (c *Ctrl) LongPollKvStoreAdj(ctx context.Context, snapshot wire.KeyVals) (bool, error) {
	area, err := c.singleArea("longPollKvStoreAdj")
	if err != nil {
		return false, openrError(err)
	}
	return c.LongPollKvStoreAdjArea(ctx, area, snapshot)
}

// LongPollKvStoreAdjArea waits until the adjacency keys of an area differ from those in the snapshot, and returns true then;
// false if nothing happens for 20 seconds. Values in the snapshot need no content, but must carry the hashes that this node
// gave them. Other keys in it do not count.
func (c *Ctrl) LongPollKvStoreAdjArea(ctx context.Context, area string, snapshot wire.KeyVals) (bool, error) {
	changed, err := c.KvStore.LongPollAdj(ctx, area, kvstore.KeyValsFromThrift(snapshot))
	return changed, openrError(unanswered("kvstore", err))
}
