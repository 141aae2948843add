// What an agent with an endpoint directory answers beyond OpenrAgent: which hosts are where, how they moved, what is wrong, and
// what an operator may do about it. Without the directory every method is refused. Regenerate the Go code with `make gen`.

namespace go openrendpoint

include "Network.thrift"
include "OpenrAgent.thrift"
include "OpenrCtrl.thrift"

// An endpoint by one of its names. MAC or address, in a bridge domain or (0) in any.
struct EndpointKey {
  1: i64 bridgeDomain;
  2: optional string mac;                     // aa:bb:cc:dd:ee:ff
  3: optional Network.BinaryAddress address;
}

struct EndpointAddress {
  1: Network.BinaryAddress address;
  2: i64 learnedMs;      // since the epoch
  3: bool frozen;        // pinned to this endpoint: another claimed it too often
}

// One MAC address in a bridge domain.
struct Endpoint {
  1: i64 bridgeDomain;
  2: string mac;
  3: list<EndpointAddress> addresses;
  4: string state;                                   // local, probing, remote, bounce, frozen; at an oracle: active, stale, tombstone, critical, freeze, drained
  5: string node;                                    // the leaf that has it, if its name is known
  6: optional Network.BinaryAddress tunnelAddress;   // of that leaf
  7: string port;                                    // of this leaf; empty if it is not here
  8: i32 vlan;
  9: i64 sequence;       // grows with each change of owner
  10: i64 ageMs;         // since it was heard last, or since its record came
  11: i64 expiresMs;     // from now; 0: does not expire
  12: i64 moves;         // counted in the current interval of rogue control
  13: list<string> flags;
}

// A line of an endpoint's history.
struct EndpointChange {
  1: i64 atMs;           // since the epoch
  2: string kind;        // attach, detach, move, bounce, bounce end, rogue, rogue end
  3: i64 bridgeDomain;
  4: string mac;
  5: optional Network.BinaryAddress address;   // if it concerns this address only
  6: string fromPlace;
  7: string toPlace;
  8: string cause;
}

struct EndpointFault {
  1: string kind;        // rogue-mac, rogue-ip, loop, loop-port, loop-learning, move-dampening, table-full
  2: string text;        // what happened, what was done about it and what remains to be done
  3: i64 bridgeDomain;
  4: optional string mac;
  5: optional Network.BinaryAddress address;
  6: string port;
  7: i64 sinceMs;        // since the epoch
  8: i64 untilMs;        // since the epoch; 0: until somebody acts
}

struct BridgeDomain {
  1: i64 id;
  2: i64 vrf;
  3: list<Network.IpPrefix> subnets;
  4: i64 endpoints;
  5: i64 learningOffUntilMs;   // since the epoch; 0: it learns
  6: bool enforceSubnet;
  7: string ipLearning;        // on, arp, off
}

// An oracle as this leaf sees it, or as an oracle sees another.
struct Oracle {
  1: string node;
  2: list<Network.BinaryAddress> tunnelAddresses;
  3: string session;     // down, connecting, syncing, up
  4: bool ready;         // it holds all that the others hold, and answers for the anycast address
  5: i64 records;        // 0 if not known
  6: i64 unacknowledged; // publications that it has not taken yet
  7: i64 lastHeardMs;    // ago; 0: never
}

// Which endpoints are to be shown: those that fit all that is given.
struct EndpointFilter {
  1: optional i64 bridgeDomain;
  2: optional string mac;
  3: optional Network.BinaryAddress address;
  4: optional string state;
  5: optional string port;
  6: i32 limit;          // 0: 10,000
}

struct EndpointPage {
  1: list<Endpoint> endpoints;   // sorted by bridge domain and MAC
  2: i64 total;                  // how many fit
}

service OpenrEndpoint extends OpenrAgent.OpenrAgent {
  EndpointPage getEndpoints(1: EndpointFilter filter) throws (1: OpenrCtrl.OpenrError error);
  // Where an endpoint is: what this node knows, else what an oracle answers.
  list<Endpoint> findEndpoint(1: EndpointKey key) throws (1: OpenrCtrl.OpenrError error);
  // The latest changes, the oldest first; limit 0: all that are kept.
  list<EndpointChange> getEndpointChanges(1: EndpointFilter filter, 2: i32 limit) throws (1: OpenrCtrl.OpenrError error);
  list<EndpointFault> getEndpointFaults() throws (1: OpenrCtrl.OpenrError error);
  list<BridgeDomain> getBridgeDomains() throws (1: OpenrCtrl.OpenrError error);
  list<Oracle> getOracles() throws (1: OpenrCtrl.OpenrError error);
  // Ends the holds of rogue endpoints: of a MAC, of an address, of a domain, or of all.
  void clearRogue(1: EndpointKey key) throws (1: OpenrCtrl.OpenrError error);
  // Removes an endpoint from this leaf's table; it may be learned again.
  void clearEndpoint(1: EndpointKey key) throws (1: OpenrCtrl.OpenrError error);
  // Brings back a port that loop protection has shut.
  void enableEndpointPort(1: string port) throws (1: OpenrCtrl.OpenrError error);
  // Ends the time in which a domain does not learn.
  void enableEndpointLearning(1: i64 bridgeDomain) throws (1: OpenrCtrl.OpenrError error);
}
