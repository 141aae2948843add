// FibService: how routes reach a switch agent.
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go platform

include "Network.thrift"
include "fb303_core.thrift"

enum FibClient {
  OPENR = 786,
  BGP = 0,
  CLIENT_1 = 1,
  CLIENT_2 = 2,
  CLIENT_3 = 3,
  CLIENT_4 = 4,
  CLIENT_5 = 5,
}

enum SwitchRunState {
  UNINITIALIZED = 0,
  INITIALIZED = 1,
  CONFIGURED = 2,
  EXITING = 4,
}

struct NextHopStatus {
  1: bool isReachable;
  2: optional i32 igpCost;
}

struct NextHopRegistrationRequest {
  1: list<binary> nexthops;
}

struct NextHopRegistrationResponse {
  1: map<binary, NextHopStatus> nexthopStatuses;
}

struct NextHopDeregistrationRequest {
  1: list<binary> nexthops;
}

struct NextHopDeregistrationResponse {
}

struct StreamNextHopStatusRequest {
  1: optional bool stream_all_loopbacks;
}

struct StreamNextHopStatusResponse {
  1: map<binary, NextHopStatus> nexthopStatuses;
}

struct ConnectedNextHopStatus {
  1: binary remoteAddress;
  2: optional string interfaceName;
  3: bool isReachable;
}

struct ConnectedNextHopStatusRequest {
  1: list<ConnectedNextHopStatus> nextHopStatuses;
}

struct ConnectedNextHopStatusResponse {
}

exception PlatformError {
  1: string message;
}

exception PlatformFibUpdateError {
  1: map<i32, list<Network.IpPrefix>> vrf2failedAddUpdatePrefixes;
  2: map<i32, list<Network.IpPrefix>> vrf2failedDeletePrefixes;
  3: list<i32> failedAddUpdateMplsLabels;
  4: list<i32> failedDeleteMplsLabels;
}

struct BatchedSyncFibRequest {
  1: i16 clientId;
  2: list<Network.UnicastRoute> routes;
  3: bool isStart;
  4: bool isEnd;
}

struct BatchedSyncFibResponse {
}

const map<i16, i16> clientIdtoProtocolId = {786: 99, 0: 253}

const map<i16, i16> protocolIdtoPriority = {99: 10, 253: 20}

const i16 kUnknowProtAdminDistance = 255

service FibService extends fb303_core.BaseService {
  SwitchRunState getSwitchRunState();
  void addUnicastRoute(1: i16 clientId, 2: Network.UnicastRoute route) throws (1: PlatformError error, 2: PlatformFibUpdateError fibError);
  void deleteUnicastRoute(1: i16 clientId, 2: Network.IpPrefix prefix) throws (1: PlatformError error);
  void addUnicastRoutes(1: i16 clientId, 2: list<Network.UnicastRoute> routes) throws (1: PlatformError error, 2: PlatformFibUpdateError fibError);
  void deleteUnicastRoutes(1: i16 clientId, 2: list<Network.IpPrefix> prefixes) throws (1: PlatformError error);
  void syncFib(1: i16 clientId, 2: list<Network.UnicastRoute> routes) throws (1: PlatformError error, 2: PlatformFibUpdateError fibError);
  BatchedSyncFibResponse batchedSyncFib(1: BatchedSyncFibRequest request) throws (1: PlatformError error, 2: PlatformFibUpdateError fibError);
  list<Network.UnicastRoute> getRouteTableByClient(1: i16 clientId) throws (1: PlatformError error);
  void addMplsRoutes(1: i16 clientId, 2: list<Network.MplsRoute> routes) throws (1: PlatformError error, 2: PlatformFibUpdateError fibError);
  void deleteMplsRoutes(1: i16 clientId, 2: list<i32> topLabels) throws (1: PlatformError error);
  void syncMplsFib(1: i16 clientId, 2: list<Network.MplsRoute> routes) throws (1: PlatformError error, 2: PlatformFibUpdateError fibError);
  list<Network.MplsRoute> getMplsRouteTableByClient(1: i16 clientId) throws (1: PlatformError error);
  void sendNeighborDownInfo(1: list<string> neighborIp) throws (1: PlatformError error);
  NextHopRegistrationResponse registerNextHops(NextHopRegistrationRequest req) throws (1: PlatformError error);
  NextHopDeregistrationResponse deregisterNextHops(NextHopDeregistrationRequest req) throws (1: PlatformError error);
  ConnectedNextHopStatusResponse updateConnectedNextHopStatus(ConnectedNextHopStatusRequest request) throws (1: PlatformError error);
  FibCachedStateResponse getFibCachedState(FibCachedStateRequest request) throws (1: PlatformError error);
}

struct NextHopVia {
  1: optional string nextHopGroupName;
  2: optional string remoteAddress;
  3: optional string interfaceName;
  4: optional i32 igpMetric;
}

struct NextHopEntry {
  1: string remoteAddress;
  2: optional string interfaceName;
}

struct FibRoute {
  1: Network.IpPrefix prefix;
  2: list<NextHopVia> vias;
  3: i16 adminDistance;
}

struct NextHopGroup {
  1: string nhgName;
  2: map<i32, NextHopEntry> vias;
  3: i32 refCount;
  4: bool isProgrammed;
}

struct FibCachedStateRequest {
}

struct RouteState {
  1: list<FibRoute> routes;
}

struct NextHopGroupCacheState {
  1: list<NextHopGroup> nextHopGroups;
  2: i64 nhgCreationCounter;
  3: i64 programmedNhgsCount;
  4: bool isProgrammingPaused;
  5: i32 numNhgsHighWaterMark;
  6: i32 numNhgsLowWaterMark;
}

struct FibCachedStateResponse {
  1: RouteState routeState;
  2: NextHopGroupCacheState nextHopGroupCacheState;
}

service NeighborListenerClientForFibagent {
  void neighborsChanged(1: list<string> added, 2: list<string> removed) throws (1: PlatformError error);
}
