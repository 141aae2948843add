// The streaming methods of the control API.
//
// Open/R declares each of these as returning a first response and a stream of what follows. The Apache compiler knows no
// streams, so a method here returns its first response only; which element its stream carries stands beside it. The
// streams themselves exist on Rocket connections alone.
// Regenerate the Go code with `make gen`.

namespace go openrctrlcpp

include "KvStore.thrift"
include "Types.thrift"
include "OpenrCtrl.thrift"

service OpenrCtrlCpp extends OpenrCtrl.OpenrCtrl {
  // then a stream of KvStore.Publication
  KvStore.Publication subscribeAndGetKvStore();
  // then a stream of KvStore.Publication
  KvStore.Publication subscribeAndGetKvStoreFiltered(1: KvStore.KeyDumpParams filter);
  // then a stream of KvStore.Publication, one area each
  list<KvStore.Publication> subscribeAndGetAreaKvStores(1: KvStore.KeyDumpParams filter, 2: set<string> selectAreas);
  // then a stream of Types.RouteDatabaseDelta
  Types.RouteDatabase subscribeAndGetFib();
  // then a stream of OpenrCtrl.RouteDatabaseDeltaDetail
  OpenrCtrl.RouteDatabaseDetail subscribeAndGetFibDetail();
}
