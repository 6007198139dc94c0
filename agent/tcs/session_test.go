package tcs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ecsagent/agent/acs/acstest"
	"ecsagent/agent/awsenv/awsenvtest"
	"ecsagent/agent/stats"
	"ecsagent/agent/task"
	"ecsagent/agent/tcs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	cluster  = "prod"
	instance = "arn:aws:ecs:us-west-2:111122223333:container-instance/prod/0a1b"
)

// signing gives the credentials that awsenvtest can check.
type signing struct{}

func (signing) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", SessionToken: "tok/en=="}, nil
}

// world is what a session looks at.
type world struct {
	mu       sync.Mutex
	round    stats.Round
	tasks    []*task.Snapshot
	statuses []tcs.Status
	run      uint64
}

func (w *world) Round() stats.Round {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.round
	r.At = time.Now()
	return r
}

func (w *world) Snapshots() []*task.Snapshot {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tasks
}

func (w *world) Statuses() ([]tcs.Status, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.statuses, w.run
}

func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

type bench struct {
	*acstest.Server
	*world
	t       *testing.T
	session *tcs.Session
	logs    *observer.ObservedLogs
	dialed  []error
}

// inBubble runs a session against a scripted TCS.
func inBubble(t *testing.T, prepare func(*bench, *tcs.Options), fn func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.DebugLevel)
		b := &bench{Server: acstest.StartPipe(t), world: &world{round: stats.Round{Idle: true}}, t: t, logs: logs}
		opts := tcs.Options{
			Cluster: cluster, InstanceARN: instance, Region: "us-west-2", AgentVersion: "1.105.1", AgentHash: "1a2b3c4d",
			DockerVersion: func() string { return "25.0.8" },
			Discover:      func(context.Context) (string, error) { return b.Endpoint(), nil },
			Dialed:        func(_ string, err error) { b.change(func() { b.dialed = append(b.dialed, err) }) },
			Signing:       signing{}, Dial: b.Dial, Metrics: b.world, Tasks: b.world, Checks: b.world,
			Log: zap.New(core), Rand: func() float64 { return 0 },
		}
		if prepare != nil {
			prepare(b, &opts)
		}
		b.session = tcs.New(opts)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- b.session.Run(ctx) }()
		fn(b)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		b.Close()
	})
}

// next reads a frame, checks its signature, and returns its JSON.
func (b *bench) next(c *acstest.Conn) string {
	b.t.Helper()
	raw := c.Next().Raw
	head, body, ok := strings.Cut(raw, "\r\n\r\n")
	if !ok {
		b.t.Fatalf("no empty line in %q", raw)
	}
	r := &http.Request{Method: http.MethodGet, Header: make(http.Header), URL: c.Request.URL}
	var names []string
	for line := range strings.SplitSeq(head, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		names = append(names, name)
		r.Header.Add(name, value)
	}
	if want := []string{"Authorization", "Host", "X-Amz-Date", "X-Amz-Security-Token"}; !cmp.Equal(names, want) {
		b.t.Errorf("headers %v, want %v", names, want)
	}
	if r.Host = r.Header.Get("Host"); r.Host != "acs.test" {
		b.t.Errorf("host %q", r.Host)
	}
	if err := awsenvtest.VerifySigV4(r, []byte(body), "us-west-2", "ecs"); err != nil {
		b.t.Error(err)
	}
	return body
}

var uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)

// golden compares messages with a file; identifiers by chance are named by their order.
func golden(t *testing.T, name string, messages ...string) {
	t.Helper()
	var out bytes.Buffer
	ids := make(map[string]string)
	for _, m := range messages {
		m = uuids.ReplaceAllStringFunc(m, func(id string) string {
			if ids[id] == "" {
				ids[id] = fmt.Sprintf("id-%d", len(ids)+1)
			}
			return ids[id]
		})
		if err := json.Indent(&out, []byte(m), "", "  "); err != nil {
			t.Fatalf("%v: %s", err, m)
		}
		out.WriteByte('\n')
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), out.String()); d != "" {
		t.Errorf("%s: %s", name, d)
	}
}

func counts(values ...uint64) stats.CountSet {
	c := stats.CountSet{Min: values[0], Max: values[0], Count: len(values)}
	for _, v := range values {
		c.Min, c.Max = min(c.Min, v), max(c.Max, v)
		before := c.SumLo
		if c.SumLo += v; c.SumLo < before {
			c.SumHi++
		}
	}
	return c
}

func usage(id string, network *stats.NetworkSets, restarts *int) stats.TaskUsage {
	return stats.TaskUsage{
		ARN: "arn:aws:ecs:us-west-2:111122223333:task/prod/" + id, Family: "web", Version: "7",
		Containers: []stats.ContainerUsage{{
			Name: "app", CPU: stats.FloatSet{Min: 0.4, Max: 2.1, Sum: 17.3, Count: 19}, Memory: stats.FloatSet{Min: 41, Max: 42, Sum: 826, Count: 20},
			Read: counts(0, 4096), Written: counts(math.MaxUint64, math.MaxInt64), Network: network, Restarts: restarts,
		}},
	}
}

func TestConnect(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.Accept()
		want := url.Values{
			"agentHash": {"1a2b3c4d"}, "agentVersion": {"1.105.1"}, "cluster": {cluster}, "containerInstance": {instance}, "dockerVersion": {"25.0.8"},
		}
		if d := cmp.Diff(want, c.Query); d != "" || c.Request.URL.Path != "/ws" {
			t.Errorf("%s %s", c.Request.URL.Path, d)
		}
		r := c.Request.Clone(t.Context())
		if err := awsenvtest.VerifySigV4(r, nil, "us-west-2", "ecs"); err != nil {
			t.Error(err)
		}
		b.next(c)
		synctest.Wait()
		if !b.session.Connected() || len(b.dialed) != 1 || b.dialed[0] != nil {
			t.Errorf("connected %t, dialed %v", b.session.Connected(), b.dialed)
		}
	})
}

// An instance without tasks says that it is idle at once, and then every 20 s; its
// status is told 20 s after the connection, and after each run of the checks.
func TestIdleInstance(t *testing.T) {
	inBubble(t, func(b *bench, _ *tcs.Options) {
		at := time.Now()
		b.statuses = []tcs.Status{{Type: "ContainerRuntime", Status: "OK", Updated: at.Add(-time.Second), Changed: at.Add(-1500 * time.Millisecond)}}
	}, func(b *bench) {
		start := time.Now()
		c := b.Accept()
		first := b.next(c)
		if since := time.Since(start); since != 0 {
			t.Errorf("the first message came after %s", since)
		}
		c.Send("AckPublishMetric", "{}")
		second := b.next(c)
		if since := time.Since(start); since != 20*time.Second {
			t.Errorf("the second message came after %s", since)
		}
		status := b.next(c)
		if strings.Contains(second, "InstanceStatus") {
			second, status = status, second
		}
		golden(t, "idle.json", first, second, status)
		for range 3 {
			if m := b.next(c); !strings.Contains(m, `"PublishMetricsRequest"`) {
				t.Errorf("the status is told again: %s", m)
			}
			c.Heartbeat("h")
		}
		b.change(func() { b.run++ })
		got := b.next(c) + b.next(c)
		if !strings.Contains(got, "PublishInstanceStatusRequest") {
			t.Errorf("the status of another run is not told: %s", got)
		}
	})
}

func TestMetrics(t *testing.T) {
	one := 1
	network := &stats.NetworkSets{
		RxBytes: counts(1, 2), RxDropped: counts(3, 3), RxErrors: counts(4, 4), RxPackets: counts(5, 6),
		TxBytes: counts(7, 8), TxDropped: counts(9, 9), TxErrors: counts(10, 10), TxPackets: counts(11, 12),
		RxRate: stats.FloatSet{Min: 1.5, Max: 1.5, Sum: 1.5, Count: 1}, TxRate: stats.FloatSet{},
	}
	inBubble(t, func(b *bench, o *tcs.Options) {
		b.round = stats.Round{Tasks: []stats.TaskUsage{usage("9c8d", network, &one), usage("9c8e", nil, nil)}}
		ebs := []task.Volume{{Name: "own", Type: task.VolumeHost}, {Name: "data", Type: task.VolumeEBS}}
		for _, arn := range []string{b.round.Tasks[0].ARN, "arn:not:measured"} {
			b.tasks = append(b.tasks, &task.Snapshot{Spec: &task.Spec{ARN: arn, Family: "web", Version: "7", Volumes: ebs}})
		}
		b.tasks = append(b.tasks, &task.Snapshot{Spec: &task.Spec{ARN: b.round.Tasks[1].ARN, Family: "web", Version: "7", Volumes: ebs[:1]}})
		o.Volumes = func(_ context.Context, s *task.Snapshot) ([]stats.VolumeUsage, error) {
			if s.ARN != b.round.Tasks[0].ARN {
				t.Errorf("asked for the volumes of %s", s.ARN)
			}
			return []stats.VolumeUsage{{ID: "vol-1", Name: "data", Used: 3 << 20, Size: 20 << 30}}, errors.New("another one does not answer")
		}
	}, func(b *bench) {
		golden(t, "metrics.json", b.next(b.Accept()))
	})
}

// Service Connect proxies are asked in every third round, whatever else is measured; what
// does not fit into one message is cut, with the containers in the first part.
func TestServiceConnect(t *testing.T) {
	var asked []string
	inBubble(t, func(b *bench, o *tcs.Options) {
		o.Metrics = nil
		spec := &task.Spec{ARN: "arn:a", Family: "web", Version: "7", Connect: &task.Connect{Container: "proxy"}, Containers: []task.Container{{Name: "proxy"}}}
		running := task.State{Known: task.Running, Containers: []task.ContainerState{{Known: task.ContainerRunning}}}
		starting, failing := *spec, *spec
		starting.ARN, failing.ARN = "arn:b", "arn:c"
		b.tasks = []*task.Snapshot{
			{Spec: spec, State: running}, {Spec: &failing, State: running},
			{Spec: &starting, State: task.State{Containers: make([]task.ContainerState, 1)}},
		}
		o.Connect = func(_ context.Context, s *task.Snapshot) ([]stats.ConnectGroup, error) {
			b.change(func() { asked = append(asked, s.ARN) })
			if s.ARN == "arn:c" {
				return nil, errors.New("no luck")
			}
			return []stats.ConnectGroup{
				{Type: "1", Dimensions: []stats.Dimension{{Key: "ServiceName", Value: "shop"}}, Metrics: []stats.ConnectMetric{{Name: "latency", Values: []float64{1, 2.5}, Counts: []int64{3, 4}}}},
				{Dimensions: []stats.Dimension{{Key: "x", Value: strings.Repeat("x", 1<<20-4300)}}, Metrics: []stats.ConnectMetric{{Name: "large", Values: []float64{1}, Counts: []int64{1}}}},
			}, nil
		}
	}, func(b *bench) {
		start := time.Now()
		c := b.Accept()
		// Nothing is said before: the instance is not idle, and nothing is measured.
		first, second := b.next(c), b.next(c)
		if since := time.Since(start); since != 40*time.Second {
			t.Errorf("the first metrics came after %s", since)
		}
		slices.Sort(asked)
		if !slices.Equal(asked, []string{"arn:a", "arn:c"}) {
			t.Errorf("asked %q", asked)
		}
		want := `"taskMetrics":[{"taskArn":"arn:a","taskDefinitionFamily":"web","taskDefinitionVersion":"7","containerMetrics":[],"serviceConnectMetricsWrapper":[` +
			`{"dimensions":[{"key":"ServiceName","value":"shop"}],"generalMetrics":[{"metricName":"latency","metricValues":[1,2.5],"metricCounts":[3,4]}],"metricType":"1"}]}]`
		if !strings.Contains(first, want) || !strings.Contains(first, `"fin":false`) {
			t.Errorf("%.800s; want %s", first, want)
		}
		if !strings.Contains(second, `"metricName":"large"`) || !strings.Contains(second, `"fin":true`) || len(second) > 1<<20 {
			t.Errorf("the second part has %d bytes", len(second))
		}
	})
}

func TestHealth(t *testing.T) {
	check := func(known task.ContainerStatus, h task.Health, since time.Time) task.ContainerState {
		return task.ContainerState{Known: known, Health: h, HealthSince: since}
	}
	inBubble(t, func(b *bench, _ *tcs.Options) {
		b.round = stats.Round{} // tasks, but nothing measured yet
		before := time.Now().Add(-15500 * time.Millisecond)
		spec := &task.Spec{ARN: "arn:b", Family: "web", Version: "7", Containers: []task.Container{
			{Name: "app", HealthCheckType: "docker"}, {Name: "slow", HealthCheckType: "DOCKER"}, {Name: "plain"},
			{Name: "gone", HealthCheckType: "docker"}, {Name: "ill", HealthCheckType: "docker"},
		}}
		b.tasks = []*task.Snapshot{
			{Spec: spec, State: task.State{Known: task.Running, Containers: []task.ContainerState{
				check(task.ContainerRunning, task.HealthHealthy, before), check(task.ContainerRunning, task.HealthUnknown, time.Time{}),
				check(task.ContainerRunning, task.HealthHealthy, before), check(task.ContainerStopped, task.HealthHealthy, before),
				check(task.ContainerRunning, task.HealthUnhealthy, before),
			}}},
			{Spec: &task.Spec{ARN: "arn:a", Family: "none", Version: "1", Containers: []task.Container{{Name: "plain"}}},
				State: task.State{Known: task.Running, Containers: []task.ContainerState{check(task.ContainerRunning, 0, before)}}},
		}
	}, func(b *bench) {
		c := b.Accept()
		first := b.next(c)
		golden(t, "health.json", first)
		// All of it again, changed or not.
		if again := b.next(c); !strings.Contains(again, `"healthStatus":"UNHEALTHY"`) {
			t.Errorf("the second round is %s", again)
		}
		b.change(func() { b.tasks = b.tasks[1:] })
		time.Sleep(19 * time.Second)
		c.Heartbeat("h")
		time.Sleep(19 * time.Second)
		b.change(func() { b.round.Idle = true })
		if m := b.next(c); strings.Contains(m, "Health") {
			t.Errorf("health without a check: %s", m)
		}
	})
}

// Messages hold ten tasks at most, and about a mebibyte; the last one of a round says
// that it is.
func TestSplitting(t *testing.T) {
	inBubble(t, func(b *bench, _ *tcs.Options) {
		b.round = stats.Round{}
		for i := range 23 {
			u := usage(fmt.Sprintf("%04d", i), nil, nil)
			if i < 3 {
				u.Containers[0].Name = strings.Repeat("x", 600<<10)
			}
			b.round.Tasks = append(b.round.Tasks, u)
		}
	}, func(b *bench) {
		c := b.Accept()
		var sizes []int
		ids := make(map[string]bool)
		for fin := false; !fin; {
			body := b.next(c)
			if len(body) > 1<<20 {
				t.Errorf("a message of %d bytes", len(body))
			}
			var m struct {
				Message struct {
					Metadata struct {
						MessageID string `json:"messageId"`
						Fin       bool   `json:"fin"`
					} `json:"metadata"`
					Tasks []json.RawMessage `json:"taskMetrics"`
				} `json:"message"`
			}
			if err := json.Unmarshal([]byte(body), &m); err != nil {
				t.Fatal(err)
			}
			fin = m.Message.Metadata.Fin
			ids[m.Message.Metadata.MessageID] = true
			sizes = append(sizes, len(m.Message.Tasks))
		}
		if d := cmp.Diff([]int{1, 1, 10, 10, 1}, sizes); d != "" || len(ids) != 1 {
			t.Errorf("%s, %d ids", d, len(ids))
		}
	})
}

// What was measured while there was no connection is sent with the time of its
// measurement, the oldest first, and not more than five minutes of it.
func TestBacklog(t *testing.T) {
	inBubble(t, func(b *bench, _ *tcs.Options) {
		for range 200 {
			b.Refuse(500, `{"ServerException":"not now"}`)
		}
	}, func(b *bench) {
		start := time.Now()
		for range 200 {
			time.Sleep(5 * time.Second)
			if n := len(b.logs.FilterMessage("metrics dropped, they wait for a connection for too long").All()); n >= 3 {
				break
			}
		}
		if took := time.Since(start); took < 5*time.Minute || took > 7*time.Minute {
			t.Errorf("rounds are dropped after %s", took)
		}
		c := b.Accept()
		now := time.Now()
		var last float64
		for i := range 15 {
			var m struct {
				Message struct {
					Timestamp float64 `json:"timestamp"`
				} `json:"message"`
			}
			if err := json.Unmarshal([]byte(b.next(c)), &m); err != nil {
				t.Fatal(err)
			}
			at := m.Message.Timestamp
			if i == 0 && float64(now.Unix())-at > 301 {
				t.Errorf("the oldest is %g s old", float64(now.Unix())-at)
			}
			if i > 0 && at-last != 20 {
				t.Errorf("%g s between two rounds", at-last)
			}
			last = at
		}
	})
}

// Reconnections: at once after an orderly end, with growing pauses after errors, and
// never without any pause.
func TestReconnect(t *testing.T) {
	next := func(b *bench) (*acstest.Conn, time.Duration) {
		start := time.Now()
		return b.Accept(), time.Since(start)
	}
	inBubble(t, nil, func(b *bench) {
		c := b.Accept()
		time.Sleep(10 * time.Second)
		c.Close(1000, "bye")
		c, pause := next(b)
		if pause != 100*time.Millisecond {
			t.Errorf("%s after an orderly end", pause)
		}
		var pauses []time.Duration
		for range 8 {
			c.Cut()
			c, pause = next(b)
			pauses = append(pauses, pause)
		}
		if d := cmp.Diff([]time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 32e9, 60e9, 60e9}, pauses); d != "" {
			t.Error(d)
		}
		for range 4 {
			time.Sleep(15 * time.Second)
			c.Heartbeat("h")
		}
		time.Sleep(time.Second)
		c.SendRaw(strings.Repeat("x", 2<<20)) // too large: the connection ends with an error
		if _, pause = next(b); pause != time.Second {
			t.Errorf("%s after a connection that lasted", pause)
		}
	})
}

// Silence and age end a connection with a close frame; nothing is lost meanwhile.
func TestSilenceAndAge(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.Accept()
		c.IgnoreClose()
		start := time.Now()
		<-c.Closed
		if took := time.Since(start); took != 70*time.Second || !strings.Contains(fmt.Sprint(c.CloseError), "ConnectionExpired: Reconnect to continue") {
			t.Errorf("silent for %s: %v", took, c.CloseError)
		}
		c = b.Accept()
		if took := time.Since(start); took != 70*time.Second+100*time.Millisecond {
			t.Errorf("next connection after %s", took)
		}
		start = time.Now()
		for i := 0; ; i++ {
			select {
			case <-c.Closed:
				if took := time.Since(start); took != 30*time.Minute {
					t.Errorf("closed after %s: %v", took, c.CloseError)
				}
				return
			case <-time.After(15 * time.Second):
				switch i % 4 {
				case 0:
					c.Heartbeat("h")
				case 1:
					c.Send("AckPublishHealth", "{}")
				case 2:
					c.Send("AckPublishInstanceStatus", "{}")
				default:
					c.SendBinary(`{"type":"AckPublishMetric","message":{"message":"fine"}}`)
				}
			}
		}
	})
}

// A message that could not be written is sent on the next connection.
func TestNothingIsLost(t *testing.T) {
	inBubble(t, func(b *bench, _ *tcs.Options) {
		b.round = stats.Round{Tasks: []stats.TaskUsage{usage("9c8d", nil, nil)}}
	}, func(b *bench) {
		seen := make(map[string]bool)
		for range 6 {
			c := b.Accept()
			c.Stall()
			time.Sleep(50 * time.Second)
			c.Cut()
			for {
				select {
				case <-c.Closed:
				default:
				}
				f, ok := tryNext(c)
				if !ok {
					break
				}
				seen[timestamp.FindString(f)] = true
			}
		}
		c := b.Accept()
		for len(seen) < 10 {
			seen[timestamp.FindString(b.next(c))] = true
		}
		var gaps int
		first := 946684800
		for i := range 10 {
			if !seen[fmt.Sprintf(`"timestamp":%d`, first+20*i)] {
				gaps++
			}
		}
		if gaps > 0 {
			t.Errorf("%d of the first rounds never came: %v", gaps, seen)
		}
	})
}

var timestamp = regexp.MustCompile(`"timestamp":[0-9]+`)

// tryNext returns a frame that came before the connection ended.
func tryNext(c *acstest.Conn) (string, bool) {
	<-c.Closed
	f, ok := c.TryNext()
	return f.Raw, ok
}

// Refusals that only a person can mend are not hammered.
func TestRefusals(t *testing.T) {
	inBubble(t, func(b *bench, _ *tcs.Options) {
		for range 4 {
			b.Refuse(400, `{"InvalidClusterException":"no such cluster"}`)
		}
	}, func(b *bench) {
		start := time.Now()
		b.Accept()
		if took := time.Since(start); took != (5+10+20+40)*time.Second {
			t.Errorf("connected after %s", took)
		}
	})
}

// While ECS says that the instance is deregistered there is no connection.
func TestInactive(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.Accept()
		synctest.Wait()
		b.session.SetInactive(true)
		<-c.Closed
		if _, ok := b.AcceptWithin(time.Hour); ok {
			t.Error("connected while deregistered")
		}
		b.session.SetInactive(false)
		if _, ok := b.AcceptWithin(time.Second); !ok {
			t.Error("not connected after that")
		}
	})
}

// Without metrics the instance looks idle; health is told still.
func TestMetricsDisabled(t *testing.T) {
	inBubble(t, func(b *bench, o *tcs.Options) {
		o.Metrics, o.Checks = nil, nil
		b.tasks = []*task.Snapshot{{
			Spec:  &task.Spec{ARN: "arn:b", Family: "web", Version: "7", Containers: []task.Container{{Name: "app", HealthCheckType: "docker"}}},
			State: task.State{Known: task.Running, Containers: []task.ContainerState{{Known: task.ContainerRunning}}},
		}}
	}, func(b *bench) {
		c := b.Accept()
		if m := b.next(c); !strings.Contains(m, `"idle":true,"fin":true`) || strings.Contains(m, "taskMetrics") {
			t.Errorf("%s", m)
		}
		if m := b.next(c); !strings.Contains(m, `"PublishHealthRequest"`) {
			t.Errorf("%s", m)
		}
	})
}

// What ECS sends is logged, or ignored; nothing of it ends the session.
func TestWhatComesIn(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		c := b.Accept()
		for _, frame := range []string{
			`{"type":"BadRequestException","message":{"message":"bad"}}`, `{"type":"ResourceValidationException","message":"x"}`,
			`{"type":"StopTelemetrySessionMessage","message":{"message":"stop"}}`, `{"type":"Strange","message":[]}`,
			`{"type":""}`, `{`, ``, `[]`, `{"type":5}`, `{"type":"HeartbeatMessage"}`,
		} {
			c.SendRaw(frame)
		}
		synctest.Wait()
		if !b.session.Connected() {
			t.Error("the session ended")
		}
		for message, want := range map[string]int{
			"ECS did not take telemetry": 2, "ECS asks to stop telemetry": 1, "message is not known and ignored": 1, "frame is malformed and dropped": 5,
		} {
			if got := b.logs.FilterMessage(message).Len(); got != want {
				t.Errorf("%q was logged %d times, want %d", message, got, want)
			}
		}
	})
}

func TestNoEndpoint(t *testing.T) {
	inBubble(t, func(_ *bench, o *tcs.Options) {
		n := 0
		discover := o.Discover
		o.Discover = func(ctx context.Context) (string, error) {
			if n++; n < 3 {
				return "", nil
			}
			return discover(ctx)
		}
	}, func(b *bench) {
		start := time.Now()
		b.Accept()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("connected after %s", took)
		}
	})
}
