package watchdog

// Names of counters. All are this project's own.
const (
	counterChecks = "watchdog.checks"            // looks of Run
	counterLate   = "watchdog.late."             // followed by a module: checks that found it silent for longer than its deadline
	counterMemory = "watchdog.memory_over_limit" // checks that found more memory than allowed
)
