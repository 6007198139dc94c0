package registration

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/capability"
	"ecsagent/agent/ecsapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeAPI fails the calls with the given errors, then succeeds and echoes the
// attributes.
type fakeAPI struct {
	fail       []error // per registration; the last repeats when forever is set
	forever    bool
	createFail error
	edit       func(*ecsapi.ContainerInstance)
	empty      bool

	inputs  []ecsapi.RegisterContainerInstanceInput
	created []string
}

func (f *fakeAPI) RegisterContainerInstance(_ context.Context, in *ecsapi.RegisterContainerInstanceInput) (*ecsapi.RegisterContainerInstanceOutput, error) {
	f.inputs = append(f.inputs, *in)
	if n := len(f.inputs); n <= len(f.fail) && f.fail[n-1] != nil {
		return nil, f.fail[n-1]
	} else if f.forever && n > len(f.fail) {
		return nil, f.fail[len(f.fail)-1]
	}
	if f.empty {
		return &ecsapi.RegisterContainerInstanceOutput{}, nil
	}
	ci := &ecsapi.ContainerInstance{ContainerInstanceARN: "arn:new", Attributes: append([]ecsapi.Attribute{{Name: zoneAttribute, Value: "us-west-2a"}}, in.Attributes...)}
	if f.edit != nil {
		f.edit(ci)
	}
	return &ecsapi.RegisterContainerInstanceOutput{ContainerInstance: ci}, nil
}

func (f *fakeAPI) CreateCluster(_ context.Context, in *ecsapi.CreateClusterInput) (*ecsapi.CreateClusterOutput, error) {
	f.created = append(f.created, in.ClusterName)
	if f.createFail != nil {
		return nil, f.createFail
	}
	return &ecsapi.CreateClusterOutput{Cluster: &ecsapi.Cluster{ClusterName: in.ClusterName}}, nil
}

type fakeIdentity struct {
	documentErr, signatureErr error
	documents, signatures     int
}

func (f *fakeIdentity) IdentityDocument(context.Context) (string, error) {
	f.documents++
	return "{document}", f.documentErr
}

func (f *fakeIdentity) IdentitySignature(context.Context) (string, error) {
	f.signatures++
	return "MEUC", f.signatureErr
}

type fakeCredentials struct {
	err         error
	invalidated int
}

func (f *fakeCredentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "A", SecretAccessKey: "S"}, f.err
}
func (f *fakeCredentials) Invalidate() { f.invalidated++ }

func options(api *fakeAPI) Options {
	return Options{API: api, Identity: &fakeIdentity{}, Credentials: &fakeCredentials{}, Log: zap.NewNop()}
}

func request() Request {
	return Request{
		Cluster:    "prod",
		Resources:  Resources{CPUs: 4, MemoryMiB: 16000, ReservedMemoryMiB: 256, Ports: []uint16{22, 2375}},
		Attributes: []capability.Attribute{{Name: "ecs.capability.full-sync"}, {Name: "ecs.os-type", Value: "linux"}},
		Custom:     map[string]string{"stack": "blue", "rack": "7"},
		Tags:       map[string]string{"team": "a"},
		GPUs:       []string{"GPU-1"},
	}
}

func apiError(code, message string) error {
	return &ecsapi.Error{Code: code, Message: message, HTTPStatus: 400}
}

func TestFirstRegistration(t *testing.T) {
	api := &fakeAPI{}
	o := options(api)
	o.InstanceTags = func(context.Context) (map[string]string, error) {
		return map[string]string{"team": "ec2", "Name": "host"}, nil
	}
	got, err := Register(t.Context(), o, request())
	if want := (Result{InstanceARN: "arn:new", AvailabilityZone: "us-west-2a", Cluster: "prod"}); err != nil || got != want {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
	in := api.inputs[0]
	if len(in.ClientToken) != 36 {
		t.Errorf("client token %q", in.ClientToken)
	}
	in.ClientToken = ""
	want := ecsapi.RegisterContainerInstanceInput{
		Cluster: "prod", InstanceIdentityDocument: "{document}", InstanceIdentityDocumentSignature: "MEUC",
		Attributes: []ecsapi.Attribute{{Name: "rack", Value: "7"}, {Name: "stack", Value: "blue"}, {Name: "ecs.capability.full-sync"}, {Name: "ecs.os-type", Value: "linux"}},
		TotalResources: []ecsapi.Resource{
			{Name: "CPU", Type: "INTEGER", IntegerValue: 4096}, {Name: "MEMORY", Type: "INTEGER", IntegerValue: 15744},
			{Name: "PORTS", Type: "STRINGSET", StringSetValue: []string{"22", "2375"}}, {Name: "PORTS_UDP", Type: "STRINGSET", StringSetValue: []string{}},
		},
		Tags:            []ecsapi.Tag{{Key: "Name", Value: "host"}, {Key: "team", Value: "a"}},
		PlatformDevices: []ecsapi.PlatformDevice{{ID: "GPU-1", Type: "GPU"}},
	}
	if diff := cmp.Diff(want, in); diff != "" {
		t.Errorf("request (-want +got)\n%s", diff)
	}
}

func TestRegistrationAgain(t *testing.T) {
	api := &fakeAPI{edit: func(ci *ecsapi.ContainerInstance) { ci.ContainerInstanceARN = "arn:other" }}
	o, r := options(api), request()
	r.InstanceARN, r.SavedCluster, r.NoIdentity = "arn:saved", "arn:aws:ecs:us-west-2:1:cluster/prod", true
	got, err := Register(t.Context(), o, r)
	if err != nil || got.InstanceARN != "arn:saved" || got.AvailabilityZone != "us-west-2a" {
		t.Fatalf("%+v, %v", got, err)
	}
	in := api.inputs[0]
	if in.ContainerInstanceARN != "arn:saved" || in.InstanceIdentityDocument != "" || o.Identity.(*fakeIdentity).documents != 0 {
		t.Errorf("request %+v", in)
	}
	for _, a := range in.Attributes {
		if a.Name == "stack" {
			t.Error("custom attributes were sent again")
		}
	}
	r.Cluster = "stage"
	_, err = Register(t.Context(), o, r)
	if exitCode(err) != ExitTerminal || len(api.inputs) != 1 || !strings.Contains(err.Error(), `"stage"`) {
		t.Errorf("other cluster: %v after %d calls", err, len(api.inputs))
	}
}

func exitCode(err error) int {
	var e interface{ ExitCode() int }
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}

func TestExitCodes(t *testing.T) {
	tests := []struct {
		name         string
		err          error
		first, again int
	}{
		{"type change", apiError("SomeException", "x. Container instance type changes are not supported. y"), 1, 5},
		{"type change as client error", apiError("ClientException", typeChanged), 5, 5},
		{"invalid parameter", apiError("InvalidParameterException", "m"), 5, 5},
		{"client", apiError("ClientException", "Cluster not found."), 5, 5},
		{"cluster not found by code", apiError("ClusterNotFoundException", "m"), 1, 1},
		{"access denied", apiError("AccessDeniedException", "m"), 1, 1},
		{"network", &awsenv.TransportError{Err: &net.DNSError{Err: "no such host"}}, 1, 1},
		{"credentials", errors.New("get credentials: none"), 1, 1},
	}
	for _, tt := range tests {
		for arn, want := range map[string]int{"": tt.first, "arn:saved": tt.again} {
			api := &fakeAPI{fail: []error{tt.err}}
			r := request()
			r.InstanceARN, r.SavedCluster = arn, "prod"
			_, err := Register(t.Context(), options(api), r)
			if got := exitCode(err); got != want || !errors.Is(err, tt.err) || len(api.inputs) != 1 {
				t.Errorf("%s, saved %q: exit code %d after %d calls, want %d (%v)", tt.name, arn, got, len(api.inputs), want, err)
			}
			if len(api.created) != 0 {
				t.Errorf("%s: created a cluster that was configured by name", tt.name)
			}
		}
	}
}

func TestFailuresBeforeAndAfterTheCall(t *testing.T) {
	r := request()
	r.Resources.ReservedMemoryMiB = 17000
	api := &fakeAPI{}
	if _, err := Register(t.Context(), options(api), r); exitCode(err) != ExitRetry || len(api.inputs) != 0 || !strings.Contains(err.Error(), "17000") {
		t.Errorf("reserved memory: %v after %d calls", err, len(api.inputs))
	}
	if _, err := Register(t.Context(), options(&fakeAPI{empty: true}), request()); exitCode(err) != ExitRetry {
		t.Errorf("empty reply: %v", err)
	}
	api = &fakeAPI{edit: func(ci *ecsapi.ContainerInstance) { ci.ContainerInstanceARN = "" }}
	if _, err := Register(t.Context(), options(api), request()); exitCode(err) != ExitRetry {
		t.Errorf("no ARN: %v", err)
	}
	o := options(&fakeAPI{})
	o.InstanceTags = func(context.Context) (map[string]string, error) { return nil, errors.New("denied") }
	o.Credentials = &fakeCredentials{err: errors.New("none yet")}
	if _, err := Register(t.Context(), o, request()); err != nil {
		t.Errorf("tags and preflight must not matter: %v", err)
	}
}

func TestReconcile(t *testing.T) {
	drop := func(name string) func(*ecsapi.ContainerInstance) {
		return func(ci *ecsapi.ContainerInstance) {
			var kept []ecsapi.Attribute
			for _, a := range ci.Attributes {
				if a.Name != name {
					kept = append(kept, a)
				}
			}
			ci.Attributes = kept
		}
	}
	change := func(name, value string) func(*ecsapi.ContainerInstance) {
		return func(ci *ecsapi.ContainerInstance) {
			drop(name)(ci)
			ci.Attributes = append(ci.Attributes, ecsapi.Attribute{Name: name, Value: value})
		}
	}
	for _, tt := range []struct {
		name string
		edit func(*ecsapi.ContainerInstance)
		code int
		logs int
	}{
		{"all there, and more", change("extra", "x"), -1, 0},
		{"custom lost", drop("stack"), ExitTerminal, 0},
		{"custom changed", change("stack", "red"), ExitTerminal, 0},
		{"capability lost", drop("ecs.capability.full-sync"), -1, 1},
		{"own value changed", change("ecs.os-type", "plan9"), -1, 1},
	} {
		core, logs := observer.New(zap.WarnLevel)
		o := options(&fakeAPI{edit: tt.edit})
		o.Log = zap.New(core)
		if _, err := Register(t.Context(), o, request()); exitCode(err) != tt.code || logs.Len() != tt.logs {
			t.Errorf("%s: %v with %d warnings, want exit code %d and %d", tt.name, err, logs.Len(), tt.code, tt.logs)
		}
	}
}

func TestDefaultCluster(t *testing.T) {
	missing := apiError("ClientException", "Cluster not found.")
	tests := []struct {
		name      string
		api       *fakeAPI
		calls     int
		created   int
		code      int
		configure string
	}{
		{"exists", &fakeAPI{}, 1, 0, -1, ""},
		{"created", &fakeAPI{fail: []error{missing}}, 2, 1, -1, ""},
		{"created, other code", &fakeAPI{fail: []error{apiError("ClusterNotFoundException", "gone")}}, 2, 1, -1, ""},
		{"cannot be created", &fakeAPI{fail: []error{missing}, createFail: apiError("AccessDeniedException", "no")}, 1, 1, ExitRetry, ""},
		{"still missing", &fakeAPI{fail: []error{missing, missing}}, 2, 1, ExitTerminal, ""},
		{"another failure is not tried twice", &fakeAPI{fail: []error{apiError("AccessDeniedException", "no")}}, 1, 0, ExitRetry, ""},
		{"configured by name", &fakeAPI{fail: []error{missing}}, 1, 0, ExitTerminal, "default"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request()
			r.Cluster = tt.configure
			got, err := Register(t.Context(), options(tt.api), r)
			if exitCode(err) != tt.code || len(tt.api.inputs) != tt.calls || len(tt.api.created) != tt.created {
				t.Fatalf("%v after %d calls and %d creations", err, len(tt.api.inputs), len(tt.api.created))
			}
			for _, in := range tt.api.inputs {
				if in.Cluster != "default" || in.ClientToken != tt.api.inputs[0].ClientToken {
					t.Errorf("cluster %q, token %q", in.Cluster, in.ClientToken)
				}
			}
			if err == nil && got.Cluster != "default" {
				t.Errorf("result %+v", got)
			}
		})
	}
}

func TestThrottlingIsOutwaited(t *testing.T) {
	for _, code := range []string{"ThrottlingException", "ServerException", "LimitExceededException"} {
		synctest.Test(t, func(t *testing.T) {
			e := apiError(code, "slow")
			api := &fakeAPI{fail: []error{e, e, e}}
			o := options(api)
			start := time.Now()
			if _, err := Register(t.Context(), o, request()); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); len(api.inputs) != 4 || d < 21*time.Second || d > 26*time.Second {
				t.Errorf("%d calls in %v, want 4 with 3, 6 and 12 s between, each a fifth more at most", len(api.inputs), d)
			}
			if api.inputs[3].ClientToken != api.inputs[0].ClientToken || o.Identity.(*fakeIdentity).documents != 4 {
				t.Error("the token must stay, and the identity be fetched for each attempt")
			}
		})
	}
}

func TestThrottlingForAnHourIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := &fakeAPI{fail: []error{apiError("ThrottlingException", "slow")}, forever: true}
		start := time.Now()
		_, err := Register(t.Context(), options(api), request())
		if d := time.Since(start); exitCode(err) != ExitRetry || d > time.Hour || d < 55*time.Minute {
			t.Errorf("%v after %v", err, d)
		}
	})
}

func TestTransientFailuresCanBeOutwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := &awsenv.TransportError{Err: errors.New("connection refused")}
		api := &fakeAPI{fail: []error{down, down, apiError("AccessDeniedException", "not yet")}}
		o := options(api)
		o.RetryTransient = true
		if _, err := Register(t.Context(), o, request()); err != nil || len(api.inputs) != 4 {
			t.Errorf("%v after %d calls", err, len(api.inputs))
		}
		api = &fakeAPI{fail: []error{down, apiError("InvalidParameterException", "no")}}
		o.API = api
		if _, err := Register(t.Context(), o, request()); exitCode(err) != ExitTerminal || len(api.inputs) != 2 {
			t.Errorf("%v after %d calls", err, len(api.inputs))
		}
		r := request()
		r.Cluster = ""
		api = &fakeAPI{fail: []error{down, apiError("ClusterNotFoundException", "gone")}}
		o.API = api
		if _, err := Register(t.Context(), o, r); err != nil || len(api.created) != 1 {
			t.Errorf("%v after %d creations", err, len(api.created))
		}
	})
}

func TestRegistrationEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		api := &fakeAPI{fail: []error{apiError("ThrottlingException", "slow")}, forever: true}
		time.AfterFunc(time.Minute, cancel)
		start := time.Now()
		_, err := Register(ctx, options(api), request())
		if exitCode(err) != ExitOK || !errors.Is(err, context.Canceled) || time.Since(start) != time.Minute {
			t.Errorf("%v (exit code %d) after %v", err, exitCode(err), time.Since(start))
		}
	})
}

func TestIdentity(t *testing.T) {
	failing := errors.New("no route")
	tests := []struct {
		name                string
		identity            fakeIdentity
		document, signature string
		least, most         time.Duration
	}{
		{"there", fakeIdentity{}, "{document}", "MEUC", 0, 0},
		{"no document", fakeIdentity{documentErr: failing}, "", "", 30 * time.Second, 30 * time.Second},
		{"no signature", fakeIdentity{signatureErr: failing}, "{document}", "", 30 * time.Second, 30 * time.Second},
		{"blackholed", fakeIdentity{documentErr: awsenv.ErrBlackholed}, "", "", 0, 0},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			creds := &fakeCredentials{}
			o := Options{Identity: &tt.identity, Credentials: creds, Log: zap.NewNop()}
			start := time.Now()
			document, signature := identity(t.Context(), o)
			if d := time.Since(start); document != tt.document || signature != tt.signature || d < tt.least || d > tt.most {
				t.Errorf("%s: %q, %q after %v", tt.name, document, signature, d)
			}
			if tt.identity.documentErr == failing && (creds.invalidated != tt.identity.documents || creds.invalidated < 9) {
				t.Errorf("%s: credentials invalidated %d times for %d tries", tt.name, creds.invalidated, tt.identity.documents)
			}
		})
	}
}

func TestSameCluster(t *testing.T) {
	const west, east = "arn:aws:ecs:us-west-2:1:cluster/prod", "arn:aws:ecs:us-east-1:1:cluster/prod"
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"prod", "prod", true}, {"prod", west, true}, {west, " prod ", true}, {west, west, true}, {west, east, false},
		{"", "default", true}, {"", "", true}, {"", "prod", false}, {"arn:aws-cn:ecs:cn-north-1:1:cluster/default", "", true}, {"arn:odd", "prod", false},
	} {
		if got := SameCluster(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, got)
		}
	}
}

func TestWaitInService(t *testing.T) {
	type answer struct {
		state string
		err   error
	}
	gone := answer{err: awsenv.ErrNotFound}
	tests := []struct {
		name    string
		answers []answer // the last one repeats
		polls   int
		code    int
	}{
		{"in service", []answer{{state: "InService"}}, 1, -1},
		{"blackholed", []answer{{err: awsenv.ErrBlackholed}}, 1, -1},
		{"warmed", []answer{gone, {state: "Warmed:Pending"}, gone, {state: "Warmed:Stopped"}, {state: "InService"}}, 5, -1},
		{"throttled", []answer{{state: "Warmed:Running"}, {err: statusError(503)}, {state: "InService"}}, 3, -1},
		{"refused", []answer{{err: errors.New("no route")}}, 1, ExitTerminal},
		{"never", []answer{gone}, 120, ExitTerminal},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			polls := 0
			start := time.Now()
			err := WaitInService(t.Context(), func(context.Context) (string, error) {
				a := tt.answers[min(polls, len(tt.answers)-1)]
				polls++
				return a.state, a.err
			}, zap.NewNop())
			if exitCode(err) != tt.code || polls != tt.polls || time.Since(start) != time.Duration(tt.polls-1)*time.Minute {
				t.Errorf("%s: %v after %d polls in %v", tt.name, err, polls, time.Since(start))
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := WaitInService(ctx, func(context.Context) (string, error) { return "Warmed:Pending", nil }, zap.NewNop()); exitCode(err) != ExitOK {
		t.Errorf("cancelled: %v", err)
	}
}

type statusError int

func (e statusError) Error() string       { return "refused" }
func (e statusError) HTTPStatusCode() int { return int(e) }
