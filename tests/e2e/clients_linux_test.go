package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ecsagent/tests/harness"
)

// clients builds tests/clients, once. It is a module of its own.
var clients = sync.OnceValue(func() error {
	build := exec.CommandContext(context.Background(), "go", "build", "-C", filepath.Join("..", "clients"), "-o", filepath.Join(shared.programs, "clients"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build tests/clients: %w\n%s", err, out)
	}
	return nil
})

// picture is what one of tests/clients makes of a task.
type picture struct {
	Cluster, TaskARN, Family, Revision string
	CPU, Memory                        float64
	Containers                         map[string]struct {
		ID, Status                                               string
		CPU, Memory, CPUTime, MemoryInUse, MemoryAtMost, Seconds float64
	}
	Attributes map[string]string
}

// tooled mounts programs of the host's into a container: the tests' own, and Debian's.
func tooled() M {
	return M{"essential": false, "memory": 256, "mountPoints": []M{
		{"sourceVolume": "programs", "containerPath": "/programs", "readOnly": true},
		{"sourceVolume": "usr", "containerPath": "/usr", "readOnly": true},
		{"sourceVolume": "lib", "containerPath": "/lib", "readOnly": true},
		{"sourceVolume": "lib64", "containerPath": "/lib64", "readOnly": true},
	}}
}

func tools() []M {
	volume := func(name, from string) M { return M{"name": name, "host": M{"sourcePath": from}} }
	return []M{volume("programs", shared.programs), volume("usr", "/usr"), volume("lib", "/usr/lib"), volume("lib64", "/usr/lib64")}
}

// Clients that nobody here wrote read a task's metadata and stats from their first moment
// on, over 169.254.170.2 and without an error: while one container waits for them, one has
// ended, and others run.
func TestRealClientsReadMetadataAndStats(t *testing.T) {
	if err := clients(); shared.host != "" && err != nil {
		t.Fatal(err)
	}
	v := inVPC(t)
	def := vpcDefinition(
		sleeper("app", M{"cpu": 128}), sh("once", "sleep 1", M{"essential": false}),
		sh("clients", "exec /programs/clients -seen /tmp/seen -until late -patience 2m", tooled(), M{
			"dependsOn":   []M{{"containerName": "once", "condition": "SUCCESS"}},
			"healthCheck": M{"command": []string{"CMD-SHELL", "test -e /tmp/seen"}, "interval": 5, "retries": 10, "startPeriod": 60},
		}),
		sleeper("late", M{"dependsOn": []M{{"containerName": "clients", "condition": "HEALTHY"}}}),
	)
	def["cpu"], def["memory"], def["volumes"] = "256", "512", tools()
	task := v.awaits(v.launch(def), "RUNNING")

	var report map[string]struct {
		Rounds      int
		Failures    []string
		First, Last picture
		Measured    []string
	}
	v.eventually(2*time.Minute, "the clients' report", func() (bool, error) {
		out := v.output(task, "clients")
		return strings.HasSuffix(out, "}\n"), json.Unmarshal([]byte(out), &report)
	})
	family, revision, _ := strings.Cut(task.TaskDefinitionARN[strings.LastIndex(task.TaskDefinitionARN, "/")+1:], ":")
	for _, name := range []string{"telegraf", "receiver", "detector"} {
		r, ok := report[name]
		if !ok || r.Rounds < 4 {
			t.Errorf("%s: %d rounds", name, r.Rounds)
		}
		for _, f := range r.Failures {
			t.Errorf("%s: %s", name, f)
		}
		for _, p := range []picture{r.First, r.Last} {
			if !strings.HasSuffix(p.Cluster, v.Cluster) || p.TaskARN != task.TaskARN || p.Family != family || p.Revision != revision {
				t.Errorf("%s: task %+v", name, p)
			}
		}
	}
	for name, cpu := range map[string]float64{"telegraf": 0.25, "receiver": 256} {
		r := report[name]
		if r.Last.CPU != cpu || r.Last.Memory != 512 {
			t.Errorf("%s: the task may have %v CPU and %v MiB", name, r.Last.CPU, r.Last.Memory)
		}
		if c, there := r.First.Containers["late"]; there && c.Status == "RUNNING" {
			t.Errorf("%s: what waits is there: %+v", name, c)
		}
		for _, container := range []string{"app", "clients", "late"} {
			if !slices.Contains(r.Measured, container) {
				t.Errorf("%s: %s was not measured", name, container)
			}
			c := r.Last.Containers[container]
			if c.ID != task.Container(container).RuntimeID || c.Status != "RUNNING" || c.Memory == 0 || c.MemoryAtMost == 0 {
				t.Errorf("%s: %s %+v", name, container, c)
			}
		}
		equal(t, name+": the share of the CPU of app", r.Last.Containers["app"].CPU, 128)
	}
	if c := report["receiver"].Last.Containers["once"]; c.ID != task.Container("once").RuntimeID || c.Status != "STOPPED" || c.Seconds <= 0 {
		t.Errorf("the container that has ended: %+v", c)
	}
	about := report["detector"].Last.Attributes
	for key, want := range map[string]string{
		"cloud.provider": "aws", "cloud.platform": "aws_ecs", "cloud.region": harness.Region,
		"container.id": task.Container("clients").RuntimeID, "aws.ecs.container.arn": task.Container("clients").ContainerARN, "aws.ecs.launchtype": "ec2",
	} {
		equal(t, "detector: "+key, about[key], want)
	}
	for _, key := range []string{"aws.ecs.task.pull_started_at", "aws.ecs.task.pull_stopped_at"} {
		if _, err := time.Parse(time.RFC3339Nano, report["receiver"].Last.Attributes[key]); err != nil {
			t.Errorf("receiver: %s: %v", key, err)
		}
	}
	v.stop(task.TaskARN)
	v.nothingLeft()
}

// keysOverTime prints each access key that the AWS CLI's library comes to hold, three of
// them.
const keysOverTime = `
import time
from awscli.botocore.session import Session
credentials, seen = Session().get_credentials(), []
while len(seen) < 3:
    key = credentials.get_frozen_credentials().access_key
    if key not in seen:
        seen.append(key)
        print(key, flush=True)
    time.sleep(0.1)
`

// The AWS SDK's default chain and the AWS CLI, with nothing but what a container is given,
// get credentials over 169.254.170.2, and new ones before each set ends.
func TestRealClientsInContainersRefreshCredentials(t *testing.T) {
	v := withVPC(t, []string{"--credentials-life", "6s"})
	if _, err := os.Stat("/usr/bin/aws"); err != nil {
		t.Skip("no AWS CLI of the distribution's here: it is what a container can be given")
	}
	const rest = "; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done"
	cli := M{"environment": []M{{"name": "PATH", "value": "/usr/bin:/bin"}, {"name": "HOME", "value": "/tmp"}, {"name": "KEYS", "value": keysOverTime}}}
	def := withRoles(vpcDefinition(
		sleeper("app"),
		sh("sdk", "timeout -s INT 9 /programs/sdkload"+rest, tooled()),
		sh("cli", `aws configure list 2>&1 && python3 -c "$KEYS" 2>&1; echo end $?`+rest, tooled(), cli),
	))
	def["volumes"] = tools()
	task := v.awaits(v.launch(def), "RUNNING")

	var r sdkReport
	v.eventually(patience, "the report of the SDK", func() (bool, error) {
		out := v.output(task, "sdk")
		return strings.HasSuffix(out, "}\n"), json.Unmarshal([]byte(out), &r)
	})
	for _, f := range r.Failures {
		t.Error("failed fetch:", f)
	}
	if r.Fetches == 0 || len(r.Keys) < 2 || !strings.HasPrefix(r.Keys[0], "ASIALOCAL") || r.Source != "CredentialsEndpointProvider" {
		t.Errorf("the SDK: %+v", r)
	}
	var out string
	v.eventually(patience, "the end of the AWS CLI", func() (bool, error) {
		out = v.output(task, "cli")
		return strings.Contains(out, "\nend "), nil
	})
	if !strings.Contains(out, "container-role") || !strings.HasSuffix(out, "\nend 0\n") || strings.Count(out, "\nASIALOCAL") != 3 {
		t.Errorf("the AWS CLI: %s", out)
	}
	v.stop(task.TaskARN)
	v.nothingLeft()
}
