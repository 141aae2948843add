#!/bin/sh
# Routes per second through FRR's zebra into the kernel: ours beside those of sharpd, FRR's own test daemon, through the same zebra
# in the same run, judged by the kernel's announcements. Needs Debian, root and the package frr, which has no sharpd: it is built
# from the package's source, once (two minutes), in ${XDG_CACHE_HOME:-~/.cache}/openr. apt gets lists of sources of its own there;
# the system's stay as they are.
#
#   bench/sharpd.sh [runs]       # default 5; medians count
set -eu
cd "$(dirname "$0")/.."
here=$PWD
runs=${1:-5}
version=$(dpkg-query -W -f '${Version}' frr 2>/dev/null) || { echo "sharpd.sh: install frr first: apt-get install frr" >&2; exit 1; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/openr/sharpd-$version

build() {
	suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
	mkdir -p "$work/apt/lists/partial" "$work/apt/parts"
	for type in deb deb-src; do
		echo "$type http://deb.debian.org/debian $suite main"
		echo "$type http://deb.debian.org/debian-security $suite-security main"
	done >"$work/apt/sources"
	apt="apt-get -qq -o Dir::Etc::sourcelist=$work/apt/sources -o Dir::Etc::sourceparts=$work/apt/parts -o Dir::State::lists=$work/apt/lists"
	export DEBIAN_FRONTEND=noninteractive
	$apt update
	$apt install -y --no-install-recommends dpkg-dev autoconf automake libtool make gcc bison flex pkg-config python3-dev \
		libelf-dev libjson-c-dev libyang2-dev libreadline-dev
	cd "$work"
	$apt -o APT::Sandbox::User=root source --download-only "frr=$version"
	dpkg-source --no-check -x frr_*.dsc src
	cd src
	./bootstrap.sh
	mkdir build
	cd build
	without=""
	for daemon in bgpd ripd ripngd ospfd ospf6d ldpd nhrpd eigrpd babeld watchfrr isisd pimd pbrd fabricd vrrpd pathd bfdd staticd \
		ospfclient doc capabilities; do
		without="$without --disable-$daemon"
	done
	# shellcheck disable=SC2086
	../configure --enable-sharpd $without --sysconfdir=/etc/frr --localstatedir=/var/run/frr --enable-multipath=256 \
		--enable-user=frr --enable-group=frr --enable-vty-group=frrvty CFLAGS=-O2 PYTHON=/usr/bin/python3
	make -j2 sharpd/sharpd
	cp sharpd/.libs/sharpd lib/.libs/libfrr.so.0 "$work/"
}

if ! [ -x "$cache/run" ]; then
	mkdir -p "$(dirname "$cache")"
	work=$(mktemp -d "$cache.XXXXXX")
	log=$work/log
	echo "building sharpd $version; the output goes to $log"
	if ! (set -e; build) >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		exit 1
	fi
	mkdir -p "$cache"
	mv "$work/sharpd" "$work/libfrr.so.0" "$cache/"
	printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s/sharpd "$@"\n' "$cache" "$cache" >"$cache/run"
	chmod +x "$cache/run"
	chmod -R a+rX "$cache"
	rm -rf "$work"
fi

cd "$here"
SHARPD=$cache/run go test -run '^$' -bench BenchmarkSharpd -benchtime "${runs}x" -timeout 60m ./fib/zebra | awk '
	/^Benchmark/ {
		printf "%s\n", $1
		for (i = 3; i < NF; i += 2) printf "    %12s %s\n", $i, $(i + 1)
	}
	/FAIL|panic|_test.go/ { print; bad = 1 }
	END { exit bad }'
