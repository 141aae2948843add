#!/bin/sh
# Let everything go wrong, at random, in a network of whole agents over real kernels, zebra and a switch agent. As root.
#
# usage: scripts/chaos.sh [TIME [SEED...]]   for so long (default 10m), once for each seed (default: one drawn anew)
#
# A run that fails names its seed and the folder of the logs. Other things to set are flags of the test:
#
#        go test ./tests/chaos -run TestChaos -v -chaos.for=2m -chaos.only=zebra -chaos.topo=random:9:4:5
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
[ "$(id -u)" -eq 0 ] || { echo "chaos: this makes network namespaces: run it as root" >&2; exit 1; }
./scripts/setup.sh
time=${1:-10m}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 $go build -o "$work/" ./cmd/openr ./cmd/breeze
$go test -c -o "$work/chaos" ./tests/chaos
for seed in "$@"; do
	(cd tests/chaos && "$work/chaos" -test.run '^TestChaos$' -test.v -test.timeout 24h -chaos.agent "$work" -chaos.for "$time" -chaos.seed "$seed")
done
