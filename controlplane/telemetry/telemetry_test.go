package telemetry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"ecsagent/controlplane/telemetry"
)

var (
	sender = telemetry.Sender{Cluster: "prod", InstanceARN: "arn:aws:ecs:us-west-2:111122223333:container-instance/prod/0a1b"}
	at     = time.UnixMilli(1735787065123)
)

// The examples of docs/spec/01 appendix B, and an idle instance.
const (
	id   = `5d0c2a6e-0c7b-4f3a-9d1e-2b3c4d5e6f70`
	who  = `"cluster":"prod","containerInstance":"arn:aws:ecs:us-west-2:111122223333:container-instance/prod/0a1b"`
	long = `{"min":0,"max":4096,"sampleCount":20,"sum":40960,"overflowMin":0,"overflowMax":0,"overflowSum":0}`
	used = `{"containerName":"app","cpuStatsSet":{"min":0.4,"max":2.1,"sampleCount":19,"sum":17.3},` +
		`"memoryStatsSet":{"min":41,"max":42,"sampleCount":20,"sum":826},"storageStatsSet":{"readSizeBytes":` + long + `,"writeSizeBytes":` + long + `},` +
		`"networkStatsSet":{"rxBytes":` + long + `,"rxBytesPerSecond":{"min":1,"max":1,"sampleCount":1,"sum":1}},"restartStatsSet":{"restartCount":0}}`
	oneTask = `{"taskArn":"arn:a","taskDefinitionFamily":"web","taskDefinitionVersion":"7","containerMetrics":[` + used + `],` +
		`"volumeMetrics":[{"volumeId":"vol-1","volumeName":"data","utilized":{"min":3,"max":3,"sampleCount":1,"sum":3},"size":{"min":20,"max":20,"sampleCount":1,"sum":20}}]}`
	metrics = `{"metadata":{` + who + `,"messageId":"` + id + `","idle":false,"fin":true},"taskMetrics":[` + oneTask + `],"timestamp":1735787065.123}`
	idle    = `{"metadata":{` + who + `,"messageId":"` + id + `","idle":true,"fin":true},"timestamp":1735787065.123}`
	health  = `{"metadata":{` + who + `,"messageId":"` + id + `","fin":true},"tasks":[{"taskArn":"arn:a","taskDefinitionFamily":"web","taskDefinitionVersion":"7",` +
		`"containers":[{"containerName":"app","healthStatus":"HEALTHY","statusSince":1735787050.5}]}],"timestamp":1735787065.124}`
	status = `{"metadata":{` + who + `,"requestId":"` + id + `"},"statuses":[{"type":"ContainerRuntime","status":"OK","lastUpdated":1735787005.1,"lastStatusChange":1735787005.2}],"timestamp":1735787065.2}`
)

func TestGoodMessages(t *testing.T) {
	for message, kind := range map[string]string{
		metrics: telemetry.KindMetrics, idle: telemetry.KindMetrics, health: telemetry.KindHealth, status: telemetry.KindInstanceStatus,
	} {
		if err := telemetry.Check(kind, []byte(message), sender, at); err != nil {
			t.Errorf("%s: %v", message, err)
		}
	}
}

// What the agent of this project publishes is taken.
func TestGoldenMessages(t *testing.T) {
	for _, file := range []string{"idle.json", "health.json", "metrics.json"} {
		text, err := os.ReadFile("../../agent/tcs/testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(strings.NewReader(string(text)))
		for d.More() {
			var m struct {
				Type    string
				Message json.RawMessage
			}
			if err := d.Decode(&m); err != nil {
				t.Fatal(err)
			}
			// The golden files name the ids by their order.
			message := strings.NewReplacer(`"id-1"`, `"`+id+`"`, `"id-2"`, `"`+id+`"`, `"id-3"`, `"`+id+`"`).Replace(string(m.Message))
			if err := telemetry.Check(m.Type, []byte(message), sender, time.Unix(946684810, 0)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	swap := func(message, old, with string) string {
		if !strings.Contains(message, old) {
			t.Fatalf("%q is not in %s", old, message)
		}
		return strings.Replace(message, old, with, 1)
	}
	many := make([]string, 11)
	for i := range many {
		many[i] = strings.Replace(oneTask, "arn:a", fmt.Sprintf("arn:%d", i), 1)
	}
	for _, tt := range []struct{ kind, message, member string }{
		{telemetry.KindMetrics, `[]`, "message"},
		{telemetry.KindMetrics, `{"timestamp":"now"}`, "message"},
		{telemetry.KindMetrics, `{}`, "metadata"},
		{telemetry.KindMetrics, swap(metrics, `"cluster":"prod"`, `"cluster":"x"`), "metadata.cluster"},
		{telemetry.KindMetrics, swap(metrics, `prod/0a1b`, `prod/0a1c`), "metadata.containerInstance"},
		{telemetry.KindMetrics, swap(metrics, id, "m-1"), "metadata.messageId"},
		{telemetry.KindMetrics, swap(metrics, `"fin":true`, `"fim":true`), "metadata"},
		{telemetry.KindMetrics, swap(metrics, `"idle":false`, `"idle":true`), "metadata.idle"},
		{telemetry.KindMetrics, swap(idle, `"idle":true`, `"idle":false`), "taskMetrics"},
		{telemetry.KindMetrics, swap(idle, `"fin":true`, `"fin":false`), "metadata.idle"},
		{telemetry.KindMetrics, swap(metrics, `1735787065.123`, `1735786000`), "timestamp"},
		{telemetry.KindMetrics, swap(metrics, `1735787065.123`, `1735788000`), "timestamp"},
		{telemetry.KindMetrics, swap(metrics, `,"timestamp":1735787065.123`, ``), "timestamp"},
		{telemetry.KindMetrics, swap(metrics, `"arn:a"`, `""`), "taskMetrics[0].taskArn"},
		{telemetry.KindMetrics, swap(metrics, `"taskDefinitionFamily":"web",`, ``), "taskMetrics[0]"},
		{telemetry.KindMetrics, swap(metrics, oneTask, oneTask+","+oneTask), "taskMetrics[1].taskArn"},
		{telemetry.KindMetrics, swap(metrics, oneTask, strings.Join(many, ",")), "taskMetrics[10]"},
		{telemetry.KindMetrics, swap(metrics, used, ``), "taskMetrics[0].containerMetrics"},
		{telemetry.KindMetrics, swap(metrics, `"volumeName":"data",`, ``), "taskMetrics[0].volumeMetrics[0]"},
		{telemetry.KindMetrics, swap(metrics, `"volumeId":"vol-1",`, ``), "taskMetrics[0].volumeMetrics[0]"},
		{telemetry.KindMetrics, swap(metrics, `"utilized"`, `"used"`), "taskMetrics[0].volumeMetrics[0].utilized"},
		{telemetry.KindMetrics, swap(metrics, `"min":20,`, `"min":21,`), "taskMetrics[0].volumeMetrics[0].size"},
		{telemetry.KindMetrics, swap(metrics, `"containerName":"app",`, ``), "taskMetrics[0].containerMetrics[0].containerName"},
		{telemetry.KindMetrics, swap(metrics, `"cpuStatsSet"`, `"cpu"`), "taskMetrics[0].containerMetrics[0].cpuStatsSet"},
		{telemetry.KindMetrics, swap(metrics, `"sampleCount":19,`, ``), "taskMetrics[0].containerMetrics[0].cpuStatsSet"},
		{telemetry.KindMetrics, swap(metrics, `"sampleCount":19`, `"sampleCount":0`), "taskMetrics[0].containerMetrics[0].cpuStatsSet"},
		{telemetry.KindMetrics, swap(metrics, `"sum":17.3`, `"sum":170.3`), "taskMetrics[0].containerMetrics[0].cpuStatsSet"},
		{telemetry.KindMetrics, swap(metrics, `"min":0.4`, `"min":2.4`), "taskMetrics[0].containerMetrics[0].cpuStatsSet"},
		{telemetry.KindMetrics, swap(metrics, `"memoryStatsSet"`, `"m"`), "taskMetrics[0].containerMetrics[0].memoryStatsSet"},
		{telemetry.KindMetrics, swap(metrics, `,"overflowMin":0`, ``), "taskMetrics[0].containerMetrics[0].storageStatsSet.readSizeBytes"},
		{telemetry.KindMetrics, swap(metrics, `"min":0,"max":4096`, `"min":-1,"max":4096`), "taskMetrics[0].containerMetrics[0].storageStatsSet.readSizeBytes"},
		{telemetry.KindMetrics, swap(metrics, `"rxBytes":`+long, `"rxBytes":{}`), "taskMetrics[0].containerMetrics[0].networkStatsSet.rxBytes"},
		{telemetry.KindMetrics, swap(metrics, `"rxBytesPerSecond":{"min":1,`, `"rxBytesPerSecond":{`), "taskMetrics[0].containerMetrics[0].networkStatsSet.rxBytesPerSecond"},
		{telemetry.KindMetrics, swap(metrics, `"restartCount":0`, `"restartCount":-1`), "taskMetrics[0].containerMetrics[0].restartStatsSet.restartCount"},
		{telemetry.KindMetrics, swap(metrics, `"app"`, `"`+strings.Repeat("x", 1<<20)+`"`), "message"},
		{telemetry.KindHealth, swap(health, `"fin":true`, `"fin":null`), "metadata.fin"},
		{telemetry.KindHealth, swap(health, `"HEALTHY"`, `"STARTING"`), "tasks[0].containers[0].healthStatus"},
		{telemetry.KindHealth, swap(health, `,"statusSince":1735787050.5`, ``), "tasks[0].containers[0].statusSince"},
		{telemetry.KindHealth, swap(health, `"statusSince":1735787050.5`, `"statusSince":-62135596800`), "tasks[0].containers[0].statusSince"},
		{telemetry.KindHealth, `{"metadata":{` + who + `,"messageId":"` + id + `","fin":true},"tasks":[],"timestamp":1735787065}`, "tasks"},
		{telemetry.KindInstanceStatus, swap(status, `"requestId"`, `"messageId"`), "metadata.requestId"},
		{telemetry.KindInstanceStatus, swap(status, `"ContainerRuntime"`, `"Disk"`), "statuses[0].type"},
		{telemetry.KindInstanceStatus, swap(status, `"OK"`, `"FINE"`), "statuses[0].status"},
		{telemetry.KindInstanceStatus, swap(status, `"lastUpdated":1735787005.1,`, ``), "statuses[0].lastUpdated"},
		{"PublishNothing", `{}`, "type"},
	} {
		err := telemetry.Check(tt.kind, []byte(tt.message), sender, at)
		var r *telemetry.Refusal
		if !errors.As(err, &r) || r.Member != tt.member || r.Reason == "" {
			t.Errorf("%.300s\ngot %v, want a refusal of %s", tt.message, err, tt.member)
		}
	}
}

func TestBoard(t *testing.T) {
	b := telemetry.NewBoard()
	take := func(message string) {
		t.Helper()
		if err := b.Take(sender.InstanceARN, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Instances(at); got == nil || len(got) != 0 {
		t.Errorf("%+v", got)
	}
	take(metrics)
	take(strings.NewReplacer("arn:a", "arn:b", "065.123", "085.123").Replace(metrics))
	got := b.Instances(at.Add(20 * time.Second))
	if len(got) != 1 || got[0].Idle || len(got[0].Tasks) != 2 || got[0].Tasks[0].ARN != "arn:a" || !got[0].Tasks[0].At.Equal(at) {
		t.Errorf("%+v", got)
	}
	if got := b.Instances(at.Add(time.Minute)); len(got[0].Tasks) != 1 || got[0].Tasks[0].ARN != "arn:b" {
		t.Errorf("after a while: %+v", got)
	}
	take(idle)
	if got := b.Instances(at); !got[0].Idle || len(got[0].Tasks) != 0 {
		t.Errorf("idle: %+v", got)
	}
	if err := b.Take(sender.InstanceARN, []byte(`{}`)); err == nil {
		t.Error("a message that was not checked was kept")
	}
	b.Forget(sender.InstanceARN)
	if got := b.Instances(at); len(got) != 0 {
		t.Errorf("after forgetting: %+v", got)
	}
}

func FuzzCheck(f *testing.F) {
	for _, m := range []string{metrics, idle, health, status, `{}`, `null`} {
		f.Add([]byte(m))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		for _, kind := range []string{telemetry.KindMetrics, telemetry.KindHealth, telemetry.KindInstanceStatus} {
			err := telemetry.Check(kind, message, sender, at)
			if kind != telemetry.KindMetrics {
				continue
			}
			b := telemetry.NewBoard()
			if err == nil && b.Take("i", message) != nil {
				t.Error("a message that was found good cannot be kept")
			}
			b.Instances(at)
		}
	})
}
