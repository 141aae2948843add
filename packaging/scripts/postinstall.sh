#!/bin/sh
# After the files are in place: make the account; on an upgrade restart what runs. Nothing is enabled or started that was not.
#
# dpkg calls this with "configure" and the old version, if there was one; rpm with how many versions are installed now.
set -e

upgrade=no
case "$1" in
configure) [ -z "$2" ] || upgrade=yes ;;
1) ;;
[2-9]) upgrade=yes ;;
*) exit 0 ;; # abort-upgrade and so on: the old version runs on
esac

if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers openr.conf
elif ! getent passwd openr >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/openr --no-create-home --shell /usr/sbin/nologin openr
fi

[ -d /run/systemd/system ] || exit 0 # a container or an image being built
systemctl daemon-reload
[ "$upgrade" = yes ] || exit 0

# A restart tells the neighbors and leaves the routes in place; it loses no packet. What does not run is left alone.
# deb-systemd-invoke heeds the administrator's policy-rc.d.
invoke=systemctl
! command -v deb-systemd-invoke >/dev/null 2>&1 || invoke=deb-systemd-invoke
for unit in openr-platform.service openr.service; do
	# A start may wait for its network much longer than an upgrade should take.
	timeout 60 "$invoke" try-restart "$unit" || echo "openr: $unit is not ready yet; see: systemctl status $unit" >&2
done
