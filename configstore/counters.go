package configstore

// Names of counters. All are this project's own.
const (
	counterKeys         = "config_store.keys"          // gauge: keys in the store
	counterUnsaved      = "config_store.unsaved"       // gauge: 1 while the file is behind the memory
	counterWrites       = "config_store.writes"        // files written
	counterWriteFailure = "config_store.write_failure" // attempts to write the file that failed
	counterBadFile      = "config_store.bad_file"      // files that were wrong, in whole or in part, when they were read
	counterRefused      = "config_store.refused."      // + cause; values that were not taken
)

// Causes for which a value is refused, after counterRefused.
const (
	causeKey   = "key"   // empty or too long
	causeValue = "value" // too long
	causeCount = "count" // too many keys
	causeSize  = "size"  // the file would become too large
)
