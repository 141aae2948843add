// Package prefixmanager decides which prefixes this node advertises, in which areas, and keeps their keys in KvStore.
//
// Owns: every (prefix, type) this node has reason to advertise, and the prefix: keys that follow from them. Reads: the
// configured prefixes, interface addresses from linkmonitor, prefixes that operators inject (Advertise), what fib has
// really programmed (supporting routes, routes to redistribute between areas), own keys in kvstore's publications. Writes:
// key requests for kvstore; static routes for decision; the initialization stage PREFIX_DB_SYNCED.
//
//	config, origination policy ┐
//	prefixes (LOOPBACK)        ┤
//	Advertise, Sync ...        ┼─▶ origins (prefix, type) ─▶ best per area ─▶ import policy of each area ─▶ wanted keys ─▶ key requests
//	programmed routes          ┘       └─▶ static routes                own keys in the store that are not wanted ─▶ tombstones
//
// Policies are those of package policy. An area's import policy judges all that this node would advertise to the area, its own
// prefixes and those of other areas alike, after the best entry of each prefix was chosen among those that go there: if it rejects
// that one, no other takes its place.
//
// No key is written before the first complete report of programmed routes, so that nobody sends packets here that this
// node cannot forward yet, and nothing that a former run advertised flaps.
//
// Injected prefixes are kept apart from those of other modules: neither side can withdraw what the other has. They do not
// survive a restart of the agent, as in Open/R; what is to stay belongs into the configuration.
//
// Everything but the shell (run.go, api.go) is plain code without goroutines, clocks and queues.
package prefixmanager
