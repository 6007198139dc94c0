package packages

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"ecsagent/agent/update/bundle"
	"ecsagent/packaging/archive"
)

// makeUpdates makes updates of the agent, to be found on the system as /root/NAME.tar: one
// that works, and some that do not.
func makeUpdates(t *testing.T) (files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	works, err := os.ReadFile(program(t, "ecs-agent"))
	if err != nil {
		t.Fatal(err)
	}
	files = make(map[string]string)
	for name, program := range map[string]string{
		"works":       string(works),
		"fails":       "#!/bin/sh\n[ \"$1\" != -version ] || { echo 'Version: 10.0.0'; exit; }\nexit 1\n",
		"ends":        "#!/bin/sh\n[ \"$1\" != -version ] || { echo 'Version: 11.0.0'; exit; }\nexit 5\n",
		"never-ready": "#!/bin/sh\n[ \"$1\" != -version ] || { echo 'Version: 12.0.0'; exit; }\nexec sleep 3600\n",
	} {
		image := archive.Image{Tag: "agent:" + name, Arch: runtime.GOARCH, Files: []archive.File{{Name: bundle.Program[1:], Mode: 0o755, Content: []byte(program)}}}
		file := filepath.Join(dir, name+".tar")
		if err := image.Write(file); err != nil {
			t.Fatal(err)
		}
		files[file] = "/root/" + name + ".tar"
	}
	return files
}

// updates are what happens to an agent that ECS has updated, well and not. With each the
// task runs on.
func updates() []step {
	const prelude = `
		journal() { journalctl -u ecs -u ecs-update-trial --no-pager -o cat --after-cursor "$cursor"; }
		cursor=$(journalctl --no-pager -n 0 --show-cursor | sed -n 's/^-- cursor: //p')
		text() { systemctl show -p StatusText --value ecs; }
		program() { readlink "/proc/$(systemctl show -p MainPID --value ecs)/exe" || true; }
		how() { /ecs-local instances --output json | sed -n 's/.*"agentUpdateStatus": "\(.*\)".*/\1/p'; }
		every() { # TIME: how often is looked at an agent on trial
			mkdir -p /etc/systemd/system/ecs-update-trial.timer.d
			printf '[Timer]\nOnActiveSec=\nOnUnitActiveSec=\nOnActiveSec=%s\nOnUnitActiveSec=%s\nAccuracySec=100ms\n' $1 $1 >/etc/systemd/system/ecs-update-trial.timer.d/time.conf
			systemctl daemon-reload
		}
		update() { cp /root/$1.tar /root/update.tar; /ecs-local update >/dev/null; }
	`
	back := func(name, file, every, says string) step {
		return step{"an update that " + name, prelude + same(`
			before=$(program)
			every `+every+`
			update `+file+`
			await 'journal | grep -q "is given up: `+says+`; back to `+updated+`"'
			await 'systemctl is-active --quiet ecs && [ "$(how)" = FAILED ]'
			is "program" "$(program)" "$before"
			await 'text | grep -q "is not in use since"'
			has "status" "$(systemctl status --no-pager --lines 0 ecs)" "is not in use since"
			await '[ "$(systemctl is-active ecs-update-trial.timer)" = inactive ]'`, -1), false}
	}
	return []step{
		{"updated by ECS, it is another one and tasks run on", prelude + same(`
			every 300ms
			update works
			await 'journal | grep -q "update: `+updated+` (sha256 .* is on trial, the packaged agent is kept"'
			await 'journal | grep -q "works and stays"'
			has "program" "$(program)" /var/lib/ecs/updates/
			is "process" "$(pgrep -cx ecs-agent)" 1
			await '[ "$(how)" = UPDATED ]'
			has "version" "$(/ecs-local instances)" `+updated+`
			await '[ "$(systemctl is-active ecs-update-trial.timer)" = inactive ]'
			is "left of what was staged" "$(ls /var/cache/ecs)" ""`, -1), false},
		back("fails", "fails", "1h", "it failed 3 times, at last: exit code 1"),
		back("wants not to be started", "ends", "1h", "it ended for good: exit code 5"),
		back("is never ready", "never-ready", "300ms", "it was not ready at 10 looks"),
		{"an update that is none is refused before it is staged", prelude + same(`
			before=$(program)
			echo garbage >/root/garbage.tar
			update garbage
			await '[ "$(how)" = FAILED ]'
			grep -q 'check update: .*manifest.json' /var/log/ecs/ecs-agent.log
			is "program" "$(program)" "$before"
			is "left of what was staged" "$(find /var/cache/ecs -name '*.ecs-update.tar')" ""
			rm -r /etc/systemd/system/ecs-update-trial.timer.d
			systemctl daemon-reload`, -1), false},
	}
}
