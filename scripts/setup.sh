#!/bin/sh
# Install what building and testing need on Debian or Ubuntu, besides Go itself. Quick when everything is there already.
#
#   compiler and libc headers     go test -race
#   cmake, g++, bison, flex       the Thrift compiler, for `make gen` and the check of the generated code
#   ip, ping                      namespaces as people use them: the demo, the tests of the lab
#   git                           the version in the binaries
#   systemd-container, debootstrap  a real systemd, for make test-systemd
#   frr                           zebra, through which routes can be programmed
#   python3-zmq, libzmq5          the real ZeroMQ, beside which zmtp is tested and measured
#   tshark                        Wireshark's dissectors, for the one of COOP
#   python3-thrift                a Thrift client of another make, which the tests hold against the agent
set -eu

missing=""
need() { # need COMMAND PACKAGE...
	command -v "$1" >/dev/null 2>&1 || { shift; missing="$missing $*"; }
}
need gcc gcc libc6-dev
need g++ g++
need make make
need cmake cmake
need bison bison
need flex flex
need ip iproute2
need ping iputils-ping
need git git
need systemd-nspawn systemd-container
need debootstrap debootstrap
[ -x /usr/lib/frr/zebra ] || missing="$missing frr"
[ -e /usr/lib/python3/dist-packages/thrift/protocol/THeaderProtocol.py ] || missing="$missing python3-thrift"
[ -e /usr/lib/python3/dist-packages/zmq/__init__.py ] || missing="$missing python3-zmq libzmq5"
[ -e /usr/include/stdlib.h ] || missing="$missing libc6-dev"

if ! command -v go >/dev/null 2>&1; then
	echo "setup: Go is not installed, or not in PATH; see https://go.dev/doc/install" >&2
	exit 1
fi
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "setup: this is not Debian or Ubuntu; please install what these packages hold:$missing" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "setup: run this as root, or install as root: apt-get install$missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
echo "setup: installing$missing"
# shellcheck disable=SC2086
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "setup: apt failed; the whole output is in $log" >&2
	exit 1
fi
case "$missing" in
*frr*) systemctl disable --now frr >/dev/null 2>&1 || true ;; # the tests start zebra themselves, in namespaces
esac
rm -f "$log"
