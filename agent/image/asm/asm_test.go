package asm

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ecsagent/agent/task"
)

// transport answers requests in turn; the last answer stays.
type transport struct {
	answers  []string // "status body"
	requests []*http.Request
	bodies   []string
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	t.requests, t.bodies = append(t.requests, r), append(t.bodies, string(body))
	answer := t.answers[min(len(t.requests), len(t.answers))-1]
	status, text, _ := strings.Cut(answer, " ")
	code := map[string]int{"200": 200, "400": 400, "500": 500}[status]
	return &http.Response{StatusCode: code, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
}

func client(tr *transport, env map[string]string) *Client {
	return New(Options{
		HTTP: &http.Client{Transport: tr}, UserAgent: "test", Getenv: func(k string) string { return env[k] },
		Credentials: func(id string) aws.CredentialsProvider {
			if id == "gone" {
				return nil
			}
			return credentials.NewStaticCredentialsProvider("AK"+id, "SK", "")
		},
	})
}

func holding(value string) string {
	raw, err := json.Marshal(map[string]string{"ARN": "arn", "Name": "n", "SecretString": value})
	if err != nil {
		return err.Error()
	}
	return "200 " + string(raw)
}

const arn = "arn:aws:secretsmanager:eu-west-1:1:secret:team/registry-AbCdEf"

func TestLogin(t *testing.T) { synctest.Test(t, testLogin) } // so that nobody waits for the pauses between attempts

func testLogin(t *testing.T) {
	tr := &transport{answers: []string{"500 {}", `400 {"__type":"ThrottlingException"}`, holding(`{"username":"u","password":"p:w","x":1}`)}}
	got, err := client(tr, nil).Login(context.Background(), task.ASMAuth{CredentialsParameter: arn, Region: "eu-west-1"}, "role")
	if err != nil || got.Username != "u" || got.Password.Reveal() != "p:w" || got.ServerAddress != "" || len(tr.requests) != 3 {
		t.Fatalf("%+v, %v, after %d requests", got, err, len(tr.requests))
	}
	r := tr.requests[0]
	if r.URL.String() != "https://secretsmanager.eu-west-1.amazonaws.com/" || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		t.Errorf("request %s %v", r.URL, r.Header)
	}
	if want := `{"SecretId":"` + arn + `"}`; tr.bodies[0] != want {
		t.Errorf("body %s", tr.bodies[0])
	}
	if auth := r.Header.Get("Authorization"); !strings.Contains(auth, "Credential=AKrole/") || !strings.Contains(auth, "/eu-west-1/secretsmanager/aws4_request") {
		t.Errorf("authorization %s", auth)
	}
}

func TestEndpoints(t *testing.T) {
	for _, tt := range []struct {
		name string
		ref  task.ASMAuth
		env  map[string]string
		want string
	}{
		{"region of the definition", task.ASMAuth{CredentialsParameter: arn, Region: "us-gov-west-1"}, nil, "https://secretsmanager.us-gov-west-1.amazonaws.com/"},
		{"region of the secret", task.ASMAuth{CredentialsParameter: arn}, nil, "https://secretsmanager.eu-west-1.amazonaws.com/"},
		{"of the service", task.ASMAuth{CredentialsParameter: arn}, map[string]string{"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}, "http://127.0.0.1:1/"},
		{"of all services", task.ASMAuth{CredentialsParameter: arn}, map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:2"}, "http://127.0.0.1:2/"},
		{"ignored", task.ASMAuth{CredentialsParameter: arn}, map[string]string{"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, "https://secretsmanager.eu-west-1.amazonaws.com/"},
	} {
		tr := &transport{answers: []string{holding(`{"username":"u","password":"p"}`)}}
		if _, err := client(tr, tt.env).Login(context.Background(), tt.ref, "role"); err != nil {
			t.Fatal(tt.name, err)
		}
		if got := tr.requests[0].URL.String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Each failure has its specified reason, and shows nothing of the secret.
func TestFailures(t *testing.T) {
	const service = "asm fetching secret from the service for " + arn + ": call secretsmanager GetSecretValue: "
	for _, tt := range []struct{ name, answer, id, parameter, want string }{
		{"no credentials", "", "gone", arn, "asm resource: unable to find execution role credentials"},
		{"no region", "", "role", "name", "unable to create ASM client: find the endpoint of secretsmanager: the region is not known"},
		{"unknown", `400 {"__type":"com.amazonaws#ResourceNotFoundException","Message":"no such secret"}`, "role", arn, service + "ResourceNotFoundException: no such secret (status 400)"},
		{"denied", `400 {"__type":"AccessDeniedException","message":"not you"}`, "role", arn, service + "AccessDeniedException: not you (status 400)"},
		{"a proxy's page", "400 <html>", "role", arn, service + "UnknownError:  (status 400)"},
		{"no JSON", "200 hunter2", "role", arn, "asm fetching authorization data: empty response"},
		{"binary", `200 {"SecretBinary":"aHVudGVyMg=="}`, "role", arn, "asm fetching authorization data: empty secrets value"},
		{"empty", holding(""), "role", arn, "asm fetching authorization data: empty secrets value"},
		{"not JSON", holding("hunter2"), "role", arn, "asm fetching authorization data: unable to unmarshal secret value, invalid schema"},
		{"wrong type", holding(`{"username":1,"password":"hunter2"}`), "role", arn, "asm fetching authorization data: unable to unmarshal secret value, invalid schema"},
		{"no user", holding(`{"password":"hunter2"}`), "role", arn, "asm fetching username: AuthorizationData is malformed, empty field"},
		{"no password", holding(`{"username":"hunter2"}`), "role", arn, "asm fetching password: AuthorizationData is malformed, empty field"},
	} {
		tr := &transport{answers: []string{tt.answer}}
		_, err := client(tr, nil).Login(context.Background(), task.ASMAuth{CredentialsParameter: tt.parameter}, tt.id)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s:\ngot  %v\nwant %s", tt.name, err, tt.want)
		}
	}
	var refused *Error
	tr := &transport{answers: []string{`400 {"__type":"X"}`}}
	_, err := client(tr, nil).Login(context.Background(), task.ASMAuth{CredentialsParameter: arn}, "role")
	if !errors.As(err, &refused) || refused.Code != "X" || len(tr.requests) != 1 {
		t.Errorf("%v after %d requests", err, len(tr.requests))
	}
}

func FuzzReadLogin(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"SecretString":"{}"}`, `{"SecretString":"{\"username\":\"u\",\"password\":\"hunter2\"}"}`, `{"SecretString":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		auth, err := readLogin(body)
		if err == nil && (auth.Username == "" || auth.Password == "") {
			t.Errorf("%q: %+v", body, auth)
		}
	})
}
