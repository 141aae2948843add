// The replicated store: values, publications, peers, and the service on TCP 2018.
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go kvstore

include "Types.thrift"
include "fb303_core.thrift"

enum InitializationEvent {
  INITIALIZING = 0,
  AGENT_CONFIGURED = 1,
  LINK_DISCOVERED = 2,
  NEIGHBOR_DISCOVERED = 3,
  KVSTORE_SYNCED = 4,
  RIB_COMPUTED = 5,
  FIB_SYNCED = 6,
  PREFIX_DB_SYNCED = 7,
  INITIALIZED = 8,
  PEERS_DISCOVERED = 9,
  PEER_DISCOVERY_ERROR = 11,
  KVSTORE_SYNC_ERROR = 12,
  FSDB_SUBSCRIBED = 13,
  ADJACENCY_DB_SYNCED = 14,
}

exception KvStoreError {
  1: string message;
}

struct Value {
  1: i64 version;
  3: string originatorId;
  2: optional binary value;
  4: i64 ttl;
  5: i64 ttlVersion = 0;
  6: optional i64 hash;
}

typedef map<string, Value> KeyVals

typedef map<string, KvStoreNoMergeReason> NoMergeMap

enum KvStoreNoMergeReason {
  UNKNOWN = 0,
  NO_MATCHED_KEY = 1,
  INVALID_TTL = 2,
  OLD_VERSION = 3,
  NO_NEED_TO_UPDATE = 4,
  LOOP_DETECTED = 5,
  INCONSISTENCY_DETECTED = 6,
}

struct SetKeyValsResult {
  1: NoMergeMap noMergeReasons;
}

struct KvStoreMergeResult {
  1: KeyVals keyVals;
  2: NoMergeMap noMergeKeyVals;
  3: bool inconsistencyDetetectedWithOriginator = false;
}

enum FilterOperator {
  OR = 1,
  AND = 2,
}

struct KeySetParams {
  2: KeyVals keyVals;
  5: optional list<string> nodeIds;
  7: optional i64 timestamp_ms;
  8: optional string senderId;
}

struct KeyGetParams {
  1: list<string> keys;
}

struct KeyDumpParams {
  2: optional KeyVals keyValHashes;
  3: set<string> originatorIds;
  4: optional FilterOperator oper;
  5: list<string> keys = [];
  6: bool ignoreTtl = true;
  7: bool doNotPublishValue = false;
  8: optional string senderId;
}

enum KvStorePeerState {
  IDLE = 0,
  SYNCING = 1,
  INITIALIZED = 2,
}

struct PeerSpec {
  1: string peerAddr;
  4: i32 ctrlPort = 0;
  5: KvStorePeerState state;
  6: optional i64 stateEpochTimeMs;
  7: optional i64 stateElapsedTimeMs;
  8: optional i32 flaps;
}

typedef map<string, PeerSpec> PeersMap

struct Publication {
  2: KeyVals keyVals;
  3: list<string> expiredKeys;
  4: optional list<string> nodeIds;
  5: optional list<string> tobeUpdatedKeys;
  7: string area;
  8: optional i64 timestamp_ms;
  9: optional Types.PerfEvents perfEvents;
}

struct KvStoreAreaSummary {
  1: string area;
  2: PeersMap peersMap;
  3: i32 keyValsCount;
  4: i32 keyValsBytes;
}

struct KvStoreFloodRate {
  1: i32 flood_msg_per_sec;
  2: i32 flood_msg_burst_size;
}

struct KvStoreConfig {
  1: i32 key_ttl_ms = 300000;
  2: string node_name;
  3: i32 ttl_decrement_ms = 1;
  4: optional KvStoreFloodRate flood_rate;
  6: optional list<string> key_prefix_filters;
  7: optional list<string> key_originator_id_filters;
  10: optional i32 ip_tos;
  11: optional string x509_cert_path;
  12: optional string x509_key_path;
  13: optional string x509_ca_path;
  14: bool enable_secure_thrift_client = false;
  15: i32 sync_initial_backoff_ms = 4000;
  16: i32 sync_max_backoff_ms = 256000;
  17: optional i32 self_adjacency_timeout_ms;
  18: optional i32 kvstore_sync_timeout_ms;
  19: optional bool enable_flood_pub_pre_compression;
}

service KvStoreService extends fb303_core.BaseService {
  Publication getKvStoreKeyVals(1: list<string> filterKeys) throws (1: KvStoreError error);
  Publication getKvStoreKeyValsArea(1: list<string> filterKeys, 2: string area) throws (1: KvStoreError error);
  Publication getKvStoreKeyValsFiltered(1: KeyDumpParams filter) throws (1: KvStoreError error);
  Publication getKvStoreKeyValsFilteredArea(1: KeyDumpParams filter, 2: string area) throws (1: KvStoreError error);
  Publication getKvStoreHashFiltered(1: KeyDumpParams filter) throws (1: KvStoreError error);
  Publication getKvStoreHashFilteredArea(1: KeyDumpParams filter, 2: string area) throws (1: KvStoreError error);
  void setKvStoreKeyVals(1: KeySetParams setParams, 2: string area) throws (1: KvStoreError error);
  SetKeyValsResult setKvStoreKeyValues(1: KeySetParams setParams, 2: string area) throws (1: KvStoreError error);
  void persistSelfOriginatedKey(1: KeySetParams setParams, 2: string area) throws (1: KvStoreError error);
  void unsetSelfOriginatedKey(1: KeySetParams setParams, 2: string area) throws (1: KvStoreError error);
  PeersMap getKvStorePeers() throws (1: KvStoreError error);
  PeersMap getKvStorePeersArea(1: string area) throws (1: KvStoreError error);
  list<KvStoreAreaSummary> getKvStoreAreaSummary(1: set<string> selectAreas) throws (1: KvStoreError error);
}

enum InitializationEventTimeLabels {
  LINK_DISCOVERED_WARNING_MS = 1,
  LINK_DISCOVERED_TIMEOUT_MS = 2,
  NEIGHBOR_DISCOVERED_WARNING_MS = 3,
  NEIGHBOR_DISCOVERED_TIMEOUT_MS = 4,
  RIB_COMPUTED_WARNING_MS = 5,
  RIB_COMPUTED_TIMEOUT_MS = 6,
  KVSTORE_SYNCED_WARNING_MS = 7,
  KVSTORE_SYNCED_TIMEOUT_MS = 8,
  PREFIX_DB_SYNCED_WARNING_MS = 9,
  PREFIX_DB_SYNCED_TIMEOUT_MS = 10,
  ADJACENCY_DB_SYNCED_WARNING_MS = 11,
  ADJACENCY_DB_SYNCED_TIMEOUT_MS = 12,
}

const map<InitializationEventTimeLabels, i64> InitializationEventTimeDuration = {
  InitializationEventTimeLabels.LINK_DISCOVERED_WARNING_MS: 10000,
  InitializationEventTimeLabels.LINK_DISCOVERED_TIMEOUT_MS: 20000,
  InitializationEventTimeLabels.NEIGHBOR_DISCOVERED_WARNING_MS: 20000,
  InitializationEventTimeLabels.NEIGHBOR_DISCOVERED_TIMEOUT_MS: 40000,
  InitializationEventTimeLabels.RIB_COMPUTED_WARNING_MS: 150000,
  InitializationEventTimeLabels.RIB_COMPUTED_TIMEOUT_MS: 300000,
  InitializationEventTimeLabels.KVSTORE_SYNCED_WARNING_MS: 150000,
  InitializationEventTimeLabels.KVSTORE_SYNCED_TIMEOUT_MS: 300000,
  InitializationEventTimeLabels.PREFIX_DB_SYNCED_WARNING_MS: 150000,
  InitializationEventTimeLabels.PREFIX_DB_SYNCED_TIMEOUT_MS: 300000,
  InitializationEventTimeLabels.ADJACENCY_DB_SYNCED_WARNING_MS: 150000,
  InitializationEventTimeLabels.ADJACENCY_DB_SYNCED_TIMEOUT_MS: 300000,
}
