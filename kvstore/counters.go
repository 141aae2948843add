package kvstore

import "regexp"

// Names of counters, Open/R's where it has one. Those that end in a dot are followed by the area or the kind of area.
const (
	cntNumKeys            = "kvstore.num_keys"                        // keys in all areas
	cntNumPeers           = "kvstore.num_peers"                       // peers in all areas
	cntNumPeersState      = "kvstore.num_peers."                      // peers by kind of area and state: <areaType>.<STATE>
	cntNumFloodPeers      = "kvstore.num_flood_peers"                 // peers in all areas that changes are flooded to
	cntNumFloodPeersIn    = "kvstore.num_flood_peers."                // the same by area
	cntNoneInitialized    = "kvstore.all_peers_not_initialized."      // 1 if there are peers and none is INITIALIZED, by kind of area
	cntNumExpiring        = "kvstore.num_expiring_keys"               // keys that can expire, in all areas
	cntNumExpiringIn      = "kvstore.num_expiring_keys."              // adjacencies of peers whose lifetime is less than half of key_ttl_ms, looked at every 5 minutes, by area
	cntTTLHandles         = "kvstore.ttl_countdown_handle_map_size."  // keys that can expire, by area
	cntTTLQueueSize       = "kvstore.ttl_countdown_queue_size."       // keys that can expire, by area
	cntRecvPubs           = "kvstore.received_publications"           // sets of values received or originated
	cntRecvKeyVals        = "kvstore.received_key_vals"               // values in them
	cntUpdatedKeyVals     = "kvstore.updated_key_vals"                // values that changed the store
	cntRedundantPubs      = "kvstore.received_redundant_publications" // sets that changed nothing
	cntLoopedPubs         = "kvstore.looped_publications"             // sets that this node had sent itself
	cntRejectedKeyVals    = "kvstore.rejected_key_vals"               // values that no store passes on (key, size, version, TTL, another's name)
	cntRejectedFrom       = "kvstore.rejected_key_vals."              // the same by where they came from, as the next but one
	cntLimitedKeyVals     = "kvstore.limited_key_vals"                // new keys refused because kvstore_limits leave no room
	cntLimitedFrom        = "kvstore.limited_key_vals."               // the same by where they came from: link.<interface>, network.<prefix>, node.<name>
	cntRateHeld           = "kvstore.rate_limit_held"                 // sets that had to wait because a neighbour floods too fast
	cntRateHeldFrom       = "kvstore.rate_limit_held."                // the same by where they came from
	cntRateRefused        = "kvstore.rate_limit_refused_key_vals"     // values in sets that would have had to wait too long
	cntDamped             = "kvstore.damped_key_vals"                 // changes that were not flooded at once because the key changes too often
	cntDampedFrom         = "kvstore.damped_key_vals."                // the same by where they came from
	cntNumUpdates         = "kvstore.num_updates"                     // sets that changed something
	cntExpiredKeyVals     = "kvstore.expired_key_vals"                // keys whose lifetime ended
	cntConflictVersion    = "kvstore.num_conflict_version_key"        // TTL updates that showed a store to differ from the originator's
	cntDefended           = "kvstore.num_defended_keys"               // own keys taken back from another writer
	cntDefendedFrom       = "kvstore.num_defended_keys."              // the same by where the other's came from
	cntSuppressed         = "kvstore.rate_limit_suppress"             // floods put off by flood_rate
	cntSuppressedKeys     = "kvstore.rate_limit_keys"                 // keys that wait when flood_rate puts a flood off
	cntRecvToAdvertise    = "kvstore.recv_to_advertise_ms"            // from the arrival of a change to its flood to the next peers
	cntRecvToAdvertiseMax = "kvstore.recv_to_advertise_max_ms"        // the longest that this has taken
	cntSubscriptions      = "kvstore.num_subscriptions"               // subscriptions and long polls at present
	cntSlowReaders        = "kvstore.num_subscriptions_behind"        // times that a subscription did not read in time and was given changes merged
	cntLostReaders        = "kvstore.num_subscriptions_lost"          // subscriptions ended because they had not read for too long
	cntRejectedRequests   = "kvstore.rejected_requests"               // key requests and peers for unknown areas, peers with my own name
	cntBadTransition      = "kvstore.unexpected_peer_event"           // peer events that the state does not expect; ignored
	cntAreaCompat         = "kvstore.default_area_compatibility."     // requests for another area answered from the only one: <caller>
	cntCmdKeyGet          = "kvstore.cmd_key_get"
	cntCmdKeySet          = "kvstore.cmd_key_set"
	cntCmdKeyDump         = "kvstore.cmd_key_dump"
	cntCmdHashDump        = "kvstore.cmd_hash_dump" // dumps without data
	cntCmdPeerAdd         = "kvstore.cmd_peer_add"
	cntCmdPeerDel         = "kvstore.cmd_per_del" // as Open/R spells it
	cntCmdPeerDump        = "kvstore.cmd_peer_dump"
	cntConnectFailure     = "kvstore.thrift.num_client_connection_failure"
	cntPlainClient        = "kvstore.thrift.plaintext_client"   // connections made
	cntSecureClient       = "kvstore.thrift.secure_client"      // connections made by TLS
	cntMissingKeys        = "kvstore.thrift.num_missing_keys"   // keys that a peer asked for at the end of a full sync
	cntKeyValsUpdate      = "kvstore.thrift.num_keyvals_update" // values that a peer sent in a full sync
	cntFloodKeyVals       = "kvstore.thrift.num_flood_key_vals" // values flooded, per peer
	cntRPC                = "kvstore.thrift.num_"               // requests to peers: <kind>, <kind>_success, <kind>_failure
	cntRPCDuration        = "kvstore.thrift."                   // how long they took: <kind>_duration_ms
)

// TLS failed and plaintext was used instead, for the request with which a connection began.
const (
	cntSecureSyncFailure = "kvstore.thrift.semifuture_getKvStoreKeyValsFilteredArea.secure_client.failure"
	cntSecureSetFailure  = "kvstore.thrift.semifuture_setKvStoreKeyVals.secure_client.failure"
)

// Names of entries in the event log.
const (
	evAddPeer   = "ADD_PEER"
	evDelPeer   = "DEL_PEER"
	evFullSync  = "KVSTORE_FULL_SYNC"
	evKeyExpire = "KEY_EXPIRE"
)

var areaTypes = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"POD", regexp.MustCompile(`\.p\d+$`)},
	{"SPINE", regexp.MustCompile(`\.s\d+$`)},
	{"SLICE", regexp.MustCompile(`\.slice\d+$`)},
	{"HGRID", regexp.MustCompile(`\.fa\d+$`)},
}

// areaType returns the kind of an area, which Open/R's users know from its name.
func areaType(area string) string {
	for _, t := range areaTypes {
		if t.pattern.MatchString(area) {
			return t.name
		}
	}
	return "UNKNOWN"
}
