package agentlink_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"ecsagent/controlplane/agentlink"
	"ecsagent/controlplane/agentlink/linktest"
	"ecsagent/controlplane/wire"
)

func TestHandshakeRefusals(t *testing.T) {
	inactive := &wire.Exception{Type: wire.InactiveInstance, Message: "gone"}
	tests := []struct {
		name   string
		dial   func(*linktest.Dial)
		refuse error
		opts   func(*agentlink.Options)
		status int
		body   string
	}{
		{name: "no signature", dial: func(d *linktest.Dial) { d.NoSignature = true }, status: 400, body: `{"AccessDeniedException":"the Authorization header does not begin`},
		{name: "no instance", dial: func(d *linktest.Dial) { d.InstanceARN = "" }, status: 400, body: `{"BadRequestException":"the query has no containerInstanceArn"}`},
		{name: "inactive", refuse: inactive, status: 400, body: `{"InactiveInstanceException":"gone"}`},
		{name: "inactive, framed", refuse: inactive, opts: func(o *agentlink.Options) { o.FramedRefusals = true }, status: 400,
			body: `{"message":{"message":"gone"},"type":"InactiveInstanceException"}`},
		{name: "wrapped exception", refuse: fmt.Errorf("authorize: %w", inactive), status: 400, body: `{"InactiveInstanceException":"gone"}`},
		{name: "another error", refuse: errors.New("broken"), status: 500, body: `{"ServerException":"broken"}`},
		{name: "unknown key", opts: func(o *agentlink.Options) { o.Keys = map[string]string{"AKIDOTHER": "x"} }, status: 400, body: `the access key AKIDTEST is not known`},
		{name: "wrong secret", opts: func(o *agentlink.Options) { o.Keys = map[string]string{"AKIDTEST": "other"} }, status: 400, body: `the signature does not match`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, tt.opts, func(b *bench) {
				b.backend.refuse = tt.refuse
				d := b.dial()
				if tt.dial != nil {
					tt.dial(&d)
				}
				_, err := d.ACS(context.Background())
				var r *linktest.Refusal
				if !errors.As(err, &r) {
					b.Fatalf("got %v, want a refusal", err)
				}
				if r.Status != tt.status || !strings.Contains(r.Body, tt.body) {
					b.Fatalf("got %d %s, want %d %s", r.Status, r.Body, tt.status, tt.body)
				}
			})
		})
	}
}

func TestVerifiedSignatures(t *testing.T) {
	opts := func(o *agentlink.Options) { o.Keys = map[string]string{"AKIDTEST": "secret"} }
	for _, token := range []string{"", "a session token+/="} {
		inBubble(t, opts, func(b *bench) {
			c := b.acs(func(d *linktest.Dial) { d.SessionToken = token })
			b.expect(c, "HeartbeatMessage")
			d := b.dial()
			d.SessionToken = token
			tc, err := d.TCS(context.Background())
			b.must(err)
			b.Cleanup(tc.Close)
			b.must(tc.Publish("PublishHealthRequest", healthOf("app")))
			b.expect(tc, "AckPublishHealth")
			frame, err := tc.Signed("PublishHealthRequest", healthOf("app"))
			b.must(err)
			b.must(tc.SendFrame([]byte(strings.Replace(string(frame), `"app"`, `"bad"`, 1))))
			b.expect(tc, "AccessDeniedException")
			b.equal(len(b.backend.list(&b.backend.published)), 1)
		})
	}
}

func TestHeartbeats(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		b.equal(len(b.within(c, 5*time.Minute-time.Second, "HeartbeatMessage")), 10)
		b.equal(b.backend.list(&b.backend.presence), []string{"true 1.105.1 1a2b3c4d 25.0.8"})
	})
}

func TestHeartbeatSupervision(t *testing.T) {
	tests := []struct {
		name    string
		version string
		code    int
		after   time.Duration
	}{
		{"protocol 2 is closed when three are missed", "2", websocket.CloseGoingAway, 90 * time.Second},
		{"protocol 1 lives until its age", "1", websocket.CloseNormalClosure, 30 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, nil, func(b *bench) {
				start := time.Now()
				c := b.acs(func(d *linktest.Dial) { d.ProtocolVersion = tt.version })
				code, _ := b.ended(c)
				b.equal(code, tt.code)
				b.equal(time.Since(start), tt.after)
			})
		})
	}
}

func TestHeartbeatAcksOfOthersDoNotCount(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		for range 3 {
			b.expect(c, "HeartbeatMessage")
			b.must(c.Send("HeartbeatAckRequest", map[string]string{"messageId": "another"}))
		}
		code, _ := b.ended(c)
		b.equal(code, websocket.CloseGoingAway)
	})
}

func TestConnectionAge(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		start := time.Now()
		c := b.acs()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		for {
			m, err := c.Next(ctx)
			var ce *websocket.CloseError
			if errors.As(err, &ce) {
				b.equal(ce.Code, websocket.CloseNormalClosure)
				b.equal(ce.Text, "ConnectionExpired: Reconnect to continue")
				break
			}
			b.must(err)
			if m.Type == "HeartbeatMessage" {
				if err := c.Ack(m); !errors.Is(err, websocket.ErrCloseSent) { // the last one races with the close
					b.must(err)
				}
			}
		}
		b.equal(time.Since(start), 30*time.Minute)
	})
}

func TestCloseFramesAreAnswered(t *testing.T) {
	for _, code := range []int{1000, 1001, 1011, 4000} {
		inBubble(t, nil, func(b *bench) {
			for _, c := range []*linktest.Conn{b.acs(), b.tcs()} {
				b.expect(c, "HeartbeatMessage")
				b.must(c.SendClose(code, "bye"))
				got, _ := b.ended(c)
				b.equal(got, code)
			}
			synctest.Wait()
			b.equal(b.hub.Faults().Drop(instanceARN, agentlink.TCS), false)
		})
	}
}

func TestHubClose(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		a, c := b.acs(), b.tcs()
		b.hub.Close()
		for _, c := range []*linktest.Conn{a, c} {
			code, _ := b.ended(c)
			b.equal(code, websocket.CloseGoingAway)
		}
		_, err := b.dial().ACS(context.Background())
		var r *linktest.Refusal
		if !errors.As(err, &r) || r.Status != http.StatusInternalServerError {
			b.Fatalf("got %v, want a refusal", err)
		}
	})
}

func TestDisconnect(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.hub.Deliver(instanceARN, payload("t1"))
		c := b.acs()
		b.expect(c, "HeartbeatMessage")
		b.hub.Disconnect(instanceARN, "")
		code, _ := b.ended(c)
		b.equal(code, websocket.CloseNormalClosure)
		b.equal(len(b.hub.Pending(instanceARN)), 1)

		c = b.acs()
		b.expect(c, "HeartbeatMessage")
		b.hub.Disconnect(instanceARN, wire.InactiveInstance)
		b.expect(c, wire.InactiveInstance)
		code, _ = b.ended(c)
		b.equal(code, websocket.ClosePolicyViolation)
		b.equal(len(b.hub.Pending(instanceARN)), 0)
		b.hub.Disconnect("unknown", "")
	})
}

func TestStrangeMessagesAreTolerated(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		for _, frame := range []string{"", "{", "[]", "null", `"x"`, `{"type":""}`, `{"type":"Wonder","message":7}`,
			`{"type":"AckRequest","message":[]}`, `{"type":"AckRequest"}`, `{"type":"TaskStopVerificationMessage","message":"x"}`,
			`{"type":"HeartbeatAckRequest","message":{"messageId":5}}`, strings.Repeat("[", 10000)} {
			b.must(c.SendFrame([]byte(frame)))
		}
		b.hub.Deliver(instanceARN, payload("t1"))
		m := b.expect(c, "PayloadMessage")
		b.must(c.Ack(m))
		b.equal(len(b.within(c, 10*time.Second, "PayloadMessage")), 0)
		b.equal(len(b.hub.Pending(instanceARN)), 0)
	})
}

func TestOversizedFrameEndsTheConnection(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		b.expect(c, "HeartbeatMessage")
		_ = c.SendFrame(make([]byte, 2<<20)) // fails once the hub has had enough
		code, _ := b.ended(c)
		b.equal(code, websocket.CloseMessageTooBig)
	})
}
