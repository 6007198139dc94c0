#!/bin/sh
# deb: "configure" and the version that was there; rpm: how many versions there are now.
set -e
case "${1:-}" in
configure) before=${2:-} ;;
[2-9]*) before=1 ;;
*) before= ;;
esac

# The administrator's file, from the first moment: never one of the package.
if [ ! -e /etc/ecs/ecs.config ] && [ ! -L /etc/ecs/ecs.config ]; then
	cp /usr/share/amazon-ecs/ecs.config /etc/ecs/ecs.config
	chmod 0644 /etc/ecs/ecs.config
fi

# A package whose place this one takes may have masked the units as it went.
if command -v deb-systemd-helper >/dev/null; then
	for unit in ecs.service amazon-ecs-volume-plugin.service amazon-ecs-volume-plugin.socket; do
		deb-systemd-helper unmask "$unit" >/dev/null || true
	done
fi

# What is installed is what runs, whatever came as an update before.
/usr/libexec/amazon-ecs-init reload-cache >/dev/null || true

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
	# Tasks run on while the agent is another one. It is not waited for: it is ready when
	# ECS knows it.
	[ -z "$before" ] || systemctl --no-block try-restart ecs.service amazon-ecs-volume-plugin.service || true
fi
