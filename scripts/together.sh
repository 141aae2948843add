#!/bin/sh
# Run commands at the same time, and show what each said when it has ended.
#
# usage: scripts/together.sh COMMAND...     each a line for the shell; fails if one does
set -eu
work=$(mktemp -d)
pids=
# stop ends the commands and what they started, when this script is interrupted.
stop() {
	trap - EXIT INT TERM
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill -TERM $pids 2>/dev/null || true
	rm -rf "$work"
}
trap stop EXIT
trap 'stop; exit 130' INT TERM

i=0
for command in "$@"; do
	i=$((i + 1))
	echo "$command" >"$work/$i.command"
	sh -c "$command" >"$work/$i.out" 2>&1 &
	pids="$pids $!"
done
i=0 failed=0
for pid in $pids; do
	i=$((i + 1)) status=0
	wait "$pid" || status=$?
	echo "--- $(cat "$work/$i.command")"
	cat "$work/$i.out"
	[ $status = 0 ] || { echo "--- failed ($status): $(cat "$work/$i.command")" && failed=1; }
done
pids=
exit $failed
