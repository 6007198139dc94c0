package agentlink_test

import (
	"strings"
	"testing"
	"time"
)

func TestTelemetryIsAcknowledged(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.tcs()
		for kind, ack := range map[string]string{
			"PublishMetricsRequest": "AckPublishMetric", "PublishHealthRequest": "AckPublishHealth",
			"PublishInstanceStatusRequest": "AckPublishInstanceStatus",
		} {
			b.backend.published = nil
			b.must(c.Publish(kind, map[string]any{"timestamp": 1}))
			b.equal(string(b.expect(c, ack).Frame), `{"type":"`+ack+`","message":{}}`)
			b.equal(b.backend.list(&b.backend.published), []string{kind + ` {"timestamp":1}`})
		}
		b.must(c.Publish("StartTelemetrySessionRequest", map[string]any{}))
		b.equal(len(b.within(c, 2*time.Minute-time.Second, "HeartbeatMessage")), 3)
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
		b.expect(c, "AckPublishHealth")
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
