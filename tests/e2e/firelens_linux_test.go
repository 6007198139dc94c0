package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/tests/harness"
	"ecsagent/tests/image"
)

// A FireLens container, played by tests/logrouter, gets what other containers write, over
// its socket and over the network; its configuration names secrets, and it alone has
// them; part of it comes from S3, also to an agent that was killed while it was fetched.
// Nothing of it outlives the task.
func TestFireLens(t *testing.T) {
	e := prepared(t, "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION_JITTER=1s")
	program, err := image.Program(filepath.Join(shared.programs, "logrouter"), v1.Config{})
	if err != nil {
		t.Fatal(err)
	}
	router, _, err := shared.registry.Push(e.ctx, "logrouter:1", program)
	if err != nil {
		t.Fatal(err)
	}
	e.Services = filepath.Join(e.Dir, "services")
	e.put("ssm/apikey", "canary-key")
	e.put("s3/conf/extra.conf", "[FILTER]\n    Name mine\n")
	e.put("s3/conf/denied.conf", "canary")
	e.put("faults", "s3 GetObject conf/extra.conf throttled 1\ns3 GetObject conf/extra.conf slow 5m 1\ns3 * conf/denied.conf denied")
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}

	arn := e.launch(withRole(
		// It says a word by each way, the second as a message of the forward protocol.
		sh("app", `echo by socket; until printf '\223\246direct\007\201\243log\252by network' | nc $FLUENT_HOST $FLUENT_PORT; do sleep 1; done
			trap 'exit 0' TERM; sleep 3600 & while :; do wait; done`, M{"logConfiguration": M{
			"logDriver": "awsfirelens", "options": M{"Name": "es", "exclude-pattern": "DEBUG", "log-driver-buffer-limit": "1048576"},
			"secretOptions": []M{from("apikey", "apikey")},
		}}),
		M{"name": "router", "image": router, "essential": true, "memory": 64, "user": "1000:1000", "firelensConfiguration": M{
			"type": "fluentbit", "options": M{"config-file-type": "s3", "config-file-value": "arn:aws:s3:::conf/extra.conf"},
		}},
	))
	e.said(`"s3 GetObject conf/extra.conf slow 5m 1"`)
	e.Agent.Kill()
	if err := e.StartAgent(); err != nil {
		t.Fatal(err)
	}
	task := e.awaits(arn, "RUNNING")
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	tag, folder := "app-firelens-"+id, filepath.Join(e.Dir, "data", "firelens", id)

	var said string
	e.eventually(time.Minute, "both records", func() (bool, error) {
		said = e.output(task, "router")
		if strings.Contains(said, "record on unix "+tag+": by socket\n") && strings.Contains(said, "record on tcp direct: by network\n") {
			return true, nil
		}
		return false, fmt.Errorf("the router says %q", said)
	})
	const file = "/fluent-bit/etc/fluent-bit.conf: "
	contains(t, "the router's output", said, file+"    Match app-firelens*\n", file+"    Exclude log DEBUG\n", file+"    apikey ${apikey_0}\n",
		"variable apikey_0=canary-key\n", "/fluent-bit/etc/external.conf:     Name mine\n", file+"    Record ecs_task_arn "+arn+"\n", file+"    Mem_Buf_Limit 32MB\n")

	first, second := e.inspect(task, "router"), e.inspect(task, "app")
	started := func(at string) time.Time {
		when, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	if a, b := started(first.State.StartedAt), started(second.State.StartedAt); !a.Before(b) {
		t.Errorf("the router started at %v, the other one at %v", a, b)
	}
	if slices.ContainsFunc(second.Config.Env, func(kv string) bool { return strings.Contains(kv, "canary") }) {
		t.Error("the sender has the router's secret")
	}
	if log, want := second.HostConfig.LogConfig, map[string]string{
		"tag": tag, "fluentd-address": "unix://" + folder + "/socket/fluent.sock", "fluentd-sub-second-precision": "true",
		"fluentd-async": "true", "fluentd-buffer-limit": "1048576",
	}; log.Type != "fluentd" || !maps.Equal(log.Config, want) {
		t.Errorf("log driver %s with %v, want fluentd with %v", log.Type, log.Config, want)
	}
	info, err := os.Stat(filepath.Join(folder, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 1000 || owner.Gid != 1000 {
		t.Errorf("the socket's folder belongs to %d:%d", owner.Uid, owner.Gid)
	}
	if state := harness.Tail(filepath.Join(folder, "config", "fluent.conf"), 1000); strings.Contains(state, "canary") || state == "" {
		t.Errorf("configuration on disk:\n%s", state)
	}

	e.stop(arn)
	e.eventually(time.Minute, "the folder to be removed", func() (bool, error) {
		_, err := os.Stat(folder)
		return errors.Is(err, fs.ErrNotExist), nil
	})
	lonely := e.stopped(e.launch(withRole(
		sh("app", "exit 0", M{"logConfiguration": M{"logDriver": "awsfirelens", "options": M{"region": "us-west-2"}}}),
		M{"name": "router", "image": router, "essential": true, "memory": 64, "firelensConfiguration": M{"type": "fluentbit"}},
	)))
	const reason = "Unable to generate firelens config file: unable to generate firelens config: unable to apply log options of container app to firelens config: " +
		"missing output key Name which is required for firelens configuration of type fluentbit"
	equal(t, "the reason of a task without an output", lonely.StoppedReason, reason)
	for object, want := range map[string]string{"denied": "AccessDenied: ", "none": "NoSuchKey: "} {
		task := e.stopped(e.launch(withRole(sleeper("app"), M{"name": "router", "image": router, "essential": true, "memory": 64, "firelensConfiguration": M{
			"type": "fluentbit", "options": M{"config-file-type": "s3", "config-file-value": "arn:aws:s3:::conf/" + object + ".conf"},
		}})))
		contains(t, "the reason of a task whose configuration is "+object, task.StoppedReason, "Unable to download firelens s3 config file: call s3 GetObject: "+want)
	}
	e.nowhere("canary", "/v1/tasks", "/v1/metadata")
}
