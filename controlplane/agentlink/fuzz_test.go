package agentlink

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/zap"

	"ecsagent/controlplane/wire"
)

func FuzzParseSignedFrame(f *testing.F) {
	f.Add([]byte("Authorization: AWS4-HMAC-SHA256 x\r\nHost: h\r\nX-Amz-Date: 20000101T000000Z\r\n\r\n{\"type\":\"PublishMetricsRequest\",\"message\":{}}"))
	f.Add([]byte("\r\n\r\n"))
	f.Add([]byte("A:b\n\nc"))
	f.Fuzz(func(t *testing.T, frame []byte) {
		headers, body, err := parseSignedFrame(frame)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(frame, append([]byte("\r\n\r\n"), body...)) {
			t.Fatalf("body %q is not the end of the frame", body)
		}
		if len(headers.Values("Host")) != 1 {
			t.Fatal("accepted without exactly one Host")
		}
	})
}

func FuzzParseAuthorization(f *testing.F) {
	good := "AWS4-HMAC-SHA256 Credential=AK/20000101/us-west-2/ecs/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0a", 32)
	f.Add(good)
	f.Add(strings.Replace(good, "AK", "", 1))
	f.Add("AWS4-HMAC-SHA256 ,,,")
	f.Add("")
	f.Fuzz(func(t *testing.T, value string) {
		a, err := parseAuthorization(value)
		if err == nil && (a.accessKey == "" || a.region == "" || a.service != "ecs" || len(a.signature) != 64) {
			t.Fatalf("accepted %q as %+v", value, a)
		}
	})
}

// FuzzReceive feeds frames to both conversations of a session that cannot write.
func FuzzReceive(f *testing.F) {
	for _, s := range []string{
		`{"type":"AckRequest","message":{"messageId":"m"}}`, `{"type":"NackRequest","message":{"messageId":"m","reason":"r"}}`,
		`{"type":"TaskStopVerificationMessage","message":{"messageId":"m","stopCandidates":[{"taskArn":"t"},null]}}`,
		`{"type":"IAMRoleCredentialsAckRequest","message":{"credentialsId":"c","expiration":"e"}}`,
		`{"type":"HeartbeatAckRequest","message":{}}`, `{"type":"HeartbeatAckRequest"}`, `{`, `null`,
		"Authorization: x\r\nHost: h\r\nX-Amz-Date: y\r\n\r\n{}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		h := NewHub(Options{Backend: nothing{}})
		defer h.Close()
		l := &link{}
		l.silent.Store(true)
		s := &session{hub: h, inst: newInstance("i"), link: l, log: zap.NewNop()}
		for _, c := range []conversation{&acs{session: s, manifestID: "m"}, &tcs{session: s}} {
			if err := c.receive(frame); err != nil {
				t.Fatalf("a frame ended the session: %v", err)
			}
		}
	})
}

type nothing struct{}

func (nothing) Authorize(string, string) error                                     { return nil }
func (nothing) Connected(string, bool, string, string, string)                     {}
func (nothing) Manifest(string) []wire.TaskIdentifier                              { return nil }
func (nothing) Credentials(string) []wire.CredentialsMessage                       { return nil }
func (nothing) PayloadAcked(string, string)                                        {}
func (nothing) Metrics(string, string, json.RawMessage)                            {}
func (nothing) ShouldStop(_ string, c []wire.TaskIdentifier) []wire.TaskIdentifier { return c }
