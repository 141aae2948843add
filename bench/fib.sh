#!/bin/sh
# How fast routes get into the kernel, and how fast they move: beside ip -batch and a C program that only sends what it has
# encoded before (routes.c), in one run. Needs root, iproute2 and a C compiler; works in network namespaces of its own.
#
#   bench/fib.sh [runs]       # default 5; of each the best counts
set -eu
cd "$(dirname "$0")/.."
runs=${1:-5}
bench() {
	go test -run '^$' -bench "$1" -benchtime "${runs}x" -timeout 60m ./fib/netlink | awk '
		/^Benchmark/ {
			printf "%s\n", $1
			for (i = 3; i < NF; i += 2) printf "    %12s %s\n", $i, $(i + 1)
		}
		/FAIL|panic|_test.go/ { print; bad = 1 }
		END { exit bad }'
}
echo "routes per second, and how many times as fast as the others"
bench BenchmarkProgram
echo
echo "all routes of a group to another set of next hops, by one message"
bench BenchmarkMove
echo
echo "from a link going down until the last prefix behind it takes the other way"
bench BenchmarkFailover
