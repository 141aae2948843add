// Package systemd will tie the agent to systemd: unit files, readiness, watchdog and status notifications (sd_notify(3)), and
// file descriptors handed over between an old agent and its successor, for restarts that lose no packet.
//
// Nothing is built here yet: the agent runs in the foreground and works under any supervisor.
//
// Owns: nothing yet. Reads: nothing yet; later the environment that systemd sets (NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS).
// Writes: nothing yet; later notifications to systemd.
package systemd
