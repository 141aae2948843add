#!/usr/bin/env bash
# Run go test with these arguments, and say at the very end what failed: logs of agents fill the end of what it prints itself.
set -uo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
$go test "$@" 2>&1 | tee "$log" && exit
echo
echo "what failed:"
grep -E '^ *--- FAIL|^FAIL|_test\.go:[0-9]+: |DATA RACE|^panic:|^fatal error:|\.go:[0-9]+:[0-9]+: ' "$log" |
	grep -v 'the last lines of' | cut -c1-400 | tail -n 60
exit 1
