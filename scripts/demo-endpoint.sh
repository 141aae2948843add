#!/bin/sh
# A fabric of two spines and three leaves with four hosts, all in network namespaces: the leaves find the hosts, the spines
# know where each is. One host moves to another leaf while it is pinged, one is caught in a loop and pinned, and a spine's agent
# is killed. Then the fabric is yours to look around in; leaving the shell removes it.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
lab=fabric

if [ "$(id -u)" -ne 0 ]; then
	echo "the demo makes network namespaces: run it as root" >&2
	exit 1
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
plain() { printf '\n%s\n' "$*"; }
[ -t 1 ] || say() { plain "$@"; } # no escape sequences into files and pipes
run() { openr lab exec "$lab" "$@"; }
on() { # on NODE COMMAND...: show a command, then run it in a node or host
	where=$1
	shift
	echo "$where# $*"
	run "$where" -- "$@"
}
host() { # host COMMAND...: show a command of the lab about hosts, then run it
	echo "# openr lab host $*"
	openr lab host --name "$lab" "$@"
}
until_there() { # until_there PATTERN NODE COMMAND...: wait until what the command prints has the pattern
	pattern=$1 node=$2 tries=0
	shift 2
	until run "$node" -- "$@" 2>/dev/null | grep -q "$pattern"; do
		tries=$((tries + 1))
		if [ "$tries" -gt 100 ]; then
			echo "after 20 s, '$*' in $node does not show '$pattern':" >&2
			run "$node" -- "$@" >&2 || true
			exit 1
		fi
		sleep 0.2
	done
}
summary() { grep transmitted "$pings"; }

pings=$(mktemp)
cleanup() {
	trap '' INT TERM HUP
	openr lab down "$lab" >/dev/null
	rm -f "$pings"
	printf '\nThe fabric is removed.\n'
}
openr lab down "$lab" >/dev/null # what a demo that was killed left behind
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "Two spines, n0 and n1, and three leaves, n2 to n4, start and agree on routes to each other's tunnel addresses:"
up=$(openr lab up --name "$lab" --fabric 2x3 --hosts 4)
echo "$up" | sed '/^Try:/,$d' # without its suggestions

say "The hosts are on one Ethernet segment. h0 does not know where h1 is, and its leaf does not either; the spines find it:"
on h0 ping -c 3 -i 0.2 192.168.100.2
on h0 ping -q -c 3 -i 0.2 fd00:100::3

say "What h0's leaf knows of hosts by now, and its sessions with the spines, which keep the directory:"
on n2 breeze endpoint show
on n2 breeze endpoint oracles
on n2 breeze endpoint bd

say "h1 moves from n3 to n4 while h0 pings it all the time:"
run h0 -- ping -q -c 300 -i 0.01 192.168.100.2 >"$pings" &
ping=$!
sleep 1
host move h1 n4
wait "$ping" || true
summary
on n2 breeze endpoint where 192.168.100.2
on n3 breeze endpoint moves 192.168.100.2

say "A loop: frames of h3 come in at the port of h0 too, 20 a second. Its leaf pins h3 to its own port, and nobody else notices:"
run h0 -- ping -q -c 300 -i 0.01 192.168.100.2 >"$pings" &
ping=$!
host loop h3 h0 --rate 20 --for 2s
wait "$ping" || true
echo "h0 to h1 meanwhile: $(summary)"
until_there 02:00:00:00:01:04 n2 breeze endpoint rogue
on n2 breeze endpoint rogue
on n2 breeze endpoint faults
say "The loop is gone, and the operator says so:"
on n2 breeze endpoint clear rogue 02:00:00:00:01:04
on n2 breeze endpoint faults

say "The agent of the spine n0 is killed (its kernel goes on) while h0 pings h1; known traffic does not notice:"
run h0 -- ping -q -c 600 -i 0.01 192.168.100.2 >"$pings" &
ping=$!
sleep 1
# shellcheck disable=SC2046
kill -9 $(ip netns pids "$lab-n0")
wait "$ping" || true
summary
on n2 breeze endpoint oracles

if [ -t 0 ]; then
	say "You are in the leaf n2 now. Look around:"
	echo "  breeze endpoint snoop                           and from another terminal: openr lab host move --name $lab h3 n3"
	echo "  breeze endpoint where fd00:100::2               where is that host, and since when"
	echo "  breeze endpoint bd                              the bridge domains of this leaf"
	echo "  bridge fdb show dev vx100                       what the kernel has"
	echo "  openr lab exec $lab h0 -- ping 192.168.100.4   a host"
	echo "  exit                                            leave; everything is removed"
	run n2 -- "${SHELL:-/bin/sh}" || true # the status of its last command, nothing of ours
fi
