package ctrl

import (
	"openr/configstore"
	"openr/decision"
	"openr/fib"
	"openr/kvstore"
	"openr/linkmonitor"
	"openr/prefixmanager"
	"openr/spark"
)

// The modules are what ctrl takes them for.
var (
	_ KvStore       = (*kvstore.KvStore)(nil)
	_ Spark         = (*spark.Spark)(nil)
	_ LinkMonitor   = (*linkmonitor.LinkMonitor)(nil)
	_ Decision      = (*decision.Decision)(nil)
	_ Fib           = (*fib.Fib)(nil)
	_ PrefixManager = (*prefixmanager.PrefixManager)(nil)
	_ ConfigStore   = (*configstore.Store)(nil)
)
