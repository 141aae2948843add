package main

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
)

// checkKvStore validates the store.
func (s *session) checkKvStore() ([]check, error) {
	config, err := s.GetRunningConfigThrift(s.ctx)
	if err != nil {
		return nil, err
	}
	own := config.NodeName
	keys, peers, ttl := check{title: "Key Advertisement"}, check{title: "Peer State"}, check{title: "Key TTL"}
	var adj, prefix bool
	shortest := int64(config.GetKvstoreConfig().GetKeyTTLMs()) / 2
	for _, area := range slices.Sorted(maps.Keys(areaConfig(config))) {
		there, err := s.GetKvStorePeersArea(s.ctx, area)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.SortedFunc(maps.Keys(there), naturalCompare) {
			if p := there[name]; p.State != kvstore.KvStorePeerState_INITIALIZED {
				peers.faults = append(peers.faults, fmt.Sprintf("%s in area %s is %s for %s, flaps %d", name, area, p.State,
					duration(time.Duration(p.GetStateElapsedTimeMs())*time.Millisecond), p.GetFlaps()))
			}
		}
		entries, err := s.dump([]string{area}, keysOf())
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if node, ok := lsdb.ParseAdjKey(e.key); ok && node == own && e.value.OriginatorId == own {
				adj = true
			}
			if node, _, ok := lsdb.ParsePrefixKey(e.key); ok && node == own && e.value.OriginatorId == own {
				prefix = true
			}
			if e.value.TTL != lsdb.TTLInfinite && e.value.TTL < shortest {
				ttl.faults = append(ttl.faults, fmt.Sprintf("%s in area %s, of %s, lives for %s only, less than half of key_ttl_ms", e.key, area,
					e.value.OriginatorId, ttlText(e.value.TTL)))
			}
		}
	}
	if !adj {
		keys.faults = append(keys.faults, "the store has no adj: key of "+own)
	}
	if !prefix {
		keys.faults = append(keys.faults, "the store has no prefix: key of "+own)
	}
	synced, err := s.checkStage(kvstore.InitializationEvent_KVSTORE_SYNCED)
	if err != nil {
		return nil, err
	}
	return []check{keys, peers, ttl, synced}, nil
}
