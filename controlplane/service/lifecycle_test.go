package service

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/controlplane/api"
)

// two makes a definition with an essential container app and a helper.
func (w *world) two() {
	w.define("two", func(def, app m) {
		def["containerDefinitions"] = []m{app, {"name": "helper", "image": "busybox", "memory": 64, "essential": false}}
	})
}

func c(name, status string, more ...any) m {
	entry := m{"containerName": name, "status": status}
	for i := 0; i < len(more); i += 2 {
		entry[more[i].(string)] = more[i+1]
	}
	return entry
}

func TestLifecycle(t *testing.T) {
	type step func(w *world, arn string)
	report := func(status string, containers ...m) step {
		return func(w *world, arn string) { w.submit(arn, status, containers...) }
	}
	reason := func(status, reason string) step {
		return func(w *world, arn string) {
			must[api.Acknowledgment](w, "SubmitTaskStateChange", m{"task": arn, "status": status, "reason": reason})
		}
	}
	stop := func(reason string) step {
		return func(w *world, arn string) {
			must[api.StopTaskResponse](w, "StopTask", m{"task": arn, "reason": reason})
		}
	}
	ack := func(w *world, _ string) { w.ack() }
	running := report("RUNNING", c("app", "RUNNING", "runtimeId", "r1"), c("helper", "RUNNING", "runtimeId", "r2"))
	stopped := report("STOPPED", c("app", "STOPPED", "runtimeId", "r1", "exitCode", 0), c("helper", "STOPPED", "runtimeId", "r2", "exitCode", 137))

	for name, tt := range map[string]struct {
		steps                      []step
		last, desired, code, cause string
		containers                 string // lastStatus of app and helper
	}{
		"placed":         {nil, "PENDING", "RUNNING", "", "", "PENDING PENDING"},
		"agent begins":   {[]step{ack, report("PENDING", c("app", "PENDING", "imageDigest", "sha256:1"))}, "ACTIVATING", "RUNNING", "", "", "PENDING PENDING"},
		"one is up":      {[]step{report("PENDING", c("helper", "RUNNING"))}, "ACTIVATING", "RUNNING", "", "", "PENDING RUNNING"},
		"runs":           {[]step{running}, "RUNNING", "RUNNING", "", "", "RUNNING RUNNING"},
		"late pending":   {[]step{running, report("PENDING", c("app", "PENDING"))}, "RUNNING", "RUNNING", "", "", "RUNNING RUNNING"},
		"repeated":       {[]step{running, running}, "RUNNING", "RUNNING", "", "", "RUNNING RUNNING"},
		"helper ends":    {[]step{running, report("RUNNING", c("helper", "STOPPED", "exitCode", 0))}, "RUNNING", "RUNNING", "", "", "RUNNING STOPPED"},
		"essential ends": {[]step{running, report("RUNNING", c("app", "STOPPED", "exitCode", 1))}, "STOPPING", "STOPPED", "EssentialContainerExited", reasonEssential, "STOPPED RUNNING"},
		"all ends":       {[]step{running, stopped}, "STOPPED", "STOPPED", "EssentialContainerExited", reasonEssential, "STOPPED STOPPED"},
		"ends unseen":    {[]step{stopped}, "STOPPED", "STOPPED", "EssentialContainerExited", reasonEssential, "STOPPED STOPPED"},
		"late running":   {[]step{running, stopped, running}, "STOPPED", "STOPPED", "EssentialContainerExited", reasonEssential, "STOPPED STOPPED"},
		"pull fails": {[]step{report("STOPPED", c("app", "STOPPED", "reason", "CannotPullContainerError: no such image"), c("helper", "STOPPED"))},
			"STOPPED", "STOPPED", "TaskFailedToStart", reasonNoStart, "STOPPED STOPPED"},
		"start fails": {[]step{report("STOPPED", c("app", "STOPPED", "runtimeId", "r1", "exitCode", 127, "reason", "CannotStartContainerError: no such command"))},
			"STOPPED", "STOPPED", "TaskFailedToStart", reasonNoStart, "STOPPED STOPPED"},
		"dependency fails": {[]step{report("STOPPED", c("app", "STOPPED", "exitCode", 143), c("helper", "STOPPED"))},
			"STOPPED", "STOPPED", "TaskFailedToStart", reasonNoStart, "STOPPED STOPPED"},
		"killed for memory": {[]step{running, report("STOPPED", c("app", "STOPPED", "exitCode", 137, "reason", "OutOfMemoryError: Container killed due to memory usage"))},
			"STOPPED", "STOPPED", "EssentialContainerExited", reasonEssential, "STOPPED STOPPED"},
		"rejected": {[]step{reason("STOPPED", "UnrecogniedTaskError: Error loading task - bad port")},
			"STOPPED", "STOPPED", "TaskFailedToStart", "UnrecogniedTaskError: Error loading task - bad port", "STOPPED STOPPED"},
		"user stops":             {[]step{ack, running, stop("enough")}, "DEACTIVATING", "STOPPED", "UserInitiated", "enough", "RUNNING RUNNING"},
		"user stops, agent told": {[]step{ack, running, stop(""), ack}, "STOPPING", "STOPPED", "UserInitiated", reasonUser, "RUNNING RUNNING"},
		"user stops to the end":  {[]step{ack, running, stop("enough"), ack, stopped}, "STOPPED", "STOPPED", "UserInitiated", "enough", "STOPPED STOPPED"},
		"first reason counts":    {[]step{ack, running, stop("one"), stop("two"), stopped}, "STOPPED", "STOPPED", "UserInitiated", "one", "STOPPED STOPPED"},
		"stopped while starting": {[]step{ack, stop("enough"), running}, "DEACTIVATING", "STOPPED", "UserInitiated", "enough", "RUNNING RUNNING"},
		"essential ends, then stop": {[]step{ack, running, report("RUNNING", c("app", "STOPPED", "exitCode", 1)), stop("late")},
			"STOPPING", "STOPPED", "EssentialContainerExited", reasonEssential, "STOPPED RUNNING"},
		"attachment only": {[]step{running, func(w *world, arn string) {
			must[api.Acknowledgment](w, "SubmitTaskStateChange", m{"task": arn, "attachments": []m{{"attachmentArn": "a", "status": "ATTACHED"}}})
		}}, "RUNNING", "RUNNING", "", "", "RUNNING RUNNING"},
		"one container at a time": {[]step{running, func(w *world, arn string) {
			must[api.Acknowledgment](w, "SubmitContainerStateChange", m{"task": arn, "containerName": "app", "status": "STOPPED", "exitCode": 3})
		}}, "STOPPING", "STOPPED", "EssentialContainerExited", reasonEssential, "STOPPED RUNNING"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			w.ready()
			w.two()
			arn := w.run("two").TaskARN
			for _, s := range tt.steps {
				s(w, arn)
			}
			got := w.describe(arn)
			if got.LastStatus != tt.last || got.DesiredStatus != tt.desired || got.StopCode != tt.code || got.StoppedReason != tt.cause {
				t.Errorf("got %s/%s %s %q, want %s/%s %s %q", got.LastStatus, got.DesiredStatus, got.StopCode, got.StoppedReason, tt.last, tt.desired, tt.code, tt.cause)
			}
			if s := got.Containers[0].LastStatus + " " + got.Containers[1].LastStatus; s != tt.containers {
				t.Errorf("containers %s, want %s", s, tt.containers)
			}
			if (got.LastStatus == "STOPPED") != !got.StoppedAt.IsZero() || (got.DesiredStatus == "STOPPED") != !got.StoppingAt.IsZero() {
				t.Errorf("times do not go with the statuses: %+v", got)
			}
		})
	}
}

func TestReportedDetails(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	arn := w.run("web").TaskARN
	started := w.clock.Now()
	must[api.Acknowledgment](w, "SubmitTaskStateChange", m{"task": arn, "status": "RUNNING", "pullStartedAt": 1772366401.5, "pullStoppedAt": 1772366402.25,
		"containers": []m{c("app", "PENDING", "imageDigest", "sha256:1"), c("app", "RUNNING", "runtimeId", "r1",
			"networkBindings", []m{{"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"}})},
		"managedAgents": []m{{"managedAgentName": "ExecuteCommandAgent", "containerName": "app", "status": "CREATED", "reason": ""}}})
	w.clock.add(time.Minute)
	must[api.Acknowledgment](w, "SubmitTaskStateChange", m{"task": arn, "status": "STOPPED", "pullStartedAt": 1772366401.5, "executionStoppedAt": 1772366460,
		"containers": []m{c("app", "STOPPED", "runtimeId", "r1", "exitCode", 3, "reason", "OutOfMemoryError: Container killed due to memory usage")}})
	got := w.describe(arn)
	app := got.Containers[0]
	if app.ImageDigest != "sha256:1" || app.RuntimeID != "r1" || *app.ExitCode != 3 || !strings.HasPrefix(app.Reason, "OutOfMemory") || app.NetworkBindings[0].HostPort != 32768 {
		t.Errorf("container: %+v", app)
	}
	if app.ManagedAgents[0].LastStatus != "PENDING" {
		t.Errorf("managed agent: %+v", app.ManagedAgents)
	}
	if got.PullStartedAt.UnixMilli() != 1772366401500 || got.PullStoppedAt.UnixMilli() != 1772366402250 || got.ExecutionStoppedAt.Unix() != 1772366460 ||
		!got.StartedAt.Equal(started) || !got.StoppedAt.Equal(w.clock.Now()) {
		t.Errorf("times: %+v", got)
	}
	if left := w.instance(host).RemainingResources; left[0].IntegerValue != 2048 || left[1].IntegerValue != 4096 {
		t.Errorf("the stopped task holds on to resources: %+v", left)
	}
	wantError(t, w.try("SubmitTaskStateChange", m{"task": arn, "status": "HAPPY"}, nil), "InvalidParameterException", "")
	wantError(t, w.try("SubmitTaskStateChange", m{"task": "arn:none", "status": "STOPPED"}, nil), "InvalidParameterException", "The referenced task was not found.")
}

func TestStatusesAreShownInOrder(t *testing.T) {
	w := newWorld(t, "")
	w.ready()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	events := w.s.Watch(ctx)
	arn := w.run("web").TaskARN
	w.ack()
	w.submit(arn, "RUNNING", c("app", "RUNNING"))
	must[api.StopTaskResponse](w, "StopTask", m{"task": arn})
	w.ack()
	w.submit(arn, "STOPPED", c("app", "STOPPED"))
	var trace []string
	version := int64(0)
	for e := range events {
		if e.Kind != KindTask {
			continue
		}
		if e.Task.Version <= version {
			t.Fatalf("version %d after %d", e.Task.Version, version)
		}
		version = e.Task.Version
		if s := e.Task.LastStatus; len(trace) == 0 || trace[len(trace)-1] != s {
			trace = append(trace, s)
		}
		if e.Task.LastStatus == "STOPPED" {
			break
		}
	}
	if diff := cmp.Diff(taskOrder, trace); diff != "" {
		t.Error(diff)
	}
	cancel()
	for range events { // ends with its context
	}
}

func TestStopOfATaskThatNoAgentHas(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	arn := w.run("web").TaskARN
	w.s.Connected(host, false, "", "", "")
	if got := w.describe(arn); got.Connectivity != "DISCONNECTED" {
		t.Errorf("connectivity %s", got.Connectivity)
	}
	got := must[api.StopTaskResponse](w, "StopTask", m{"task": arn, "reason": "enough"}).Task
	if got.LastStatus != "STOPPED" || got.StopCode != "UserInitiated" || got.StoppedReason != "enough" {
		t.Errorf("not ended: %+v", got)
	}
	// The agent may have it all the same, so it is told.
	if _, task := w.link.last(t); task["arn"] != arn || task["desiredStatus"] != "STOPPED" {
		t.Errorf("last delivery: %v", task)
	}
	if len(w.s.Manifest(host)) != 0 {
		t.Error("the manifest still names the task")
	}
}

func TestStoppedTasksAreKeptForAnHour(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.ready()
	arn := w.run("web").TaskARN
	w.submit(arn, "STOPPED")
	w.clock.add(time.Hour - time.Millisecond)
	w.describe(arn)
	w.clock.add(time.Millisecond)
	out := must[api.TasksResponse](w, "DescribeTasks", m{"tasks": []string{arn}})
	if len(out.Tasks) != 0 || out.Failures[0].Reason != "MISSING" {
		t.Errorf("still there: %+v", out)
	}
	w.restart()
	if out := must[api.TasksResponse](w, "DescribeTasks", m{"tasks": []string{arn}}); len(out.Tasks) != 0 {
		t.Error("it comes back after a restart")
	}
}

func TestDeregistration(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	arn := w.run("web").TaskARN
	wantError(t, w.try("DeregisterContainerInstance", m{"containerInstance": host}, nil), "InvalidParameterException", "Found running tasks on the instance.")
	out := must[api.ContainerInstanceResponse](w, "DeregisterContainerInstance", m{"containerInstance": host, "force": true})
	if out.ContainerInstance.Status != "INACTIVE" || out.ContainerInstance.AgentConnected {
		t.Errorf("instance: %+v", out.ContainerInstance)
	}
	if got := w.describe(arn); got.LastStatus != "STOPPED" || got.StoppedReason != reasonForced {
		t.Errorf("task: %+v", got)
	}
	if diff := cmp.Diff([]string{host + " InactiveInstanceException"}, w.link.disconnected); diff != "" {
		t.Error(diff)
	}
	if err := w.s.Authorize(host, "default"); err == nil || !strings.HasPrefix(err.Error(), "InactiveInstanceException") {
		t.Errorf("authorized: %v", err)
	}
	w.s.Connected(host, true, "1", "2", "3")
	if w.instance(host).AgentConnected {
		t.Error("an inactive instance is connected")
	}
	wantError(t, w.try("RunTask", m{"taskDefinition": "web"}, nil), "InvalidParameterException", "No Container Instances were found in your cluster.")
	wantError(t, w.try("RegisterContainerInstance", m{"containerInstanceArn": host, "totalResources": []m{{"name": "CPU", "integerValue": 1}, {"name": "MEMORY", "integerValue": 1}}}, nil),
		"ClientException", "Container instance "+host+" is INACTIVE.")
}
