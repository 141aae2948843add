#!/bin/sh
# Make the Debian that the tests boot: rootfs.sh FILE.tar. Needs root, debootstrap and the network.
set -eu

file=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# minbase has no init; procps and iproute2 are for the tests' own questions. FRR is one of the things that openr programs; rpm installs its packages.
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,procps,frr,rpm bookworm "$folder" \
	"${DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$file.log" 2>&1 || {
	tail -n 20 "$file.log" >&2
	exit 1
}
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/* "$folder"/etc/hostname
# Nothing of the machine outside is to reach the packets: no network management, no waiting for one.
for unit in systemd-networkd.service systemd-resolved.service systemd-timesyncd.service apt-daily.timer apt-daily-upgrade.timer; do
	ln -sf /dev/null "$folder/etc/systemd/system/$unit"
done
rm -f "$folder"/etc/systemd/system/multi-user.target.wants/frr.service
chmod 755 "$folder"
tar --numeric-owner -C "$folder" -cf "$file.new" .
mv "$file.new" "$file"
rm -f "$file.log"
