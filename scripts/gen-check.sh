#!/bin/sh
# Fail if thrift/gen is not exactly what thrift/generate.sh makes of thrift/idl.
set -eu
cd "$(dirname "$0")/.."
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
./thrift/generate.sh "$new" >/dev/null
if ! diff -r -q thrift/gen "$new"; then
	echo "thrift/gen is not what thrift/idl says: run 'make gen' and commit the result" >&2
	exit 1
fi
echo "thrift/gen is up to date"
