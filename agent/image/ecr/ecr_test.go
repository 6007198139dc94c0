package ecr

import (
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ecsagent/agent/image"
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

func reply(token string) string {
	return `200 {"authorizationData":[{"authorizationToken":"` + base64.StdEncoding.EncodeToString([]byte(token)) +
		`","expiresAt":1767323045.5,"proxyEndpoint":"https://1.dkr.ecr.eu-west-1.amazonaws.com"}]}`
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

func TestToken(t *testing.T) {
	tr := &transport{answers: []string{reply("AWS:pass:word")}}
	got, err := client(tr, nil).Token(context.Background(), image.ECRRequest{RegistryID: "1", Region: "eu-west-1", CredentialsID: "role"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Username != "AWS" || got.Password.Reveal() != "pass:word" || got.Server != "https://1.dkr.ecr.eu-west-1.amazonaws.com" || !got.ExpiresAt.Equal(time.UnixMilli(1767323045500)) {
		t.Errorf("token %+v", got)
	}
	r := tr.requests[0]
	if r.URL.String() != "https://api.ecr.eu-west-1.amazonaws.com/" || r.Header.Get("X-Amz-Target") != target || r.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		t.Errorf("request %s %v", r.URL, r.Header)
	}
	if tr.bodies[0] != `{"registryIds":["1"]}` {
		t.Errorf("body %s", tr.bodies[0])
	}
	if auth := r.Header.Get("Authorization"); !strings.Contains(auth, "Credential=AKrole/") || !strings.Contains(auth, "/eu-west-1/ecr/aws4_request") {
		t.Errorf("authorization %s", auth)
	}
}

func TestEndpoints(t *testing.T) {
	tests := []struct {
		region, override string
		env              map[string]string
		want             string
	}{
		{region: "eu-west-1", want: "https://api.ecr.eu-west-1.amazonaws.com/"},
		{region: "cn-north-1", want: "https://api.ecr.cn-north-1.amazonaws.com.cn/"},
		{region: "us-east-1", override: "ecr-fips.us-east-1.amazonaws.com", want: "https://ecr-fips.us-east-1.amazonaws.com/"},
		{region: "us-east-1", override: "http://127.0.0.1:1", want: "http://127.0.0.1:1/"},
		{region: "us-east-1", env: map[string]string{"AWS_ENDPOINT_URL_ECR": "http://127.0.0.1:2"}, want: "http://127.0.0.1:2/"},
		{region: "us-east-1", env: map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}, want: "https://ecr.us-east-1.api.aws/"},
		{region: "us-east-1", env: map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, want: "https://ecr-fips.us-east-1.amazonaws.com/"},
	}
	for _, tt := range tests {
		tr := &transport{answers: []string{reply("a:b")}}
		_, err := client(tr, tt.env).Token(context.Background(), image.ECRRequest{RegistryID: "1", Region: tt.region, Endpoint: tt.override})
		if err != nil || tr.requests[0].URL.String() != tt.want {
			t.Errorf("%+v: %v, %v", tt, tr.requests[0].URL, err)
		}
	}
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name, id string
		answers  []string
		want     string
		attempts int
	}{
		{name: "no credentials", id: "gone", want: "engine ecr credentials: not found"},
		{name: "refused", answers: []string{`400 {"__type":"com.amazon#AccessDeniedException","message":"no"}`}, want: "AccessDeniedException: no (status 400)", attempts: 1},
		{name: "two tokens", answers: []string{`200 {"authorizationData":[{},{}]}`}, want: "the reply has 2 authorization tokens, want 1", attempts: 1},
		{name: "no token", answers: []string{`200 {}`}, want: "the reply has 0 authorization tokens, want 1", attempts: 1},
		{name: "no JSON", answers: []string{`200 <html>`}, want: "the reply is no authorization token", attempts: 1},
		{name: "no base64", answers: []string{`200 {"authorizationData":[{"authorizationToken":"%"}]}`}, want: "the authorization token is not base64", attempts: 1},
		{name: "no password", answers: []string{reply("AWS")}, want: "the authorization token is not user:password", attempts: 1},
		{name: "throttled, then answered", answers: []string{`400 {"__type":"ThrottlingException"}`, reply("a:b")}, attempts: 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := &transport{answers: tt.answers}
			_, err := client(tr, nil).Token(context.Background(), image.ECRRequest{RegistryID: "1", Region: "eu-west-1", CredentialsID: tt.id})
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.want)) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if len(tr.requests) != tt.attempts {
				t.Errorf("%d attempts", len(tr.requests))
			}
		})
	}
}

func FuzzReadToken(f *testing.F) {
	for _, seed := range []string{reply("a:b")[4:], `{}`, `{"authorizationData":[{"authorizationToken":"YTpi","expiresAt":1e300}]}`, `[]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, body []byte) { _, _ = readToken(body) })
}
