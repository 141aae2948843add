package systemd

// Names of counters. All are this project's own.
const (
	counterSent        = "systemd.notify_sent"         // messages that the service manager was given
	counterSendFailure = "systemd.notify_send_failure" // messages that it could not be given
	counterKicks       = "systemd.watchdog_kicks"      // signs of life sent
	counterWithheld    = "systemd.watchdog_withheld"   // signs of life not sent because a module was stuck
	counterReady       = "systemd.ready"               // gauge: 1 once READY=1 was sent
)
