#!/bin/sh
# Four routers in a square of network namespaces: they find each other, agree, put routes into four kernels, carry a ping
# from one corner to the other, and lose a link. Then the square is yours to look around in; leaving the shell removes it.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
lab=square

if [ "$(id -u)" -ne 0 ]; then
	echo "the demo makes network namespaces: run it as root" >&2
	exit 1
fi

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
plain() { printf '\n%s\n' "$*"; }
[ -t 1 ] || say() { plain "$@"; } # no escape sequences into files and pipes
on() { # on NODE COMMAND...: show a command, then run it in a node
	node=$1
	shift
	echo "$node# $*"
	openr lab exec "$lab" "$node" -- "$@"
}

cleanup() {
	trap '' INT TERM HUP
	openr lab down "$lab" >/dev/null
	printf '\nThe square is removed.\n'
}
openr lab down "$lab" >/dev/null # what a demo that was killed left behind
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say "Four agents start in a square, n0 - n1 - n2 - n3 - n0, and agree:"
up=$(openr lab up --name "$lab" --topology ring:4)
echo "$up" | sed '/^$/,$d' # without its suggestions

say "n0 has found its two neighbours:"
on n0 breeze spark neighbors

say "n0's kernel has a route to each of the others; to n2, in the opposite corner, there are two equal paths:"
on n0 ip -6 route show proto 99
say "The same for IPv4, whose next hops are IPv6 addresses (RFC 5549):"
on n0 ip -4 route show proto 99

say "A ping from corner to corner:"
on n0 ping -q -c 5 -i 0.2 -I fd00::1 fd00:0:0:2::1

say "The link from n0 to n1 fails; n1 is now reached the other way round:"
on n0 ip link set to-n1 down
on n0 ping -q -c 5 -i 0.2 -I fd00::1 fd00:0:0:1::1
on n0 breeze fib routes fd00:0:0:1::1
on n0 ip link set to-n1 up

if [ -t 0 ]; then
	say "You are in n0 now. Look around:"
	echo "  breeze decision routes            what n0 has computed"
	echo "  breeze kvstore keys               what all nodes have told each other"
	echo "  ip link set to-n3 down            and then: breeze fib routes"
	echo "  openr lab exec $lab n2 -- bash   a shell in another node"
	echo "  exit                              leave; everything is removed"
	openr lab exec "$lab" n0 -- "${SHELL:-/bin/sh}" || true # the status of its last command, nothing of ours
fi
