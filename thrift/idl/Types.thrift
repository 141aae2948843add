// Link-state values, Spark messages and the structs that the control API returns.
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go types

include "Network.thrift"
include "OpenrConfig.thrift"

enum DrainState {
  UNDRAINED = 0,
  HARD_DRAINED = 1,
  SOFT_DRAINED = 2,
}

struct OpenrDrainState {
  1: optional DrainState drain_state;
  2: optional list<string> drained_interfaces;
  3: optional list<string> soft_drained_interfaces;
}

enum SparkNeighState {
  IDLE = 0,
  WARM = 1,
  NEGOTIATE = 2,
  ESTABLISHED = 3,
  RESTART = 4,
}

enum SparkNeighEvent {
  HELLO_RCVD_INFO = 0,
  HELLO_RCVD_NO_INFO = 1,
  HELLO_RCVD_RESTART = 2,
  HEARTBEAT_RCVD = 3,
  HANDSHAKE_RCVD = 4,
  HEARTBEAT_TIMER_EXPIRE = 5,
  NEGOTIATE_TIMER_EXPIRE = 6,
  GR_TIMER_EXPIRE = 7,
  NEGOTIATION_FAILURE = 8,
}

enum LinkStatusEnum {
  DOWN = 0,
  UP = 1,
}

struct PerfEvent {
  1: string nodeName;
  2: string eventDescr;
  3: i64 unixTs = 0;
}

struct PerfEvents {
  1: list<PerfEvent> events;
}

struct LinkStatus {
  1: LinkStatusEnum status;
  2: i64 unixTs = 0;
}

struct LinkStatusRecords {
  1: map<string, LinkStatus> linkStatusMap;
}

struct InterfaceInfo {
  1: bool isUp;
  2: i64 ifIndex;
  5: list<Network.IpPrefix> networks;
}

struct Adjacency {
  1: string otherNodeName;
  2: string ifName;
  3: Network.BinaryAddress nextHopV6;
  5: Network.BinaryAddress nextHopV4;
  4: i32 metric;
  6: i32 adjLabel = 0;
  7: bool isOverloaded = false;
  8: i32 rtt;
  9: i64 timestamp;
  10: i64 weight = 1;
  11: string otherIfName = "";
  12: bool adjOnlyUsedByOtherNode = false;
  13: i32 linkMetricIncrementVal = 0;
}

struct AdjacencyDatabase {
  1: string thisNodeName;
  2: bool isOverloaded = false;
  3: list<Adjacency> adjacencies;
  4: i32 nodeLabel;
  5: optional PerfEvents perfEvents;
  6: string area;
  7: i32 nodeMetricIncrementVal = 0;
  8: optional LinkStatusRecords linkStatusRecords;
}

struct PrefixMetrics {
  1: i32 version = 1;
  5: i32 drain_metric = 0;
  2: i32 path_preference = 0;
  3: i32 source_preference = 0;
  4: i32 distance = 0;
}

struct PrefixEntry {
  1: Network.IpPrefix prefix;
  2: Network.PrefixType type;
  4: OpenrConfig.PrefixForwardingType forwardingType = OpenrConfig.PrefixForwardingType.IP;
  7: OpenrConfig.PrefixForwardingAlgorithm forwardingAlgorithm = OpenrConfig.PrefixForwardingAlgorithm.SP_ECMP;
  8: optional i64 minNexthop;
  10: PrefixMetrics metrics;
  11: set<string> tags;
  12: list<string> area_stack;
  13: optional i64 weight;
}

struct PrefixDatabase {
  1: string thisNodeName;
  3: list<PrefixEntry> prefixEntries;
  4: optional PerfEvents perfEvents;
  5: bool deletePrefix;
}

typedef map<string, AdjacencyDatabase> AdjDbs

struct RouteDatabase {
  1: string thisNodeName;
  3: optional PerfEvents perfEvents;
  4: list<Network.UnicastRoute> unicastRoutes;
  5: list<Network.MplsRoute> mplsRoutes;
}

struct RouteDatabaseDelta {
  2: list<Network.UnicastRoute> unicastRoutesToUpdate;
  3: list<Network.IpPrefix> unicastRoutesToDelete;
  4: list<Network.MplsRoute> mplsRoutesToUpdate;
  5: list<i32> mplsRoutesToDelete;
  6: optional PerfEvents perfEvents;
}

struct PerfDatabase {
  1: string thisNodeName;
  2: list<PerfEvents> eventInfo;
}

struct InterfaceDetails {
  1: InterfaceInfo info;
  2: bool isOverloaded;
  3: optional i32 metricOverride;
  4: optional i64 linkFlapBackOffMs;
  5: i32 linkMetricIncrementVal;
}

struct DumpLinksReply {
  1: string thisNodeName;
  2: i32 nodeMetricIncrementVal = 0;
  3: bool isOverloaded;
  6: map<string, InterfaceDetails> interfaceDetails;
}

struct AdjKey {
  1: string nodeName;
  2: string ifName;
}

struct LinkMonitorState {
  1: bool isOverloaded = false;
  2: set<string> overloadedLinks;
  3: map<string, i32> linkMetricOverrides;
  5: map<AdjKey, i32> adjMetricOverrides;
  6: map<string, i32> nodeLabelMap;
  7: i32 nodeMetricIncrementVal = 0;
  8: map<string, i32> linkMetricIncrementMap;
}

struct BuildInfo {
  1: string buildUser;
  2: string buildTime;
  3: i64 buildTimeUnix;
  4: string buildHost;
  5: string buildPath;
  6: string buildRevision;
  7: i64 buildRevisionCommitTimeUnix;
  8: string buildUpstreamRevision;
  9: i64 buildUpstreamRevisionCommitTimeUnix;
  10: string buildPackageName;
  11: string buildPackageVersion;
  12: string buildPackageRelease;
  13: string buildPlatform;
  14: string buildRule;
  15: string buildType;
  16: string buildTool;
  17: string buildMode;
}

struct OriginatedPrefixEntry {
  1: OpenrConfig.OriginatedPrefix prefix;
  2: list<string> supporting_prefixes = [];
  3: bool installed = false;
}

struct ReflectedNeighborInfo {
  1: i64 seqNum = 0;
  2: i64 lastNbrMsgSentTsInUs = 0;
  3: i64 lastMyMsgRcvdTsInUs = 0;
}

typedef i32 OpenrVersion

struct OpenrVersions {
  1: OpenrVersion version;
  2: OpenrVersion lowestSupportedVersion;
}

struct SparkHelloMsg {
  2: string nodeName;
  3: string ifName;
  4: i64 seqNum;
  5: map<string, ReflectedNeighborInfo> neighborInfos;
  6: OpenrVersion version;
  7: bool solicitResponse = false;
  8: bool restarting = false;
  9: i64 sentTsInUs;
  10: optional bool addressChange;
}

struct SparkHeartbeatMsg {
  1: string nodeName;
  2: i64 seqNum;
  3: bool holdAdjacency = false;
}

struct SparkHandshakeMsg {
  1: string nodeName;
  2: bool isAdjEstablished;
  3: i64 holdTime;
  4: i64 gracefulRestartTime;
  5: Network.BinaryAddress transportAddressV6;
  6: Network.BinaryAddress transportAddressV4;
  7: i32 openrCtrlThriftPort;
  10: string area;
  11: optional string neighborNodeName;
}

struct SparkHelloPacket {
  3: optional SparkHelloMsg helloMsg;
  4: optional SparkHeartbeatMsg heartbeatMsg;
  5: optional SparkHandshakeMsg handshakeMsg;
}

struct SparkNeighbor {
  1: string nodeName;
  2: string state;
  3: string event;
  4: Network.BinaryAddress transportAddressV6;
  5: Network.BinaryAddress transportAddressV4;
  6: i32 openrCtrlThriftPort = 0;
  7: string area;
  8: string remoteIfName;
  9: string localIfName;
  10: i64 rttUs;
  11: i64 lastHelloMsgSentTimeDelta = 0;
  12: i64 lastHandshakeMsgSentTimeDelta = 0;
  13: i64 lastHeartbeatMsgSentTimeDelta = 0;
}

struct InstanceDrainStatus {
  1: bool isOverloaded = false;
  2: i32 nodeMetricIncrementVal = 0;
}
