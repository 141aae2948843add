#!/bin/sh
# Test whole agents in network namespaces, as built (with those of the endpoint directory) and with the race detector, under a real systemd beside
# the latter, and then in two minutes of chaos. What only needs processors goes on beside all but the last, with what is left of them: 200 bad nights
# of a simulated network, and each fuzz target.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
# shellcheck disable=SC2016 # $1 and $$ are those of the inner shell
./scripts/idle.sh sh -c 'echo $$ >"$1/pid"; ./scripts/fuzz.sh 300x >"$1/fuzz" & fuzz=$!; ./scripts/sim.sh seeds 200; nights=$?; wait $fuzz || nights=1; cat "$1/fuzz"; exit $nights' \
	beside "$work" >"$work/log" 2>&1 &
beside=$!
systemd=
end() {
	if [ -n "$beside" ]; then
		kill -- "-$(cat "$work/pid")" 2>/dev/null || :
	fi
	if [ -n "$systemd" ]; then
		kill -- "-$systemd" 2>/dev/null || :
	fi
	rm -rf "$work"
}
trap end EXIT
trap 'exit 1' INT TERM

./scripts/gotest.sh -count=1 -timeout 20m -tags endpoint ./tests
setsid ./scripts/gotest.sh -count=1 -timeout 10m -run '^(TestQuick|TestUnit)$' ./tests/systemd >"$work/systemd" 2>&1 &
systemd=$!
# What these do passes through the race detector in the packages' own tests; make namespaces has all of it.
brief='^(TestHostileNeighbour|TestFailover|TestQuestionsAboutPaths|TestWhatIfComesTrue|TestBadStoreFile)$'
OPENR_TEST_RACE=1 ./scripts/gotest.sh -count=1 -timeout 20m -skip "$brief" ./tests
wait $systemd || { cat "$work/systemd"; exit 1; }
systemd=
cat "$work/systemd"
wait $beside || { cat "$work/log"; exit 1; }
beside=
cat "$work/log"
./scripts/chaos.sh 2m 1 >"$work/chaos" 2>&1 || { cat "$work/chaos"; exit 1; }
tail -n 1 "$work/chaos"
