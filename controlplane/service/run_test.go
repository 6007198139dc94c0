package service

import (
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"ecsagent/controlplane/api"
)

// noDetail leaves out what is for people.
var noDetail = cmpopts.IgnoreFields(api.Failure{}, "Detail")

func TestPlacementFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		define func(def, app m)
		run    m
		want   string
	}{
		"cpu":      {define: func(_, app m) { app["cpu"] = 2049 }, want: "RESOURCE:CPU"},
		"memory":   {define: func(_, app m) { app["memory"] = 5000 }, want: "RESOURCE:MEMORY"},
		"task cpu": {define: func(def, _ m) { def["cpu"] = "3 vCPU" }, want: "RESOURCE:CPU"},
		"port":     {define: func(_, app m) { app["portMappings"] = []m{{"containerPort": 80, "hostPort": 22}} }, want: "RESOURCE:PORTS"},
		"host mode port": {define: func(def, app m) {
			def["networkMode"] = "host"
			app["portMappings"] = []m{{"containerPort": 51678}}
		}, want: "RESOURCE:PORTS"},
		"udp port is another port": {define: func(_, app m) { app["portMappings"] = []m{{"containerPort": 80, "hostPort": 22, "protocol": "udp"}} }},
		"gpu":                      {define: func(_, app m) { app["resourceRequirements"] = []m{{"type": "GPU", "value": "1"}} }, want: "RESOURCE:GPU"},
		"attribute":                {define: func(_, app m) { app["privileged"] = true }, want: "ATTRIBUTE"},
		"awsvpc": {define: func(def, _ m) { def["networkMode"] = "awsvpc" }, run: m{"networkConfiguration": m{"awsvpcConfiguration": m{"subnets": []string{"s"}}}},
			want: "ATTRIBUTE"},
		"member of": {run: m{"placementConstraints": []m{{"type": "memberOf", "expression": "attribute:stack == blue"}}}, want: "MemberOf placement constraint unsatisfied."},
		"member of, definition": {define: func(def, _ m) {
			def["placementConstraints"] = []m{{"type": "memberOf", "expression": "attribute:ecs.os-type == windows"}}
		}, want: "MemberOf placement constraint unsatisfied."},
		"external":                    {run: m{"launchType": "EXTERNAL"}, want: "ATTRIBUTE"},
		"only the reservation counts": {define: func(_, app m) { app["memory"] = 5000; app["memoryReservation"] = 100 }},
		"override":                    {run: m{"overrides": m{"containerOverrides": []m{{"name": "app", "memory": 4097}}}}, want: "RESOURCE:MEMORY"},
		"fits":                        {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "")
			host := w.ready()
			w.define("job", tt.define)
			in := m{"taskDefinition": "job"}
			for k, v := range tt.run {
				in[k] = v
			}
			out := must[api.TasksResponse](w, "RunTask", in)
			if tt.want == "" {
				if len(out.Tasks) != 1 || len(out.Failures) != 0 {
					t.Fatalf("not started: %+v", out.Failures)
				}
				return
			}
			if diff := cmp.Diff([]api.Failure{{ARN: host, Reason: tt.want}}, out.Failures, noDetail); diff != "" || len(out.Tasks) != 0 {
				t.Error(diff)
			}
		})
	}
}

func TestRefusedRequests(t *testing.T) {
	w := newWorld(t, "")
	w.ready()
	w.define("vpc", func(def, _ m) { def["networkMode"] = "awsvpc" })
	w.define("ec2", func(def, _ m) { def["requiresCompatibilities"] = []string{"EC2"} })
	for name, tt := range map[string]struct {
		in            m
		code, message string
	}{
		"no definition":      {m{}, "ClientException", "TaskDefinition can not be blank."},
		"unknown definition": {m{"taskDefinition": "none"}, "ClientException", "TaskDefinition not found."},
		"count":              {m{"taskDefinition": "web", "count": 11}, "InvalidParameterException", "Count must be between 1 and 10."},
		"no count":           {m{"taskDefinition": "web", "count": 0}, "InvalidParameterException", ""},
		"cluster":            {m{"taskDefinition": "web", "cluster": "x"}, "ClusterNotFoundException", "Cluster not found."},
		"override of what":   {m{"taskDefinition": "web", "overrides": m{"containerOverrides": []m{{"name": "db"}}}}, "InvalidParameterException", "Override for container named db is not a container in the TaskDefinition."},
		"override too large": {m{"taskDefinition": "web", "overrides": m{"containerOverrides": []m{{"name": "app", "command": []string{strings.Repeat("x", 8192)}}}}}, "InvalidParameterException", ""},
		"override breaks it": {m{"taskDefinition": "web", "overrides": m{"containerOverrides": []m{{"name": "app", "memory": 2}}}}, "InvalidParameterException", ""},
		"launch type":        {m{"taskDefinition": "web", "launchType": "FARGATE"}, "InvalidParameterException", "Task definition does not support launch_type FARGATE."},
		"required type":      {m{"taskDefinition": "ec2", "launchType": "EXTERNAL"}, "InvalidParameterException", "Task definition does not support launch_type EXTERNAL."},
		"word":               {m{"taskDefinition": "web", "launchType": "MOON"}, "InvalidParameterException", ""},
		"vpc":                {m{"taskDefinition": "vpc"}, "InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
		"not vpc":            {m{"taskDefinition": "web", "networkConfiguration": m{"awsvpcConfiguration": m{"subnets": []string{"s"}}}}, "InvalidParameterException", ""},
		"constraint":         {m{"taskDefinition": "web", "placementConstraints": []m{{"type": "memberOf", "expression": "what"}}}, "InvalidParameterException", ""},
		"strategy":           {m{"taskDefinition": "web", "placementStrategy": []m{{"type": "guess"}}}, "InvalidParameterException", ""},
		"group":              {m{"taskDefinition": "web", "group": "service:x"}, "InvalidParameterException", "Invalid namespace for group."},
		"tags":               {m{"taskDefinition": "web", "tags": []m{{"key": "", "value": ""}}}, "InvalidParameterException", ""},
		"volumes":            {m{"taskDefinition": "web", "volumeConfigurations": []m{{"name": "x"}}}, "InvalidParameterException", ""},
		"providers":          {m{"taskDefinition": "web", "capacityProviderStrategy": []m{{"capacityProvider": "x"}}}, "UnsupportedFeatureException", ""},
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, w.try("RunTask", tt.in, nil), tt.code, tt.message)
		})
	}
	if n := len(w.link.parcels()); n != 0 {
		t.Errorf("%d payloads for refused requests", n)
	}
}

func TestRunFillsTheCluster(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	out := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "web", "count": 10, "tags": []m{{"key": "a", "value": "b"}}, "startedBy": "me", "enableECSManagedTags": true})
	if len(out.Tasks) != 8 { // 2048 / 256
		t.Fatalf("%d tasks", len(out.Tasks))
	}
	if diff := cmp.Diff([]api.Failure{{ARN: host, Reason: "RESOURCE:CPU"}}, out.Failures); diff != "" {
		t.Error(diff)
	}
	if sent := w.link.parcels(); len(sent) != 1 || len(sent[0].tasks) != 8 {
		t.Errorf("%d payloads", len(sent))
	}
	if diff := cmp.Diff([]api.Tag{{Key: "a", Value: "b"}, {Key: "aws:ecs:clusterName", Value: "default"}}, out.Tasks[0].Tags); diff != "" {
		t.Error(diff)
	}
	i := w.instance(host)
	if i.PendingTasksCount != 8 || i.RunningTasksCount != 0 || i.RemainingResources[0].IntegerValue != 0 {
		t.Errorf("instance: %+v", i)
	}
	for _, task := range out.Tasks[:3] {
		w.submit(task.TaskARN, "RUNNING", c("app", "RUNNING"))
	}
	if i := w.instance(host); i.PendingTasksCount != 5 || i.RunningTasksCount != 3 {
		t.Errorf("counts: %d pending, %d running", i.PendingTasksCount, i.RunningTasksCount)
	}
}

func TestStrategies(t *testing.T) {
	w := newWorld(t, "")
	small := w.twoHosts()
	first := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "web", "placementStrategy": []m{{"type": "binpack", "field": "memory"}}, "count": 2})
	for _, task := range first.Tasks {
		if task.ContainerInstanceARN != small {
			t.Errorf("binpack chose %s", task.ContainerInstanceARN)
		}
	}
	spread := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "web", "count": 2})
	for _, task := range spread.Tasks {
		if task.ContainerInstanceARN == small {
			t.Error("spread chose the busier instance")
		}
	}
	distinct := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "web", "count": 3, "group": "one-each", "placementConstraints": []m{{"type": "distinctInstance"}}})
	if len(distinct.Tasks) != 2 || len(distinct.Failures) != 2 || distinct.Failures[0].Reason != "DistinctInstance placement constraint unsatisfied." {
		t.Errorf("distinct: %d tasks, %+v", len(distinct.Tasks), distinct.Failures)
	}
}

func (w *world) twoHosts() (small string) {
	w.ready()
	return w.host(1024, 1024)
}

func TestDisconnectedAndDraining(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	w.s.Connected(host, false, "", "", "")
	// Agents that reconnect are back in a moment: the task waits for them.
	out := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "web"})
	if len(out.Tasks) != 1 || len(out.Failures) != 0 {
		t.Errorf("just disconnected: %d tasks, %+v", len(out.Tasks), out.Failures)
	}
	w.clock.add(reconnects)
	out = must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "web"})
	if diff := cmp.Diff([]api.Failure{{ARN: host, Reason: "AGENT"}}, out.Failures, noDetail); diff != "" {
		t.Error(diff)
	}
	w.s.Connected(host, true, "1", "2", "3")
	must[api.ContainerInstancesResponse](w, "UpdateContainerInstancesState", m{"containerInstances": []string{host}, "status": "DRAINING"})
	wantError(t, w.try("RunTask", m{"taskDefinition": "web"}, nil), "InvalidParameterException", "No Container Instances were found in your cluster.")
	started := must[api.TasksResponse](w, "StartTask", m{"taskDefinition": "web", "containerInstances": []string{host, strings.Repeat("0", 32)}})
	if len(started.Tasks) != 0 || started.Failures[0].Reason != "INACTIVE" || started.Failures[1].Reason != "MISSING" {
		t.Errorf("start: %+v", started)
	}
	must[api.ContainerInstancesResponse](w, "UpdateContainerInstancesState", m{"containerInstances": []string{host}, "status": "ACTIVE"})
	started = must[api.TasksResponse](w, "StartTask", m{"taskDefinition": "web", "containerInstances": []string{host}})
	if len(started.Tasks) != 1 || started.Tasks[0].ContainerInstanceARN != host {
		t.Errorf("start: %+v", started)
	}
	wantError(t, w.try("UpdateContainerInstancesState", m{"containerInstances": []string{host}, "status": "INACTIVE"}, nil), "InvalidParameterException", "")
}

func TestClientToken(t *testing.T) {
	w := newWorld(t, "")
	w.ready()
	in := m{"taskDefinition": "web", "count": 2, "clientToken": "once"}
	first := must[api.TasksResponse](w, "RunTask", in)
	again := must[api.TasksResponse](w, "RunTask", in)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	in["count"] = 1
	wantError(t, w.try("RunTask", in, nil), "ConflictException", "")
}

func TestGPUs(t *testing.T) {
	w := newWorld(t, "")
	must[api.ClusterResponse](w, "CreateCluster", m{})
	w.host(4096, 4096, func(in m) {
		in["platformDevices"] = []m{{"id": "gpu-a", "type": "GPU"}, {"id": "gpu-b", "type": "GPU"}}
	})
	w.define("web", func(_, app m) { app["resourceRequirements"] = []m{{"type": "GPU", "value": "1"}} })
	out := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "web", "count": 3})
	if len(out.Tasks) != 2 || out.Failures[0].Reason != "RESOURCE:GPU" {
		t.Fatalf("%+v", out)
	}
	if a, b := out.Tasks[0].Containers[0].GPUIDs, out.Tasks[1].Containers[0].GPUIDs; cmp.Diff([]string{"gpu-a"}, a) != "" || cmp.Diff([]string{"gpu-b"}, b) != "" {
		t.Errorf("dealt %v and %v", a, b)
	}
	w.submit(out.Tasks[0].TaskARN, "STOPPED")
	if again := w.run("web").Containers[0].GPUIDs; again[0] != "gpu-a" {
		t.Errorf("dealt %v", again)
	}
}

// TestConcurrentRuns starts from many sides at once: a fixed port can be had once.
func TestConcurrentRuns(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	w.define("port", func(_, app m) { app["portMappings"] = []m{{"containerPort": 80, "hostPort": 8080}} })
	var wg sync.WaitGroup
	started := make(chan int, 16)
	for range cap(started) {
		wg.Go(func() {
			var out api.TasksResponse
			if err := w.try("RunTask", m{"taskDefinition": "port"}, &out); err != nil {
				t.Error(err)
			}
			started <- len(out.Tasks)
		})
	}
	wg.Wait()
	close(started)
	sum := 0
	for n := range started {
		sum += n
	}
	if sum != 1 {
		t.Errorf("%d tasks have port 8080", sum)
	}
	if ports := w.instance(host).RemainingResources[2].StringSetValue; cmp.Diff([]string{"22", "8080", "51678"}, ports) != "" {
		t.Errorf("ports %v", ports)
	}
}

// TestResourcesAreNeverOversubscribed plays random users and agents.
func TestResourcesAreNeverOversubscribed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, err := New(Options{})
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		s.SetDispatcher(&link{})
		w := &directWorld{s: s, rt: rt}
		w.start()
		steps := rapid.IntRange(1, 40).Draw(rt, "steps")
		for range steps {
			w.step()
			w.check()
		}
	})
}
