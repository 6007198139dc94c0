package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"ecsagent/agent/update"
	"ecsagent/agent/update/bundle"
	"ecsagent/packaging/archive"
)

// updates makes an update with an agent of each version, and returns where.
func updates(t *testing.T, versions ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range versions {
		agent := "#!/bin/sh\nif [ \"$1\" = -version ]; then printf 'Amazon ECS Agent:\\n\\tVersion: " + v + "\\n'; exit 0; fi\necho \"" + v + " runs, $AMAZON_ECS_INIT_NOTE\"\n"
		content, err := archive.Image{Tag: "agent:" + v, Arch: runtime.GOARCH, Files: []archive.File{{Name: bundle.Program[1:], Mode: 0o755, Content: []byte(agent)}}}.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		for name, text := range map[string]string{v: string(content), v + ".desired": v + update.Suffix + "\n" + update.DesiredDigest + hex.EncodeToString(sum[:]) + "\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

const withUpdates = `
mount -t tmpfs none /usr/libexec; mkdir /usr/libexec/amazon-ecs
printf '#!/bin/sh\necho "packaged runs, $AMAZON_ECS_INIT_NOTE"\n' >/usr/libexec/amazon-ecs/ecs-agent
chmod +x /usr/libexec/amazon-ecs/ecs-agent
mkdir $DIR/bin; PATH=$DIR/bin:$PATH
printf '#!/bin/sh\nif [ "$1" = list-jobs ]; then cat $DIR/jobs 2>/dev/null; elif [ "$1" = show ]; then cat $DIR/words 2>/dev/null; else echo "$@" >>$DIR/systemctl; fi\n' >$DIR/bin/systemctl
chmod +x $DIR/bin/systemctl; export DIR
asked() { cat $DIR/systemctl; rm -f $DIR/systemctl; }
init pre-start >/dev/null 2>&1
echo 'state of before' >/var/lib/ecs/data/ecs-agent.db
perform() { # VERSION: what an agent does that is told to update
	cp $UPDATES/$1 /var/cache/ecs/$1.ecs-update.tar
	cp $UPDATES/$1.desired /var/cache/ecs/desired-image
	SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=42 init post-stop >/dev/null 2>&1
}
fails() { SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=$1 init post-stop 2>&1 || true; }
becomes() { init start --dry-run; }
`

// Updates are tried, kept when they work, and given up when they do not.
func TestUpdates(t *testing.T) {
	onHost(t, "nftables", "UPDATES="+updates(t, "1.0.0", "2.0.0", "3.0.0")+withUpdates+`
		perform 1.0.0
		[ ! -e /var/lib/ecs/updates/state.json ]
		has "dry run" "$(init pre-start --dry-run 2>&1)" "would put the update on trial that is staged in /var/cache/ecs"
		has "first" "$(init pre-start 2>&1)" "update: 1.0.0 (sha256 "
		is "asked" "$(asked)" "start --no-block -- ecs-update-trial.timer"
		is "left of what was staged" "$(ls /var/cache/ecs)" ""
		is "kept of the state" "$(cat /var/lib/ecs/updates/*/state-before/ecs-agent.db)" "state of before"
		has "it is the new one" "$(becomes)" "would become /var/lib/ecs/updates/"
		has "it runs" "$(init start)" "1.0.0 runs, on trial: update 1.0.0 (sha256 "

		# Without an agent that is ready nothing passes; with one, the third look does.
		init check-update; init check-update
		sleep 3600 & sleeper=$!
		mkdir -p /run/ecs-init; echo "$sleeper $(cut -d' ' -f22 /proc/$sleeper/stat)" >/run/ecs-init/agent.pid
		init post-start
		has "dry run" "$(init check-update --dry-run)" "would note look 3 at update 1.0.0"
		is "two looks" "$(init check-update; init check-update)" ""
		has "third look" "$(init check-update 2>&1)" "update 1.0.0 (sha256 "
		is "asked" "$(asked)" "stop --no-block -- ecs-update-trial.timer"
		has "no trial" "$(init check-update)" "no agent is on trial"
		asked >/dev/null
		kill $sleeper; wait $sleeper || true
		has "it stays" "$(init start)" "1.0.0 runs, "; case $(init start) in *trial*) exit 1;; esac

		# The next one fails three times.
		perform 2.0.0; init pre-start >/dev/null 2>&1
		for n in 1 2 3; do
			has "2 runs" "$(init start)" "2.0.0 runs"
			has "failed" "$(fails 1)" "(exit code 1) and is started again"
		done
		has "given up in time" "$(init start)" "1.0.0 runs, update 2.0.0 (sha256 "
		out=$(init pre-start 2>&1)
		has "given up" "$out" "is given up: it failed 3 times, at last: exit code 1; back to 1.0.0"
		case $out in *"in a row"*) echo "the former waits for failures that are not its own"; exit 1;; esac
		has "back" "$(init start)" "1.0.0 runs, update 2.0.0 (sha256 "
		has "both are there" "$(ls -d /var/lib/ecs/updates/*/ | wc -l)" 2

		# What it said of its end is told; what it said of its life is not.
		rm -f $DIR/systemctl; perform 2.0.0; init pre-start >/dev/null 2>&1; asked >/dev/null
		echo "cluster default: healthy" >$DIR/words
		has "of its life" "$(fails 1)" "(exit code 1) and is started again"
		echo "cannot start: connect to docker: no such file" >$DIR/words
		has "of its end" "$(fails 1)" "(exit code 1: cannot start: connect to docker: no such file) and is started again"
		has "next start" "$(INVOCATION_ID=1 init pre-start 2>&1)" "2 times in a row, at last: exit code 1: cannot start: connect to docker: no such file; next start in"
		rm $DIR/words; fails 1 >/dev/null; init pre-start >/dev/null 2>&1

		# What an operator stops or restarts has not failed; the job that started it is no wish.
		rm -f $DIR/systemctl; perform 2.0.0; init pre-start >/dev/null 2>&1; asked >/dev/null
		for job in stop restart; do
			echo "7 ecs.service $job running" >$DIR/jobs
			case $(fails 1) in *"started again"*) echo "$job: the host stays prepared"; exit 1;; esac
		done
		case $(cat /var/lib/ecs/updates/state.json) in *failures*) echo "a stop counts as a failure"; exit 1;; esac
		echo "7 ecs.service start running" >$DIR/jobs
		has "failed before it was ready" "$(fails 1)" "(exit code 1) and is started again"
		has "failures" "$(cat /var/lib/ecs/updates/state.json)" '"failures": 1'
		rm $DIR/jobs

		# Another says that it must not be started again.
		rm -f $DIR/systemctl; perform 3.0.0; init pre-start >/dev/null 2>&1; asked >/dev/null
		has "ended for good" "$(fails 5)" "the agent on trial ended (exit code 5): the former one is started"
		is "asked" "$(asked)" "restart --no-block -- ecs.service"
		has "given up" "$(init pre-start 2>&1)" "it ended for good: exit code 5; back to 1.0.0"

		# One is never ready, and killed.
		perform 3.0.0; init pre-start >/dev/null 2>&1
		sleep 3600 & sleeper=$!
		echo "$sleeper $(cut -d' ' -f22 /proc/$sleeper/stat)" >/run/ecs-init/agent.pid
		for n in 1 2 3 4 5 6 7 8 9; do init check-update; done
		has "given up" "$(init check-update 2>&1)" "is given up: it was not ready at 10 looks; back to 1.0.0"
		is "killed" "$(wait $sleeper; echo $?)" 137
		has "back" "$(init start)" "1.0.0 runs"

		# The package's agent comes back for good.
		has "dry run" "$(init reload-cache --dry-run)" "would go from update 1.0.0"
		has "packaged" "$(init reload-cache)" "the next start runs the agent of the package, 0.0.0, and not update 1.0.0"
		is "packaged" "$(init start)" "packaged runs, "
		is "left" "$(ls /var/lib/ecs/updates)" ""
	`)
}

// What is wrong with an update is told in one line, and the agent of before runs.
func TestRefusedUpdates(t *testing.T) {
	onHost(t, "nftables", "UPDATES="+updates(t, "1.0.0")+withUpdates+`
		refused() { # SAYS
			out=$(init pre-start 2>&1)
			has "refused" "$out" "update refused: $1"
			is "lines" "$(echo "$out" | grep -c update)" 1
			has "who runs" "$(init start)" "packaged runs, "
			has "status" "$(init start)" "is not in use since"
			is "left" "$(ls /var/cache/ecs; ls /var/lib/ecs/updates | grep -v state.json)" ""
		}
		perform 1.0.0; printf x >>/var/cache/ecs/1.0.0.ecs-update.tar
		refused "the update is damaged: its SHA-256 is "
		perform 1.0.0; truncate -s 3000 /var/cache/ecs/1.0.0.ecs-update.tar
		refused "the update is damaged: its SHA-256 is "
		perform 1.0.0; printf '1.0.0.ecs-up' >/var/cache/ecs/desired-image; rm /var/cache/ecs/1.0.0.ecs-update.tar
		refused "/var/cache/ecs/desired-image holds"
		SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=42 init post-stop >/dev/null 2>&1
		refused "none is staged in /var/cache/ecs"

		# No room on the disk: nothing can be remembered either.
		rm /var/lib/ecs/updates/state.json
		perform 1.0.0
		mount -t tmpfs -o size=64k none /var/lib/ecs/updates
		dd if=/dev/zero of=/var/lib/ecs/updates/state.json bs=1k count=60 2>/dev/null; mv /var/lib/ecs/updates/state.json /var/lib/ecs/updates/filler
		out=$(init pre-start 2>&1)
		has "full disk" "$out" "no space left on device; the packaged agent stays"
		has "who runs" "$(init start)" "packaged runs, "
		umount /var/lib/ecs/updates

		# A decision that cannot be read, and a program that is gone.
		echo '{"current":' >/var/lib/ecs/updates/state.json
		has "unreadable" "$(init pre-start 2>&1)" "the packaged agent runs"
		has "who runs" "$(init start)" "read which agent to run"
		perform 1.0.0; init pre-start >/dev/null 2>&1
		rm /var/lib/ecs/updates/*/ecs-agent
		has "gone" "$(init start 2>&1)" "cannot be found"
		has "who runs" "$(init start)" "packaged runs, "
	`)
}
