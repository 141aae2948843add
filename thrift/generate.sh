#!/bin/sh
# Regenerate thrift/gen from thrift/idl.
#
# The Thrift compiler is built from the source inside the apache/thrift module that go.mod names, so compiler
# and runtime are always the same version. Two lines of its Go generator are changed: see thrift/internal/patchgen.
# Needs cmake, a C++ compiler, bison, flex.
#
# usage: thrift/generate.sh [OUTPUT-DIRECTORY]      (default: thrift/gen)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/gen}
cd "$here/.."

version=$(go list -m -f '{{.Version}}' github.com/apache/thrift)
module=$(go mod download -json github.com/apache/thrift | sed -n 's/^[[:space:]]*"Dir": "\(.*\)".*/\1/p')
patches=$(cksum <thrift/internal/patchgen/main.go | cut -d' ' -f1)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/openr/thrift-$version-$patches
compiler=$cache/build/bin/thrift

if [ ! -x "$compiler" ]; then
	rm -rf "$cache"
	mkdir -p "$cache"
	cp -r "$module/compiler/cpp" "$cache/src"
	chmod -R u+w "$cache/src"
	go run ./thrift/internal/patchgen "$cache/src/src/thrift/generate/t_go_generator.cc"
	off=""
	for name in $(sed -n 's/^THRIFT_ADD_COMPILER(\([a-z_]*\) .*/\1/p' "$cache/src/CMakeLists.txt"); do
		[ "$name" = go ] || off="$off -DTHRIFT_COMPILER_$(echo "$name" | tr a-z A-Z)=OFF"
	done
	# shellcheck disable=SC2086
	cmake -S "$cache/src" -B "$cache/build" -DCMAKE_BUILD_TYPE=MinSizeRel -DBUILD_TESTING=OFF $off >"$cache/build.log" 2>&1 &&
		cmake --build "$cache/build" --target thrift-compiler -j "$(nproc)" >>"$cache/build.log" 2>&1 ||
		{ tail -n 40 "$cache/build.log" >&2; exit 1; }
fi

rm -rf "$out"
mkdir -p "$out"
for idl in "$here"/idl/*.thrift; do
	"$compiler" --gen go:package_prefix=openr/thrift/gen/,skip_remote -I "$here/idl" -out "$out" "$idl"
done
gofmt -w "$out"
