package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"go.uber.org/goleak"

	"ecsagent/controlplane/agentlink"
	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The seam to the agent link.
var (
	_ agentlink.Backend      = (*Service)(nil)
	_ agentlink.FullSyncer   = (*Service)(nil)
	_ agentlink.NackObserver = (*Service)(nil)
	_ Dispatcher             = (*agentlink.Hub)(nil)
)

// clock is a time that moves only when told.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// link is a Dispatcher that keeps what it is given.
type link struct {
	mu           sync.Mutex
	sent         []parcel
	announced    []wire.Announcement
	updates      []string
	disconnected []string
}

type parcel struct {
	id, instance string
	tasks        []map[string]any
}

func (l *link) Deliver(instance string, p wire.Payload) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := fmt.Sprintf("message-%d", len(l.sent)+1)
	sent := parcel{id: id, instance: instance}
	for _, raw := range p.Tasks {
		var t map[string]any
		if err := json.Unmarshal(raw, &t); err != nil {
			panic(err)
		}
		sent.tasks = append(sent.tasks, t)
	}
	l.sent = append(l.sent, sent)
	return id
}

func (l *link) Announce(_ string, a wire.Announcement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.announced = append(l.announced, a)
}

func (l *link) Update(instance string, u wire.Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.updates = append(l.updates, instance+" "+u.Location+" "+u.Signature)
}

func (l *link) announcements() []wire.Announcement {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.announced)
}

func (l *link) Disconnect(instance, exception string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disconnected = append(l.disconnected, instance+" "+exception)
}

func (l *link) parcels() []parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent)
}

// last returns the newest task that was sent.
func (l *link) last(t testing.TB) (id string, task map[string]any) {
	t.Helper()
	sent := l.parcels()
	if len(sent) == 0 {
		t.Fatal("nothing was delivered")
	}
	p := sent[len(sent)-1]
	return p.id, p.tasks[len(p.tasks)-1]
}

// world is a service behind HTTP with a link that records.
type world struct {
	t     testing.TB
	s     *Service
	http  *httptest.Server
	clock *clock
	link  *link
	opts  Options
}

func newWorld(t testing.TB, dataDir string) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, link: &link{}}
	w.opts = Options{DataDir: dataDir, Now: w.clock.Now}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	s, err := New(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.s = s
	s.SetDispatcher(w.link)
	w.http = httptest.NewServer(s)
}

func (w *world) close() {
	w.http.Close()
	if err := w.s.Close(); err != nil {
		w.t.Error(err)
	}
}

// restart closes the service and opens it again with a new link.
func (w *world) restart() {
	w.close()
	w.link = &link{}
	w.open()
}

// try calls an operation with a signed request.
func (w *world) try(operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return send(w.http.URL, operation, body, out)
}

func send(url, operation string, body []byte, out any) error {
	req, err := http.NewRequest(http.MethodPost, url+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", api.TargetPrefix+operation)
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(req.Context(), aws.Credentials{AccessKeyID: "any", SecretAccessKey: "thing"}, req,
		hex.EncodeToString(sum[:]), "ecs", "eu-west-3", time.Now())
	if err != nil {
		return err
	}
	return do(req, out)
}

func do(req *http.Request, out any) error {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return fmt.Errorf("HTTP %d: %s", resp.StatusCode, body)
		}
		return &api.Error{Code: e.Type, Message: e.Message, Status: resp.StatusCode}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(body, out)
}

// must calls an operation that has to succeed.
func must[Out any](w *world, operation string, in any) Out {
	w.t.Helper()
	var out Out
	if err := w.try(operation, in, &out); err != nil {
		w.t.Fatalf("%s: %v", operation, err)
	}
	return out
}

type m = map[string]any

// wantError checks code and message of a refusal.
func wantError(t testing.TB, err error, code, message string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Code != code || message != "" && e.Message != message {
		t.Fatalf("got %v, want %s: %s", err, code, message)
	}
}

// host is a registered, connected instance with the usual capabilities.
func (w *world) host(cpu, memory int, change ...func(m)) string {
	w.t.Helper()
	in := m{
		"clientToken": newID(),
		"totalResources": []m{
			{"name": "CPU", "type": "INTEGER", "integerValue": cpu},
			{"name": "MEMORY", "type": "INTEGER", "integerValue": memory},
			{"name": "PORTS", "type": "STRINGSET", "stringSetValue": []string{"22", "51678"}},
			{"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []string{}},
		},
		"attributes": []m{
			{"name": "ecs.os-type", "value": "linux"}, {"name": "ecs.capability.full-sync"}, {"name": "ecs.capability.container-ordering"},
			{"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"}, {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.24"},
			{"name": "com.amazonaws.ecs.capability.logging-driver.json-file"}, {"name": "ecs.capability.container-health-check"},
			{"name": "com.amazonaws.ecs.capability.task-iam-role"}, {"name": "com.amazonaws.ecs.capability.docker-remote-api.1.17"},
			{"name": "com.amazonaws.ecs.capability.docker-remote-api.1.21"},
		},
	}
	for _, f := range change {
		f(in)
	}
	out := must[api.ContainerInstanceResponse](w, "RegisterContainerInstance", in)
	arn := out.ContainerInstance.ContainerInstanceARN
	w.s.Connected(arn, true, "1.105.1", "1a2b3c4d", "25.0.8")
	return arn
}

// ready makes the default cluster, a host and the task definition web.
func (w *world) ready() (host string) {
	w.t.Helper()
	must[api.ClusterResponse](w, "CreateCluster", m{})
	host = w.host(2048, 4096)
	w.define("web", nil)
	return host
}

// define registers a task definition with one container, changed as told.
func (w *world) define(family string, change func(def, container m)) api.TaskDefinition {
	w.t.Helper()
	container := m{"name": "app", "image": "nginx:1.27", "memory": 128, "cpu": 256}
	def := m{"family": family, "containerDefinitions": []m{container}}
	if change != nil {
		change(def, container)
	}
	return must[api.RegisterTaskDefinitionResponse](w, "RegisterTaskDefinition", def).TaskDefinition
}

// run starts one task of a family and takes it to the agent.
func (w *world) run(family string) api.Task {
	w.t.Helper()
	out := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": family})
	if len(out.Tasks) != 1 {
		w.t.Fatalf("not started: %+v", out.Failures)
	}
	return out.Tasks[0]
}

// ack acknowledges everything that was delivered.
func (w *world) ack() {
	for _, p := range w.link.parcels() {
		w.s.PayloadAcked(p.instance, p.id)
	}
}

// submit sends a task state change.
func (w *world) submit(task, status string, containers ...m) {
	w.t.Helper()
	must[api.Acknowledgment](w, "SubmitTaskStateChange", m{"cluster": "default", "task": task, "status": status, "reason": "", "containers": containers})
}

func (w *world) describe(task string) api.Task {
	w.t.Helper()
	out := must[api.TasksResponse](w, "DescribeTasks", m{"tasks": []string{task}, "include": []string{"TAGS"}})
	if len(out.Tasks) != 1 {
		w.t.Fatalf("task %s: %+v", task, out.Failures)
	}
	return out.Tasks[0]
}

func (w *world) instance(arn string) api.ContainerInstance {
	w.t.Helper()
	out := must[api.ContainerInstancesResponse](w, "DescribeContainerInstances", m{"containerInstances": []string{arn}, "include": []string{"TAGS", "CONTAINER_INSTANCE_HEALTH"}})
	if len(out.ContainerInstances) != 1 {
		w.t.Fatalf("instance %s: %+v", arn, out.Failures)
	}
	return out.ContainerInstances[0]
}
