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
export GOMEMLIMIT="${GOMEMLIMIT:-8GiB}" # a network of a thousand nodes lives in less; without a limit, garbage doubles it
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
$go test -c -o "$work/sim" ./sim
night="-sim.topo=random:100:3:1 -sim.faults=8 -sim.within=20s"

# sim TEST ARGUMENTS... runs it.
sim() {
	name=$1
	shift
	"$work/sim" -test.run "^$name\$" -test.v -test.timeout 12h "$@" 2>&1
}

# show TEST ARGUMENTS... runs it and shows what it says.
show() {
	failed=0
	sim "$@" >"$work/log" || failed=1
	grep -v '^===' "$work/log"
	[ $failed = 0 ]
}

case ${1:-seeds} in
seeds)
	count=${2:-200} first=${3:-1} processes=$(nproc) failed=0 i=0
	while [ $i -lt "$processes" ]; do
		from=$((first + count * i / processes))
		upto=$((first + count * (i + 1) / processes))
		# shellcheck disable=SC2086
		sim TestSeeds $night -sim.first=$from -sim.seeds=$((upto - from)) >"$work/$i.log" &
		eval "pid$i=$!"
		i=$((i + 1))
	done
	i=0
	while [ $i -lt "$processes" ]; do
		eval "wait \$pid$i" || failed=1
		i=$((i + 1))
	done
	if [ $failed = 1 ]; then
		grep -h -v -e '^=== ' -e '--- PASS' -e 'nodes started in' "$work"/*.log || true
		echo "a night went wrong; see it again with: scripts/sim.sh replay SEED"
		exit 1
	fi
	nights=$(cat "$work"/*.log | grep -c 'nodes started in')
	grep -h 'longest circle' "$work"/*.log
	echo "$nights nights of 100 nodes went well"
	[ "$nights" -eq "$count" ]
	;;
growth)
	show TestGrowth -sim.grow "grid:8x8 grid:16x16 grid:32x32 clos:8x56 clos:8x248 clos:8x1016" -sim.result "$work/growth.json"
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
	show TestSeeds $night ${3:+-sim.topo=$3} -sim.first="$2" -sim.seeds=1
	;;
*)
	sed -n '2,9s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac
