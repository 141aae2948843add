// What this agent answers beyond Open/R's control API. Other programs need to know none of it; a client of Open/R's finds
// its own methods unchanged. Regenerate the Go code with `make gen`.

namespace go openragent

include "Network.thrift"
include "KvStore.thrift"
include "OpenrCtrl.thrift"

// A stage of initialization: when it was reached, or what it waits for.
struct InitializationStage {
  1: KvStore.InitializationEvent stage;
  2: optional i64 reachedMs;  // since the start of the agent; absent: not yet
  3: string waitsFor;         // for people; empty when it was reached or waits for the stage before it only
  4: optional i64 boundMs;    // since the start of the agent: then it is reached whatever is missing; absent: no bound
}

// How a module's loop does.
struct ModuleLiveness {
  1: string module;
  2: i64 silentMs;     // since its loop last showed that it runs
  3: i64 deadlineMs;   // how long it may be silent before the agent stops; 0: it is not watched
}

struct AgentStatus {
  1: string version;
  2: i64 uptimeMs;
  3: list<InitializationStage> stages;  // in the order in which they come
  4: list<ModuleLiveness> modules;
  5: i64 memoryBytes;       // resident
  6: i64 memoryLimitBytes;  // 0: none
  7: bool drained;          // the node wants no transit traffic
}

// A link by its ends. Without interfaces: all links between the two nodes.
struct WhatIfLink {
  1: string node;
  2: string otherNode;
  3: optional string interfaceName;  // at node
  4: optional i32 metric;            // of both directions; only where a metric is asked about
}

// Changes of the network that are only thought of.
struct WhatIf {
  1: list<WhatIfLink> linksDown;
  2: list<WhatIfLink> metrics;
  3: list<string> nodesDrained;
  4: list<string> nodesDown;
  5: optional string node;  // whose routes are looked at; absent: this node's
}

enum RouteChangeKind {
  LOST = 1,       // no route is left
  FEWER = 2,      // fewer next hops
  MOVED = 3,      // other next hops, not fewer
  FARTHER = 4,    // the same next hops, another distance
  GAINED = 5,     // a route that there is not today
}

struct RouteChange {
  1: Network.IpPrefix prefix;
  2: RouteChangeKind kind;
  3: list<Network.NextHopThrift> before;
  4: list<Network.NextHopThrift> after;
  5: i64 costBefore;
  6: i64 costAfter;
}

struct WhatIfAnswer {
  1: string node;
  2: i64 routesBefore;
  3: i64 routesAfter;
  4: list<RouteChange> changes;        // sorted by prefix
  5: list<string> nodesUnreachable;    // that can be reached now, sorted
  6: list<string> unknown;             // links and nodes that were asked about and do not exist: the question is wrong
}

service OpenrAgent extends OpenrCtrl.OpenrCtrl {
  AgentStatus getAgentStatus();
  // Which routes would change; nothing is touched.
  WhatIfAnswer whatIf(1: WhatIf question) throws (1: OpenrCtrl.OpenrError error);
  // Withdraws this node from the network (its neighbours stop to send traffic through it and forget its adjacencies), waits
  // until the network has turned, at most timeoutMs, and ends the agent with exit code 0. The call answers before the end.
  void drainAndStop(1: i64 timeoutMs) throws (1: OpenrCtrl.OpenrError error);
}
