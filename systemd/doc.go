// Package systemd tells the service manager how the agent is doing: readiness, status texts, signs of life, reload and stop
// (sd_notify(3)). Beside it stand the units and what they need: openr.service, openr-platform.service, the drop-in that binds
// the agent to a switch agent, sysusers.d, tmpfiles.d and sysctl settings.
//
// Owns: nothing but the time of the next sign of life. Reads: the environment that systemd sets (NOTIFY_SOCKET,
// WATCHDOG_USEC, WATCHDOG_PID) and the stages of package monitor. Writes: datagrams to the manager's socket.
//
// Not under systemd, or under a unit without Type=notify, everything here does nothing.
package systemd
