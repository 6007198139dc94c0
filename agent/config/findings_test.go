package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The findings of the lines of an ecs.config file, each without its place.
func TestFindingsOfAnEnvFile(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"# comment\n; comment\n\n  \n\r\nECS_CLUSTER=prod\r\n", nil},
		{"\ufeffECS_CLUSTER=prod", nil},
		{`ECS_CLUSTER = "prod" `, nil},
		{"export ECS_CLUSTER=prod", []string{`notice 1: ECS_CLUSTER: has "export" before it, which other readers of this file do not accept (want NAME=VALUE)`}},
		{"ECS_CLUSTER", []string{"warning 1: ECS_CLUSTER: the line has no '=' and is left out (want NAME=VALUE)"}},
		{"the secret", []string{"warning 1: the: the line has no '=' and is left out (want NAME=VALUE)"}},
		{"{secret}", []string{"warning 1: the line has no '=' and is left out (want NAME=VALUE)"}},
		{"ECS CLUSTER=x", []string{`warning 1: "ECS CLUSTER" is not a variable name, the line is left out (want letters, digits and _, no digit first)`}},
		{"ECS_CLUSTER=a\nECS_CLUSTER=b", []string{"warning 1: ECS_CLUSTER: is set again on line 2, which wins"}},
		{"ECS_CLUSTR=prod", []string{"warning 1: ECS_CLUSTR: is not a known setting (want ECS_CLUSTER)"}},
		{"ESC_CLUSTER=prod", []string{"warning 1: ESC_CLUSTER: is not a known setting (want ECS_CLUSTER)"}},
		{"ecs_cluster=prod", []string{"warning 1: ecs_cluster: is not a known setting (want ECS_CLUSTER)"}},
		{"ECS_NOTHING_LIKE_IT=1", []string{"warning 1: ECS_NOTHING_LIKE_IT: is not a known setting"}},
		{"TZ=UTC\nGODEBUG=x\nLANG=C\nAWS_SDK_UA_APP_ID=x\nPATH=/bin", nil},
		{"ECS_CONTAINER_METADATA_URI_V4=x\nZZZ_SKIP_DOMAIN_JOIN_CHECK_NOT_SUPPORTED_IN_PRODUCTION=1", nil},
		{"ECS_POLL_METRICS_WAIT_DURATION=5s", []string{"notice 1: ECS_POLL_METRICS_WAIT_DURATION: has no effect: ECS_POLLING_METRICS_WAIT_DURATION is the variable that is read"}},
		{"ECS_LOG_OPTS={}", []string{"notice 1: ECS_LOG_OPTS: has no effect: the agent is no container, or one that ecs-init makes as it must be"}},
		{"ECS_OFFHOST_INTROSPECTION_INTERFACE_NAME=eth0", []string{"notice 1: ECS_OFFHOST_INTROSPECTION_INTERFACE_NAME: has no effect: all interfaces but loopback and the Docker bridge are protected"}},
		{"AWS_REGION=eu-west-1", []string{"notice 1: AWS_REGION: has no effect: AWS_DEFAULT_REGION is the variable that is read"}},
		{"ECS_CONFIG_FILE=/x", []string{"notice 1: ECS_CONFIG_FILE: has no effect in a file (want it in the process environment)"}},
		{`ECS_CLUSTER="prod`, []string{
			"notice 1: ECS_CLUSTER: has a quote at one end only, which is part of the value",
			`warning 1: ECS_CLUSTER: "prod is not a cluster (want 1 to 255 letters, digits, - and _, or a cluster's ARN)`,
		}},
		{`ECS_DATADIR="/x "`, []string{"notice 1: ECS_DATADIR: has blanks just inside its quotes, which are part of the value"}},
		{"ECS_DATADIR=/x # mine", []string{"notice 1: ECS_DATADIR: has a # in its value; a comment must have its own line"}},
		{"ECS_DATADIR=${HOME}/x", []string{"notice 1: ECS_DATADIR: has a $ expression in its value, which is not expanded"}},
		{"ECS_CONTAINER_STOP_TIMEOUT=30", []string{`warning 1: ECS_CONTAINER_STOP_TIMEOUT: "30" is a number without a unit; write 30s if seconds are meant; the default 30s is used (want a duration such as "90s" or "1h30m")`}},
		{"ECS_CONTAINER_STOP_TIMEOUT=-5s", []string{"warning 1: ECS_CONTAINER_STOP_TIMEOUT: -5s is below 1s; the limit 1s is used (want at least 1s)"}},
		{"ECS_CONTAINER_STOP_TIMEOUT=0", []string{`warning 1: ECS_CONTAINER_STOP_TIMEOUT: "0" means not set; the default 30s is used (want a duration such as "90s" or "1h30m")`}},
		{"ECS_IMAGE_CLEANUP_INTERVAL=5m", []string{"warning 1: ECS_IMAGE_CLEANUP_INTERVAL: 5m is below 10m; the default 30m is used (want at least 10m)"}},
		{"ECS_CGROUP_CPU_PERIOD=200ms", []string{"warning 1: ECS_CGROUP_CPU_PERIOD: 200ms is above 100ms; the default 100ms is used (want from 8ms to 100ms)"}},
		{"ECS_NUM_IMAGES_DELETE_PER_CYCLE=0", []string{"warning 1: ECS_NUM_IMAGES_DELETE_PER_CYCLE: 0 is below 1; the default 5 is used (want at least 1)"}},
		{"ECS_RESERVED_MEMORY=70000", []string{`warning 1: ECS_RESERVED_MEMORY: "70000" is not between 0 and 65535; the default 0 is used (want a whole number of MiB from 0 to 65535)`}},
		{"ECS_RESERVED_PORTS=[25, 80000]", []string{`warning 1: ECS_RESERVED_PORTS: "[25, 80000]" has element 2, 80000, which is not a port from 0 to 65535; the whole list is left out; the default [22,2375,2376,51678,51679] is used (want a JSON array of ports such as [22,8080])`}},
		{"ECS_RESERVED_PORTS=[]", []string{`warning 1: ECS_RESERVED_PORTS: "[]" means not set; the default [22,2375,2376,51678,51679] is used (want a JSON array of ports such as [22,8080])`}},
		{"ECS_RESERVED_PORTS_UDP=[]", nil},
		{"ECS_RESERVED_PORTS=[22] [23]", []string{`notice 1: ECS_RESERVED_PORTS: "[22] [23]" has text after the JSON value, which is ignored (want a JSON array of ports such as [22,8080])`}},
		{`ECS_INSTANCE_ATTRIBUTES="{\"a\":\"b\"}"`, []string{`fatal 1: ECS_INSTANCE_ATTRIBUTES: {\"a\":\"b\"} is not JSON; backslashes are not removed, write plain quotes (want a JSON object of strings such as {"stack":"prod"})`}},
		{`ECS_INSTANCE_ATTRIBUTES={"a b":"c","d":""}`, []string{
			`warning 1: ECS_INSTANCE_ATTRIBUTES: has attribute name "a b", which ECS refuses (want 1 to 128 letters, digits and -_/\.)`,
			`warning 1: ECS_INSTANCE_ATTRIBUTES: has value "" for "d", which ECS refuses (want 1 to 128 letters, digits, inner blanks and -_.@/\:)`,
		}},
		{`ECS_CONTAINER_INSTANCE_TAGS={"a":"1","a":"2"}`, []string{`notice 1: ECS_CONTAINER_INSTANCE_TAGS: {"a":"1","a":"2"} has member "a" twice; the last one is used (want a JSON object of strings such as {"stack":"prod"})`}},
		{`ECS_CONTAINER_INSTANCE_TAGS={"aws:x":"1"}`, []string{`warning 1: ECS_CONTAINER_INSTANCE_TAGS: has tag key "aws:x", whose prefix ECS reserves (want a key that does not begin with aws:)`}},
		{`ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES=["10.0.0.0"]`, []string{`fatal 1: ECS_AWSVPC_ADDITIONAL_LOCAL_ROUTES: ["10.0.0.0"] has element 1, "10.0.0.0", which is not a CIDR block (want a JSON array of CIDR blocks such as ["10.0.0.0/16"])`}},
		{`ECS_AVAILABLE_LOGGING_DRIVERS=["json-fil","none"]`, []string{`fatal 1: ECS_AVAILABLE_LOGGING_DRIVERS: names unknown log drivers: "json-fil" (want drivers out of awsfirelens, awslogs, fluentd, gelf, journald, json-file, logentries, none, splunk, sumologic, syslog)`}},
		{"ECS_POLL_METRICS=yes", []string{`warning 1: ECS_POLL_METRICS: "yes" is not a boolean; the default false is used (want true or false)`}},
		{"ECS_POLL_METRICS=on\nECS_POLLING_METRICS_WAIT_DURATION=15s", []string{
			`warning 1: ECS_POLL_METRICS: "on" is not a boolean; the default false is used (want true or false)`,
		}},
		{"ECS_DISABLE_METRICS=1\nECS_POLLING_METRICS_WAIT_DURATION=15s", []string{
			"notice 2: ECS_POLLING_METRICS_WAIT_DURATION: has an effect only if ECS_DISABLE_METRICS is off",
		}},
		{"ECS_POLL_METRICS=1\nECS_POLLING_METRICS_WAIT_DURATION=1m", []string{"warning 2: ECS_POLLING_METRICS_WAIT_DURATION: 1m is above 20s; the limit 20s is used (want from 5s to 20s)"}},
		{"ECS_IMAGE_PULL_BEHAVIOR=Always", []string{`warning 1: ECS_IMAGE_PULL_BEHAVIOR: "Always" is not a known word; the default default is used (want default, always, once or prefer-cached)`}},
		{"ECS_LOG_ROLLOVER_TYPE=daily", []string{`notice 1: ECS_LOG_ROLLOVER_TYPE: "daily" is not a known word; rotation is hourly (want size, hourly or none)`}},
		{"ECS_LOG_MAX_FILE_SIZE_MB=NaN", []string{`warning 1: ECS_LOG_MAX_FILE_SIZE_MB: "NaN" is not a number above 0; the default 5 is used (want a number above 0)`}},
		{"ECS_ENABLE_PROMETHEUS_METRICS=true", nil},
		{"ECS_ENGINE_AUTH_TYPE=basic", []string{`warning 1: ECS_ENGINE_AUTH_TYPE: "basic" is not a known kind; registries are used without authentication (want docker or dockercfg)`}},
		{"ECS_ENGINE_AUTH_TYPE=docker", []string{"notice 1: ECS_ENGINE_AUTH_TYPE: has no effect without ECS_ENGINE_AUTH_DATA"}},
		{`ECS_ENGINE_AUTH_DATA={"r":{}}`, []string{"notice 1: ECS_ENGINE_AUTH_DATA: has an effect only if ECS_ENGINE_AUTH_TYPE is set"}},
		{"ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA={\"r\":{\"username\":\"u\",\"password\":\"p\"}}", nil},
		{"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={\"r\":{\"auth\":\"dTpw\"}}", nil},
		{"ECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={\"r\":{\"auth\":\"hunter2\"}}", []string{`warning 2: ECS_ENGINE_AUTH_DATA: has an auth that is not base64 of user:password; registries are used without authentication (want {"REGISTRY":{"auth":"…"}})`}},
		{"ECS_ENGINE_AUTH_TYPE=docker\nECS_ENGINE_AUTH_DATA=hunter2", []string{
			"notice 1: ECS_ENGINE_AUTH_TYPE: has no effect without ECS_ENGINE_AUTH_DATA",
			"warning 2: ECS_ENGINE_AUTH_DATA: the value is not a JSON object; the default is used (want a JSON object keyed by registry)",
		}},
		{"AWS_DEFAULT_REGION=us-east-1a", []string{`warning 1: AWS_DEFAULT_REGION: "us-east-1a" does not look like a region (want us-east-1)`}},
		{"DOCKER_HOST=/var/run/docker.sock", []string{`warning 1: DOCKER_HOST: "/var/run/docker.sock" is not a Docker endpoint (want unix://PATH, npipe://PATH or tcp://HOST:PORT)`}},
		{"HTTPS_PROXY=ftp://u:hunter2@h", []string{"warning 1: HTTPS_PROXY: is not a proxy address (want http://HOST:PORT, https://HOST:PORT, socks5://HOST:PORT or HOST:PORT)"}},
		{"https_proxy=proxy:3128", nil},
		{"HTTP_PROXY=proxy:3128\nREQUEST_METHOD=GET", []string{"notice 2: REQUEST_METHOD: is set, so requests that would use HTTP_PROXY fail (want it unset)"}},
		{"ECS_TASK_METADATA_RPS_LIMIT=40", []string{`warning 1: ECS_TASK_METADATA_RPS_LIMIT: "40" is not two whole numbers; the default 40,60 is used (want two whole numbers above 0 such as "40,60")`}},
		{"ECS_DYNAMIC_HOST_PORT_RANGE=9-8", []string{`warning 1: ECS_DYNAMIC_HOST_PORT_RANGE: "9-8" starts after its end; the default is used (want a port range such as "49153-65535")`}},
		{"ECS_ENABLE_TASK_ENI=false\nECS_ENABLE_HIGH_DENSITY_ENI=true\nECS_AWSVPC_BLOCK_IMDS=true", []string{
			"notice 2: ECS_ENABLE_HIGH_DENSITY_ENI: has no effect: ECS_ENABLE_TASK_ENI is off",
			"notice 3: ECS_AWSVPC_BLOCK_IMDS: has an effect only if ECS_ENABLE_TASK_ENI is on",
		}},
		{"ECS_INTROSPECTION_ADDRESS=51678", []string{`warning 1: ECS_INTROSPECTION_ADDRESS: "51678" is not a listen address; the default 127.0.0.1:51678 is used (want HOST:PORT or :PORT)`}},
		{"ECS_ENABLE_CPU_UNBOUNDED_WINDOWS_WORKAROUND=true", []string{"notice 1: ECS_ENABLE_CPU_UNBOUNDED_WINDOWS_WORKAROUND: has no effect on linux"}},
		{"ECS_CLUSTER=a\x00b", []string{"warning 1: ECS_CLUSTER: has a NUL byte in its value, the line is left out (want text)"}},
	} {
		_, findings, err := Load(context.Background(), host{files: map[string]string{userFile: test.text}}.sources())
		got := lines(findings)
		for i := range got {
			got[i] = strings.Replace(got[i], userFile+":", "", 1)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q:\n%s", test.text, diff)
		}
		if fatal := strings.Contains(strings.Join(got, "\n"), "fatal"); fatal != (err != nil) {
			t.Errorf("%q: error %v", test.text, err)
		}
	}
}

func TestFindingsOfTheEnvironment(t *testing.T) {
	_, findings := load(t, host{env: []string{
		`ECS_CLUSTER="prod"`, "ECS_DATADIR=/x ", "ECS_CLUSTR=x", "CLUSTR=x", "AWS_REGION=us-west-2", "ECS_CONTAINER_STOP_TIMEOUT= 30s", "ECS_POLL_METRICS= true ", "ECS_RESERVED_MEMORY= 5",
	}})
	want := []string{
		`warning environment: ECS_CLUSTR: is not a known setting (want ECS_CLUSTER)`,
		`notice environment: ECS_CLUSTER: has quotes around its value, which are part of it`,
		`warning environment: ECS_RESERVED_MEMORY: " 5" is not a whole number; the default 0 is used (want a whole number of MiB from 0 to 65535)`,
		`notice environment: ECS_DATADIR: has blanks around its value, which are part of it`,
		`warning environment: ECS_CONTAINER_STOP_TIMEOUT: " 30s" is not a duration; the default 30s is used (want a duration such as "90s" or "1h30m")`,
		`warning environment: ECS_CLUSTER: "prod" is not a cluster (want 1 to 255 letters, digits, - and _, or a cluster's ARN)`,
	}
	if diff := cmp.Diff(want, findings); diff != "" {
		t.Error(diff)
	}
}

func TestFindingsOfJSON(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{" \n", nil},
		{"null", nil},
		{"\ufeff{}", nil},
		{`{"Cluster":null,"DockerStopTimeout":30000000000,"ImagePullBehavior":3,"PollMetrics":true,"InstanceAttributes":{"a":"b"}}`, nil},
		{`[]`, []string{"fatal /etc/ecs/ecs.config.json: is not a JSON object (want a JSON object)"}},
		{"{\n\n\"Cluster\" \"x\"}", []string{"fatal /etc/ecs/ecs.config.json:3: is not JSON: invalid character '\"' after object key (want a JSON object)"}},
		{`{} {}`, []string{"fatal /etc/ecs/ecs.config.json:1: is not JSON: invalid character '{' after top-level value (want a JSON object)"}},
		{"{\n\"Clustr\": \"x\"}", []string{"warning /etc/ecs/ecs.config.json:2: Clustr: is not a known setting (want Cluster)"}},
		{`{"ECS_CLUSTER": "x"}`, []string{"warning /etc/ecs/ecs.config.json:1: ECS_CLUSTER: is a variable, not a JSON member (want Cluster)"}},
		{`{"EBSTASupportEnabled": true}`, []string{"notice /etc/ecs/ecs.config.json:1: EBSTASupportEnabled: has no effect in JSON (want ECS_EBSTA_SUPPORTED in the environment)"}},
		{`{"ClusterArn": "x"}`, []string{"notice /etc/ecs/ecs.config.json:1: ClusterArn: is an old name (want Cluster)"}},
		{"{\"Cluster\": \"a\",\n\"cluster\": \"b\"}", []string{"warning /etc/ecs/ecs.config.json:1: cluster: is set again at /etc/ecs/ecs.config.json:2, which wins"}},
		{`{"DockerStopTimeout":"30s"}`, []string{`fatal /etc/ecs/ecs.config.json:1: DockerStopTimeout: "30s" is not a JSON integer; durations are in nanoseconds here`}},
		{`{"DockerStopTimeout":30}`, []string{"warning /etc/ecs/ecs.config.json:1: DockerStopTimeout: 30ns is below 1s; the limit 1s is used (want at least 1s)"}},
		{`{"PollMetrics":"true"}`, []string{`fatal /etc/ecs/ecs.config.json:1: PollMetrics: "true" is not a JSON boolean`}},
		{`{"ImagePullBehavior":"always"}`, []string{`fatal /etc/ecs/ecs.config.json:1: ImagePullBehavior: "always" is not a JSON integer from 0 to 3 (default, always, once, prefer-cached)`}},
		{`{"EngineAuthType":"docker","EngineAuthData":"hunter2"}`, []string{
			"notice /etc/ecs/ecs.config.json:1: ECS_ENGINE_AUTH_TYPE: has no effect without ECS_ENGINE_AUTH_DATA",
			"fatal /etc/ecs/ecs.config.json:1: EngineAuthData: the value is not a JSON object",
		}},
		{`{"TaskMetadataBurstRate":0}`, []string{"warning /etc/ecs/ecs.config.json:1: TaskMetadataBurstRate: 0 is below 1; the default 60 is used (want at least 1)"}},
	} {
		_, findings, err := Load(context.Background(), host{files: map[string]string{jsonFile: test.text}}.sources())
		got := lines(findings)
		if diff := cmp.Diff(sorted(test.want), sorted(got)); diff != "" {
			t.Errorf("%s:\n%s", test.text, diff)
		}
		if fatal := strings.Contains(strings.Join(got, "\n"), "fatal"); fatal != (err != nil) {
			t.Errorf("%s: error %v", test.text, err)
		}
	}
}

func sorted(list []string) map[string]int {
	m := map[string]int{}
	for _, s := range list {
		m[s]++
	}
	return m
}

func TestUserData(t *testing.T) {
	for _, test := range []struct {
		data, cluster string
		findings      int
	}{
		{"#!/bin/sh\necho", "", 0},
		{"", "", 0},
		{`{"other":1}`, "", 0},
		{`{"ECSAgentConfiguration":null}`, "", 0},
		{`{"ECSAgentConfiguration":{"Cluster":"prod"}}`, "prod", 0},
		{`{"ECSAgentConfiguration":{"Cluster":5,"ReservedMemory":7}}`, "", 1},
		{`{"ECSAgentConfiguration":[]}`, "", 1},
		{`{"ECSAgentConfiguration":{"Clustr":"x"}}`, "", 1},
	} {
		c, findings := load(t, host{userData: test.data})
		if c.Cluster != test.cluster || len(findings) != test.findings {
			t.Errorf("%s: %q, %q", test.data, c.Cluster, findings)
		}
	}
	_, findings := load(t, host{env: []string{"AWS_DEFAULT_REGION=eu-west-1"}, imdsErr: errors.New("timed out")})
	if diff := cmp.Diff([]string{"warning EC2 user data: cannot be read and is left out: timed out"}, findings); diff != "" {
		t.Error(diff)
	}
}

func TestJSONAliasYieldsToTheRealName(t *testing.T) {
	for _, text := range []string{`{"ClusterArn":"old","Cluster":"new"}`, `{"Cluster":"new","ClusterArn":"old"}`} {
		if c, _ := load(t, host{files: map[string]string{jsonFile: text}}); c.Cluster != "new" {
			t.Errorf("%s: %q", text, c.Cluster)
		}
	}
}

func TestRateLimitSources(t *testing.T) {
	json := map[string]string{jsonFile: `{"TaskMetadataSteadyStateRate":5,"TaskMetadataBurstRate":6}`}
	if c, _ := load(t, host{files: json}); c.TaskMetadataRate != (RateLimit{5, 6}) {
		t.Errorf("JSON: %v", c.TaskMetadataRate)
	}
	c, findings := load(t, host{files: json, env: []string{"ECS_TASK_METADATA_RPS_LIMIT= 7 , 8 "}})
	if c.TaskMetadataRate != (RateLimit{7, 8}) || len(findings) != 2 {
		t.Errorf("environment: %v, %q", c.TaskMetadataRate, findings)
	}
}

func TestUnreadableFiles(t *testing.T) {
	for _, test := range []struct {
		path  string
		err   error
		fatal bool
	}{
		{userFile, fs.ErrPermission, false},
		{userFile, errors.New("input/output error"), false},
		{jsonFile, fs.ErrPermission, false},
		{jsonFile, errors.New("input/output error"), true},
	} {
		src := host{}.sources()
		read := src.ReadFile
		src.ReadFile = func(path string) ([]byte, error) {
			if path == test.path {
				return nil, fmt.Errorf("open %s: %w", path, test.err)
			}
			return read(path)
		}
		_, findings, err := Load(context.Background(), src)
		if len(findings) != 1 || (err != nil) != test.fatal {
			t.Errorf("%s, %v: %q, %v", test.path, test.err, lines(findings), err)
		}
	}
	big := strings.Repeat("#", maxFileBytes+1)
	if _, findings, err := Load(context.Background(), host{files: map[string]string{userFile: big}}.sources()); len(findings) != 1 || err != nil {
		t.Errorf("large env file: %q, %v", lines(findings), err)
	}
	if _, _, err := Load(context.Background(), host{files: map[string]string{jsonFile: big}}.sources()); err == nil {
		t.Error("large JSON file accepted")
	}
}

func TestFindingsAreBounded(t *testing.T) {
	var env, doc strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&env, "ECS_CLUSTR%d=x\n", i)
		fmt.Fprintf(&doc, ",\n\"Clustr%d\":1", i)
	}
	_, findings, err := Load(context.Background(), host{files: map[string]string{
		userFile: env.String() + "ECS_INSTANCE_ATTRIBUTES={", jsonFile: "{" + strings.TrimPrefix(doc.String(), ",") + "}",
	}}.sources())
	if len(findings) != maxFindings+2 || err == nil {
		t.Errorf("%d findings, error %v", len(findings), err)
	}
}
