package agentlink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"ecsagent/controlplane/agentlink"
	"ecsagent/controlplane/agentlink/linktest"
	"ecsagent/controlplane/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	instanceARN = "arn:aws:ecs:us-west-2:111122223333:container-instance/prod/0a1b"
	cluster     = "arn:aws:ecs:us-west-2:111122223333:cluster/prod"
)

// backend is a Backend that records what it is told and says what it is set to.
type backend struct {
	mu        sync.Mutex
	refuse    error
	noSync    bool
	manifest  []wire.TaskIdentifier
	creds     []wire.CredentialsMessage
	stop      []wire.TaskIdentifier
	offered   []wire.TaskIdentifier
	presence  []string
	acked     []string
	nacked    []string
	published []string
}

func (b *backend) Authorize(arn, cluster string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refuse
}

func (b *backend) Connected(arn string, up bool, version, hash, docker string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.presence = append(b.presence, fmt.Sprint(up, " ", version, " ", hash, " ", docker))
}

func (b *backend) Manifest(string) []wire.TaskIdentifier { return b.manifest }

func (b *backend) Credentials(string) []wire.CredentialsMessage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.creds
}

func (b *backend) ShouldStop(_ string, candidates []wire.TaskIdentifier) []wire.TaskIdentifier {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.offered = candidates
	return b.stop
}

func (b *backend) PayloadAcked(_, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked = append(b.acked, id)
}

func (b *backend) PayloadNacked(_, id, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nacked = append(b.nacked, id+" "+reason)
}

func (b *backend) Metrics(_, kind string, message json.RawMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.published = append(b.published, kind+" "+string(message))
}

func (b *backend) FullSync(string) bool { return !b.noSync }

func (b *backend) setCreds(c []wire.CredentialsMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.creds = c
}

func (b *backend) list(l *[]string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(*l)
}

// bench is a hub on a network in memory, in a bubble with its own time.
type bench struct {
	*testing.T
	hub     *agentlink.Hub
	backend *backend
	net     *linktest.Network
}

// inBubble runs a test against a hub; opts may change the options.
func inBubble(t *testing.T, opts func(*agentlink.Options), test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		be := &backend{}
		o := agentlink.Options{Backend: be}
		if opts != nil {
			opts(&o)
		}
		b := &bench{T: t, hub: agentlink.NewHub(o), backend: be, net: linktest.NewNetwork()}
		srv := &http.Server{Handler: b.hub}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = srv.Serve(b.net) // ends with ErrServerClosed
		}()
		defer func() {
			b.hub.Close()
			_ = srv.Close()
			<-served
		}()
		test(b)
	})
}

func (b *bench) dial() linktest.Dial {
	return linktest.Dial{BaseURL: "http://ecs.test/acs/", InstanceARN: instanceARN, Cluster: cluster, NetDial: b.net.Dial}
}

// acs connects and ends the connection with the test.
func (b *bench) acs(change ...func(*linktest.Dial)) *linktest.Conn {
	b.Helper()
	d := b.dial()
	for _, f := range change {
		f(&d)
	}
	c, err := d.ACS(context.Background())
	if err != nil {
		b.Fatalf("connect: %v", err)
	}
	b.Cleanup(c.Close)
	return c
}

func (b *bench) tcs() *linktest.Conn {
	b.Helper()
	c, err := b.dial().TCS(context.Background())
	if err != nil {
		b.Fatalf("connect: %v", err)
	}
	b.Cleanup(c.Close)
	return c
}

// within returns the messages of a type that come within d of fake time, acking
// heartbeats so that the connection lives.
func (b *bench) within(c *linktest.Conn, d time.Duration, typeName string) []linktest.Message {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var out []linktest.Message
	for {
		m, err := c.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return out
		}
		if err != nil {
			b.Fatalf("connection ended while waiting for %s: %v", typeName, err)
		}
		if m.Type == "HeartbeatMessage" {
			b.must(c.Ack(m))
		}
		if m.Type == typeName {
			out = append(out, m)
		}
	}
}

func (b *bench) expect(c *linktest.Conn, typeName string) linktest.Message {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := c.Expect(ctx, typeName)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// ended waits for the end of the connection and returns the close code, or 0.
func (b *bench) ended(c *linktest.Conn) (int, string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	err := c.Ended(ctx)
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		return ce.Code, ce.Text
	}
	if errors.Is(err, context.DeadlineExceeded) {
		b.Fatal("the connection did not end")
	}
	return 0, err.Error()
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) equal(got, want any) {
	b.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Fatalf("got %v, want %v", got, want)
	}
}

func (b *bench) body(m linktest.Message, out any) {
	b.Helper()
	b.must(json.Unmarshal(m.Body, out))
}

func payload(arns ...string) wire.Payload {
	var p wire.Payload
	for _, arn := range arns {
		p.Tasks = append(p.Tasks, json.RawMessage(`{"arn":"`+arn+`","desiredStatus":"RUNNING"}`))
	}
	return p
}

func ids(ms []linktest.Message) []string {
	var out []string
	for _, m := range ms {
		out = append(out, m.ID())
	}
	return out
}

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
			b.must(tc.Publish("PublishHealthRequest", map[string]any{"n": 1}))
			b.expect(tc, "AckPublishHealth")
			frame, err := tc.Signed("PublishHealthRequest", map[string]any{"n": 1})
			b.must(err)
			b.must(tc.SendFrame([]byte(strings.Replace(string(frame), `"n":1`, `"n":2`, 1))))
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

func TestPayloadUntilAcked(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		first := b.hub.Deliver(instanceARN, payload("t1"))
		c := b.acs()
		m := b.expect(c, "PayloadMessage")
		b.equal(m.ID(), first)
		second := b.hub.Deliver(instanceARN, payload("t2", "t3"))
		m2 := b.expect(c, "PayloadMessage")
		b.equal(m2.ID(), second)
		b.must(c.Ack(m2))

		// The first is sent again, the same to the byte, the second is not.
		again := b.within(c, 31*time.Second, "PayloadMessage")
		b.equal(ids(again), []string{first, first})
		b.equal(string(again[0].Frame), string(m.Frame))
		b.must(c.Ack(m))
		b.equal(len(b.within(c, time.Minute, "PayloadMessage")), 0)
		b.equal(b.backend.list(&b.backend.acked), []string{second, first})
		b.equal(len(b.hub.Pending(instanceARN)), 0)

		var got struct {
			ClusterARN, ContainerInstanceARN string
			SeqNum                           int64
			Tasks                            []json.RawMessage
		}
		b.body(m2, &got)
		b.equal(got.ClusterARN, cluster)
		b.equal(got.ContainerInstanceARN, instanceARN)
		b.equal(len(got.Tasks), 2)
	})
}

func TestPayloadsAcrossReconnect(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		var want []string
		for i := range 5 {
			want = append(want, b.hub.Deliver(instanceARN, payload(fmt.Sprint("t", i))))
		}
		c := b.acs()
		ms := b.within(c, time.Second, "PayloadMessage")
		b.equal(ids(ms), want)
		b.must(c.Ack(ms[1]))
		synctest.Wait()
		c.Close()
		c = b.acs()
		b.equal(ids(b.within(c, time.Second, "PayloadMessage")), slices.Delete(slices.Clone(want), 1, 2))
	})
}

func TestSequenceRisesOverPayloadsAndManifests(t *testing.T) {
	inBubble(t, func(o *agentlink.Options) { o.Sequences = agentlink.NewMemorySequences(41) }, func(b *bench) {
		b.hub.Deliver(instanceARN, payload("t1")) // 42, sent after the manifest
		c := b.acs()
		var m struct{ Timeline, SeqNum int64 }
		b.body(b.expect(c, "TaskManifestMessage"), &m)
		b.equal(m.Timeline, 43)
		b.body(b.expect(c, "PayloadMessage"), &m)
		b.equal(m.SeqNum, 42)
		b.hub.Deliver(instanceARN, payload("t2"))
		b.body(b.expect(c, "PayloadMessage"), &m)
		b.equal(m.SeqNum, 44)
		c.Close()
		b.body(b.expect(b.acs(), "TaskManifestMessage"), &m)
		b.equal(m.Timeline, 45)
	})
}

func TestBadPayloadIsNotQueued(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.equal(b.hub.Deliver(instanceARN, wire.Payload{Tasks: []json.RawMessage{json.RawMessage("{")}}), "")
		b.equal(len(b.hub.Pending(instanceARN)), 0)
	})
}

func TestNack(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		id := b.hub.Deliver(instanceARN, payload("t1"))
		c := b.acs()
		b.expect(c, "PayloadMessage")
		b.must(c.Send("NackRequest", map[string]string{"messageId": id, "reason": "no"}))
		b.must(c.Send("NackRequest", map[string]string{"messageId": "unknown", "reason": "no"}))
		b.equal(len(b.within(c, time.Minute, "PayloadMessage")), 0)
		b.equal(b.backend.list(&b.backend.nacked), []string{id + " no"})
		b.equal(len(b.backend.list(&b.backend.acked)), 0)
	})
}

func TestSecondConnectionReplacesTheFirst(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		first := b.acs()
		b.expect(first, "TaskManifestMessage")
		second := b.acs()
		code, _ := b.ended(first)
		b.equal(code, websocket.ClosePolicyViolation)
		b.expect(second, "TaskManifestMessage")
		b.hub.Deliver(instanceARN, payload("t1"))
		b.expect(second, "PayloadMessage")
		second.Close()
		synctest.Wait()
		b.equal(b.backend.list(&b.backend.presence), []string{"true 1.105.1 1a2b3c4d 25.0.8", "true 1.105.1 1a2b3c4d 25.0.8", "false 1.105.1 1a2b3c4d 25.0.8"})
	})
}

func TestManifestAndStopVerification(t *testing.T) {
	task := func(arn, status string) wire.TaskIdentifier {
		return wire.TaskIdentifier{TaskARN: arn, TaskClusterARN: cluster, DesiredStatus: status}
	}
	inBubble(t, nil, func(b *bench) {
		b.backend.manifest = []wire.TaskIdentifier{task("t1", "RUNNING")}
		b.backend.stop = []wire.TaskIdentifier{task("t2", "STOPPED"), task("never-offered", "STOPPED")}
		c := b.acs()
		m := b.expect(c, "TaskManifestMessage")
		var manifest struct {
			Timeline int64
			Tasks    []wire.TaskIdentifier
		}
		b.body(m, &manifest)
		b.equal(manifest.Timeline, 1)
		b.equal(manifest.Tasks, b.backend.manifest)
		b.must(c.Ack(m))

		candidates := []wire.TaskIdentifier{task("t2", "STOPPED"), task("t3", "STOPPED"), task("arn:::::/service-connect-relay", "STOPPED")}
		b.must(c.Send("TaskStopVerificationMessage", map[string]any{"messageId": "other", "stopCandidates": candidates}))
		verify := map[string]any{"messageId": m.ID(), "stopCandidates": candidates}
		b.must(c.Send("TaskStopVerificationMessage", verify))
		b.must(c.Send("TaskStopVerificationMessage", verify)) // answered once only
		acks := b.within(c, time.Second, "TaskStopVerificationAck")
		b.equal(ids(acks), []string{m.ID()})
		var ack struct{ StopTasks []wire.TaskIdentifier }
		b.body(acks[0], &ack)
		b.equal(ack.StopTasks, []wire.TaskIdentifier{task("t2", "STOPPED")})
		b.equal(b.backend.offered, candidates[:2])
	})
}

func TestNoManifestWithoutFullSync(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.backend.noSync = true
		b.equal(len(b.within(b.acs(), time.Minute, "TaskManifestMessage")), 0)
	})
}

func credentials(id, task, expiration string) wire.CredentialsMessage {
	return wire.CredentialsMessage{TaskARN: task, RoleType: wire.RoleTaskApplication,
		RoleCredentials: wire.RoleCredentials{CredentialsID: id, AccessKeyID: "ASIA", Expiration: expiration}}
}

func TestCredentialsOnConnectUntilAcked(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.backend.setCreds([]wire.CredentialsMessage{credentials("a", "t1", "e1"), credentials("b", "t2", "e1")})
		all := func(d *linktest.Dial) { d.SendCredentials = true }
		c := b.acs(all)
		ms := b.within(c, time.Second, "IAMRoleCredentialsMessage")
		b.equal(len(ms), 2)
		b.must(c.Ack(ms[0]))
		// The other comes again after 15, 30 and 60 seconds more, with the same id.
		again := b.within(c, 106*time.Second, "IAMRoleCredentialsMessage")
		b.equal(ids(again), []string{ms[1].ID(), ms[1].ID(), ms[1].ID()})
		b.must(c.Ack(ms[1]))
		synctest.Wait()

		// An agent that kept its memory gets nothing, one that lost it everything.
		c.Close()
		c = b.acs()
		b.equal(len(b.within(c, 2*time.Minute, "IAMRoleCredentialsMessage")), 0)
		c.Close()
		c = b.acs(all)
		b.equal(len(b.within(c, time.Second, "IAMRoleCredentialsMessage")), 2)
	})
}

func TestCredentialsAreRenewed(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.backend.setCreds([]wire.CredentialsMessage{credentials("a", "t1", "e1")})
		c := b.acs(func(d *linktest.Dial) { d.SendCredentials = true })
		m := b.expect(c, "IAMRoleCredentialsMessage")
		b.must(c.Ack(m))
		b.equal(len(b.within(c, 5*time.Minute, "IAMRoleCredentialsMessage")), 0)
		b.backend.setCreds([]wire.CredentialsMessage{credentials("a", "t1", "e2")})
		ms := b.within(c, 61*time.Second, "IAMRoleCredentialsMessage")
		if len(ms) == 0 || ms[0].ID() == m.ID() {
			b.Fatalf("got %v, want new material under a new message id", ms)
		}
		b.must(c.Ack(m)) // of the old material: does not count
		b.equal(len(b.within(c, 10*time.Minute, "IAMRoleCredentialsMessage")) > 0, true)
	})
}

func TestCredentialsOfPayloads(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.acs()
		b.hub.Deliver(instanceARN, wire.Payload{Tasks: []json.RawMessage{
			json.RawMessage(`{"arn":"t1","roleCredentials":{"credentialsId":"a","expiration":"e1"}}`)}})
		b.backend.setCreds([]wire.CredentialsMessage{credentials("a", "t1", "e1")})
		m := b.expect(c, "PayloadMessage")
		// The agent cannot know the task before it has acked the payload.
		b.equal(len(b.within(c, 5*time.Minute, "IAMRoleCredentialsMessage")), 0)
		b.must(c.Ack(m))
		b.equal(len(b.within(c, 5*time.Minute, "IAMRoleCredentialsMessage")), 0)
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
