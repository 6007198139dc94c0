package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// prelude makes, in namespaces of the test's own, a host with a bridge and no default
// route, whose folders are empty. What is said of packet rules is compared in lines.
const prelude = `
for d in /run /var/lib /var/log /var/cache /mnt; do mount -t tmpfs none $d; done
ip link set lo up; ip link add docker0 type bridge; ip link set docker0 up
init() { ECS_INIT_TEST=1 "$INIT" "$@"; }
rules() { { iptables-save; ip6tables-save; nft list ruleset; } 2>/dev/null | grep -E -- '^-A |comment|51678|51679|169[.]254' || true; }
localnet() { cat /proc/sys/net/ipv4/conf/all/route_localnet; }
is() { [ "$2" = "$3" ] || { echo "$1: have '$2', want '$3'"; exit 1; }; }
has() { case $2 in *"$3"*) ;; *) echo "$1: '$2' does not say '$3'"; exit 1;; esac; }
`

// onHost runs a script as root of such a host.
func onHost(t *testing.T, backend, script string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"unshare", "ip", "nft", "iptables-save", "ip6tables-save"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("needs ", tool, ": scripts/deps test")
		}
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "--mount", "bash", "-euc", prelude+script)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "INIT=" + os.Args[0], "DIR=" + dir, "ECS_CONFIG_FILE=" + filepath.Join(dir, "ecs.config"),
		"DOCKER_HOST=unix://" + filepath.Join(dir, "docker.sock"), "ECS_HOST_RULES_BACKEND=" + backend,
	}
	cmd.WaitDelay = time.Second // a script that fails leaves what it has started
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Everything is made, once, and nothing is left of it.
func TestPreparesAndPutsBack(t *testing.T) {
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			onHost(t, backend, `
				out=$(init pre-start --dry-run 2>&1)
				has "dry run" "$out" "folders: would make /var/lib/ecs/data, mode 0700"
				has "dry run" "$out" "packet rules: would put right with $ECS_HOST_RULES_BACKEND: missing: "
				has "dry run" "$out" "missing: route 169.254.170.2 over lo"
				is "rules after a dry run" "$(rules)" ""; is "setting after a dry run" "$(localnet)" 0
				[ ! -e /var/lib/ecs ]

				init pre-start >$DIR/first 2>&1
				has "first" "$(cat $DIR/first)" "folders: make /var/lib/ecs/data, mode 0700"
				for what in "51678" "51679" "169.254.170.2"; do has "rules" "$(rules)" "$what"; done
				is "setting" "$(localnet)" 1
				has "route" "$(ip route get 169.254.170.2)" "dev lo"
				[ -d /mnt/ecs/ebs ]

				before=$(rules)
				is "the second time" "$(init pre-start 2>/dev/null)" ""
				is "rules" "$(rules)" "$before"
				is "rules that are there twice" "$(iptables-save 2>/dev/null | grep -- ^-A | sort | uniq -d)" ""

				out=$(init post-stop --dry-run 2>&1)
				has "dry run of the end" "$out" "packet rules: would take away what is left over: "
				is "rules" "$(rules)" "$before"
				init post-stop >/dev/null
				is "rules at the end" "$(rules)" ""; is "setting at the end" "$(localnet)" 0
				is "routes at the end" "$(ip route show table main)" ""
				[ ! -e /run/ecs-init ]
				is "the second end" "$(init post-stop 2>&1)" ""
			`)
		})
	}
}

// Rules of somebody else are neither made nor taken away.
func TestRulesOfNobody(t *testing.T) {
	onHost(t, "iptables", `
		iptables -t nat -A OUTPUT -d 169.254.170.2/32 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 51679
		echo ECS_HOST_RULES=none >$ECS_CONFIG_FILE
		before=$(rules)
		init pre-start >/dev/null 2>&1
		is "rules" "$(rules)" "$before"; is "setting" "$(localnet)" 0
		init post-stop
		is "rules at the end" "$(rules)" "$before"
	`)
}

// After an agent that failed the host stays prepared, and the next start waits.
func TestFailedRun(t *testing.T) {
	onHost(t, "nftables", `
		init pre-start >/dev/null 2>&1
		before=$(rules)
		for n in 1 2; do
			out=$(SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=1 init post-stop 2>&1)
			has "after a failure" "$out" "(exit code 1) and is started again"
			is "rules" "$(rules)" "$before"
			out=$(INVOCATION_ID=1 init pre-start 2>&1)
			has "next start" "$out" "failed $n times in a row, at last: exit code 1; next start in "
		done
		case $(init pre-start 2>&1) in *"in a row"*) echo "by hand it waits as well"; exit 1;; esac
		init post-start
		has "record" "$(cat /run/ecs-init/runs.json)" '"ready":'
		SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=5 init post-stop >/dev/null
		is "rules after the last failure" "$(rules)" ""
		[ ! -e /run/ecs-init ]
	`)
}

// A file of settings that is half written keeps nobody from being prepared or put back.
func TestBadSettings(t *testing.T) {
	onHost(t, "nftables", `
		printf 'ECS_HOST_RULES=somebody\nECS_RESERVED_PORTS=[22,\nECS_CLUS' >$ECS_CONFIG_FILE
		init pre-start >/dev/null 2>&1
		has "rules" "$(rules)" 169.254.170.2
		init post-stop >/dev/null
		is "rules at the end" "$(rules)" ""
		rm /run/ecs-init 2>/dev/null || true
		mkdir -p /run/ecs-init; echo '{' >/run/ecs-init/runs.json
		has "broken record" "$(INVOCATION_ID=1 init pre-start 2>&1)" "starting at once"
		SERVICE_RESULT=success init post-stop >/dev/null 2>&1
		[ ! -e /run/ecs-init ]
	`)
}

// The agent runs in the place of "start", with its settings, until "stop".
func TestStartAndStop(t *testing.T) {
	onHost(t, "nftables", `
		cat >$DIR/agent <<-'END'
			#!/bin/sh
			trap 'echo stopped; exit 0' TERM
			echo "rules by ${ECS_HOST_RULES:-nobody}"
			echo ready >$DIR/ready
			while :; do sleep 0.05; done
		END
		chmod +x $DIR/agent; mkfifo $DIR/ready
		is "nothing to stop" "$(init stop)" "no agent runs"
		is "dry run" "$(init start --agent $DIR/agent --dry-run)" "would become $DIR/agent"
		out=$(init start --agent $DIR/none 2>&1) && exit 1
		has "no agent" "$out" "find the agent: stat $DIR/none: no such file"

		for by in agent none; do
			[ $by = agent ] || echo ECS_HOST_RULES=none >$ECS_CONFIG_FILE
			ECS_INIT_TEST=1 "$INIT" start --agent $DIR/agent >$DIR/out & pid=$!
			read _ <$DIR/ready
			is "dry run of stop" "$(init stop --dry-run)" "would stop process $pid"
			out=$(init start --agent $DIR/agent 2>&1) && exit 1
			has "a second agent" "$out" "the agent runs already, as process $pid"
			init pre-stop
			wait $pid
			case $by in
			agent) is "agent" "$(cat $DIR/out)" $'rules by agent\nstopped' ;;
			none) is "agent" "$(cat $DIR/out)" $'rules by nobody\nstopped' ;; # it reads the file itself
			esac
			is "stopped already" "$(init stop)" "no agent runs"
		done
		is "reload-cache" "$(init reload-cache)" "the agent is that of the package, 0.0.0"
	`)
}

// No action does anything in a dry run, on a host with nothing and on one with everything:
// prepared, an agent that runs and is on trial, volumes whose users are no more.
func TestDryRuns(t *testing.T) {
	onHost(t, "nftables", "UPDATES="+updates(t, "1.0.0")+withUpdates+`
		picture() {
			rules; localnet; ip -4 route show table all; nft list ruleset; grep -E ' /(var/lib/ecs|mnt/ecs)' /proc/mounts || true
			find /run /var /mnt -xdev -type d -printf '%p %m\n' | sort
			find /run /var /mnt $DIR -xdev ! -type d -printf '%p %m %s %T@\n' | sort
		}
		dry() { # ACTIONS SAYS...: what they say, and nothing else
			before=$(picture)
			said=$(for action in $1; do SERVICE_RESULT=success init $action --dry-run 2>&1 || echo "FAILED: $action"; done)
			is "host after dry runs that said $said" "$(picture)" "$before"
			shift
			for says; do has "dry runs" "$said" "$says"; done
			case $said in *FAILED*) echo "$said"; exit 1;; esac
		}
		actions="pre-start post-start stop pre-stop post-stop check-update reload-cache volume-plugin"
		is "actions" "$(init --help | sed -n '/^Available Commands/,/^$/p' | awk '$1 ~ /start|stop|update|cache|plugin/ {print $1}' | sort | tr '\n' ' ')" "$(printf '%s\n' start $actions | sort | tr '\n' ' ')"

		init post-stop >/dev/null; rm -rf /var/lib/ecs /run/ecs-init $DIR/systemctl
		dry "start $actions" "would make /var/lib/ecs/data" "would put right with nftables" "would become /usr/libexec/amazon-ecs/ecs-agent" \
			"would note that the agent is ready" "no agent runs" "no agent is on trial" "the agent is that of the package" \
			"would make /var/lib/ecs/volumes" "would serve 0 volumes on /run/docker/plugins/amazon-ecs-volume-plugin.sock"

		init pre-start >/dev/null 2>&1
		perform 1.0.0; init pre-start >/dev/null 2>&1
		mkdir -p /run/ecs-init /var/lib/ecs/volumes/idle
		mount -t tmpfs none /var/lib/ecs/volumes/idle
		printf '{"volumes":{"gone":{"type":"efs","path":"/var/lib/ecs/volumes/gone","mounts":{"a":1}},"idle":{"type":"efs","path":"/var/lib/ecs/volumes/idle"}}}' >/var/lib/ecs/data/ecs_volume_plugin.json
		sleep 3600 & sleeper=$!
		echo "$sleeper $(cut -d' ' -f22 /proc/$sleeper/stat)" >/run/ecs-init/agent.pid
		dry "$actions" "would stop process $sleeper" "would take away what is" "would note look 1 at update 1.0.0" "would go from update 1.0.0" \
			"would forget the users of volume gone, which is not mounted any more: 1" "would unmount volume idle, which nobody uses, from /var/lib/ecs/volumes/idle" "would serve 2 volumes"
		has "start" "$(init start --dry-run 2>&1 || true)" "the agent runs already, as process $sleeper"
		kill $sleeper
	`)
}
