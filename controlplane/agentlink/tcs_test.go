package agentlink_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

// object is JSON.
type object = map[string]any

func metadata(more object) object {
	m := object{"cluster": cluster, "containerInstance": instanceARN, "messageId": "5d0c2a6e-0c7b-4f3a-9d1e-2b3c4d5e6f70", "fin": true}
	maps.Copy(m, more)
	return m
}

func now() float64 { return float64(time.Now().UnixMilli()) / 1000 }

func healthOf(container string) object {
	return object{"metadata": metadata(nil), "timestamp": now(), "tasks": []object{{
		"taskArn": "arn:t", "taskDefinitionFamily": "web", "taskDefinitionVersion": "1",
		"containers": []object{{"containerName": container, "healthStatus": "HEALTHY", "statusSince": now()}},
	}}}
}

func TestTelemetryIsAcknowledged(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.tcs()
		for _, tt := range []struct {
			kind, ack string
			message   object
		}{
			{"PublishMetricsRequest", "AckPublishMetric", object{"metadata": metadata(object{"idle": true}), "timestamp": now()}},
			{"PublishHealthRequest", "AckPublishHealth", healthOf("app")},
			{"PublishInstanceStatusRequest", "AckPublishInstanceStatus", object{
				"metadata": metadata(object{"requestId": "7f2e0a6e-0c7b-4f3a-9d1e-2b3c4d5e6f70"}), "timestamp": now(),
				"statuses": []object{{"type": "ContainerRuntime", "status": "OK", "lastUpdated": now(), "lastStatusChange": now()}},
			}},
		} {
			b.backend.published = nil
			b.must(c.Publish(tt.kind, tt.message))
			b.equal(string(b.expect(c, tt.ack).Frame), `{"type":"`+tt.ack+`","message":{}}`)
			text, err := json.Marshal(tt.message)
			b.must(err)
			b.equal(b.backend.list(&b.backend.published), []string{tt.kind + " " + string(text)})
		}
		b.must(c.Publish("StartTelemetrySessionRequest", object{}))
		b.equal(len(b.within(c, 2*time.Minute-time.Second, "HeartbeatMessage")), 3)
	})
}

// What AWS would not take is answered with the reason, and not handed on.
func TestTelemetryIsChecked(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.tcs()
		b.expect(c, "HeartbeatMessage")
		b.must(c.Publish("PublishMetricsRequest", object{"metadata": metadata(object{"idle": true, "cluster": "other"}), "timestamp": now()}))
		b.equal(string(b.expect(c, "InvalidParameterException").Body), `{"message":"PublishMetricsRequest: metadata.cluster is \"other\", the session is of \"`+cluster+`\""}`)
		b.equal(len(b.backend.list(&b.backend.published)), 0)
	})
}

func TestBadTelemetryFrames(t *testing.T) {
	auth := "Authorization: AWS4-HMAC-SHA256 Credential=AK/20000101/us-west-2/ecs/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0a", 32) + "\r\n"
	good := auth + "Host: h\r\nX-Amz-Date: 20000101T000000Z\r\n"
	tests := []struct{ name, frame, exception string }{
		{"no headers", `{"type":"PublishMetricsRequest","message":{}}`, "BadRequestException"},
		{"empty", "", "BadRequestException"},
		{"only an empty line", "\r\n\r\n{}", "BadRequestException"},
		{"header without a colon", good + "oops\r\n\r\n{}", "BadRequestException"},
		{"two dates", good + "X-Amz-Date: 20000101T000000Z\r\n\r\n{}", "BadRequestException"},
		{"huge headers", good + "X: " + strings.Repeat("x", 17<<10) + "\r\n\r\n{}", "BadRequestException"},
		{"another day", auth + "Host: h\r\nX-Amz-Date: 20000102T000000Z\r\n\r\n{}", "AccessDeniedException"},
		{"another service", strings.Replace(good, "/ecs/", "/s3/", 1) + "\r\n{}", "AccessDeniedException"},
		{"short signature", strings.Replace(good, "0a0a", "", 1) + "\r\n{}", "AccessDeniedException"},
		{"date not signed", strings.Replace(good, ";x-amz-date", "", 1) + "\r\n{}", "AccessDeniedException"},
		{"no body", good + "\r\n", "BadRequestException"},
		{"broken body", good + "\r\n{", "BadRequestException"},
		{"no type", good + "\r\n{}", "BadRequestException"},
	}
	inBubble(t, nil, func(b *bench) {
		c := b.tcs()
		for _, tt := range tests {
			b.must(c.SendFrame([]byte(tt.frame)))
			b.expect(c, tt.exception)
		}
		b.equal(len(b.backend.list(&b.backend.published)), 0)
		b.must(c.SendFrame([]byte(good + "\r\n" + `{"type":"PublishHealthRequest","message":{}}`)))
		b.expect(c, "InvalidParameterException")
	})
}

func TestTelemetryConnectionIsReplaced(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		first := b.tcs()
		b.expect(first, "HeartbeatMessage")
		second := b.tcs()
		b.ended(first)
		b.expect(second, "HeartbeatMessage")
		b.equal(len(b.backend.list(&b.backend.presence)), 0) // presence is ACS's
	})
}
