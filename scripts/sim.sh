#!/bin/sh
# Run simulated networks, with a process for each processor.
#
# usage: scripts/sim.sh seeds [COUNT [FIRST]]   bad nights of a network of 100 nodes, COUNT of them (default 200)
#        scripts/sim.sh growth                  networks of 64, 256 and 1024 nodes; figures and a plot in docs/
#        scripts/sim.sh thousand [SEED]         a bad night of a network of 1,000 nodes
#        scripts/sim.sh soak                    64 nodes for a day of churn
#        scripts/sim.sh replay SEED [TOPOLOGY]  one night again, as `seeds` prints it when it goes wrong
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
# Garbage is only collected when it must be (see TestMain): let it have most of what is free, shared by the processes. Close above what
# the network itself needs, 6 GiB and more for the largest, nothing but collecting happens.
memory=$(awk -v of="$([ "${1:-seeds}" = seeds ] && nproc || echo 1)" '/^MemAvailable/ { print int($2 / 1024 * 0.7 / of) }' /proc/meminfo)
export GOMEMLIMIT="${GOMEMLIMIT:-${memory}MiB}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The Go runtime is changed so that a seed fixes everything; see sim/internal/patchruntime.
mkdir "$work/runtime"
$go run ./sim/internal/patchruntime "$work/runtime"
$go test -c -overlay "$work/runtime/overlay.json" -tags simreplay -o "$work/sim" ./sim
night="-test.v -test.timeout 12h -sim.topo=random:100:3:1 -sim.faults=8 -sim.within=20s -sim.seeds=1"

# show TEST ARGUMENTS... runs it and shows what it says.
show() {
	failed=0 name=$1
	shift
	"$work/sim" -test.run "^$name\$" -test.v -test.timeout 12h "$@" >"$work/log" 2>&1 || failed=1
	grep -v '^===' "$work/log"
	[ $failed = 0 ]
}

case ${1:-seeds} in
seeds)
	count=${2:-200} first=${3:-1}
	# Each night has a process of its own, so that nothing of another is left in memory when it is seen again.
	seq "$first" $((first + count - 1)) |
		xargs -P "$(nproc)" -I SEED sh -c "'$work/sim' -test.run '^TestSeeds\$' $night -sim.first=SEED >'$work/SEED.log' 2>&1 || : >'$work/SEED.failed'"
	for failed in "$work"/*.failed; do
		[ -e "$failed" ] || continue
		seed=$(basename "$failed" .failed)
		grep -v -e '^=== ' "$work/$seed.log" | head -n 100
		echo "the night of seed $seed went wrong; see it again with: scripts/sim.sh replay $seed"
	done
	if ls "$work"/*.failed >/dev/null 2>&1; then
		exit 1
	fi
	nights=$(cat "$work"/*.log | grep -c 'nodes started in')
	[ "$nights" -eq "$count" ]
	# shellcheck disable=SC2086
	"$work/sim" -test.run '^TestSeeds$' $night -sim.first="$first" >"$work/again" 2>&1
	history=$(grep -o 'history .*' "$work/$first.log")
	[ "$history" = "$(grep -o 'history .*' "$work/again")" ] || { echo "seed $first has another history the second time" >&2; exit 1; }
	echo "$nights nights of 100 nodes went well; seed $first twice with the same $history"
	;;
growth)
	show TestGrowth -sim.grow "grid:8x8 grid:16x16 grid:32x32 clos:2x62 clos:2x254 clos:2x1022" -sim.result "$work/growth.json"
	python3 bench/plot.py growth "$work/growth.json" docs/growth.svg docs/simulation.md
	;;
thousand)
	show TestSeeds -sim.topo=random:1000:3:1 -sim.faults=20 -sim.within=30s -sim.first="${2:-1}" -sim.seeds=1
	;;
soak)
	show TestSoak -sim.topo=random:64:3:1 -sim.soak=24h
	;;
replay)
	# shellcheck disable=SC2086
	show TestSeeds $night ${3:+-sim.topo=$3} -sim.first="$2"
	;;
*)
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac
