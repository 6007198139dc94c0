package packages

import (
	"path/filepath"
	"runtime"
	"testing"
)

// hostOf is a system that plays an EC2 instance: a local ECS with instance metadata, which
// is not reached before "metadata" is called, a Docker service that leads to the test's
// engine, and what stands for programs that would ask the network.
const hostOf = `
	cat >/etc/systemd/system/ecs-local.service <<-'END'
		[Unit]
		Before=ecs.service
		[Service]
		ExecStart=/ecs-local up --foreground --imds --region us-east-1 --data-dir /root/ecs-local
		[Install]
		WantedBy=multi-user.target
	END
	cat >/etc/systemd/system/docker.service <<-'END'
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=/bin/ln -sf /engine.sock /run/docker.sock
		ExecStop=/bin/rm -f /run/docker.sock
		[Install]
		WantedBy=multi-user.target
	END
	cat >/etc/systemd/system/metadata.service <<-'END'
		[Unit]
		DefaultDependencies=no
		Before=ecs.service
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=/sbin/ip addr replace 169.254.169.254/32 dev lo
		ExecStart=/usr/sbin/nft 'add table ip metadata; add chain ip metadata output { type nat hook output priority -100; }; add rule ip metadata output ip daddr 169.254.169.254 tcp dport 80 redirect to :4580'
		[Install]
		WantedBy=sysinit.target
	END
	mkdir -p /etc/systemd/system/ecs.service.d
	cat >/etc/systemd/system/ecs.service.d/here.conf <<-'END'
		[Service]
		Environment=ECS_BACKEND_HOST=http://127.0.0.1:4580 AWS_DEFAULT_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local ECS_ENABLE_TASK_CPU_MEM_LIMIT=false
	END
	systemctl daemon-reload
	systemctl enable --now --quiet ecs-local
	await '/ecs-local ps >/dev/null 2>&1'
	python3 -c 'import urllib.request as r
for name in ("production", "spot"):
	r.urlopen(r.Request("http://127.0.0.1:4580/", b"{\"clusterName\": \"%s\"}" % name.encode(), {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonEC2ContainerServiceV20141113.CreateCluster",
		"Authorization": "AWS4-HMAC-SHA256 Credential=local/20200101/us-east-1/ecs/aws4_request, SignedHeaders=host, Signature=" + "0" * 64}))'
`

// stateOf is known to the scripts of an instance.
const stateOf = `
	journal() { journalctl -b -u ecs --no-pager -o cat; }
	lifecycle() { # STATE: what auto scaling wants of the instance
		python3 -c 'import sys, urllib.request as r
r.urlopen(r.Request("http://127.0.0.1:4580/_local/imds/meta-data/autoscaling/target-lifecycle-state", sys.argv[1].encode(), {"X-Ecs-Local": "1"}, method="PUT"))' "$1"
	}
	registered() { # CLUSTER: the agent is there and ECS knows it
		await 'systemctl is-active --quiet ecs'
		has "status" "$(systemctl show -p StatusText --value ecs)" "cluster $1"
		has "instances" "$(/ecs-local instances --cluster "$1" --output json)" '"agentConnected": true'
		is "check of the settings" "$(ecs-agent config check /etc/ecs/ecs.config)" ""
	}
	fresh() { # as on an image that has never been started
		systemctl stop ecs
		rm -rf /var/lib/ecs/data/*
		cp /usr/share/amazon-ecs/ecs.config /etc/ecs/ecs.config
	}
	seed() { # FILE: user data that the next start is to find, as the first one of the machine
		rm -f ` + withoutCloudInit + `
		cloud-init clean --logs
		mkdir -p /var/lib/cloud/seed/nocloud /etc/cloud/cloud.cfg.d
		printf 'datasource_list: [NoCloud]\nnetwork: {config: disabled}\nlocale: false\nssh_genkeytypes: []\n' >/etc/cloud/cloud.cfg.d/90-test.cfg
		printf 'instance-id: i-%s\n' "$RANDOM" >/var/lib/cloud/seed/nocloud/meta-data
		cp "$1" /var/lib/cloud/seed/nocloud/user-data
	}
	followed() { # cloud-init ran the user data, and the agent started after that
		is "cloud-init" "$(cloud-init status)" "status: done"
		since() { systemctl show -p "$2" --value "$1"; }
		final=$(since cloud-final ExecMainExitTimestampMonotonic); agent=$(since ecs ExecMainStartTimestampMonotonic)
		[ "$final" -gt 0 ] && [ "$agent" -gt "$final" ] || { echo "the agent started at $agent, user data ended at $final"; exit 1; }
	}
`

// From a host with the official package, Docker and metadata missing and half of a file of
// settings, to machine images and what user data makes of them, which cloud-init runs.
func TestInstance(t *testing.T) {
	engine := host(t)
	t.Parallel()
	files := map[string]string{
		program(t, "ecs-local"): "/ecs-local",
		find(t, filepath.Join(packages(t), "*_"+runtime.GOARCH+".deb")): "/root/ecs-agent.deb",
		filepath.Join("packaging", "ami"):                               "/root/ami",
	}
	s := boot(t, engine, files)
	s.sh(stateOf + hostOf)
	s.ready = `await 'systemctl is-active --quiet ecs'; cloud-init status --wait >/dev/null`
	s.walk([]step{
		{"the official package gives way, its settings stay", `
			# What the official package has, with the scripts that Debian's tools make for it.
			mkdir -p /root/official/DEBIAN /root/official/usr/libexec /root/official/usr/lib/systemd/system /root/official/var/cache/ecs
			cd /root/official
			printf 'Package: amazon-ecs-init\nVersion: 1.90.0-1\nArchitecture: all\nMaintainer: nobody\nDescription: has the files of the official package\n' >DEBIAN/control
			printf '#!/bin/sh\nif [ "$1" = remove ]; then deb-systemd-invoke stop ecs.service; fi\n' >DEBIAN/prerm
			printf '#!/bin/sh\ncase $1 in remove) deb-systemd-helper mask ecs.service;; purge) deb-systemd-helper purge ecs.service; deb-systemd-helper unmask ecs.service;; esac >/dev/null\n' >DEBIAN/postrm
			printf '#!/bin/sh\nexec sleep infinity\n' >usr/libexec/amazon-ecs-init
			printf '[Service]\nExecStart=/usr/libexec/amazon-ecs-init\n[Install]\nWantedBy=multi-user.target\n' >usr/lib/systemd/system/ecs.service
			echo 2 >var/cache/ecs/state
			chmod 755 DEBIAN/prerm DEBIAN/postrm usr/libexec/amazon-ecs-init
			dpkg-deb -b -Znone . /root/official.deb >/dev/null
			dpkg -i /root/official.deb >/dev/null 2>&1
			mkdir -p /etc/ecs /var/lib/ecs/data
			printf 'ECS_CLUSTER=production\n' >/etc/ecs/ecs.config
			systemctl enable --quiet ecs
			systemctl start ecs

			# As docs/migrating.md has it.
			systemctl stop ecs
			apt-get install -y --no-install-recommends /root/ecs-agent.deb >/root/apt.log 2>&1 || { cat /root/apt.log; exit 1; }
			is "packages" "$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' ecs-agent amazon-ecs-init 2>/dev/null | grep ' installed')" "ecs-agent installed"
			is "settings" "$(cat /etc/ecs/ecs.config)" ECS_CLUSTER=production
			has "unit" "$(systemctl show -p FragmentPath,LoadState ecs)" LoadState=loaded
			is "left of the official package" "$(find /var/cache/ecs -type f; grep -lax "exec sleep infinity" /usr/libexec/amazon-ecs-init || true)" ""
			is "state" "$(systemctl is-active ecs || true)" inactive

			# And back, and here again.
			apt-get install -y --no-install-recommends --allow-downgrades /root/official.deb >/root/apt.log 2>&1 || { cat /root/apt.log; exit 1; }
			is "settings" "$(cat /etc/ecs/ecs.config)" ECS_CLUSTER=production
			systemctl enable --now --quiet ecs
			is "official" "$(systemctl show -p ActiveState --value ecs) $(cat /var/cache/ecs/state)" "active 2"
			apt-get install -y --no-install-recommends /root/ecs-agent.deb >/root/apt.log 2>&1 || { cat /root/apt.log; exit 1; }
			is "state" "$(systemctl is-active ecs || true)" inactive`, false},
		{"without Docker and metadata and with half of a file of settings it says so, and starts when they are there", stateOf + `
			printf 'ECS_RESERVED_PORTS=[22,\nECS_CLUS' >>/etc/ecs/ecs.config
			mv /etc/systemd/system/docker.service /root/docker.service
			systemctl daemon-reload
			systemctl --no-block start ecs
			await 'journal | grep -q "failed 1 times in a row, at last: exit code 1: cannot start: connect to docker"'
			text=$(journal)
			for what in "ECS_RESERVED_PORTS" "ECS_CLUS: the line has no" "EC2 user data: cannot be read and is left out" "docker.sock"; do has "journal" "$text" "$what"; done
			has "status" "$(systemctl status --no-pager --full ecs || true)" "cannot start: connect to docker at"
			for what in 51678 51679 169.254.170.2; do has "rules" "$(rules)" $what; done

			mv /root/docker.service /etc/systemd/system/docker.service
			systemctl daemon-reload
			systemctl enable --now --quiet metadata docker
			await 'systemctl is-active --quiet ecs'
			is "container instances" "$(/ecs-local instances --cluster production --output json | grep -c '"containerInstanceArn"')" 1
			sed -i '/^ECS_RESERVED_PORTS/,$d' /etc/ecs/ecs.config
			timeout 120 systemctl restart ecs
			registered production`, false},
		{"an image is made of it", stateOf + `
			# It is not asked for what a package server would have.
			printf '#!/bin/bash\ncase "$*" in *install*) exec dpkg -i "${@: -1}";; esac\n' >/usr/local/bin/apt-get
			chmod +x /usr/local/bin/apt-get
			dpkg --purge ecs-agent >/dev/null 2>&1
			rm -rf /var/lib/ecs /var/cache/ecs /var/log/ecs /etc/ecs
			cp /root/ecs-agent.deb /tmp/ecs-agent.deb
			sh /root/ami/provision.sh >/root/provision.log 2>&1 || { cat /root/provision.log; exit 1; }
			rm /usr/local/bin/apt-get
			is "start" "$(systemctl is-enabled ecs docker | tr '\n' ' ')" "enabled enabled "
			is "state" "$(systemctl is-active ecs || true)" inactive
			is "left of this machine" "$(find /var/lib/ecs/data /var/log/ecs /etc/machine-id -size +0 -type f; ls /tmp/*.deb 2>/dev/null || true)" ""
			systemctl enable --quiet metadata
			seed /root/ami/examples/user-data.sh`, false},
		{"an instance of it is what its user data says", stateOf + `
			registered production
			followed
			has "settings" "$(cat /etc/ecs/ecs.config)" 'ECS_CONTAINER_INSTANCE_TAGS={"team":"web"}'
			has "tags" "$(ecs-agent config show 2>&1)" team

			# The other ways to write the settings: cloud-init's own, the line that the CDK adds.
			fresh
			cloud-init --file /root/ami/examples/cloud-config.yaml single --name write_files --frequency always >/root/cloud.log 2>&1 || { cat /root/cloud.log; exit 1; }
			timeout 120 systemctl start ecs
			registered production
			fresh
			echo 'echo ECS_CLUSTER=spot >> /etc/ecs/ecs.config' | bash
			timeout 120 systemctl start ecs
			registered spot

			# In a warm pool it waits, and is a container instance when it leaves it.
			fresh
			has "cluster.tf" "$(cat /root/ami/examples/cluster.tf)" '/user-data-warm-pool.sh"'
			bash /root/ami/examples/user-data-warm-pool.sh
			lifecycle Warmed:Stopped
			systemctl --no-block start ecs
			await 'grep -q "waiting for auto scaling to put the instance in service.*Warmed:Stopped" /var/log/ecs/ecs-agent.log'
			is "state" "$(systemctl is-active ecs || true)" activating
			lifecycle InService
			timeout 120 systemctl restart ecs
			registered production

			# A plain host: no agent, and programs that play the package servers.
			dpkg --purge ecs-agent >/dev/null 2>&1
			printf '#!/bin/bash\ncase "$*" in *ecs-agent.rpm) exec dpkg -i "${@: -1}";; esac\n' >/usr/local/bin/dnf
			printf '#!/bin/bash\nexec cp /root/ecs-agent.deb "${@: -1}"\n' >/usr/local/bin/aws
			chmod +x /usr/local/bin/dnf /usr/local/bin/aws
			seed /root/ami/examples/user-data-without-image.sh`, true},
		{"user data that installs the agent starts it, and waits for nothing that waits for it", stateOf + `
			registered production
			followed
			is "start" "$(systemctl is-enabled ecs)" enabled`, true},
	})
}
