package metadata

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"ecsagent/agent/ecsapi"
	"ecsagent/agent/endpoint/directory"
	"ecsagent/agent/task"
)

var update = flag.Bool("update", false, "write the golden files of this agent's own additions")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	awsvpcARN   = "arn:aws:ecs:eu-west-1:111122223333:task/prod-a/1f2e3d4c5b6a798081726354a5b6c7d8"
	bridgeARN   = "arn:aws:ecs:eu-west-1:111122223333:task/prod-a/9d2c1f0b7e6a4d5c8b3a2f1e0d9c8b7a"
	instanceARN = "arn:aws:ecs:eu-west-1:111122223333:container-instance/prod-a/0f6b6d1c2a3e4f5b8c9d0e1f2a3b4c5d"
	appID       = "c0ffee00112233445566778899aabbccddeeff00112233445566778899aabbcc"
	nginxID     = "3f1b2c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809"
)

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t.In(time.FixedZone("", 7200)) // what is shown is UTC
}

// awsvpc is the task of the specification's example with an interface.
func awsvpc() *task.Snapshot {
	spec := &task.Spec{
		ARN: awsvpcARN, Family: "api", Version: "4", NetworkMode: "awsvpc",
		Containers: []task.Container{{
			Name: "app", Image: "111122223333.dkr.ecr.eu-west-1.amazonaws.com/api:4", CPU: 256, Memory: 512,
			ARN:              "arn:aws:ecs:eu-west-1:111122223333:container/prod-a/1f2e3d4c5b6a798081726354a5b6c7d8/7b1d2c3e-4f5a-4b6c-8d7e-9f0a1b2c3d4e",
			HealthCheckType:  "docker",
			DockerHostConfig: `{"LogConfig":{"Type":"awslogs","Config":{"awslogs-group":"/ecs/api","awslogs-region":"eu-west-1","awslogs-stream":"app/app/1f2e3d4c5b6a798081726354a5b6c7d8"}}}`,
			Restart:          &task.RestartPolicy{Enabled: true},
		}, {
			Name: "~internal~ecs~pause", Image: "amazon/amazon-ecs-pause:0.1.0", Type: task.CNIPause,
		}},
		ENIs: []task.ENI{{
			MAC: "0a:de:f6:10:51:e5", IPv4: []task.Address{{Address: "10.0.4.57", Primary: true}}, SubnetGatewayIPv4: "10.0.4.1/24",
			DomainNameServers: []string{"10.0.0.2"}, DomainNames: []string{"eu-west-1.compute.internal"},
			PrivateDNSName: "ip-10-0-4-57.eu-west-1.compute.internal",
		}},
		Associations: []task.Association{
			{Name: "eia-1", Type: "elastic-inference", Value: `{"a": 1}`, Containers: []string{"app"}},
			{Name: "eia-2", Type: "elastic-inference", Value: `{}`, Containers: []string{"other"}},
		},
	}
	st := task.State{
		Desired: task.Running, Known: task.Running, PullStartedAt: at("2026-02-03T09:59:52Z"), PullStoppedAt: at("2026-02-03T10:00:00.9Z"),
		Containers: []task.ContainerState{{
			Desired: task.ContainerRunning, Known: task.ContainerRunning, RuntimeID: appID, EndpointID: "e-app",
			DockerName: "ecs-api-4-app-8cf1b0d2a3e4f5a6b701", ImageID: "sha256:0b1c2d3e4f5061728394a5b6c7d8e9f00b1c2d3e4f5061728394a5b6c7d8e9f0",
			Bindings: []task.PortBinding{{ContainerPort: 8080, Protocol: task.TCP}},
			Labels: map[string]string{
				"com.amazonaws.ecs.cluster": "prod-a", "com.amazonaws.ecs.container-name": "app", "com.amazonaws.ecs.task-arn": awsvpcARN,
				"com.amazonaws.ecs.task-definition-family": "api", "com.amazonaws.ecs.task-definition-version": "4",
			},
			CreatedAt: at("2026-02-03T10:00:01.000000123Z"), StartedAt: at("2026-02-03T10:00:02.25Z"),
			Health: task.HealthHealthy, HealthSince: at("2026-02-03T10:00:32.5Z"), HealthOutput: "ok\n",
			Mounts: []task.Mount{{Name: "ecs-api-4-data-d0e1f2a3b4", Source: "/var/lib/docker/volumes/ecs-api-4-data-d0e1f2a3b4/_data", Destination: "/data"}},
		}, {
			Desired: task.ContainerResourcesProvisioned, Known: task.ContainerResourcesProvisioned, EndpointID: "e-pause",
			RuntimeID:  "d00d00112233445566778899aabbccddeeff00112233445566778899aabbccdd",
			DockerName: "ecs-api-4-internalecspause-e2b4c6d8f0a1b3c5d701",
			CreatedAt:  at("2026-02-03T09:59:50Z"), StartedAt: at("2026-02-03T09:59:51Z"),
		}},
	}
	return st.Snapshot(spec)
}

// bridge is the task of the example with a container that is only pulled so far.
func bridge() *task.Snapshot {
	spec := &task.Spec{
		ARN: bridgeARN, Family: "web", Version: "17", NetworkMode: "bridge", CPU: 0.5, Memory: 1024, LaunchType: "EC2", ServiceName: "web-svc",
		Containers: []task.Container{
			{Name: "nginx", Image: "public.ecr.aws/nginx/nginx:1.27", Memory: 256},
			{Name: "sidecar", Image: "example.com/sidecar:9", CPU: 10, Memory: 64},
			{Name: "waiting", Image: "example.com/waiting:9"},
		},
	}
	st := task.State{
		Desired: task.Running, PullStartedAt: at("2026-02-03T10:11:00.1Z"), PullStoppedAt: at("2026-02-03T10:11:09.75Z"),
		Containers: []task.ContainerState{{
			Desired: task.ContainerRunning, Known: task.ContainerRunning, RuntimeID: nginxID, EndpointID: "e-nginx",
			DockerName: "ecs-web-17-nginx-b4c6d8e0f2a4b6c8d001", ImageID: "sha256:5ef79149e0ec84a7a9f9284c3f91aa3c20608f8391f5445eabe92ef07dbda03c",
			Bindings: []task.PortBinding{
				{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 32768, Protocol: task.TCP},
				{BindIP: "::", ContainerPort: 80, HostPort: 32768, Protocol: task.TCP},
			},
			CreatedAt: at("2026-02-03T10:11:12.131415161Z"), StartedAt: at("2026-02-03T10:11:13.5Z"),
			Networks: []task.Network{{Name: "bridge", IPv4: "172.17.0.4"}},
		}, {
			Desired: task.ContainerRunning, Known: task.ContainerPulled, EndpointID: "e-sidecar", DockerName: "chosen",
			ImageID: "sha256:aa00bb11cc22dd33ee44ff5566778899aa00bb11cc22dd33ee44ff5566778899",
		}, {Desired: task.ContainerRunning, EndpointID: "e-waiting", DockerName: "chosen-too"}},
	}
	return st.Snapshot(spec)
}

type fakeTags struct {
	calls int
	on    []string
	err   error
}

func (f *fakeTags) Tags(_ context.Context, arn, container string) (map[string]string, error) {
	f.calls++
	f.on = append(f.on, container)
	if arn == instanceARN {
		return nil, f.err
	}
	return map[string]string{"team": "storefront"}, nil
}

type fakeStats map[string]any

func (f fakeStats) Stats(id string) (latest, older any, tracked bool) {
	sample, ok := f[id]
	if !ok || sample == nil {
		return nil, nil, ok
	}
	return map[string]any{"id": sample, "network_rate_stats": 1}, map[string]any{"id": sample}, true
}

type rig struct {
	*Handler
	dir   *directory.Directory
	tags  *fakeTags
	stats fakeStats
}

func newRig(instance Instance) *rig {
	r := &rig{
		dir: directory.New(directory.Options{LocalAddress: localAddress}), stats: fakeStats{},
		tags: &fakeTags{err: fmt.Errorf("GetResourceTags failed for %s after 1 attempts: access denied", instanceARN)},
	}
	r.Handler = New(Options{Directory: r.dir, Instance: func() *Instance { return &instance }, Stats: r.stats, Tags: r.tags, Bound: true})
	return r
}

func (r *rig) ask(path, remote string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("GET", "http://169.254.170.2/", nil)
	req.URL.Path, req.RemoteAddr = path, remote
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

const host = "127.0.0.1:9"

var full = Instance{Cluster: "prod-a", ARN: instanceARN, Zone: "eu-west-1b", ZoneID: "euw1-az2", VPC: "vpc-0a1b2c3d4e5f60718"}

// TestGolden compares with the examples of docs/spec/04 section 3.11 and with files of
// this package's own for the other paths.
func TestGolden(t *testing.T) {
	zone := Instance{Cluster: "prod-a", ARN: instanceARN, Zone: "eu-west-1b"}
	ready := func() *task.Snapshot {
		s := awsvpc()
		s.State.Containers[0].Bindings[0].HostPort = 0
		return s
	}
	for _, c := range []struct {
		file     string
		instance Instance
		snap     *task.Snapshot
		path     string
		remote   string
		own      bool // not from the specification
	}{
		{"v4-container-awsvpc", full, ready(), "/v4/e-app", host, false},
		{"v4-task-tags-bridge", full, bridge(), "/v4/e-nginx/taskWithTags", host, false},
		{"v3-task-awsvpc", zone, bare(ready()), "/v3/e-app/task", host, false},
		{"v4-task-awsvpc", full, ready(), "/v4/e-pause/task", host, true},
		{"v4-task-bridge", full, bridge(), "/v4/e-sidecar/task", host, true},
		{"v4-container-bridge", full, bridge(), "/v4/e-nginx", host, true},
		{"v4-container-waiting", full, bridge(), "/v4/e-waiting", host, true},
		{"v3-container-bridge", full, bridge(), "/v3/e-nginx", host, true},
		{"v3-task-tags-bridge", full, bridge(), "/v3/e-nginx/taskWithTags", host, true},
		{"v2-task-awsvpc", full, ready(), "/v2/metadata", "169.254.172.9:1", true},
		{"v2-task-tags-awsvpc", full, ready(), "/v2/metadataWithTags/", "169.254.172.9:1", true},
		{"v2-container-awsvpc", full, ready(), "/v2/metadata/" + appID, "169.254.172.9:1", true},
		{"v4-container-ended", full, ended(), "/v4/e-nginx", host, true},
		{"v4-task-ended", full, ended(), "/v4/e-nginx/task", host, true},
	} {
		r := newRig(c.instance)
		r.dir.Published(c.snap)
		for range 2 { // made, and then from what was made
			w := r.ask(c.path, c.remote)
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d %v %s", c.file, w.Code, w.Header(), w.Body)
			}
			golden(t, c.file, w.Body.String(), c.own && *update)
		}
	}
}

// bare leaves out what the specification's example of version 3 does not show.
func bare(s *task.Snapshot) *task.Snapshot {
	spec := *s.Spec
	spec.Containers = append([]task.Container(nil), spec.Containers...)
	spec.Containers[0].HealthCheckType = ""
	st := s.State
	snap := st.Snapshot(&spec)
	snap.State.Containers[0].Labels = nil
	snap.State.Containers[0].Mounts = nil
	snap.State.Containers[0].CreatedAt = at("2026-02-03T10:00:01.000000123Z")
	return snap
}

// ended is the bridge task after its end.
func ended() *task.Snapshot {
	s := bridge()
	code := 0
	s.State.Known, s.State.Desired, s.State.ExecutionStoppedAt = task.Stopped, task.Stopped, at("2026-02-03T11:00:00Z")
	c := &s.State.Containers[0]
	c.Known, c.Desired, c.ExitCode, c.FinishedAt = task.ContainerStopped, task.ContainerStopped, &code, at("2026-02-03T11:00:00.5Z")
	c.Networks[0].IPv6 = "fd00::2"
	return s
}

func localAddress(s *task.Snapshot) (a addr) {
	if len(s.ENIs) > 0 {
		a = parse("169.254.172.9")
	}
	return a
}

func golden(t *testing.T, name, got string, write bool) {
	t.Helper()
	file := filepath.Join("testdata", name+".json")
	if write {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (-want +got):\n%s", name, cmp.Diff(strings.Split(string(want), ","), strings.Split(got, ",")))
	}
}

// TestErrors goes through the tables of docs/spec/04 sections 3.3 to 3.5.
func TestErrors(t *testing.T) {
	r := newRig(full)
	r.dir.Published(awsvpc())
	r.dir.Published(bridge())
	const peer = "169.254.172.9:5"
	for _, c := range []struct {
		path, remote string
		status       int
		body         string
	}{
		{"/v2/metadata", "10.0.0.1:5", 400, "Unable to get task arn from request: unable to associate '10.0.0.1' with task"},
		{"/v2/metadata", "172.17.0.4:5", 400, "Unable to get task arn from request: unable to associate '172.17.0.4' with task"},
		{"/v2/stats/", "10.0.0.1:5", 400, "Unable to get task arn from request: unable to associate '10.0.0.1' with task"},
		{"/v2/metadata/nope", peer, 400, "Unable to generate metadata for container 'nope'"},
		{"/v2/metadata/" + nginxID, peer, 400, "Unable to generate metadata for container '" + nginxID + "'"},
		{"/v2/metadata/a/b", peer, 400, "Unable to generate metadata for container 'a/b'"},
		{"/v2/stats/" + nginxID, peer, 400, "Unable to get container stats for: " + nginxID},
		{"/v3/nope", host, 500, "V3 container metadata handler: unable to get container ID from request: unable to get docker ID from v3 endpoint ID: nope"},
		{"/v4/nope", host, 404, "V4 container metadata handler: unable to get container ID from request: unable to get docker ID from v3 endpoint ID: nope"},
		{"/v4/", host, 404, "V4 container metadata handler: unable to get container ID from request: unable to get docker ID from v3 endpoint ID: "},
		{"/v3/nope/task", host, 500, "V3 task metadata handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"},
		{"/v4/nope/task", host, 404, "V4 task metadata handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"},
		{"/v4/nope/taskWithTags", host, 404, "V4 task metadata handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"},
		{"/v3/nope/stats", host, 400, "V3 container stats handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"},
		{"/v4/nope/stats", host, 404, "V4 container stats handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"},
		{"/v3/nope/task/stats", host, 400, "V3 task stats handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"},
		{"/v4/nope/task/stats", host, 404, "V4 task stats handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"},
		{"/v3/nope/associations/gpu", host, 400, "V3 container associations handler: unable to get container id from request: unable to get docker ID from v3 endpoint ID: nope"},
		{"/v4/nope/associations/gpu/x", host, 400, "V4 container associations handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: nope"},
		{"/v4/e-app/associations/gpu/", host, 400, "V4 container associations handler: unable to get association name from request"},
		{"/v3/e-app/associations/gpu/x/y", host, 400, "Unable to write container association response: unable to get association from association type gpu and association name x/y"},
		{"/v3/e-app/associations/elastic-inference/eia-2", host, 400, "Unable to write container association response: unable to get association from association type elastic-inference and association name eia-2"},
		// Another task's id is as good as none.
		{"/v4/e-app", "172.17.0.4:5", 404, "V4 container metadata handler: unable to get container ID from request: unable to get docker ID from v3 endpoint ID: e-app"},
		{"/v4/e-nginx/task", peer, 404, "V4 task metadata handler: unable to get task arn from request: unable to get task Arn from v3 endpoint ID: e-nginx"},
	} {
		w := r.ask(c.path, c.remote)
		want, _ := json.Marshal(c.body)
		if w.Code != c.status || w.Body.String() != string(want) {
			t.Errorf("%s from %s: %d %s\nwant %d %s", c.path, c.remote, w.Code, w.Body, c.status, want)
		}
	}
	for _, path := range []string{"/v4/e-app/", "/v4/e-app/tasks", "/v4/e-app/tasks/stats", "/v4/e-app/associations", "/v4/e-app/task/", "/v3/e-app/stats/",
		"/v2/splunk-token/x", "/v2/metadataWithTags/x", "/v2/", "/v4/e-app/containers"} {
		if w := r.ask(path, host); w.Code != 404 || w.Body.String() != "404 page not found\n" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestAssociations(t *testing.T) {
	r := newRig(full)
	r.dir.Published(awsvpc())
	for path, want := range map[string]string{
		"/v4/e-app/associations/elastic-inference":       `{"Associations":["eia-1"]}`,
		"/v3/e-app/associations/gpu":                     `{"Associations":null}`,
		"/v4/e-pause/associations/elastic-inference":     `{"Associations":null}`,
		"/v4/e-app/associations/elastic-inference/eia-1": `{"a": 1}`,
	} {
		if w := r.ask(path, host); w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestStats(t *testing.T) {
	r := newRig(full)
	r.dir.Published(bridge())
	expect := func(when string, want map[string]string) {
		t.Helper()
		for path, body := range want {
			w := r.ask(path, host)
			if got := fmt.Sprint(w.Code, " ", w.Body); got != body {
				t.Errorf("%s: %s: %s, want %s", when, path, got, body)
			}
		}
	}
	expect("running, not measured yet", map[string]string{
		"/v3/e-nginx/stats": "200 null", "/v4/e-nginx/stats": "200 {}",
		"/v3/e-nginx/task/stats": `200 {"` + nginxID + `":null}`, "/v4/e-nginx/task/stats": `200 {"` + nginxID + `":{}}`,
		"/v4/e-waiting/stats": "200 {}", "/v3/e-waiting/stats": `400 "Unable to get container stats for: "`,
	})
	r.stats[nginxID] = nil
	expect("without a sample", map[string]string{"/v3/e-nginx/stats": "200 null", "/v4/e-nginx/stats": "200 {}"})
	r.stats[nginxID] = "x"
	expect("measured", map[string]string{
		"/v3/e-nginx/stats": `200 {"id":"x"}`, "/v4/e-nginx/stats": `200 {"id":"x","network_rate_stats":1}`,
		"/v4/e-nginx/task/stats": `200 {"` + nginxID + `":{"id":"x","network_rate_stats":1}}`,
	})
	delete(r.stats, nginxID)
	r.dir.Published(ended())
	expect("ended", map[string]string{
		"/v3/e-nginx/stats": `400 "Unable to get container stats for: ` + nginxID + `"`,
		"/v4/e-nginx/stats": `500 "Unable to get container stats for: ` + nginxID + `"`,
	})
	r = newRig(full)
	r.o.Stats = nil
	r.dir.Published(bridge())
	expect("with metrics off", map[string]string{
		"/v3/e-nginx/stats": `400 "Unable to get container stats for: ` + nginxID + `"`, "/v4/e-nginx/stats": "200 {}",
	})
}

// Whatever a live task asks of version 3 and 4, at any moment of its life, the answer
// is 200, and one that comes while its container is started waits for what Docker shows.
func TestFromTheFirstInstant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(full)
		s := bridge()
		now := func(change func(*task.ContainerState)) {
			next := s.State
			s = next.Snapshot(s.Spec)
			change(&s.State.Containers[0])
			r.dir.Published(s)
		}
		live := func(when string) {
			for _, v := range []string{"/v3/", "/v4/"} {
				for _, path := range []string{"", "/task", "/taskWithTags", "/task/stats"} {
					if w := r.ask(v+"e-nginx"+path, host); w.Code != 200 {
						t.Errorf("%s: %s%s: %d %s", when, v, path, w.Code, w.Body)
					}
				}
			}
		}
		now(func(c *task.ContainerState) {
			*c = task.ContainerState{Desired: task.ContainerRunning, EndpointID: "e-nginx", DockerName: "chosen"}
		})
		live("accepted")
		now(func(c *task.ContainerState) { c.Known, c.ImageID = task.ContainerPulled, "sha256:1" })
		live("pulled")
		now(func(c *task.ContainerState) { c.Known, c.RuntimeID = task.ContainerCreated, nginxID })
		live("created")
		now(func(c *task.ContainerState) { c.Applied = task.ContainerRunning })
		go func() {
			time.Sleep(time.Second)
			now(func(c *task.ContainerState) {
				c.Known, c.Applied = task.ContainerRunning, task.ContainerNone
				c.Networks = []task.Network{{Name: "bridge", IPv4: "172.17.0.9"}}
			})
		}()
		begin := time.Now()
		w := r.ask("/v4/e-nginx", "172.17.0.9:1")
		if took := time.Since(begin); took != time.Second || !strings.Contains(w.Body.String(), `"IPv4Addresses":["172.17.0.9"]`) {
			t.Errorf("after %v: %s", took, w.Body)
		}
		live("running")
		now(func(c *task.ContainerState) { c.Applied, c.Known = task.ContainerRunning, task.ContainerCreated })
		begin = time.Now()
		if w := r.ask("/v4/e-nginx", host); w.Code != 200 || time.Since(begin) != settle {
			t.Errorf("a start that takes long: %d after %v", w.Code, time.Since(begin))
		}
	})
}

func TestTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(full)
		r.dir.Published(bridge())
		r.tags.err = &ecsapi.Error{Code: "AccessDeniedException", Message: "no", HTTPStatus: 400, RequestID: "r-1"}
		for range 3 {
			w := r.ask("/v4/e-nginx/taskWithTags", host)
			if want := `"Errors":[{"ErrorField":"ContainerInstanceTags","ErrorCode":"AccessDeniedException","ErrorMessage":"no","StatusCode":400,"RequestId":"r-1","ResourceARN":"` + instanceARN + `"}]`; !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s lacks %s", w.Body, want)
			}
		}
		if r.tags.calls != 2 || r.tags.on[0] != "nginx" {
			t.Errorf("%d look-ups, on behalf of %q; want 2", r.tags.calls, r.tags.on)
		}
		time.Sleep(tagFailed)
		r.tags.err = nil
		if w := r.ask("/v3/e-nginx/taskWithTags", host); strings.Contains(w.Body.String(), "Errors") {
			t.Errorf("version 3 has no errors: %s", w.Body)
		}
		if r.tags.calls != 3 {
			t.Errorf("%d look-ups; a failure is remembered for %v only", r.tags.calls, tagFailed)
		}
		time.Sleep(tagFresh)
		r.ask("/v3/e-nginx/taskWithTags", host)
		if r.tags.calls != 5 || r.tags.on[4] != "" {
			t.Errorf("%d look-ups, on behalf of %q", r.tags.calls, r.tags.on)
		}
	})
}

// slowTags answer when they are told to give up.
type slowTags struct{}

func (slowTags) Tags(ctx context.Context, _, _ string) (map[string]string, error) {
	<-ctx.Done()
	return nil, errors.New("gave up")
}

func TestSlowTagsLeaveTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(full)
		r.Handler = New(Options{Directory: r.dir, Instance: func() *Instance { return &full }, Tags: slowTags{}})
		r.dir.Published(bridge())
		begin := time.Now()
		w := r.ask("/v4/e-nginx/taskWithTags", host)
		if took := time.Since(begin); took != tagLimit || w.Code != 200 || strings.Count(w.Body.String(), "ErrorField") != 2 {
			t.Errorf("%d after %v: %s", w.Code, took, w.Body)
		}
	})
}

func FuzzPaths(f *testing.F) {
	for _, p := range []string{"/v4/e-app", "/v3/e-app/task", "/v2/metadata", "/v2/stats/x", "/v4//associations/a/b", "/v4/e-app/associations//", "/v3", "/v2/"} {
		f.Add(p, "169.254.172.9:5")
	}
	f.Add("/v2/metadata", "")
	r := newRig(full)
	r.dir.Published(awsvpc())
	r.dir.Published(bridge())
	f.Fuzz(func(t *testing.T, path, remote string) {
		w := r.ask(path, remote)
		switch {
		case w.Code == 200, w.Code == 400, w.Code == 404:
		case w.Code == 500 && strings.HasPrefix(path, "/v3/"):
		default:
			t.Errorf("%q from %q: %d %s", path, remote, w.Code, w.Body)
		}
		if w.Code != 404 && !json.Valid(w.Body.Bytes()) {
			t.Errorf("%q: %s", path, w.Body)
		}
	})
}

func BenchmarkTask(b *testing.B) {
	r := newRig(full)
	r.dir.Published(awsvpc())
	req := httptest.NewRequest("GET", "http://169.254.170.2/v4/e-app/task", nil)
	b.ReportAllocs()
	for b.Loop() {
		r.ServeHTTP(httptest.NewRecorder(), req)
	}
}
