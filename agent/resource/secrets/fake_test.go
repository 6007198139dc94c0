package secrets

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/engine"
	"ecsagent/agent/task"
)

var _ engine.Hook = (*Hook)(nil)

const (
	ssmARN = "arn:aws:ssm:eu-west-1:1:parameter"
	asmARN = "arn:aws:secretsmanager:eu-west-1:1:secret:"
	canary = "canary-77aa"
)

// cloud plays both services, without a network.
type cloud struct {
	parameters map[string]string // by bare name
	secrets    map[string]string // by ARN, and by ARN, a space and the version
	faults     []string          // answers to the next calls: "400 Code", or "" for the right one
	noBatches  string            // the code with which batches are refused
	partly     bool              // a batch leaves out its second half
	takes      time.Duration

	mu     sync.Mutex
	calls  []string // "region operation names", of whom with role credentials
	signed []string
	log    strings.Builder
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Names, SecretIdList               []string //nolint:revive // names of the API
		SecretId, VersionStage, VersionId string   //nolint:revive // names of the API
		WithDecryption                    bool
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	region := strings.Split(r.URL.Host, ".")[1]
	names := slices.Concat(in.Names, in.SecretIdList)
	if in.SecretId != "" {
		names = append(names, strings.TrimSpace(in.SecretId+" "+in.VersionStage+in.VersionId))
	}
	c.mu.Lock()
	c.calls = append(c.calls, region+" "+operation+" "+strings.Join(names, " "))
	c.signed = append(c.signed, r.Header.Get("Authorization"))
	fault := ""
	if len(c.faults) > 0 {
		fault, c.faults = c.faults[0], c.faults[1:]
	}
	c.mu.Unlock()
	select {
	case <-time.After(c.takes):
	case <-r.Context().Done():
		return
	}
	if fault != "" {
		status, code, _ := strings.Cut(fault, " ")
		c.refuse(w, map[string]int{"400": 400, "500": 500}[status], code)
		return
	}
	switch operation {
	case "GetParameters":
		c.getParameters(w, in.Names)
	case "GetSecretValue":
		if value, ok := c.secrets[names[0]]; ok {
			answer(w, map[string]any{"ARN": in.SecretId, "SecretString": value})
			return
		}
		c.refuse(w, http.StatusBadRequest, "ResourceNotFoundException")
	case "BatchGetSecretValue":
		if c.noBatches != "" {
			c.refuse(w, http.StatusBadRequest, c.noBatches)
			return
		}
		c.batch(w, in.SecretIdList)
	}
}

func (c *cloud) refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	answer(w, map[string]string{"__type": "com.amazonaws#" + code, "message": "said the service"})
}

func (c *cloud) getParameters(w http.ResponseWriter, names []string) {
	found, invalid := []map[string]any{}, []string{}
	for _, n := range names {
		bare := bareName(n)
		if value, ok := c.parameters[bare]; ok {
			found = append(found, map[string]any{"Name": "/" + bare, "ARN": ssmARN + "/" + bare, "Value": value, "Type": "SecureString"})
		} else {
			invalid = append(invalid, n)
		}
	}
	slices.Reverse(found)
	answer(w, map[string]any{"Parameters": found, "InvalidParameters": invalid})
}

func (c *cloud) batch(w http.ResponseWriter, ids []string) {
	values, errs := []map[string]any{}, []map[string]any{}
	for i, id := range ids {
		value, ok := c.secrets[id]
		switch {
		case c.partly && i >= len(ids)/2:
		case ok:
			values = append(values, map[string]any{"ARN": id + "-AbCdEf", "SecretString": value})
		default:
			errs = append(errs, map[string]any{"SecretId": id, "ErrorCode": "ResourceNotFoundException", "Message": "said the service"})
		}
	}
	answer(w, map[string]any{"SecretValues": values, "Errors": errs, "NextToken": "more"})
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// RoundTrip implements http.RoundTripper.
func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (c *cloud) options() Options {
	return Options{
		JSONOptions: awsenv.JSONOptions{
			HTTP: &http.Client{Transport: c}, UserAgent: "test", Getenv: func(string) string { return "" },
			Credentials: func(id string) aws.CredentialsProvider {
				if id == "gone" {
					return nil
				}
				return credentials.NewStaticCredentialsProvider("AK"+id, "SK", "")
			},
			Log: zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "m"}), zapcore.Lock(zapcore.AddSync(&c.log)), zap.DebugLevel)),
		},
		Region: "us-east-1",
	}
}

// told are the calls so far, sorted, and forgets them.
func (c *cloud) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := slices.Sorted(slices.Values(c.calls))
	c.calls = nil
	return calls
}

// variable and option are secrets of containers.
func variable(name, from string) task.Secret {
	provider := "ssm"
	if strings.Contains(from, ":secretsmanager:") {
		provider = "asm"
	}
	return task.Secret{Name: name, ValueFrom: from, Region: "eu-west-1", Provider: provider, Type: "ENVIRONMENT_VARIABLE", Target: "CONTAINER"}
}

func option(name, from string) task.Secret {
	s := variable(name, from)
	s.Type, s.Target = "BOOTSTRAP", "LOG_DRIVER"
	return s
}

// taskOf is a task with one container for each list of secrets: c0, c1 and so on.
func taskOf(secrets ...[]task.Secret) *task.Snapshot {
	s := &task.Snapshot{Spec: &task.Spec{ARN: "arn:aws:ecs:eu-west-1:1:task/c/t", ExecutionCredentialsID: "role"}}
	for i, list := range secrets {
		s.Containers = append(s.Containers, task.Container{Name: fmt.Sprint("c", i), Secrets: list})
		s.State.Containers = append(s.State.Containers, task.ContainerState{Desired: task.ContainerRunning})
	}
	return s
}

// provision has a hook provide the secrets; the error is that of the reason.
func provision(t *testing.T, h *Hook, s *task.Snapshot) (map[string]map[string]string, error) {
	t.Helper()
	needs, err := h.Needs(s.Spec)
	if err != nil || len(needs) != 1 {
		t.Fatalf("needs %v, %v", needs, err)
	}
	given, err := h.Provision(t.Context(), s, &needs[0])
	out := make(map[string]map[string]string)
	for name, in := range given.Inputs {
		out[name] = make(map[string]string)
		for k, v := range in.Secrets {
			out[name][k] = v
		}
		for k, v := range in.LogOptions {
			out[name]["log "+k] = v
		}
	}
	if given.Data != nil {
		t.Errorf("data %v", given.Data)
	}
	return out, err
}
