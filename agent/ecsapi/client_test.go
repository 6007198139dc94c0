package ecsapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv/awsenvtest"
	"ecsagent/agent/ecsapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const agent = "Amazon ECS Agent - v1.2.3 (abcd) (linux) (+http://aws.amazon.com/ecs/)"

// service answers every call with one reply and remembers the request.
type service struct {
	status int
	header map[string]string
	reply  string

	calls   int
	request *http.Request
	body    string
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.calls, s.request, s.body = s.calls+1, r, string(body)
	if err := awsenvtest.VerifySigV4(r, body, "us-west-2", "ecs"); err != nil {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"__type":"InvalidSignatureException","message":"`+err.Error()+`"}`)
		return
	}
	for k, v := range s.header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(s.status)
	_, _ = io.WriteString(w, s.reply)
}

func newClient(t *testing.T, s *service, token string) *ecsapi.Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return ecsapi.New(ecsapi.Options{
		Endpoint: server.URL, Region: "us-west-2", Credentials: awsenvtest.Credentials(token), HTTPClient: client,
		UserAgent: agent, Log: zap.NewNop(),
	}).With(ecsapi.Backoff(func(int) time.Duration { return 0 }))
}

func ptr[T any](v T) *T { return &v }

// The bodies are written out, so that a renamed member or a changed rule about
// absence shows.
func TestOperationsOnTheWire(t *testing.T) {
	moment := ecsapi.At(time.UnixMilli(1735787045123).Add(999 * time.Microsecond))
	tests := []struct {
		operation, body, reply string
		call                   func(context.Context, *ecsapi.Client) (any, error)
		want                   any
	}{
		{
			"RegisterContainerInstance",
			`{"attributes":[{"name":"stack","value":"blue"},{"name":"ecs.capability.full-sync"}],"clientToken":"tok","cluster":"prod",` +
				`"instanceIdentityDocument":"","instanceIdentityDocumentSignature":"","totalResources":[` +
				`{"name":"CPU","type":"INTEGER","integerValue":4096},{"name":"MEMORY","type":"INTEGER"},` +
				`{"name":"PORTS","type":"STRINGSET","stringSetValue":["22"]},{"name":"PORTS_UDP","type":"STRINGSET","stringSetValue":[]}]}`,
			`{"containerInstance":{"containerInstanceArn":"arn:ci","status":"ACTIVE","unknown":1,"attributes":[{"name":"ecs.availability-zone","value":"us-west-2a"}]}}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.RegisterContainerInstance(ctx, &ecsapi.RegisterContainerInstanceInput{
					Cluster: "prod", ClientToken: "tok", Attributes: []ecsapi.Attribute{{Name: "stack", Value: "blue"}, {Name: "ecs.capability.full-sync"}},
					TotalResources: []ecsapi.Resource{
						{Name: "CPU", Type: "INTEGER", IntegerValue: 4096}, {Name: "MEMORY", Type: "INTEGER"},
						{Name: "PORTS", Type: "STRINGSET", StringSetValue: []string{"22"}}, {Name: "PORTS_UDP", Type: "STRINGSET", StringSetValue: []string{}},
					},
				})
			},
			&ecsapi.RegisterContainerInstanceOutput{ContainerInstance: &ecsapi.ContainerInstance{
				ContainerInstanceARN: "arn:ci", Status: "ACTIVE", Attributes: []ecsapi.Attribute{{Name: "ecs.availability-zone", Value: "us-west-2a"}},
			}},
		},
		{
			"RegisterContainerInstance",
			`{"attributes":[],"clientToken":"tok","cluster":"prod","containerInstanceArn":"arn:ci","instanceIdentityDocument":"{\n}",` +
				`"instanceIdentityDocumentSignature":"MEUC","platformDevices":[{"id":"GPU-1","type":"GPU"}],"tags":[{"key":"k","value":""}],"totalResources":[]}`,
			`{}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.RegisterContainerInstance(ctx, &ecsapi.RegisterContainerInstanceInput{
					Cluster: "prod", ClientToken: "tok", ContainerInstanceARN: "arn:ci", InstanceIdentityDocument: "{\n}",
					InstanceIdentityDocumentSignature: "MEUC", PlatformDevices: []ecsapi.PlatformDevice{{ID: "GPU-1", Type: "GPU"}},
					Tags: []ecsapi.Tag{{Key: "k"}}, Attributes: []ecsapi.Attribute{}, TotalResources: []ecsapi.Resource{},
				})
			},
			&ecsapi.RegisterContainerInstanceOutput{},
		},
		{
			"CreateCluster", `{"clusterName":"default"}`, `{"cluster":{"clusterName":"default","clusterArn":"arn:c","status":"ACTIVE"}}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.CreateCluster(ctx, &ecsapi.CreateClusterInput{ClusterName: "default"})
			},
			&ecsapi.CreateClusterOutput{Cluster: &ecsapi.Cluster{ClusterName: "default", ClusterARN: "arn:c", Status: "ACTIVE"}},
		},
		{
			"DiscoverPollEndpoint", `{"cluster":"prod","containerInstance":"arn:ci","zoneId":""}`,
			`{"endpoint":"https://a","telemetryEndpoint":"https://t","serviceConnectEndpoint":"https://s","systemLogsEndpoint":"https://l"}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.DiscoverPollEndpoint(ctx, &ecsapi.DiscoverPollEndpointInput{Cluster: "prod", ContainerInstance: "arn:ci"})
			},
			&ecsapi.DiscoverPollEndpointOutput{Endpoint: "https://a", TelemetryEndpoint: "https://t", ServiceConnectEndpoint: "https://s", SystemLogsEndpoint: "https://l"},
		},
		{
			"SubmitTaskStateChange",
			`{"cluster":"prod","containers":[{"containerName":"web","exitCode":0,"imageDigest":"sha256:1",` +
				`"networkBindings":[{"bindIP":"0.0.0.0","containerPort":80,"hostPort":49153,"protocol":"tcp"},` +
				`{"bindIP":"0.0.0.0","containerPortRange":"8000-8010","hostPortRange":"49160-49170","protocol":"udp"}],` +
				`"reason":"OutOfMemoryError: x","runtimeId":"abc","status":"STOPPED"},{"containerName":"side","networkBindings":[],"status":"RUNNING"},` +
				`{"containerName":"new","status":"PENDING"}],` +
				`"executionStoppedAt":1735787045.123,"managedAgents":[{"containerName":"web","managedAgentName":"ExecuteCommandAgent","reason":"","status":"RUNNING"}],` +
				`"pullStartedAt":1735787045.123,"pullStoppedAt":1735787045,"reason":"","status":"STOPPED","task":"arn:t"}`,
			`{"acknowledgment":"ok"}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.SubmitTaskStateChange(ctx, &ecsapi.SubmitTaskStateChangeInput{
					Cluster: "prod", Task: "arn:t", Status: "STOPPED", Reason: ptr(""),
					PullStartedAt: moment, PullStoppedAt: ecsapi.At(time.Unix(1735787045, 0)), ExecutionStoppedAt: moment,
					Containers: []ecsapi.ContainerStateChange{
						{ContainerName: "web", Status: "STOPPED", ExitCode: ptr(0), ImageDigest: "sha256:1", RuntimeID: "abc", Reason: "OutOfMemoryError: x",
							NetworkBindings: []ecsapi.NetworkBinding{
								{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 49153, Protocol: "tcp"},
								{BindIP: "0.0.0.0", ContainerPortRange: "8000-8010", HostPortRange: "49160-49170", Protocol: "udp"},
							}},
						{ContainerName: "side", Status: "RUNNING", NetworkBindings: []ecsapi.NetworkBinding{}},
						{ContainerName: "new", Status: "PENDING"},
					},
					ManagedAgents: []ecsapi.ManagedAgentStateChange{{ContainerName: "web", ManagedAgentName: "ExecuteCommandAgent", Status: "RUNNING"}},
				})
			},
			&ecsapi.SubmitTaskStateChangeOutput{Acknowledgment: "ok"},
		},
		{
			"SubmitTaskStateChange", `{"attachments":[{"attachmentArn":"arn:a","status":"ATTACHED"}],"cluster":"prod","task":"arn:t"}`, ``,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.SubmitTaskStateChange(ctx, &ecsapi.SubmitTaskStateChangeInput{
					Cluster: "prod", Task: "arn:t", Attachments: []ecsapi.AttachmentStateChange{{AttachmentARN: "arn:a", Status: "ATTACHED"}},
				})
			},
			&ecsapi.SubmitTaskStateChangeOutput{},
		},
		{
			"SubmitContainerStateChange", `{"cluster":"prod","containerName":"web","exitCode":137,"reason":"r","runtimeId":"abc","status":"STOPPED","task":"arn:t"}`, `{"acknowledgment":"ok"}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.SubmitContainerStateChange(ctx, &ecsapi.SubmitContainerStateChangeInput{
					Cluster: "prod", Task: "arn:t", ContainerName: "web", Status: "STOPPED", ExitCode: ptr(137), Reason: "r", RuntimeID: "abc",
				})
			},
			&ecsapi.SubmitContainerStateChangeOutput{Acknowledgment: "ok"},
		},
		{
			"SubmitAttachmentStateChanges", `{"attachments":[{"attachmentArn":"arn:a","status":"ATTACHED"}],"cluster":"prod"}`, `{"acknowledgment":"ok"}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.SubmitAttachmentStateChanges(ctx, &ecsapi.SubmitAttachmentStateChangesInput{
					Cluster: "prod", Attachments: []ecsapi.AttachmentStateChange{{AttachmentARN: "arn:a", Status: "ATTACHED"}},
				})
			},
			&ecsapi.SubmitAttachmentStateChangesOutput{Acknowledgment: "ok"},
		},
		{
			"UpdateContainerInstancesState", `{"cluster":"prod","containerInstances":["arn:ci"],"status":"DRAINING"}`,
			`{"containerInstances":[],"failures":[{"arn":"arn:ci","reason":"MISSING","detail":"d"}]}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.UpdateContainerInstancesState(ctx, &ecsapi.UpdateContainerInstancesStateInput{Cluster: "prod", ContainerInstances: []string{"arn:ci"}, Status: "DRAINING"})
			},
			&ecsapi.UpdateContainerInstancesStateOutput{
				ContainerInstances: []ecsapi.ContainerInstance{}, Failures: []ecsapi.Failure{{ARN: "arn:ci", Reason: "MISSING", Detail: "d"}},
			},
		},
		{
			"ListTagsForResource", `{"resourceArn":"arn:t"}`, `{"tags":[{"key":"k","value":"v"}]}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.ListTagsForResource(ctx, &ecsapi.ListTagsForResourceInput{ResourceARN: "arn:t"})
			},
			&ecsapi.ListTagsForResourceOutput{Tags: []ecsapi.Tag{{Key: "k", Value: "v"}}},
		},
		{
			"GetTaskProtection", `{"cluster":"prod","tasks":["arn:t"]}`,
			`{"protectedTasks":[{"taskArn":"arn:t","protectionEnabled":true,"expirationDate":1.735787045123E9}],"failures":[]}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.GetTaskProtection(ctx, &ecsapi.GetTaskProtectionInput{Cluster: "prod", Tasks: []string{"arn:t"}})
			},
			&ecsapi.GetTaskProtectionOutput{
				ProtectedTasks: []ecsapi.ProtectedTask{{TaskARN: "arn:t", ProtectionEnabled: true, ExpirationDate: ecsapi.At(time.UnixMilli(1735787045123).UTC())}},
				Failures:       []ecsapi.Failure{},
			},
		},
		{
			"UpdateTaskProtection", `{"cluster":"prod","expiresInMinutes":60,"protectionEnabled":true,"tasks":["arn:t"]}`, `{"failures":[{"arn":"arn:t","reason":"TASK_NOT_VALID"}]}`,
			func(ctx context.Context, c *ecsapi.Client) (any, error) {
				return c.UpdateTaskProtection(ctx, &ecsapi.UpdateTaskProtectionInput{Cluster: "prod", Tasks: []string{"arn:t"}, ProtectionEnabled: true, ExpiresInMinutes: ptr(60)})
			},
			&ecsapi.UpdateTaskProtectionOutput{Failures: []ecsapi.Failure{{ARN: "arn:t", Reason: "TASK_NOT_VALID"}}},
		},
	}
	for i, tt := range tests {
		t.Run(tt.operation, func(t *testing.T) {
			s := &service{status: 200, reply: tt.reply}
			token := ""
			signed := "amz-sdk-invocation-id;amz-sdk-request;content-length;content-type;host;x-amz-date;x-amz-target"
			if i%2 == 1 {
				token = "session"
				signed = strings.Replace(signed, "x-amz-date;", "x-amz-date;x-amz-security-token;", 1)
			}
			got, err := tt.call(t.Context(), newClient(t, s, token))
			if err != nil {
				t.Fatal(err)
			}
			if s.body != tt.body {
				t.Errorf("body\n%s\nwant\n%s", s.body, tt.body)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("reply (-want +got)\n%s", diff)
			}
			for name, want := range map[string]string{
				"X-Amz-Target": "AmazonEC2ContainerServiceV20141113." + tt.operation, "Content-Type": "application/x-amz-json-1.1",
				"User-Agent": agent, "Amz-Sdk-Request": "attempt=1; max=3", "X-Amz-Content-Sha256": "", "X-Amz-Security-Token": token,
				"Accept-Encoding": "gzip",
			} {
				if got := s.request.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := strings.Join(awsenvtest.SignedHeaders(s.request), ";"); got != signed {
				t.Errorf("signed headers %s, want %s", got, signed)
			}
			if s.request.Method != "POST" || s.request.URL.Path != "/" {
				t.Errorf("%s %s", s.request.Method, s.request.URL.Path)
			}
		})
	}
}

// Every operation of the client must be in the table above.
func TestEveryOperationIsTested(t *testing.T) {
	var names []string
	for m := range reflect.TypeFor[*ecsapi.Client]().Methods() {
		if m.Name != "With" {
			names = append(names, m.Name)
		}
	}
	want := []string{"CreateCluster", "DiscoverPollEndpoint", "GetTaskProtection", "ListTagsForResource", "RegisterContainerInstance",
		"SubmitAttachmentStateChanges", "SubmitContainerStateChange", "SubmitTaskStateChange", "UpdateContainerInstancesState", "UpdateTaskProtection"}
	if !slices.Equal(names, want) {
		t.Errorf("operations %q, tested are %q", names, want)
	}
}

func TestClientRetriesByCode(t *testing.T) {
	tests := []struct {
		status int
		code   string
		calls  int
	}{
		{400, "ThrottlingException", 3}, {400, "TooManyRequestsException", 3}, {400, "EC2ThrottledException", 3}, {400, "RequestTimeoutException", 3},
		{500, "ServerException", 3}, {503, "", 3}, {504, "", 3},
		{400, "ClientException", 1}, {400, "InvalidParameterException", 1}, {403, "AccessDeniedException", 1}, {501, "", 1}, {307, "", 1},
	}
	for _, tt := range tests {
		s := &service{status: tt.status, header: map[string]string{"X-Amzn-ErrorType": tt.code}}
		_, err := newClient(t, s, "").CreateCluster(t.Context(), &ecsapi.CreateClusterInput{ClusterName: "c"})
		if err == nil || s.calls != tt.calls {
			t.Errorf("%d %s: %d calls, want %d (%v)", tt.status, tt.code, s.calls, tt.calls, err)
		}
	}
}

func TestWithChangesOnlyTheCopy(t *testing.T) {
	s := &service{status: 200, reply: "{}"}
	c := newClient(t, s, "")
	other := c.With(ecsapi.OnBehalfOf("web"), ecsapi.Attempts(7), ecsapi.Credentials(awsenvtest.Credentials("task-role")))
	for _, tt := range []struct {
		client              *ecsapi.Client
		agent, token, limit string
	}{{other, agent + " container/web", "task-role", "attempt=1; max=7"}, {c, agent, "", "attempt=1; max=3"}} {
		if _, err := tt.client.CreateCluster(t.Context(), &ecsapi.CreateClusterInput{}); err != nil {
			t.Fatal(err)
		}
		h := s.request.Header
		if h.Get("User-Agent") != tt.agent || h.Get("X-Amz-Security-Token") != tt.token || h.Get("Amz-Sdk-Request") != tt.limit {
			t.Errorf("headers %v, want %q, %q, %q", h, tt.agent, tt.token, tt.limit)
		}
	}
}

func TestMaxAttemptsOfTheEnvironment(t *testing.T) {
	t.Setenv("AWS_MAX_ATTEMPTS", "5")
	s := &service{status: 500}
	c := newClient(t, s, "")
	_, _ = c.CreateCluster(t.Context(), &ecsapi.CreateClusterInput{})
	_, _ = c.With(ecsapi.Attempts(1)).CreateCluster(t.Context(), &ecsapi.CreateClusterInput{})
	if s.calls != 10 {
		t.Errorf("%d calls, want 5 and 5", s.calls)
	}
}

func TestUnreadableReply(t *testing.T) {
	s := &service{status: 200, reply: "<html>"}
	_, err := newClient(t, s, "").CreateCluster(t.Context(), &ecsapi.CreateClusterInput{})
	if err == nil || !strings.Contains(err.Error(), "call ecs CreateCluster: decode the reply") || s.calls != 1 {
		t.Errorf("error %v after %d calls", err, s.calls)
	}
}

func TestUserAgent(t *testing.T) {
	for want, b := range map[string]ecsapi.Build{
		"Amazon ECS Agent - v1.2.3 (1a2b) (linux; amzn_2023) (+http://aws.amazon.com/ecs/)":  {Version: "1.2.3", Hash: "1a2b"},
		"Amazon ECS Agent - v1.2.3 (*1a2b) (linux; amzn_2023) (+http://aws.amazon.com/ecs/)": {Version: "1.2.3", Hash: "1a2b", Dirty: true},
	} {
		if got := ecsapi.UserAgent(b, "linux", "amzn_2023"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := ecsapi.UserAgent(ecsapi.Build{Version: "1"}, "windows", ""); got != "Amazon ECS Agent - v1 () (windows) (+http://aws.amazon.com/ecs/)" {
		t.Errorf("without family: %s", got)
	}
}

func TestSubmitBackoff(t *testing.T) {
	for range 100 {
		if d := ecsapi.SubmitBackoff(1); d < 60*time.Millisecond || d > 118*time.Millisecond {
			t.Fatalf("first delay %v", d)
		}
		if d := ecsapi.SubmitBackoff(13); d < 8192*30*time.Millisecond || d > 8192*59*time.Millisecond {
			t.Fatalf("thirteenth delay %v", d)
		}
	}
	if d := ecsapi.SubmitBackoff(14); d != 5*time.Minute {
		t.Errorf("later delay %v", d)
	}
}

func TestEndpointUsesTheProcessEnvironment(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL_ECS", "http://127.0.0.1:1")
	if got, err := ecsapi.Endpoint(ecsapi.EndpointOptions{Region: "us-west-2"}); got != "http://127.0.0.1:1" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := ecsapi.Endpoint(ecsapi.EndpointOptions{Region: "us-west-2", Override: "backend"}); got != "https://backend" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

var _ json.Marshaler = ecsapi.Time{}
