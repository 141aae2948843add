#!/bin/sh
# Four routers in a square of network namespaces: they find each other, agree, put routes into four kernels and carry a
# ping from one end to the other. Then it is yours to look around; leaving the shell takes the network down.
set -eu
cd "$(dirname "$0")/.."
export PATH="$PWD/bin:$PATH"
name=demo

openr lab down "$name" >/dev/null 2>&1 || true
trap 'openr lab down "$name"' EXIT
openr lab up --name "$name" --topology ring:4

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
say "n0's neighbours (breeze spark neighbors):"
openr lab exec "$name" n0 -- breeze spark neighbors
say "n0's routes in the kernel (ip -6 route show proto 99):"
openr lab exec "$name" n0 -- ip -6 route show proto 99
openr lab exec "$name" n0 -- ip -4 route show proto 99
say "a ping from n0 to n2, two hops away, by either side of the square:"
openr lab exec "$name" n0 -- ping -c 3 -i 0.2 -I fd00:0:0:0::1 fd00:0:0:2::1
openr lab exec "$name" n0 -- ping -c 3 -i 0.2 -I 10.255.0.0 10.255.0.2

if [ -t 0 ]; then
	say "You are in n0 now. Try:  breeze decision routes;  breeze kvstore keys;  ip link set to-n1 down;  breeze fib routes"
	echo "Other nodes: openr lab exec $name n2 -- breeze lm links.  Leave with exit; the network goes with you."
	openr lab exec "$name" n0 -- "${SHELL:-/bin/sh}" || true
fi
