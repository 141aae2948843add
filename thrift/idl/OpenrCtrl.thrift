// The control API of an agent.
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go openrctrl

include "Network.thrift"
include "OpenrConfig.thrift"
include "Types.thrift"
include "KvStore.thrift"

exception OpenrError {
  1: string message;
}

struct ProfilerStat {
  1: string name;
  2: i64 count;
  3: i64 p50_ms;
  4: i64 p90_ms;
  5: i64 p99_ms;
  6: i64 max_ms;
  7: i64 total_ms;
}

struct NodeAndArea {
  1: string node;
  2: string area;
}

enum StreamSubscriberType {
  KVSTORE = 0,
  FIB = 1,
}

enum RouteFilterType {
  PREFILTER_ADVERTISED = 0,
  POSTFILTER_ADVERTISED = 1,
  REJECTED_ON_ADVERTISE = 2,
}

struct AdvertisedRoute {
  1: Network.PrefixType key;
  2: Types.PrefixEntry route;
  3: optional string hitPolicy;
  4: i32 igpCost;
}

struct AdvertisedRouteDetail {
  1: Network.IpPrefix prefix;
  2: Network.PrefixType bestKey;
  3: list<Network.PrefixType> bestKeys;
  4: list<AdvertisedRoute> routes;
}

struct AdvertisedRouteFilter {
  1: optional list<Network.IpPrefix> prefixes;
  2: optional Network.PrefixType prefixType;
}

struct StreamSubscriberInfo {
  1: i64 subscriber_id;
  2: i64 uptime;
  3: i64 last_msg_sent_time;
  4: i64 total_streamed_msgs;
}

struct ReceivedRoute {
  1: NodeAndArea key;
  2: Types.PrefixEntry route;
}

struct ReceivedRouteDetail {
  1: Network.IpPrefix prefix;
  2: NodeAndArea bestKey;
  3: list<NodeAndArea> bestKeys;
  4: list<ReceivedRoute> routes;
}

struct ReceivedRouteFilter {
  1: optional list<Network.IpPrefix> prefixes;
  2: optional string nodeName;
  3: optional string areaName;
}

struct AdjacenciesFilter {
  1: set<string> selectAreas;
}

struct RibRouteMatcher {
  1: optional list<Network.IpPrefix> prefixes;
  2: optional list<string> tags;
}

struct RibRouteActionWeight {
  2: i32 default_weight;
  3: map<string, i32> area_to_weight;
  4: map<string, i32> neighbor_to_weight;
}

struct RibRouteAction {
  1: optional RibRouteActionWeight set_weight;
}

struct RibPolicyStatement {
  1: string name;
  2: RibRouteMatcher matcher;
  3: RibRouteAction action;
  4: optional Network.RouteCounterID counterID;
}

struct RibPolicy {
  1: list<RibPolicyStatement> statements;
  2: i32 ttl_secs;
}

struct UnicastRouteDetail {
  1: Network.UnicastRoute unicastRoute;
  2: optional Types.PrefixEntry bestRoute;
}

struct MplsRouteDetail {
  1: Network.MplsRoute mplsRoute;
}

struct RouteDatabaseDetail {
  1: string thisNodeName;
  2: list<UnicastRouteDetail> unicastRoutes;
  3: list<MplsRouteDetail> mplsRoutes;
}

struct RouteDatabaseDeltaDetail {
  1: list<UnicastRouteDetail> unicastRoutesToUpdate;
  2: list<Network.IpPrefix> unicastRoutesToDelete;
  3: list<MplsRouteDetail> mplsRoutesToUpdate;
  4: list<i32> mplsRoutesToDelete;
}

service OpenrCtrl extends KvStore.KvStoreService {
  string getRunningConfig();
  OpenrConfig.OpenrConfig getRunningConfigThrift();
  string dryrunConfig(1: string file) throws (1: OpenrError error);
  Types.OpenrDrainState getDrainState(1: string nodeName);
  map<KvStore.InitializationEvent, i64> getInitializationEvents();
  bool initializationConverged();
  i64 getInitializationDurationMs();
  void advertisePrefixes(1: list<Types.PrefixEntry> prefixes) throws (1: OpenrError error);
  void withdrawPrefixes(1: list<Types.PrefixEntry> prefixes) throws (1: OpenrError error);
  void withdrawPrefixesByType(1: Network.PrefixType prefixType) throws (1: OpenrError error);
  void syncPrefixesByType(1: Network.PrefixType prefixType, 2: list<Types.PrefixEntry> prefixes) throws (1: OpenrError error);
  list<Types.PrefixEntry> getPrefixes() throws (1: OpenrError error);
  list<Types.PrefixEntry> getPrefixesByType(1: Network.PrefixType prefixType) throws (1: OpenrError error);
  list<AdvertisedRouteDetail> getAdvertisedRoutes();
  list<AdvertisedRouteDetail> getAdvertisedRoutesFiltered(1: AdvertisedRouteFilter filter) throws (1: OpenrError error);
  list<AdvertisedRoute> getAreaAdvertisedRoutes(1: string area, 2: RouteFilterType routeFilterType) throws (1: OpenrError error);
  list<AdvertisedRoute> getAreaAdvertisedRoutesFiltered(1: string area, 2: RouteFilterType routeFilterType, 3: AdvertisedRouteFilter filter) throws (1: OpenrError error);
  list<AdvertisedRoute> getAdvertisedRoutesWithOriginationPolicy(1: RouteFilterType routeFilterType, 2: AdvertisedRouteFilter filter) throws (1: OpenrError error);
  list<ReceivedRouteDetail> getReceivedRoutes();
  list<ReceivedRouteDetail> getReceivedRoutesFiltered(1: ReceivedRouteFilter filter) throws (1: OpenrError error);
  Types.RouteDatabase getRouteDb() throws (1: OpenrError error);
  RouteDatabaseDetail getRouteDetailDb() throws (1: OpenrError error);
  Types.RouteDatabase getRouteDbComputed(1: string nodeName) throws (1: OpenrError error);
  list<StreamSubscriberInfo> getSubscriberInfo(1: i64 type);
  list<Network.UnicastRoute> getUnicastRoutesFiltered(1: list<string> prefixes) throws (1: OpenrError error);
  list<Network.UnicastRoute> getUnicastRoutes() throws (1: OpenrError error);
  list<Network.MplsRoute> getMplsRoutesFiltered(1: list<i32> labels) throws (1: OpenrError error);
  list<Network.MplsRoute> getMplsRoutes() throws (1: OpenrError error);
  list<Types.OriginatedPrefixEntry> getOriginatedPrefixes() throws (1: OpenrError error);
  Types.PerfDatabase getPerfDb() throws (1: OpenrError error);
  Types.AdjDbs getDecisionAdjacencyDbs() throws (1: OpenrError error);
  list<Types.AdjacencyDatabase> getDecisionAdjacenciesFiltered(1: AdjacenciesFilter filter) throws (1: OpenrError error);
  map<string, list<Types.AdjacencyDatabase>> getDecisionAreaAdjacenciesFiltered(1: AdjacenciesFilter filter) throws (1: OpenrError error);
  bool longPollKvStoreAdjArea(1: string area, 2: KvStore.KeyVals snapshot) throws (1: OpenrError error);
  bool longPollKvStoreAdj(1: KvStore.KeyVals snapshot) throws (1: OpenrError error);
  void setNodeOverload() throws (1: OpenrError error);
  void unsetNodeOverload() throws (1: OpenrError error);
  void setInterfaceOverload(1: string interfaceName) throws (1: OpenrError error);
  void unsetInterfaceOverload(1: string interfaceName) throws (1: OpenrError error);
  void setInterfaceMetric(1: string interfaceName, 2: i32 overrideMetric) throws (1: OpenrError error);
  void unsetInterfaceMetric(1: string interfaceName) throws (1: OpenrError error);
  void setNodeInterfaceMetricIncrement(1: i32 metricIncrementVal) throws (1: OpenrError error);
  void unsetNodeInterfaceMetricIncrement() throws (1: OpenrError error);
  void setInterfaceMetricIncrement(1: string interfaceName, 2: i32 metricIncrementVal) throws (1: OpenrError error);
  void unsetInterfaceMetricIncrement(1: string interfaceName) throws (1: OpenrError error);
  void setInterfaceMetricIncrementMulti(1: list<string> interfaceNames, 2: i32 metricIncrementVal) throws (1: OpenrError error);
  void unsetInterfaceMetricIncrementMulti(1: list<string> interfaceNames) throws (1: OpenrError error);
  void setAdjacencyMetric(1: string interfaceName, 2: string adjNodeName, 3: i32 overrideMetric) throws (1: OpenrError error);
  void unsetAdjacencyMetric(1: string interfaceName, 2: string adjNodeName) throws (1: OpenrError error);
  Types.DumpLinksReply getInterfaces() throws (1: OpenrError error);
  Types.AdjacencyDatabase getLinkMonitorAdjacencies() throws (1: OpenrError error);
  list<Types.AdjacencyDatabase> getLinkMonitorAdjacenciesFiltered(1: AdjacenciesFilter filter) throws (1: OpenrError error);
  map<string, list<Types.AdjacencyDatabase>> getLinkMonitorAreaAdjacenciesFiltered(1: AdjacenciesFilter filter) throws (1: OpenrError error);
  Types.OpenrVersions getOpenrVersion() throws (1: OpenrError error);
  Types.BuildInfo getBuildInfo() throws (1: OpenrError error);
  void setConfigKey(1: string key, 2: binary value) throws (1: OpenrError error);
  void eraseConfigKey(1: string key) throws (1: OpenrError error);
  binary getConfigKey(1: string key) throws (1: OpenrError error);
  void floodRestartingMsg() throws (1: OpenrError error);
  list<Types.SparkNeighbor> getNeighbors() throws (1: OpenrError error);
  list<string> getEventLogs() throws (1: OpenrError error);
  string getMyNodeName();
  void setRibPolicy(1: RibPolicy ribPolicy) throws (1: OpenrError error);
  RibPolicy getRibPolicy() throws (1: OpenrError error);
  void clearRibPolicy() throws (1: OpenrError error);
  list<list<string>> getDispatcherFilters();
  void startProfiler(1: bool enable);
  void setProfilerFilter(1: string regex);
  list<ProfilerStat> getProfilerStats();
  void clearProfilerStats();
  void resetRecvToAdvertiseMax();
}
