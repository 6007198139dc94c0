#!/bin/sh
# Makes a machine one from which container instances are started: the agent's package, which
# lies in /tmp, Docker, and nothing that belongs to this machine alone.
set -eu

[ "$(id -u)" = 0 ] || { echo "provision: needs root" >&2; exit 1; }
if [ -f /tmp/ecs-agent.rpm ]; then
	dnf install -y docker amazon-ssm-agent iproute-tc /tmp/ecs-agent.rpm
elif [ -f /tmp/ecs-agent.deb ]; then
	# A new machine installs updates by itself, which has the lock.
	export DEBIAN_FRONTEND=noninteractive
	apt-get -o DPkg::Lock::Timeout=300 update
	apt-get -o DPkg::Lock::Timeout=300 install -y docker.io /tmp/ecs-agent.deb
else
	echo "provision: neither /tmp/ecs-agent.rpm nor /tmp/ecs-agent.deb is there" >&2
	exit 1
fi

# Enabled and not started: what the agent registers belongs to one machine.
systemctl enable docker ecs
systemctl stop ecs || true
if systemctl cat amazon-ssm-agent >/dev/null 2>&1; then
	systemctl enable amazon-ssm-agent
fi
ecs-agent config check /etc/ecs/ecs.config

# What each machine made from the image must make for itself.
rm -rf /var/lib/ecs/data/* /var/log/ecs/* /tmp/ecs-agent.rpm /tmp/ecs-agent.deb
rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys /root/.bash_history
if command -v cloud-init >/dev/null; then
	cloud-init clean --logs --machine-id 2>/dev/null || cloud-init clean --logs
fi
truncate -s 0 /etc/machine-id
rm -f /var/lib/dbus/machine-id
if command -v dnf >/dev/null; then
	dnf clean all
else
	apt-get clean
fi
sync
