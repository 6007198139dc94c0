package packages

import (
	"path/filepath"
	"runtime"
	"testing"
)

// A package is installed, serves, is restarted, killed, upgraded, stopped, removed and
// purged; a task runs through all of it until its end, and nothing is left.
func TestLifecycle(t *testing.T) {
	engine := host(t)
	t.Parallel()
	files := makeUpdates(t)
	files[program(t, "ecs-local")] = "/ecs-local"
	files[find(t, filepath.Join(packages(t), "*_"+runtime.GOARCH+".deb"))] = "/root/new.deb"
	s := boot(t, engine, files)
	s.sh(`
		# The version before: the same files under another number.
		dpkg-deb -R /root/new.deb /root/old
		sed -i 's/^Version: .*/Version: 0.0.1-1/' /root/old/DEBIAN/control
		dpkg-deb -b -Znone /root/old /root/old.deb >/dev/null
		rm -r /root/old
		cat >/etc/systemd/system/ecs-local.service <<-'END'
			[Unit]
			Before=ecs.service
			[Service]
			ExecStart=/ecs-local up --foreground --region us-east-1 --data-dir /root/ecs-local --agent-update /root/update.tar
			[Install]
			WantedBy=multi-user.target
		END
		systemctl enable --now --quiet ecs-local
		await '/ecs-local ps >/dev/null 2>&1'`)
	const listing = `find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /root -o -path '/var/lib/dpkg/*' -o -path '/var/log/*' -o -path '/var/lib/systemd/*' \
		-o -path '/var/cache/*' -o -path '/var/tmp/*' -o -path '/etc/ld.so.cache' \) -prune -o -print | sort`
	s.sh(listing + ` >/root/files.before; rules >/root/rules.before; is "rules of a new system" "$(rules)" ""`)

	steps := []step{
		{"installed, it does not start by itself", `
			dpkg -i /root/old.deb >/root/dpkg.log 2>&1 || { cat /root/dpkg.log; exit 1; }
			is "state" "$(systemctl is-active ecs || true)" inactive
			is "start" "$(systemctl is-enabled ecs || true)" disabled
			is "state folder" "$(stat -c %a /var/lib/ecs/data)" 700
			is "settings are fine" "$(ecs-agent config check /etc/ecs/ecs.config)" ""
			is "rules" "$(rules)" ""`, false},
		{"the unit is sound", `
			unit=/usr/lib/systemd/system/ecs.service
			is "verified" "$(systemd-analyze verify --man=no $unit ${unit%/*}/amazon-ecs-volume-plugin.* ${unit%/*}/ecs-update-trial.* 2>&1)" ""
			# What docs/security.md says of each.
			for score in ecs:36 ecs-update-trial:12 amazon-ecs-volume-plugin:57; do
				systemd-analyze security --offline=true --threshold=${score#*:} --no-pager ${unit%/*}/${score%:*}.service | tail -n 1
			done
			# cloud-init as Debian has it: after everything, and the unit after that.
			mkdir /root/units
			cp $unit /root/units/
			printf '[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n' >/root/units/cloud-final.service
			printf '[Unit]\nWants=ecs.service cloud-final.service\n' >/root/units/multi-user.target
			cycles() { SYSTEMD_UNIT_PATH=/root/units: systemd-analyze verify --man=no /root/units/multi-user.target 2>&1 | grep -c 'ordering cycle' || true; }
			is "ordering cycles" "$(cycles)" 0
			sed -i '/DefaultDependencies/d' /root/units/ecs.service
			[ "$(cycles)" -gt 0 ] || { echo "a cycle would not be found"; exit 1; }`, false},
		{"started, it is ready and the host is prepared", `
			cat >>/etc/ecs/ecs.config <<-'END'
				ECS_BACKEND_HOST=http://127.0.0.1:4580
				ECS_EXTERNAL=true
				AWS_DEFAULT_REGION=us-east-1
				AWS_ACCESS_KEY_ID=local
				AWS_SECRET_ACCESS_KEY=local
				DOCKER_HOST=unix:///engine.sock
				ECS_ENABLE_TASK_CPU_MEM_LIMIT=false
				ECS_IMAGE_PULL_BEHAVIOR=prefer-cached
				ECS_UPDATE_DOWNLOAD_DIR=/var/cache/ecs
			END
			is "what would be done" "$(/usr/libexec/amazon-ecs-init pre-start --dry-run | grep -c 'would put right')" "$(/usr/libexec/amazon-ecs-init pre-start --dry-run | grep -c 'missing\|is 0, not 1')"
			is "rules" "$(rules)" ""
			roles() { ecs-agent -ecs-attributes 2>/dev/null | grep -c 'capability.task-iam-role' || true; }
			is "roles where nobody leads to them" "$(roles)" 0
			is "roles where the operator does" "$(ECS_HOST_RULES=none roles)" 2
			timeout 120 systemctl enable --now --quiet ecs
			is "roles" "$(roles)" 2
			is "state" "$(systemctl is-active ecs)" active
			has "status" "$(systemctl show -p StatusText --value ecs)" "cluster default"
			is "program" "$(readlink /proc/$(systemctl show -p MainPID --value ecs)/exe)" /usr/libexec/amazon-ecs/ecs-agent
			ecs-agent -healthcheck
			for what in 51678 51679 169.254.170.2; do has "rules" "$(rules)" $what; done
			is "setting" "$(localnet)" 1
			has "route" "$(ip route get 169.254.170.2)" "dev lo"
			ecs-agent rules check`, false},
		{"it is confined", `
			pid=$(systemctl show -p MainPID --value ecs)
			is "new privileges" "$(awk '/^NoNewPrivs/ {print $2}' /proc/$pid/status)" 1
			is "system calls are filtered" "$(awk '/^Seccomp:/ {print $2}' /proc/$pid/status)" 2
			nsenter --target $pid --mount sh -c 'touch /usr/x 2>/dev/null' && { echo "/usr can be written"; exit 1; }
			nsenter --target $pid --mount sh -c 'touch /var/lib/ecs/data/x && rm /var/lib/ecs/data/x'`, false},
		{"so confined, networks of tasks can be made", `
			# The plugins, called as the agent calls them, from a unit with the confinement of ecs.service.
			cat >/root/calls <<-'END'
				#!/bin/bash
				set -euo pipefail
				export CNI_CONTAINERID=c1 CNI_NETNS=/proc/$1/ns/net CNI_PATH=/usr/libexec/amazon-ecs/cni IPAM_DB_PATH=/var/lib/ecs/data/probe.db
				call() { CNI_COMMAND=$1 CNI_IFNAME=$3 $CNI_PATH/$2 <<<"{\"cniVersion\":\"0.3.0\",\"name\":\"network-name\",\"type\":\"$2\",$4}" || { echo "$1 $2 failed"; exit 1; }; }
				eni='"eniName":"","eniMACAddress":"06:00:00:00:00:11","eniIPAddresses":["10.20.1.37/24","fd20::37/64"],"gatewayIPAddresses":["10.20.1.1","fd20::1"],"useExistingNetwork":false,"blockInstanceMetadata":true'
				bridge='"bridge":"ecs-bridge","ipam":{"type":"ecs-ipam","id":"06:00:00:00:00:11","ipv4-subnet":"169.254.172.0/22","ipv4-routes":[{"dst":"169.254.170.2/32"}]}'
				mesh='"ignoredUID":"1337","proxyIngressPort":"15000","proxyEgressPort":"15001","appPorts":["8080"],"enableIPv6":true'
				connect='"ingressConfig":[{"listenerPort":40001,"interceptPort":8081}],"egressConfig":{"listenerPort":40002,"redirectMode":"nat","vip":{"ipv4Cidr":"127.255.0.0/16"}},"enableIPv4":true'
				for again in 1 2; do
					call ADD vpc-eni eth0 "$eni"; call ADD ecs-bridge ecs-eth0 "$bridge"; call ADD aws-appmesh aws-appmesh "$mesh"; call ADD ecs-serviceconnect ecs-sc "$connect"
				done
				nsenter --net=$CNI_NETNS sh -c 'ip addr; ip route; ip -6 route; nft list ruleset; iptables-legacy-save' >/var/lib/ecs/data/probe.task 2>&1
				for again in 1 2; do
					call DEL ecs-serviceconnect ecs-sc "$connect"; call DEL aws-appmesh aws-appmesh "$mesh"; call DEL ecs-bridge ecs-eth0 "$bridge"; call DEL vpc-eni eth0 "$eni"
				done
				call DEL ecs-ipam ecs-eth0 "${bridge#*,}"
			END
			chmod +x /root/calls
			unshare --net sleep 3600 & task=$!
			await '[ "$(readlink /proc/'$task'/ns/net)" != "$(readlink /proc/self/ns/net)" ]'
			ip link add ens9 address 06:00:00:00:00:11 type veth peer name vpc9
			{ printf '[Service]\nType=oneshot\nExecStart=/root/calls %s\n' $task; sed -n '/^NoNewPrivileges/,/^KeyringMode/p' /usr/lib/systemd/system/ecs.service; } >/run/systemd/system/probe.service
			systemctl daemon-reload
			systemctl start probe || { journalctl -u probe --no-pager -o cat; exit 1; }
			made=$(cat /var/lib/ecs/data/probe.task)
			for what in '10.20.1.37/24' 'fd20::37/64' 'default via 10.20.1.1 dev eth0' 'blackhole 169.254.169.254' '169.254.170.2 via 169.254.172.1 dev ecs-eth0' 15001 40002; do has "the task's network" "$made" "$what"; done
			is "interfaces of the task" "$(nsenter --net=/proc/$task/ns/net ip -o link | cut -d: -f2)" " lo"
			is "rules of the task" "$(nsenter --net=/proc/$task/ns/net nft list ruleset)" ""
			kill $task
			ip link delete vpc9; ip link delete ecs-bridge; rm /run/systemd/system/probe.service /var/lib/ecs/data/probe.*
			systemctl daemon-reload`, false},
		{"a task runs", `
			cat >/root/task.json <<-'END'
				{"family": "sleeper", "networkMode": "none", "requiresCompatibilities": ["EC2"], "containerDefinitions": [
					{"name": "main", "image": "` + s.image + `", "essential": true, "memory": 32, "command": ["sleep", "3600"], "stopTimeout": 2}]}
			END
			/ecs-local run /root/task.json --detach >/dev/null
			await 'ask /v1/tasks | grep -q "\"KnownStatus\":\"RUNNING\".*\"DockerId\":\"[0-9a-f]"'
			containers >/root/containers
			instance >/root/instance`, false},
		{"the volume plugin is started by who asks, and what it mounts is the host's", `
			is "socket" "$(systemctl is-active amazon-ecs-volume-plugin.socket)" active
			is "at rest" "$(systemctl is-active amazon-ecs-volume-plugin || true)" inactive
			is "mode" "$(stat -c %a /run/docker/plugins/amazon-ecs-volume-plugin.sock)" 660
			printf '#!/bin/sh\nexec mount --bind /root/efs "$2"\n' >/usr/sbin/mount.efs
			chmod +x /usr/sbin/mount.efs
			mkdir /root/efs; echo hello >/root/efs/file
			is "created" "$(plugin VolumeDriver.Create '{"Name":"v","Opts":{"type":"efs","device":"fs-1"}}')" "{}"
			is "mounted" "$(plugin VolumeDriver.Mount '{"Name":"v","ID":"a"}')" '{"Mountpoint":"/var/lib/ecs/volumes/v"}'
			is "file" "$(cat /var/lib/ecs/volumes/v/file)" hello
			systemctl kill --signal=KILL amazon-ecs-volume-plugin
			is "listed after its end" "$(plugin VolumeDriver.List '{}')" '{"Volumes":[{"Name":"v"}]}'
			is "file" "$(cat /var/lib/ecs/volumes/v/file)" hello
			has "log" "$(cat /var/log/ecs/ecs-volume-plugin.log)" 'msg="volume mounted" volume="v"'`, false},
		{"restarted, it goes on", same(`timeout 120 systemctl restart ecs`, 0), false},
		{"killed, it is started again and the host stays prepared", same(`
			before=$(rules)
			systemctl kill --signal=KILL --kill-whom=main ecs
			await '[ "$(systemctl show -p NRestarts --value ecs)" -ge 1 ] && systemctl is-active --quiet ecs'
			is "rules" "$(rules)" "$before"
			has "journal" "$(journalctl -u ecs --no-pager -o cat)" "signal KILL) and is started again: the host stays prepared"
			has "journal" "$(journalctl -u ecs --no-pager -o cat)" "failed 1 times in a row, at last: signal KILL"`, 1), false},
		{"rules that somebody flushes come back", `
			nft flush ruleset
			await 'ecs-agent rules check >/dev/null 2>&1'`, false},
	}
	steps = append(steps, updates()...)
	steps = append(steps, []step{
		{"upgraded, it is the new one and tasks run on", same(`
			pid=$(systemctl show -p MainPID --value ecs)
			echo '# mine' >>/etc/ecs/ecs.config
			dpkg -i /root/new.deb >/root/dpkg.log 2>&1 || { cat /root/dpkg.log; exit 1; }
			await '[ "$(systemctl show -p MainPID --value ecs)" != '$pid' ] && systemctl is-active --quiet ecs'
			has "settings" "$(cat /etc/ecs/ecs.config)" "# mine"
			is "volumes of the plugin" "$(plugin VolumeDriver.List '{}')" '{"Volumes":[{"Name":"v"}]}'
			is "program" "$(readlink /proc/$(systemctl show -p MainPID --value ecs)/exe)" /usr/libexec/amazon-ecs/ecs-agent
			is "left of updates" "$(ls /var/lib/ecs/updates)" ""
			is "start" "$(systemctl is-enabled ecs)" enabled`, -1), false},
		{"downgraded likewise", same(`
			pid=$(systemctl show -p MainPID --value ecs)
			dpkg -i /root/old.deb >/root/dpkg.log 2>&1 || { cat /root/dpkg.log; exit 1; }
			await '[ "$(systemctl show -p MainPID --value ecs)" != '$pid' ] && systemctl is-active --quiet ecs'`, -1), false},
	}...)
	steps = append(steps, troubles()...)
	steps = append(steps, []step{
		{"stopped, the host is put back and tasks run on", `
			systemctl stop ecs
			is "state" "$(systemctl is-active ecs || true)" inactive
			is "rules" "$(rules)" "$(cat /root/rules.before)"
			is "setting" "$(localnet)" 0
			is "routes" "$(ip route show)" ""
			[ ! -e /run/ecs-init ] || { ls -la /run/ecs-init; exit 1; }
			task | grep -q '"RUNNING"'
			timeout 120 systemctl start ecs`, false},
		{"rebooted, tasks have ended in order and it starts by itself", `
			await 'systemctl is-active --quiet ecs'
			ecs-agent rules check >/dev/null
			is "instance" "$(instance)" "$(cat /root/instance)"
			await '/ecs-local ps --all --output json | grep -q "\"lastStatus\": *\"STOPPED\""'
			is "mounted again" "$(plugin VolumeDriver.Mount '{"Name":"v","ID":"b"}')" '{"Mountpoint":"/var/lib/ecs/volumes/v"}'
			is "unmounted" "$(plugin VolumeDriver.Unmount '{"Name":"v","ID":"b"}')" "{}"
			[ ! -e /var/lib/ecs/volumes/v/file ] || { echo "the user of before the reboot counts"; exit 1; }
			is "removed" "$(plugin VolumeDriver.Remove '{"Name":"v"}')" "{}"
			rm -r /root/efs /usr/sbin/mount.efs
			has "log of the shutdown" "$(cat /var/log/ecs/ecs-agent.log)" "host shuts down: every task is stopped"`, true},
		{"removed while it runs, only settings, state and logs stay", `
			dpkg -r ecs-agent >/root/dpkg.log 2>&1 || { cat /root/dpkg.log; exit 1; }
			is "units" "$(systemctl list-unit-files --no-legend 'ecs.*' 'amazon-ecs-*')" ""
			[ ! -e /run/docker/plugins/amazon-ecs-volume-plugin.sock ]
			is "rules" "$(rules)" ""; is "setting" "$(localnet)" 0; is "routes" "$(ip route show)" ""
			is "processes" "$(pgrep -x ecs-agent || true)" ""
			[ -e /etc/ecs/ecs.config ] && [ -e /var/lib/ecs/data/ecs-agent.db ]
			is "links" "$(find /etc/systemd /usr -xtype l -lname '*ecs*')" ""`, false},
		{"purged, nothing stays", `
			dpkg --purge ecs-agent >/root/dpkg.log 2>&1 || { cat /root/dpkg.log; exit 1; }
			` + listing + ` >/root/files.after
			diff /root/files.before /root/files.after || { echo "files differ"; exit 1; }
			[ ! -e /var/log/ecs ] && [ ! -e /var/cache/ecs ] && [ ! -e /var/lib/ecs ]
			is "failed units" "$(systemctl --failed --no-legend --plain | grep ecs || true)" ""`, false},
	}...)
	s.walk(steps)
}

// same wraps what is done to the agent: it is the same instance afterwards, with the same
// container. restarts is how often systemd started it by itself since; -1: any.
func same(script string, restarts int) string {
	check := ""
	if restarts >= 0 {
		check = `is "restarts" "$(systemctl show -p NRestarts --value ecs)" ` + string(rune('0'+restarts))
	}
	return script + `
		is "state" "$(systemctl is-active ecs)" active
		` + check + `
		await 'containers >/dev/null'
		is "containers" "$(containers)" "$(cat /root/containers)"
		is "instance" "$(instance)" "$(cat /root/instance)"
		task | grep -q '"RUNNING"'
		ecs-agent rules check >/dev/null`
}
