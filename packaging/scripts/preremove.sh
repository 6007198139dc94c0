#!/bin/sh
# deb: "remove", or what is done in its stead; rpm: how many versions remain.
set -e
case "${1:-}" in
remove | 0) ;;
*) exit 0 ;;
esac

if [ -d /run/systemd/system ]; then
	systemctl stop ecs.service amazon-ecs-volume-plugin.socket amazon-ecs-volume-plugin.service || true
fi
if command -v systemctl >/dev/null; then
	systemctl --no-reload disable ecs.service amazon-ecs-volume-plugin.socket amazon-ecs-volume-plugin.service || true
fi
# What an agent that was started by other means left.
/usr/libexec/amazon-ecs-init stop >/dev/null || true
/usr/libexec/amazon-ecs-init post-stop >/dev/null || true
