#!/bin/sh
# Measure convergence of openr, FRR and BIRD on the same topologies in one run. Arguments are passed on to bench/fabric.py.
#
# usage: scripts/compare.sh [FABRIC-ARGUMENTS...]      (default: clos:2x4, everything that is measured)
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
[ $# -gt 0 ] || set -- --topo clos:2x4 --trials 3 --node --cut --restart 8
OPENR_BIN=$PWD/bin/openr exec python3 bench/fabric.py run \
	--impl openr --impl bird-ospf3 --impl frr-ospf6 --impl frr-isis "$@"
