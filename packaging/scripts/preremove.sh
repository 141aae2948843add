#!/bin/sh
# Before the files go: stop what runs, except on an upgrade. dpkg calls this with "remove" or "upgrade"; rpm with how many
# versions will be left.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0

# The routes go with the package, and this node does not come back: a stop alone would have the neighbors wait for it and send
# packets on meanwhile. With this file there it leaves the network first. (The folder is the agent's: nothing of it is followed.)
if [ -d /run/openr ]; then
	rm -f /run/openr/leave
	(set -C && : >/run/openr/leave) || echo "openr: cannot say that it is for good; stopping it" >&2
fi
systemctl --no-reload disable --now openr.service openr-platform.service || true
