#!/bin/sh
# Build the packages: build.sh deb|rpm [amd64|arm64]... They land in dist/. Equal sources give equal packages, to the byte.
#
#   VERSION            what the binaries say; default: git describe
#   SOURCE_DATE_EPOCH  the date of every file in the packages; default: that of the last commit
#   OUT                where to put them; default: dist
set -eu
cd "$(dirname "$0")/.."

# The last nfpm whose dependencies the public module proxy serves in full.
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.1

usage() {
	echo "usage: packaging/build.sh deb|rpm [amd64|arm64]..." >&2
	exit 2
}
[ $# -ge 1 ] || usage
format=$1
shift
case "$format" in deb | rpm) ;; *) usage ;; esac
[ $# -gt 0 ] || set -- amd64 arm64

VERSION=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo development)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
OUT=${OUT:-dist}

# A version that both package managers understand and order: v1.2.3 -> 1.2.3; three commits later v1.2.3-3-gabc -> 1.2.3+3.gabc;
# without any tag abc -> 0.0.0~<commit's date>.abc.
package_version() {
	case "$VERSION" in
	v[0-9]* | [0-9]*.[0-9]*) printf '%s' "${VERSION#v}" | sed 's/-/+/; s/-/./g' ;;
	*) printf '0.0.0~%s.%s' "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S)" "$VERSION" | sed 's/-/./g' ;;
	esac
}
PACKAGE_VERSION=$(package_version)
MAINTAINER=${MAINTAINER:-The openr developers <openr@localhost>}
export VERSION PACKAGE_VERSION SOURCE_DATE_EPOCH MAINTAINER

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$OUT"
for ARCH; do
	STAGE=$stage/$ARCH
	mkdir "$STAGE"
	CGO_ENABLED=0 GOOS=linux GOARCH=$ARCH go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" \
		-o "$STAGE/" ./cmd/openr ./cmd/breeze
	export ARCH STAGE
	GOFLAGS='' go run $nfpm package --config packaging/nfpm.yaml --packager "$format" --target "$OUT/"
done
