package packages

// troubles are what is wrong with a host: each is told in the journal and in the status, and
// ends without anybody when its cause does. With each the task runs on.
func troubles() []step {
	const prelude = `
		cp -p /etc/ecs/ecs.config /root/ecs.config.good
		cursor=$(journalctl --no-pager -n 0 --show-cursor | sed -n 's/^-- cursor: //p')
		journal() { journalctl -u ecs --no-pager -o cat --after-cursor "$cursor"; }
		good() { cp -p /root/ecs.config.good /etc/ecs/ecs.config; timeout 120 systemctl restart ecs; }
	`
	return []step{
		{"Docker comes late: it is waited for with growing pauses, and the host stays prepared", prelude + same(`
			echo DOCKER_HOST=unix:///late.sock >>/etc/ecs/ecs.config
			systemctl --no-block restart ecs
			await 'journal | grep -q "failed 2 times in a row, at last: exit code 1: cannot start: connect to docker"'
			is "state" "$(systemctl is-active ecs || true)" activating
			has "journal" "$(journal)" "cannot start"
			has "journal" "$(journal)" "late.sock"
			has "status" "$(systemctl status --no-pager --full ecs || true)" "failed"
			has "rules" "$(rules)" 51679
			is "setting" "$(localnet)" 1
			ln -s /engine.sock /late.sock
			await 'systemctl is-active --quiet ecs'
			good
			rm /late.sock`, -1), false},
		{"half of a file of settings is read as far as it goes, and told", prelude + same(`
			printf 'ECS_RESERVED_PORTS=[22,\nECS_CLUS' >>/etc/ecs/ecs.config
			timeout 120 systemctl restart ecs
			has "journal" "$(journal)" ECS_RESERVED_PORTS
			has "journal" "$(journal)" ECS_CLUS
			has "check" "$(ecs-agent config check /etc/ecs/ecs.config 2>&1 || true)" ECS_RESERVED_PORTS
			good`, -1), false},
		{"rules that are there are not made again", prelude + same(`
			before=$(rules)
			is "what is done" "$(/usr/libexec/amazon-ecs-init pre-start 2>&1)" ""
			is "rules" "$(rules)" "$before"`, -1), false},
	}
}
