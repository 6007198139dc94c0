package service

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/controlplane/api"
	"ecsagent/controlplane/wire"
)

func TestAuthorize(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	must[api.ClusterResponse](w, "CreateCluster", m{"clusterName": "other"})
	for _, tt := range []struct{ host, cluster, want string }{
		{host, "default", ""}, {host, "", ""}, {host, "arn:aws:ecs:us-east-1:000000000000:cluster/default", ""},
		{host, "other", wire.InvalidCluster}, {host + "0", "default", wire.InactiveInstance},
	} {
		err := w.s.Authorize(tt.host, tt.cluster)
		var exc *wire.Exception
		if got := errors.As(err, &exc); got != (tt.want != "") || got && exc.Type != tt.want {
			t.Errorf("authorize %s in %q: %v, want %q", tt.host, tt.cluster, err, tt.want)
		}
	}
}

func TestManifestAndStopVerification(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	runs, stops, gone := w.run("web").TaskARN, w.run("web").TaskARN, w.run("web").TaskARN
	must[api.StopTaskResponse](w, "StopTask", m{"task": stops})
	w.submit(gone, "STOPPED")
	const cluster = "arn:aws:ecs:us-east-1:000000000000:cluster/default"
	want := []wire.TaskIdentifier{{TaskARN: runs, TaskClusterARN: cluster, DesiredStatus: "RUNNING"}, {TaskARN: stops, TaskClusterARN: cluster, DesiredStatus: "STOPPED"}}
	if diff := cmp.Diff(want, w.s.Manifest(host)); diff != "" {
		t.Error(diff)
	}
	var candidates []wire.TaskIdentifier
	unknown := "arn:aws:ecs:us-east-1:000000000000:task/default/" + strings.Repeat("0", 32)
	for _, arn := range []string{runs, stops, gone, unknown, "arn:::::/service-connect-relay", "nonsense"} {
		candidates = append(candidates, wire.TaskIdentifier{TaskARN: arn})
	}
	var got []string
	for _, id := range w.s.ShouldStop(host, candidates) {
		if id.DesiredStatus != "STOPPED" {
			t.Errorf("%+v", id)
		}
		got = append(got, id.TaskARN)
	}
	if diff := cmp.Diff([]string{stops, gone, unknown}, got); diff != "" {
		t.Error(diff)
	}
	if !w.s.FullSync(host) || w.s.FullSync("none") {
		t.Error("full-sync is not read from the attributes")
	}
}

func TestCredentials(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	w.define("role", func(def, _ m) { def["taskRoleArn"] = "arn:aws:iam::1:role/app" })
	w.run("web")
	task := w.run("role").TaskARN
	_, sent := w.link.last(t)
	inPayload := sent["roleCredentials"].(map[string]any)
	if sent["executionRoleCredentials"] != nil {
		t.Error("credentials for a role that was not asked for")
	}
	list := w.s.Credentials(host)
	if len(list) != 1 || list[0].TaskARN != task || list[0].RoleType != "TaskApplication" || list[0].RoleCredentials.RoleARN != "arn:aws:iam::1:role/app" {
		t.Fatalf("credentials: %+v", list)
	}
	first := list[0].RoleCredentials
	if first.CredentialsID != inPayload["credentialsId"] || first.Expiration != inPayload["expiration"] || first.AccessKeyID == "" {
		t.Errorf("payload has %v, the list %+v", inPayload, first)
	}
	for range 24 { // over two lives, always good for at least half of one
		w.clock.add(30 * time.Minute)
		now := w.s.Credentials(host)[0].RoleCredentials
		expiration, err := time.Parse(time.RFC3339, now.Expiration)
		if err != nil || now.CredentialsID != first.CredentialsID || expiration.Sub(w.clock.Now()) < DefaultCredentialsLife/2 {
			t.Fatalf("at %s: %+v, %v", w.clock.Now(), now, err)
		}
	}
	last := w.s.Credentials(host)[0].RoleCredentials
	if again := w.s.Credentials(host)[0].RoleCredentials; again != last {
		t.Error("keys change without a renewal")
	}
	if last.AccessKeyID == first.AccessKeyID || last.SecretAccessKey == first.SecretAccessKey || last.SessionToken == first.SessionToken {
		t.Error("a renewal kept the keys")
	}
	if len(last.AccessKeyID) != 20 || len(last.SecretAccessKey) != 40 || !strings.HasPrefix(last.AccessKeyID, "ASIALOCAL") {
		t.Errorf("keys without the form of real ones: %+v", last)
	}
	w.submit(task, "STOPPED")
	if len(w.s.Credentials(host)) != 0 {
		t.Error("a stopped task has credentials")
	}
}

func TestAcks(t *testing.T) {
	w := newWorld(t, "")
	w.ready()
	task := w.run("web").TaskARN
	first, _ := w.link.last(t)
	w.s.PayloadAcked("", "unknown")
	w.s.PayloadAcked("", first)
	w.s.PayloadAcked("", first)
	must[api.StopTaskResponse](w, "StopTask", m{"task": task})
	// An ack can come before Deliver has returned: the service does not lose it.
	second, _ := w.link.last(t)
	w.s.quietly(func(st *state) { delete(st.inFlight, second) })
	w.s.PayloadAcked("", second)
	w.s.delivered(second, []mark{{task, "STOPPED"}})
	if got := w.describe(task); got.LastStatus != "STOPPING" {
		t.Errorf("last status %s", got.LastStatus)
	}
}

func TestNack(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	task := w.run("web").TaskARN
	id, _ := w.link.last(t)
	w.s.PayloadNacked(host, id, "no")
	if got := w.describe(task); got.LastStatus != "STOPPED" || got.StopCode != "TaskFailedToStart" || got.StoppedReason != "Agent refused the task: no" {
		t.Errorf("%+v", got)
	}
}

func TestHealth(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	w.define("checked", func(def, app m) {
		app["healthCheck"] = m{"command": []string{"CMD-SHELL", "true"}}
		other := m{"name": "db", "image": "x", "memory": 64, "healthCheck": m{"command": []string{"CMD", "true"}}}
		plain := m{"name": "plain", "image": "x", "memory": 64}
		def["containerDefinitions"] = []m{app, other, plain}
	})
	task := w.run("checked").TaskARN
	report := func(on string, app, db string) {
		b, err := json.Marshal(m{"tasks": []m{{"taskArn": task, "containers": []m{{"containerName": "app", "healthStatus": app}, {"containerName": "db", "healthStatus": db}}}}})
		if err != nil {
			t.Fatal(err)
		}
		w.s.Metrics(on, "PublishHealthRequest", b)
	}
	for _, tt := range []struct{ app, db, want string }{
		{"UNKNOWN", "UNKNOWN", "UNKNOWN"}, {"HEALTHY", "UNKNOWN", "UNKNOWN"}, {"HEALTHY", "HEALTHY", "HEALTHY"},
		{"HEALTHY", "UNHEALTHY", "UNHEALTHY"}, {"UNKNOWN", "UNHEALTHY", "UNHEALTHY"}, {"strange", "HEALTHY", "UNKNOWN"},
	} {
		report(host, tt.app, tt.db)
		if got := w.describe(task); got.HealthStatus != tt.want {
			t.Errorf("%s and %s make %s, want %s", tt.app, tt.db, got.HealthStatus, tt.want)
		}
	}
	report("another host", "UNHEALTHY", "UNHEALTHY")
	if got := w.describe(task); got.HealthStatus == "UNHEALTHY" {
		t.Error("another host changed the health")
	}
	w.s.Metrics(host, "PublishHealthRequest", json.RawMessage(`{"tasks":7}`))
	w.s.Metrics(host, "PublishInstanceStatusRequest", json.RawMessage(`{"statuses":[{"type":"ContainerRuntime","status":"IMPAIRED","lastUpdated":1772366401.5}]}`))
	if h := w.instance(host).HealthStatus; h == nil || h.OverallStatus != "IMPAIRED" || h.Details[0].Type != "CONTAINER_RUNTIME" {
		t.Errorf("instance health: %+v", h)
	}
}

func TestConnected(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	task := w.run("web").TaskARN
	version := w.instance(host).Version
	w.s.Connected(host, true, "1.105.1", "1a2b3c4d", "25.0.8") // a session replaced by another
	if got := w.instance(host).Version; got != version {
		t.Error("nothing has changed, but the version has")
	}
	w.clock.add(time.Minute)
	w.s.Connected(host, false, "1.105.1", "1a2b3c4d", "25.0.8")
	if i, tk := w.instance(host), w.describe(task); i.AgentConnected || tk.Connectivity != "DISCONNECTED" {
		t.Errorf("still connected: %+v", i)
	}
	w.s.Connected(host, true, "1.106.0", "ffffffff", "26.0.0")
	i, tk := w.instance(host), w.describe(task)
	if diff := cmp.Diff(api.VersionInfo{AgentVersion: "1.106.0", AgentHash: "ffffffff", DockerVersion: "26.0.0"}, i.VersionInfo); diff != "" || !i.AgentConnected {
		t.Error(diff)
	}
	if tk.Connectivity != "CONNECTED" || !tk.ConnectivityAt.Equal(w.clock.Now()) {
		t.Errorf("connectivity %s at %s", tk.Connectivity, tk.ConnectivityAt)
	}
}
