package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ecsagent/controlplane/agentlink/linktest"
)

func TestStats(t *testing.T) {
	b := newBench(t, &linktest.Script{})
	b.matches(b.run(0, "stats").out, `^No agent has published metrics yet\.`)
	conn, err := linktest.Dial{BaseURL: b.srv.URL(), InstanceARN: b.agent.ARN, Cluster: "default"}.TCS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	publish := func(idle bool, tasks ...any) {
		t.Helper()
		m := map[string]any{
			"metadata": map[string]any{
				"cluster": "default", "containerInstance": b.agent.ARN, "messageId": "5d0c2a6e-0c7b-4f3a-9d1e-2b3c4d5e6f70", "idle": idle, "fin": true,
			},
			"timestamp": float64(time.Now().UnixMilli()) / 1000,
		}
		if len(tasks) > 0 {
			m["taskMetrics"] = tasks
		}
		if err := conn.Publish("PublishMetricsRequest", m); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Expect(t.Context(), "AckPublishMetric"); err != nil {
			t.Fatal(err)
		}
	}
	publish(true)
	b.matches(b.run(0, "stats").out, `^Nothing runs, say the agents\.`)
	var one any
	const arn = "arn:aws:ecs:us-east-1:000000000000:task/default/0123456789abcdef0123456789abcdef"
	if err := json.Unmarshal([]byte(`{"taskArn":"`+arn+`","taskDefinitionFamily":"web","taskDefinitionVersion":"3","containerMetrics":[{
		"containerName":"app","cpuStatsSet":{"min":1,"max":4,"sampleCount":2,"sum":5},"memoryStatsSet":{"min":40,"max":44,"sampleCount":2,"sum":84},
		"storageStatsSet":{"readSizeBytes":{"min":0,"max":4096,"sampleCount":1,"sum":4096,"overflowMin":0,"overflowMax":0,"overflowSum":0},
		"writeSizeBytes":{"min":0,"max":7,"sampleCount":1,"sum":7,"overflowMin":0,"overflowMax":0,"overflowSum":0}},
		"networkStatsSet":{"rxBytesPerSecond":{"min":1,"max":3,"sampleCount":2,"sum":4},"txBytesPerSecond":{"min":9,"max":9,"sampleCount":1,"sum":9}},
		"restartStatsSet":{"restartCount":1}},
		{"containerName":"side","cpuStatsSet":{"min":0,"max":0,"sampleCount":1,"sum":0},"memoryStatsSet":{"min":1,"max":1,"sampleCount":1,"sum":1}}]}`), &one); err != nil {
		t.Fatal(err)
	}
	publish(false, one)
	b.matches(b.run(0, "stats").out, `^TASK +DEFINITION +CONTAINER +CPU % +MEMORY MIB +NET IN +NET OUT +DISK READ +DISK WRITTEN +RESTARTS +AGE\n`+
		`01234567 +web:3 +app +2\.50 \(4\.00\) +42 \(44\) +2 +9 +4096 +7 +1 +\d+s\n +side +0\.00 \(0\.00\) +1 \(1\) +\d+s\n$`)
	out := b.run(0, "stats", "--output", "json").out
	if !strings.Contains(out, arn) || !strings.Contains(out, `"restartCount": 1`) {
		t.Errorf("%s", out)
	}
	b.run(2, "stats", "--output", "yaml")
}
