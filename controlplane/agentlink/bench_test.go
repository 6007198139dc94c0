package agentlink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	updates   []string
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

func (b *backend) UpdateStaged(string) { b.updateIs("staged") }

func (b *backend) UpdatePerforming(string) { b.updateIs("performing") }

func (b *backend) UpdateRefused(_, reason string) { b.updateIs("refused: " + reason) }

func (b *backend) updateIs(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.updates = append(b.updates, what)
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
