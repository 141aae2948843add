// Addresses, prefixes, next hops and routes.
//
// Struct names, field ids, types and their order are Open/R's, so that the bytes on the wire are the same;
// writers emit fields in the order of declaration. Regenerate the Go code with `make gen`.

namespace go network

enum AdminDistance {
  DIRECTLY_CONNECTED = 0,
  STATIC_ROUTE = 1,
  EBGP = 20,
  IBGP = 200,
  NETLINK_LISTENER = 225,
  MAX_ADMIN_DISTANCE = 255,
}

enum MplsActionCode {
  PUSH = 0,
  SWAP = 1,
  PHP = 2,
  POP_AND_LOOKUP = 3,
  NOOP = 4,
}

struct MplsAction {
  1: MplsActionCode action;
  2: optional i32 swapLabel;
  3: optional list<i32> pushLabels;
}

struct BinaryAddress {
  1: binary addr;
  3: optional string ifName;
}

struct IpPrefix {
  1: BinaryAddress prefixAddress;
  2: i16 prefixLength;
}

struct NextHopThrift {
  1: BinaryAddress address;
  2: i32 weight = 0;
  3: optional MplsAction mplsAction;
  17: optional i64 cost;
  51: i32 metric = 0;
  53: optional string area;
  54: optional string neighborNodeName;
  55: optional bool isConnected;
}

struct MplsRoute {
  1: i32 topLabel;
  3: optional AdminDistance adminDistance;
  4: list<NextHopThrift> nextHops;
}

enum PrefixType {
  LOOPBACK = 1,
  DEFAULT = 2,
  BGP = 3,
  PREFIX_ALLOCATOR = 4,
  BREEZE = 5,
  RIB = 6,
  SLO_PREFIX_ALLOCATOR = 7,
  CONFIG = 8,
  VIP = 9,
  CPE = 10,
  TYPE_1 = 21,
  TYPE_2 = 22,
  TYPE_3 = 23,
  TYPE_4 = 24,
  TYPE_5 = 25,
}

typedef string RouteCounterID

struct UnicastRoute {
  1: IpPrefix dest;
  3: optional AdminDistance adminDistance;
  4: list<NextHopThrift> nextHops;
  7: optional RouteCounterID counterID;
}
