#!/bin/sh
# After the files have gone: on removal take the agent's routes out of the kernel, which nobody looks after any more; on
# purge remove its state and its account, too. dpkg calls this with "remove", "purge", "upgrade" ...; rpm with how many
# versions are left, and knows no purge: state and account stay.
set -e

flush() {
	command -v ip >/dev/null 2>&1 || return 0
	# 99 is Open/R's number, 253 that of BGP clients of openr platform, which may have been others: left alone. The nexthop
	# objects first: the kernel removes the routes on them, which ip cannot always name.
	ip nexthop flush proto 99 || true
	ip -4 route flush table all proto 99 || true
	ip -6 route flush table all proto 99 || true
}

case "$1" in
remove | 0)
	[ ! -d /run/systemd/system ] || { systemctl daemon-reload && flush; }
	;;
purge)
	rm -rf /var/lib/openr /run/openr /etc/systemd/system/openr.service.d/switch-agent.conf
	rmdir /etc/systemd/system/openr.service.d /etc/openr 2>/dev/null || true
	if getent passwd openr >/dev/null; then userdel openr || true; fi
	if getent group openr >/dev/null; then groupdel openr || true; fi
	;;
esac
