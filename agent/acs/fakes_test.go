package acs_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ecsagent/agent/acs"
	"ecsagent/agent/acs/acstest"
	"ecsagent/agent/credentials"
	"ecsagent/agent/network"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	cluster  = "arn:aws:ecs:us-west-2:111122223333:cluster/prod"
	instance = "arn:aws:ecs:us-west-2:111122223333:container-instance/prod/0a1b"
	origin   = `"clusterArn":"` + cluster + `","containerInstanceArn":"` + instance + `"`
	ackTo    = `{"type":"AckRequest","message":{"cluster":"` + cluster + `","containerInstance":"` + instance + `","messageId":`
)

func arn(id string) string { return "arn:aws:ecs:us-west-2:111122223333:task/prod/" + id }

// engine is a fake that answers like the real one, as far as the session can see.
type engine struct {
	mu         sync.Mutex
	err        error
	block      chan struct{} // when set, Deliver waits for it or for its context
	seq        int64
	tasks      map[string]*task.Snapshot
	deliveries []task.Delivery
	stopped    []string
}

func (e *engine) Deliver(ctx context.Context, d task.Delivery) error {
	e.mu.Lock()
	block, err := e.block, e.err
	e.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seq = max(e.seq, d.Seq)
	e.deliveries = append(e.deliveries, d)
	for _, r := range d.Tasks {
		if e.tasks[r.Spec.ARN] == nil {
			e.tasks[r.Spec.ARN] = &task.Snapshot{Spec: r.Spec, State: task.State{Desired: r.Desired}}
		}
	}
	return nil
}

func (e *engine) Snapshots() []*task.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*task.Snapshot
	for _, t := range e.tasks {
		out = append(out, t)
	}
	return out
}

func (e *engine) Snapshot(arn string) *task.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tasks[arn]
}

func (e *engine) StopTasks(_ context.Context, arns []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	e.stopped = append(e.stopped, arns...)
	return nil
}

func (e *engine) SequenceNumber() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seq
}

func (e *engine) Advance(seq int64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.seq = seq
	}
	return e.err
}

func (e *engine) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

func (e *engine) add(id string, desired task.Status) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tasks[arn(id)] = &task.Snapshot{Spec: &task.Spec{ARN: arn(id)}, State: task.State{Desired: desired}}
}

func (e *engine) last() task.Delivery {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.deliveries) == 0 {
		return task.Delivery{}
	}
	return e.deliveries[len(e.deliveries)-1]
}

type attachments struct {
	mu   sync.Mutex
	err  error
	list []network.Attachment
}

func (a *attachments) Add(_ context.Context, n network.Attachment) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.list = append(a.list, n)
	}
	return a.err
}

func (a *attachments) all() []network.Attachment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.list)
}

type health struct {
	mu    sync.Mutex
	count int
}

func (h *health) Trigger() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
}

type signing struct{}

func (signing) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "SECRET", SessionToken: "TOKEN"}, nil
}

// bench is a session that talks to a fake ACS, all inside a synctest bubble.
type bench struct {
	*acstest.Server
	t           *testing.T
	session     *acs.Session
	engine      *engine
	roles       *credentials.Store
	attachments *attachments
	health      *health
	log         *zap.Logger
	logs        *observer.ObservedLogs
	stop        func() // ends the session and waits for it

	mu       sync.Mutex
	dialed   []error
	inactive []bool
}

func open(t *testing.T, change ...func(*acs.Options)) *bench {
	b := prepare(t)
	b.start(change...)
	return b
}

func prepare(t *testing.T) *bench {
	core, logs := observer.New(zap.DebugLevel)
	return &bench{
		Server: acstest.StartPipe(t), t: t, logs: logs,
		engine: &engine{tasks: make(map[string]*task.Snapshot)}, roles: credentials.New(),
		attachments: new(attachments), health: new(health), log: zap.New(core),
	}
}

func (b *bench) start(change ...func(*acs.Options)) {
	opts := acs.Options{
		Cluster: cluster, InstanceARN: instance, Region: "us-west-2", AgentVersion: "1.105.1", AgentHash: "1a2b3c4d",
		DockerVersion: func() string { return "25.0.8" },
		Discover:      func(context.Context) (string, error) { return b.Endpoint(), nil },
		Dialed: func(_ string, err error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.dialed = append(b.dialed, err)
		},
		Inactive: func(inactive bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.inactive = append(b.inactive, inactive)
		},
		Signing: signing{}, Dial: b.Dial, Engine: b.engine, Roles: b.roles, Attachments: b.attachments,
		Health: b.health, Log: b.log, Rand: func() float64 { return 0 },
	}
	for _, c := range change {
		c(&opts)
	}
	b.session = acs.New(opts)
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- b.session.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-finished; err != nil {
			b.t.Errorf("Run: %v", err)
		}
	})
	b.t.Cleanup(b.stop)
}

// elapsed returns how much time fn takes in the bubble.
func elapsed(fn func()) time.Duration {
	start := time.Now()
	fn()
	return time.Since(start)
}

func inBubble(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}

// taskJSON returns a task that is good but for what extra says.
func taskJSON(id, desired, extra string) string {
	return `{"arn":"` + arn(id) + `","desiredStatus":"` + desired + `","family":"web","version":"7",` +
		`"containers":[{"name":"app","image":"nginx:1.27","essential":true}]` + extra + `}`
}

func payloadJSON(id string, seq string, tasks ...string) string {
	return `{"messageId":"` + id + `",` + origin + `,"seqNum":` + seq + `,"tasks":[` + strings.Join(tasks, ",") + `]}`
}

func rejections(d task.Delivery) map[string]string {
	out := make(map[string]string)
	for _, r := range d.Rejected {
		out[r.ARN] = r.Reason
	}
	return out
}

func delivered(d task.Delivery) []string {
	var out []string
	for _, r := range d.Tasks {
		out = append(out, r.Spec.ID()+" "+r.Desired.String())
	}
	return out
}

func quoted(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}
