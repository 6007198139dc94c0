#!/bin/sh
# deb: "remove", "purge" and others; rpm: how many versions remain. Settings, state and
# logs stay, but for a purge.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
case "${1:-}" in
purge)
	# What is mounted below belongs to somebody else.
	rm -rf --one-file-system /var/lib/ecs /var/cache/ecs /var/log/ecs
	rm -f /etc/ecs/ecs.config
	rmdir --ignore-fail-on-non-empty /etc/ecs /mnt/ecs/ebs /mnt/ecs 2>/dev/null || true
	;;
esac
