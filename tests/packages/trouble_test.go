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
		{"a full disk is told and takes nothing with it", prelude + same(`
			systemctl stop ecs
			cp -a /var/lib/ecs/data /root/data
			mount -t tmpfs -o size=4m,mode=0700 none /var/lib/ecs/data
			cp -a /root/data/. /var/lib/ecs/data/
			for unit in 64k 4k 1; do dd if=/dev/zero bs=$unit >>/var/lib/ecs/data/filler 2>/dev/null || true; done
			timeout 120 systemctl start ecs
			await 'journal | grep -q "A disk is full.*/var/lib/ecs/data: 0 MiB free of 4 MiB"'
			await 'systemctl status --no-pager ecs | grep -q "Status: .*A disk is full"'
			await 'containers >/dev/null'
			is "containers" "$(containers)" "$(cat /root/containers)"
			is "instance" "$(instance)" "$(cat /root/instance)"
			rm /var/lib/ecs/data/filler
			timeout 120 systemctl restart ecs
			is "status" "$(systemctl show -p StatusText --value ecs | grep -c 'disk is full' || true)" 0
			systemctl stop ecs
			cp -a /var/lib/ecs/data/. /root/data/
			umount /var/lib/ecs/data
			cp -a /root/data/. /var/lib/ecs/data/
			rm -r /root/data
			timeout 120 systemctl start ecs`, -1), false},
		{"chains of somebody else that drop are told to accept, and are theirs again at the end", prelude + same(`
			nft 'add table inet theirs; add chain inet theirs in { type filter hook input priority 0; policy drop; }; add rule inet theirs in iif lo accept'
			before=$(nft list table inet theirs)
			await 'nft list table inet theirs | grep -q 51679'
			await 'ecs-agent rules check >/dev/null 2>&1'
			systemctl stop ecs
			is "their table" "$(nft list table inet theirs)" "$before"
			timeout 120 systemctl start ecs
			has "their table" "$(nft list table inet theirs)" 51679
			nft delete table inet theirs

			# One that only its owner can change, and that goes with its owner.
			mkfifo /root/nft
			nft -i </root/nft >/dev/null 2>&1 & owner=$!
			exec 4>/root/nft
			echo 'add table inet owned { flags owner; }; add chain inet owned in { type filter hook input priority 0; policy drop; }; add rule inet owned in iif lo accept' >&4
			await 'nft list tables | grep -q owned'
			await 'systemctl status --no-pager --full --lines 50 ecs | grep -q "packet rules not in place.*chain inet owned in lets only its owner change it"'
			has "rules check" "$(ecs-agent rules check 2>&1 || true)" "chain inet owned in"
			exec 4>&-; wait $owner; rm /root/nft
			await 'ecs-agent rules check >/dev/null 2>&1'`, -1), false},
	}
}
