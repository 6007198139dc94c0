package service

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ecsagent/controlplane/api"
)

func TestClusters(t *testing.T) {
	w := newWorld(t, "")
	missing := must[api.DescribeClustersResponse](w, "DescribeClusters", m{})
	if len(missing.Failures) != 1 || missing.Failures[0].Reason != "MISSING" || missing.Failures[0].ARN != "arn:aws:ecs:us-east-1:000000000000:cluster/default" {
		t.Errorf("no default cluster: %+v", missing)
	}
	first := must[api.ClusterResponse](w, "CreateCluster", m{"tags": []m{{"key": "a", "value": "b"}}}).Cluster
	again := must[api.ClusterResponse](w, "CreateCluster", m{"clusterName": "default"}).Cluster
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("creating a cluster again changes it: %s", diff)
	}
	out := must[api.DescribeClustersResponse](w, "DescribeClusters", m{"clusters": []string{first.ClusterARN, "other"}, "include": []string{"TAGS", "STATISTICS"}})
	if len(out.Clusters) != 1 || len(out.Clusters[0].Tags) != 1 || len(out.Clusters[0].Statistics) != 8 || len(out.Failures) != 1 {
		t.Errorf("describe: %+v", out)
	}
	wantError(t, w.try("CreateCluster", m{"clusterName": "no spaces"}, nil), "InvalidParameterException", "")
	wantError(t, w.try("DeleteCluster", m{"cluster": "other"}, nil), "ClusterNotFoundException", "Cluster not found.")
	w.host(1024, 1024)
	wantError(t, w.try("DeleteCluster", m{"cluster": "default"}, nil), "ClusterContainsContainerInstancesException",
		"The Cluster cannot be deleted while Container Instances are active or draining.")
}

func TestDefinitions(t *testing.T) {
	w := newWorld(t, "")
	must[api.ClusterResponse](w, "CreateCluster", m{})
	for range 3 {
		w.define("web", nil)
	}
	w.define("job", func(def, c m) { c["cpu"] = 0; def["tags"] = []m{{"key": "a", "value": "b"}} })
	describe := func(ref string) (int, error) {
		var out api.DescribeTaskDefinitionResponse
		err := w.try("DescribeTaskDefinition", m{"taskDefinition": ref}, &out)
		return out.TaskDefinition.Revision, err
	}
	for ref, want := range map[string]int{"web": 3, "web:2": 2, "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1": 1} {
		if got, err := describe(ref); err != nil || got != want {
			t.Errorf("describe %s: revision %d, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"web:9", "none", "web:x", "arn:aws:ecs:us-east-1:1:cluster/web", ""} {
		_, err := describe(ref)
		wantError(t, err, "ClientException", "Unable to describe task definition.")
	}
	must[api.DescribeTaskDefinitionResponse](w, "DeregisterTaskDefinition", m{"taskDefinition": "web:3"})
	if got, _ := describe("web"); got != 2 {
		t.Errorf("the newest active revision is %d, want 2", got)
	}
	wantError(t, w.try("RunTask", m{"taskDefinition": "web:3"}, nil), "ClientException", "TaskDefinition is inactive")
	wantError(t, w.try("DeregisterTaskDefinition", m{"taskDefinition": "web"}, nil), "ClientException", "")
	wantError(t, w.try("DeregisterTaskDefinition", m{"taskDefinition": "web:7"}, nil), "ClientException", "The specified task definition does not exist.")

	list := func(in m) string {
		var names []string
		for _, arn := range must[api.ListTaskDefinitionsResponse](w, "ListTaskDefinitions", in).TaskDefinitionARNs {
			names = append(names, arn[strings.LastIndexByte(arn, '/')+1:])
		}
		return strings.Join(names, " ")
	}
	for _, tt := range []struct {
		in   m
		want string
	}{
		{m{}, "job:1 web:1 web:2"}, {m{"sort": "DESC"}, "web:2 web:1 job:1"}, {m{"familyPrefix": "we"}, ""},
		{m{"familyPrefix": "web", "status": "INACTIVE"}, "web:3"},
	} {
		if got := list(tt.in); got != tt.want {
			t.Errorf("list %v: %q, want %q", tt.in, got, tt.want)
		}
	}
	out := must[api.DeleteTaskDefinitionsResponse](w, "DeleteTaskDefinitions", m{"taskDefinitions": []string{"web:3", "web:2", "web:8"}})
	if len(out.TaskDefinitions) != 1 || out.TaskDefinitions[0].Status != "DELETE_IN_PROGRESS" || len(out.Failures) != 2 {
		t.Errorf("delete: %+v", out)
	}
	if d := w.define("web", nil); d.Revision != 4 {
		t.Errorf("a revision was given out twice: %d", d.Revision)
	}
	families := must[api.ListTaskDefinitionFamiliesResponse](w, "ListTaskDefinitionFamilies", m{"familyPrefix": "w"}).Families
	if diff := cmp.Diff([]string{"web"}, families); diff != "" {
		t.Errorf("families: %s", diff)
	}
	// The first problem is the answer.
	wantError(t, w.try("RegisterTaskDefinition", m{"family": "web", "containerDefinitions": []m{{"name": "app", "image": "x"}}}, nil),
		"ClientException", "Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified.")
}

func TestInstances(t *testing.T) {
	w := newWorld(t, "")
	register := m{"cluster": "default", "totalResources": []m{{"name": "CPU", "integerValue": 1024}, {"name": "MEMORY", "integerValue": 512}}}
	// Agents create the default cluster after exactly this answer.
	wantError(t, w.try("RegisterContainerInstance", register, nil), "ClientException", "Cluster not found.")
	must[api.ClusterResponse](w, "CreateCluster", m{})
	wantError(t, w.try("RegisterContainerInstance", m{"cluster": "default"}, nil), "ClientException", "")

	register["clientToken"] = "token"
	register["attributes"] = []m{{"name": "stack", "value": "blue"}, {"name": "ecs.capability.external"}}
	first := must[api.ContainerInstanceResponse](w, "RegisterContainerInstance", register).ContainerInstance
	second := must[api.ContainerInstanceResponse](w, "RegisterContainerInstance", register).ContainerInstance
	if first.ContainerInstanceARN != second.ContainerInstanceARN {
		t.Error("a repeated registration makes a second instance")
	}
	want := []api.Attribute{{Name: "ecs.availability-zone", Value: "us-east-1a"}, {Name: "ecs.capability.external"}, {Name: "stack", Value: "blue"}}
	if diff := cmp.Diff(want, first.Attributes); diff != "" {
		t.Errorf("attributes: %s", diff)
	}

	arn := first.ContainerInstanceARN
	again := m{"cluster": "default", "containerInstanceArn": arn, "clientToken": "next boot", "totalResources": []m{
		{"name": "CPU", "integerValue": 2048}, {"name": "MEMORY", "integerValue": 512}, {"name": "PORTS", "stringSetValue": []string{"51678", "22"}}},
		"attributes": []m{{"name": "ecs.capability.full-sync"}}}
	got := must[api.ContainerInstanceResponse](w, "RegisterContainerInstance", again).ContainerInstance
	if got.ContainerInstanceARN != arn || got.RegisteredResources[0].IntegerValue != 2048 {
		t.Errorf("re-registration: %+v", got)
	}
	want = []api.Attribute{{Name: "ecs.availability-zone", Value: "us-east-1a"}, {Name: "ecs.capability.full-sync"}, {Name: "stack", Value: "blue"}}
	if diff := cmp.Diff(want, got.Attributes); diff != "" {
		t.Errorf("capabilities are replaced, attributes of users stay: %s", diff)
	}
	wantResources := []api.Resource{
		{Name: "CPU", Type: "INTEGER", IntegerValue: 2048}, {Name: "MEMORY", Type: "INTEGER", IntegerValue: 512},
		{Name: "PORTS", Type: "STRINGSET", StringSetValue: []string{"22", "51678"}}, {Name: "PORTS_UDP", Type: "STRINGSET", StringSetValue: []string{}}}
	if diff := cmp.Diff(wantResources, got.RemainingResources); diff != "" {
		t.Errorf("resources: %s", diff)
	}
	again["containerInstanceArn"] = "arn:aws:ecs:us-east-1:000000000000:container-instance/default/" + strings.Repeat("0", 32)
	again["clientToken"] = "other"
	wantError(t, w.try("RegisterContainerInstance", again, nil), "ClientException", "")

	endpoint := must[api.DiscoverPollEndpointResponse](w, "DiscoverPollEndpoint", m{"containerInstance": arn, "cluster": "default", "zoneId": ""})
	if endpoint.Endpoint != w.http.URL+"/" || endpoint.TelemetryEndpoint != w.http.URL+"/" {
		t.Errorf("endpoints: %+v", endpoint)
	}

	out := must[api.ContainerInstancesResponse](w, "DescribeContainerInstances", m{"containerInstances": []string{arn, strings.Repeat("1", 32)}})
	if len(out.ContainerInstances) != 1 || len(out.Failures) != 1 || out.Failures[0].Reason != "MISSING" {
		t.Errorf("describe: %+v", out)
	}
	wantError(t, w.try("DescribeContainerInstances", m{"containerInstances": []string{}}, nil), "InvalidParameterException", "Container instance cannot be empty.")
	must[api.ClusterResponse](w, "CreateCluster", m{"clusterName": "other"})
	wantError(t, w.try("DescribeContainerInstances", m{"cluster": "other", "containerInstances": []string{arn}}, nil),
		"InvalidParameterException", "Identifier is for cluster default. Your cluster is other")
}

func TestReregistrationMustHoldTheTasks(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	w.run("web") // 256 CPU units, 128 MiB
	offer := func(cpu, memory int) error {
		return w.try("RegisterContainerInstance", m{"cluster": "default", "containerInstanceArn": host, "totalResources": []m{
			{"name": "CPU", "integerValue": cpu}, {"name": "MEMORY", "integerValue": memory}}}, nil)
	}
	if err := offer(256, 128); err != nil {
		t.Errorf("what the tasks use is enough: %v", err)
	}
	err := offer(255, 128)
	wantError(t, err, "ClientException", "")
	if !strings.Contains(err.Error(), "Container instance type changes are not supported.") {
		t.Errorf("agents know the refusal by its text: %v", err)
	}
}

func TestFilters(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	other := w.host(512, 512, func(in m) { in["attributes"] = append(in["attributes"].([]m), m{"name": "stack", "value": "blue"}) })
	must[api.ContainerInstancesResponse](w, "UpdateContainerInstancesState", m{"containerInstances": []string{other}, "status": "DRAINING"})
	for _, tt := range []struct {
		in   m
		want int
	}{
		{m{}, 2}, {m{"status": "ACTIVE"}, 1}, {m{"status": "DRAINING"}, 1}, {m{"filter": "attribute:stack == blue"}, 1},
		{m{"filter": "runningTasksCount == 0 and agentConnected == true"}, 2}, {m{"filter": "attribute:stack exists", "status": "ACTIVE"}, 0},
	} {
		if got := must[api.ListContainerInstancesResponse](w, "ListContainerInstances", tt.in).ContainerInstanceARNs; len(got) != tt.want {
			t.Errorf("list %v: %d, want %d", tt.in, len(got), tt.want)
		}
	}
	wantError(t, w.try("ListContainerInstances", m{"filter": "stack == blue"}, nil), "InvalidParameterException", "")

	one := w.run("web")
	w.clock.add(time.Second)
	w.define("job", nil)
	two := must[api.TasksResponse](w, "RunTask", m{"taskDefinition": "job", "startedBy": "me"}).Tasks[0]
	must[api.StopTaskResponse](w, "StopTask", m{"task": two.TaskARN})
	for _, tt := range []struct {
		in   m
		want []string
	}{
		{m{}, []string{one.TaskARN}}, {m{"desiredStatus": "STOPPED"}, []string{two.TaskARN}}, {m{"desiredStatus": "PENDING"}, []string{}},
		{m{"family": "job", "desiredStatus": "STOPPED"}, []string{two.TaskARN}}, {m{"family": "job"}, []string{}},
		{m{"startedBy": "me", "desiredStatus": "STOPPED"}, []string{two.TaskARN}}, {m{"startedBy": "you"}, []string{}},
		{m{"containerInstance": host}, []string{one.TaskARN}}, {m{"containerInstance": other}, []string{}}, {m{"launchType": "FARGATE"}, []string{}},
	} {
		if diff := cmp.Diff(tt.want, must[api.ListTasksResponse](w, "ListTasks", tt.in).TaskARNs); diff != "" {
			t.Errorf("list %v: %s", tt.in, diff)
		}
	}
	wantError(t, w.try("ListTasks", m{"serviceName": "x"}, nil), "ServiceNotFoundException", "Service not found.")
	wantError(t, w.try("ListTasks", m{"desiredStatus": "x"}, nil), "InvalidParameterException", "")
}

func TestAttributesAndTags(t *testing.T) {
	w := newWorld(t, "")
	host := w.ready()
	put := func(name string) error {
		return w.try("PutAttributes", m{"attributes": []m{{"name": name, "value": "v", "targetType": "container-instance", "targetId": host}}}, nil)
	}
	if err := put("stack"); err != nil {
		t.Fatal(err)
	}
	wantError(t, put("no spaces"), "InvalidParameterException", "")
	wantError(t, w.try("PutAttributes", m{"attributes": []m{{"name": "x", "targetId": strings.Repeat("0", 32)}}}, nil), "TargetNotFoundException", "")
	list := func() int {
		return len(must[api.ListAttributesResponse](w, "ListAttributes", m{"targetType": "container-instance", "attributeName": "stack"}).Attributes)
	}
	if list() != 1 {
		t.Error("the attribute is not listed")
	}
	must[api.AttributesResponse](w, "DeleteAttributes", m{"attributes": []m{{"name": "stack", "value": "other", "targetId": host}}})
	if list() != 1 {
		t.Error("an attribute with another value was deleted")
	}
	must[api.AttributesResponse](w, "DeleteAttributes", m{"attributes": []m{{"name": "stack", "targetId": host}}})
	if list() != 0 {
		t.Error("the attribute is still listed")
	}

	task := w.run("web").TaskARN
	for _, arn := range []string{host, task, "arn:aws:ecs:us-east-1:000000000000:cluster/default", "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1"} {
		must[api.Empty](w, "TagResource", m{"resourceArn": arn, "tags": []m{{"key": "a", "value": "1"}, {"key": "b", "value": "2"}}})
		must[api.Empty](w, "TagResource", m{"resourceArn": arn, "tags": []m{{"key": "a", "value": "3"}}})
		must[api.Empty](w, "UntagResource", m{"resourceArn": arn, "tagKeys": []string{"b"}})
		got := must[api.ListTagsForResourceResponse](w, "ListTagsForResource", m{"resourceArn": arn}).Tags
		if diff := cmp.Diff([]api.Tag{{Key: "a", Value: "3"}}, got); diff != "" {
			t.Errorf("%s: %s", arn, diff)
		}
	}
	wantError(t, w.try("TagResource", m{"resourceArn": host, "tags": []m{{"key": "aws:x", "value": ""}}}, nil), "InvalidParameterException", "")
	wantError(t, w.try("ListTagsForResource", m{"resourceArn": "x"}, nil), "InvalidParameterException", "")
	wantError(t, w.try("ListTagsForResource", m{"resourceArn": "arn:aws:ecs:us-east-1:0:cluster/none"}, nil), "ClusterNotFoundException", "")
}

func TestProtection(t *testing.T) {
	w := newWorld(t, "")
	w.ready()
	task := w.run("web").TaskARN
	get := func() []api.ProtectedTask {
		return must[api.TaskProtectionResponse](w, "GetTaskProtection", m{"cluster": "default"}).ProtectedTasks
	}
	if len(get()) != 0 {
		t.Error("protected without having asked")
	}
	out := must[api.TaskProtectionResponse](w, "UpdateTaskProtection", m{"cluster": "default", "tasks": []string{task, strings.Repeat("0", 32)}, "protectionEnabled": true, "expiresInMinutes": 5})
	if len(out.ProtectedTasks) != 1 || !out.ProtectedTasks[0].ExpirationDate.Equal(w.clock.Now().Add(5*time.Minute)) || len(out.Failures) != 1 {
		t.Errorf("update: %+v", out)
	}
	w.clock.add(5*time.Minute - time.Millisecond)
	if len(get()) != 1 {
		t.Error("protection ends early")
	}
	w.clock.add(time.Millisecond)
	if len(get()) != 0 {
		t.Error("protection does not end")
	}
	wantError(t, w.try("UpdateTaskProtection", m{"cluster": "default", "tasks": []string{task}}, nil), "InvalidParameterException", "")
}
