#!/bin/sh
# Measure convergence of openr, FRR and BIRD on the same topologies in one run. Arguments are passed on to bench/fabric.py.
#
# usage: scripts/compare.sh [FABRIC-ARGUMENTS...]      (default: four topologies, everything that is measured; tables and a plot in docs/)
#        scripts/compare.sh failover                   how long packets are lost when a link goes down, with many prefixes behind it
set -eu
cd "$(dirname "$0")/.."
if ! [ -x /usr/lib/frr/ospf6d ] || ! [ -x /usr/sbin/bird ] || ! command -v python3 >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq frr bird2 python3 >/dev/null
	# The packages start daemons of their own, which would route in the host's namespace.
	for service in frr bird bird6; do
		service "$service" stop >/dev/null 2>&1 || true
	done
fi
export OPENR_BIN="$PWD/bin/openr"
programs="--impl openr --impl bird-ospf3 --impl frr-ospf6 --impl frr-isis --impl frr-openfabric"
if [ "${1:-}" = failover ]; then
	exec python3 bench/failover.py
fi
if [ $# -gt 0 ]; then
	# shellcheck disable=SC2086
	exec python3 bench/fabric.py run $programs "$@"
fi
results=$(mktemp)
trap 'rm -f "$results"' EXIT
# shellcheck disable=SC2086
python3 bench/fabric.py run $programs --topo ring:8 --topo grid:4x4 --topo clos:4x8 --topo random:16:4:7 --trials 3 --node --cut --restart 8 \
	--json "$results"
python3 bench/plot.py compare "$results" docs/compare.svg docs/benchmarks.md
