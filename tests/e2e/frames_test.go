package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"ecsagent/tests/harness"
	"ecsagent/tests/plane"
)

// scripted is an agent whose control plane is a test.
type scripted struct {
	*harness.Stack
	*plane.Plane
	t   *testing.T
	ctx context.Context
}

func script(t *testing.T) *scripted { return scriptOn(t, func(*harness.Options) {}) }

// scriptOn is script with other options.
func scriptOn(t *testing.T, edit func(*harness.Options)) *scripted {
	t.Helper()
	if shared.host == "" {
		t.Skip("ECS_TEST_DOCKER_HOST is not set; make test sets it")
	}
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	p, err := plane.Start("s" + randomHex())
	if err != nil {
		t.Fatal(err)
	}
	options := harness.Options{
		Programs: shared.programs, Dir: filepath.Join(socketDir(t), "stack"), DockerHost: shared.host, Endpoint: p.Address(),
		Cluster: p.Cluster(),
		Agent:   []string{"ECS_LOGLEVEL=debug"},
	}
	edit(&options)
	stack, err := harness.NewStack(options)
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{Stack: stack, Plane: p, t: t, ctx: ctx}
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			t.Logf("--- agent's log\n%s", harness.Tail(stack.AgentLog(), 80))
		}
		ending, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := stack.Close(ending); err != nil {
			t.Error(err)
		}
		p.Close()
	})
	if err := stack.StartAgent(); err != nil {
		t.Fatal(err)
	}
	if err := p.AwaitACS(ctx, 1); err != nil {
		t.Fatal(err)
	}
	return s
}

// task is a task as ACS carries it.
func (s *scripted) task(id, status string, containers ...M) M {
	return M{
		"arn": s.TaskARN(id), "taskClusterArn": s.ClusterARN(), "family": "raw", "version": "1",
		"desiredStatus": status, "launchType": "EC2", "networkMode": "bridge", "volumes": []M{}, "containers": containers,
	}
}

// wireSleeper is a container as ACS carries it.
func wireSleeper(name string) M {
	return M{
		"name": name, "image": shared.tools, "essential": true, "cpu": 1, "memory": 16, "overrides": "{}",
		"command":      []string{"sh", "-c", "trap 'exit 0' TERM; sleep 3600 & while :; do wait; done"},
		"dockerConfig": M{"version": "1.24", "config": "{}", "hostConfig": `{"NetworkMode":"bridge"}`},
	}
}

func (s *scripted) send(message string, seq int64, tasks ...any) {
	s.t.Helper()
	if err := s.Payload(message, seq, tasks...); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scripted) ack(message string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if _, err := s.AwaitAck(ctx, message); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scripted) change(id, status string) plane.Change {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, 2*patience)
	defer cancel()
	c, err := s.AwaitChange(ctx, s.TaskARN(id), status)
	if err != nil {
		s.t.Fatalf("%v; reported so far: %s", err, pretty(s.Changes(s.TaskARN(id))))
	}
	for _, container := range c.Containers {
		if container.Status == "RUNNING" {
			minds(s.ctx, container.RuntimeID)
		}
	}
	return c
}

func (s *scripted) count(id string) int {
	s.t.Helper()
	all, err := s.Containers(s.ctx, shared.docker)
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for _, c := range all {
		if c.Labels[harness.LabelTaskARN] == s.TaskARN(id) {
			n++
		}
	}
	return n
}

// works runs a task from beginning to end.
func (s *scripted) works() {
	s.t.Helper()
	id := "works" + randomHex()
	s.send("run-"+id, s.NextSeq(), s.task(id, "RUNNING", wireSleeper("app")))
	s.ack("run-" + id)
	s.change(id, "RUNNING")
	s.send("stop-"+id, s.NextSeq(), s.task(id, "STOPPED", wireSleeper("app")))
	s.ack("stop-" + id)
	s.change(id, "STOPPED")
}

func TestHostileFrames(t *testing.T) {
	s := script(t)
	text, binary := websocket.TextMessage, websocket.BinaryMessage
	for name, f := range map[string]struct {
		kind  int
		frame string
	}{
		"empty":                  {text, ""},
		"not JSON":               {text, "hello"},
		"cut short":              {text, `{"type":"PayloadMessage","message":{"messageId":"x","tasks":[{"arn":`},
		"no type":                {text, `{"message":{}}`},
		"null":                   {text, `null`},
		"array":                  {text, `[1,2,3]`},
		"unknown type":           {text, `{"type":"NewThingMessage","message":{"a":1}}`},
		"wrong member type":      {text, `{"type":"PayloadMessage","message":{"messageId":7,"tasks":{}}}`},
		"null message":           {text, `{"type":"PayloadMessage","message":null}`},
		"null task":              {text, `{"type":"PayloadMessage","message":{"messageId":"nulls","clusterArn":"c","containerInstanceArn":"i","tasks":[null]}}`},
		"empty envelope":         {text, `{"type":"PayloadMessage","message":{}}`},
		"manifest of nulls":      {text, `{"type":"TaskManifestMessage","message":{"messageId":"m","clusterArn":"c","containerInstanceArn":"i","timeline":9223372036854775807,"tasks":[{}]}}`},
		"attachment of nothing":  {text, `{"type":"ConfirmAttachmentMessage","message":{"messageId":"a","attachment":{}}}`},
		"credentials of nothing": {text, `{"type":"IAMRoleCredentialsMessage","message":{"messageId":"c"}}`},
		"binary":                 {binary, "\x00\xff\xfe"},
		"invalid UTF-8":          {binary, `{"type":"` + "\xff" + `"}`},
		"deep":                   {text, strings.Repeat("[", 100000)},
		"large":                  {text, `{"type":"NewThingMessage","message":{"a":"` + strings.Repeat("x", 2<<20) + `"}}`},
	} {
		if err := s.SendRaw(f.kind, []byte(f.frame)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// Frames are read in order: an answered heartbeat says that this one was.
		if err := s.Send("HeartbeatMessage", M{"messageId": "after " + name, "healthy": true}); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		if _, err := s.AwaitFrame(ctx, "a heartbeat's answer", func(f plane.Frame) bool {
			return f.Type == "HeartbeatAckRequest" && f.ID() == "after "+name
		}); err != nil {
			t.Fatalf("after %s: %v", name, err)
		}
		cancel()
	}
	equal(t, "ACS connections", s.Connections(), 1)
	s.works()
}

func TestExceptionInTheMiddleOfASession(t *testing.T) {
	s := script(t)
	if err := s.Send("ServerException", M{"message": "not now"}); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitACS(s.ctx, 2); err != nil {
		t.Fatal(err)
	}
	s.works()
}

func TestOneBrokenTaskAmongGoodOnes(t *testing.T) {
	s := script(t)
	badOverride := wireSleeper("app")
	badOverride["overrides"] = `{"what":1}`
	badConfig := wireSleeper("app")
	badConfig["dockerConfig"] = M{"version": "1.24", "config": "{}", "hostConfig": "not json"}
	badProtocol := wireSleeper("app")
	badProtocol["portMappings"] = []M{{"containerPort": 80, "hostPort": 0, "protocol": "sctp"}}
	cycleA, cycleB := wireSleeper("a"), wireSleeper("b")
	cycleA["dependsOn"] = []M{{"containerName": "b", "condition": "START"}}
	cycleB["dependsOn"] = []M{{"containerName": "a", "condition": "START"}}
	badLink := wireSleeper("app")
	badLink["links"] = []string{"nobody"}
	run := randomHex()
	s.send("mixed", s.NextSeq(),
		s.task("good1"+run, "RUNNING", wireSleeper("app")),
		s.task("override"+run, "RUNNING", badOverride),
		s.task("config"+run, "RUNNING", badConfig),
		s.task("protocol"+run, "RUNNING", badProtocol),
		s.task("cycle"+run, "RUNNING", cycleA, cycleB),
		s.task("link"+run, "RUNNING", badLink),
		s.task("nothing"+run, "RUNNING"),
		s.task("good2"+run, "RUNNING", wireSleeper("app")),
	)
	s.ack("mixed")
	s.change("good1"+run, "RUNNING")
	s.change("good2"+run, "RUNNING")
	contains(t, "bad override", s.change("override"+run, "STOPPED").Reason, "UnrecogniedTaskError: Error loading task - ")
	contains(t, "bad protocol", s.change("protocol"+run, "STOPPED").Reason, "UnrecogniedTaskError: Error loading task - ")
	contains(t, "cycle", s.change("cycle"+run, "STOPPED").Reason, "Task dependencies cannot be resolved, taskArn: "+s.TaskARN("cycle"+run))
	contains(t, "link", s.change("link"+run, "STOPPED").Reason, "resource cannot be initialized for task "+s.TaskARN("link"+run)+": could not find container for link nobody")
	if r := s.change("nothing"+run, "STOPPED").Reason; r == "" {
		t.Error("a task without containers stopped without a reason")
	}
	if c := s.change("config"+run, "STOPPED").Containers; len(c) == 0 || !strings.HasPrefix(c[0].Reason, "HostConfigError: Unable to decode given host config: ") {
		t.Errorf("bad host config: %s", pretty(c))
	}
	equal(t, "containers of the cycle", s.count("cycle"+run), 0)
	s.works()
}

func TestDuplicatePayloads(t *testing.T) {
	s := script(t)
	id := "twice" + randomHex()
	task := s.task(id, "RUNNING", wireSleeper("app"))
	for range 5 {
		s.send("same", 1, task)
	}
	s.change(id, "RUNNING")
	s.send("again", 2, task)
	s.ack("again")
	equal(t, "containers", s.count(id), 1)
	s.send("stop", 3, s.task(id, "STOPPED", wireSleeper("app")))
	s.change(id, "STOPPED")
	// A late copy does not bring the task back.
	s.send("late", 1, task)
	s.ack("late")
	s.works()
	running := 0
	for _, c := range s.Changes(s.TaskARN(id)) {
		if c.Status == "RUNNING" {
			running++
		}
	}
	equal(t, "reports of RUNNING", running, 1)
	equal(t, "containers", s.count(id), 1)
}

func TestStopArrivesBeforeStart(t *testing.T) {
	s := script(t)
	id := "reordered" + randomHex()
	s.send("stop", 2, s.task(id, "STOPPED", wireSleeper("app")))
	s.ack("stop")
	c := s.change(id, "STOPPED")
	if len(c.Containers) != 1 || c.Containers[0].RuntimeID != "" {
		t.Errorf("want one stopped container without a runtime id: %s", pretty(c))
	}
	s.send("start", 1, s.task(id, "RUNNING", wireSleeper("app")))
	s.ack("start")
	s.works()
	equal(t, "containers", s.count(id), 0)
}

func TestStaleManifestIsIgnored(t *testing.T) {
	s := script(t)
	id := "manifest" + randomHex()
	s.send("run", 10, s.task(id, "RUNNING", wireSleeper("app")))
	s.ack("run")
	s.change(id, "RUNNING")
	manifest := func(message string, timeline int64) {
		err := s.Send("TaskManifestMessage", M{
			"messageId": message, "clusterArn": s.ClusterARN(), "containerInstanceArn": s.InstanceARN(), "timeline": timeline, "tasks": []M{},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	manifest("stale", 9)
	manifest("fresh", 11)
	s.ack("fresh")
	// The fresh one offers the task, which it does not list, as a stop candidate.
	if _, err := s.AwaitFrame(s.ctx, "a stop verification", func(f plane.Frame) bool {
		return f.Type == "TaskStopVerificationMessage" && f.ID() == "fresh" && strings.Contains(string(f.Message), id)
	}); err != nil {
		t.Fatal(err)
	}
	equal(t, "acks of the stale manifest", len(s.Frames("AckRequest", "stale")), 0)
	// Nothing stops before the control plane says so.
	if n := len(s.Changes(s.TaskARN(id))); n != len(withStatus(s.Changes(s.TaskARN(id)), "PENDING", "RUNNING")) {
		t.Errorf("%d reports: %s", n, pretty(s.Changes(s.TaskARN(id))))
	}
	err := s.Send("TaskStopVerificationAck", M{"messageId": "fresh", "generatedAt": time.Now().UnixMilli(), "stopTasks": []M{
		{"taskArn": s.TaskARN(id), "taskClusterArn": s.ClusterARN(), "desiredStatus": "STOPPED"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s.change(id, "STOPPED")
}

func withStatus(all []plane.Change, statuses ...string) []plane.Change {
	var out []plane.Change
	for _, c := range all {
		for _, status := range statuses {
			if c.Status == status {
				out = append(out, c)
			}
		}
	}
	return out
}

func TestReconnects(t *testing.T) {
	s := script(t)
	for i := range 3 {
		s.Cut()
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		if err := s.AwaitACS(ctx, i+2); err != nil {
			t.Fatal(fmt.Errorf("after cut %d: %w", i+1, err))
		}
		cancel()
	}
	s.works()
}

func TestHeartbeatIsAnswered(t *testing.T) {
	s := script(t)
	if _, err := s.AwaitFrame(s.ctx, "the answer to the first heartbeat", func(f plane.Frame) bool {
		return f.Type == "HeartbeatAckRequest" && f.ID() == "first"
	}); err != nil {
		t.Fatal(err)
	}
}
