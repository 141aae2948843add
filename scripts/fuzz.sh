#!/bin/sh
# Run every fuzz target of every package: each for a time, or for a number of executions. What fails is left in testdata.
#
# usage: scripts/fuzz.sh [TIME|COUNTx [PATTERN...]]   60s, 10m, 2000x; default 10s. PATTERN: packages, default ./...
set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}
amount=${1:-10s}
[ $# -eq 0 ] || shift
case $amount in
*[0-9]s | *[0-9]m | *[0-9]h | *[0-9]x) ;;
*)
	sed -n '2,4s/^# \{0,1\}//p' "$0"
	exit 2
	;;
esac
# Where the number counts and not the time, most of it is spent on starting workers.
workers=
case $amount in *x) workers="-test.parallel 1" ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$(pwd)
cache=$($go env GOCACHE)/fuzz
targets=0 executions=0
$go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' "${@:-./...}" >"$work/packages"
while read -r package dir; do
	grep -qs '^func Fuzz' "$dir"/*_test.go || continue
	# One binary for all targets of a package, with the counters in it by which the fuzzer finds new paths.
	$go test -c -fuzz=. -o "$work/test" "$package"
	for target in $(cd "$dir" && "$work/test" -test.list '^Fuzz' | grep '^Fuzz'); do
		# Minimizing is limited to a few tries: left alone it may take all the time and more.
		# shellcheck disable=SC2086
		if (cd "$dir" && "$work/test" $workers -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$amount" \
			-test.fuzzminimizetime 10x -test.fuzzcachedir "$cache/$package" -test.timeout 0) >"$work/log" 2>&1; then
			n=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$work/log" | tail -1)
			printf '%-28s %-28s %10d executions\n' "${dir#"$root"/}" "$target" "${n:-0}"
			targets=$((targets + 1)) executions=$((executions + ${n:-0}))
		else
			cat "$work/log"
			echo "$package: $target failed"
			exit 1
		fi
	done
done <"$work/packages"
echo "$targets targets, $executions executions, no failure"
