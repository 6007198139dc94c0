package s3

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
)

// transport answers each request with the next answer.
type transport struct {
	answers  []func(w http.ResponseWriter)
	requests []*http.Request
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	t.requests = append(t.requests, r)
	w := httptest.NewRecorder()
	t.answers[min(len(t.requests), len(t.answers))-1](w)
	return w.Result(), nil
}

func says(status int, text string, header ...string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func client(tr *transport, env map[string]string) *Client {
	return New(Options{
		JSONOptions: awsenv.JSONOptions{HTTP: &http.Client{Transport: tr}, UserAgent: "test", Getenv: func(k string) string { return env[k] }, Log: zap.NewNop()},
		Region:      "us-west-2",
	})
}

var keys = credentials.NewStaticCredentialsProvider("AK", "SK", "TOKEN")

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		region, bucket, key string
		env                 map[string]string
		fips, ipv6          bool
		want                string
	}{
		{region: "us-west-2", bucket: "b", key: "dir/app.env", want: "https://b.s3.us-west-2.amazonaws.com/dir/app.env"},
		{region: "cn-north-1", bucket: "b", key: "k", want: "https://b.s3.cn-north-1.amazonaws.com.cn/k"},
		{region: "us-west-2", bucket: "b.c", key: "k", want: "https://s3.us-west-2.amazonaws.com/b.c/k"},
		{region: "us-west-2", bucket: "b", key: "a b+c/ä?x#y", want: "https://b.s3.us-west-2.amazonaws.com/a%20b%2Bc/%C3%A4%3Fx%23y"},
		{region: "us-west-2", bucket: "b", key: "k", ipv6: true, want: "https://b.s3.dualstack.us-west-2.amazonaws.com/k"},
		{region: "eusc-de-east-1", bucket: "b", key: "k", ipv6: true, want: "https://b.s3.eusc-de-east-1.amazonaws.eu/k"},
		{region: "us-west-2", bucket: "b", key: "k", fips: true, want: "https://b.s3-fips.us-west-2.amazonaws.com/k"},
		{region: "eu-west-1", bucket: "b", key: "k", fips: true, want: "https://b.s3.eu-west-1.amazonaws.com/k"},
		{region: "eu-west-1", bucket: "b", key: "k", env: map[string]string{"AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, want: "https://b.s3-fips.dualstack.eu-west-1.amazonaws.com/k"},
		{region: "us-west-2", bucket: "b", key: "k", env: map[string]string{"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1/"}, want: "http://127.0.0.1:1/b/k"},
		{region: "us-west-2", bucket: "b", key: "k", env: map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:2"}, want: "http://127.0.0.1:2/b/k"},
	} {
		c := client(nil, tt.env)
		c.opts.FIPS, c.opts.IPv6Only = tt.fips, tt.ipv6
		if got, err := c.address(tt.region, tt.bucket, tt.key); err != nil || got != tt.want {
			t.Errorf("%+v: %s, %v", tt, got, err)
		}
	}
}

func TestGet(t *testing.T) {
	tr := &transport{answers: []func(http.ResponseWriter){says(200, "A=1\n")}}
	got, err := client(tr, nil).Get(t.Context(), keys, "b", "a b")
	if err != nil || string(got) != "A=1\n" {
		t.Fatalf("%q, %v", got, err)
	}
	r := tr.requests[0]
	if r.Method != http.MethodGet || r.URL.EscapedPath() != "/a%20b" || r.Header.Get("X-Amz-Content-Sha256") == "" || r.Header.Get("X-Amz-Security-Token") != "TOKEN" ||
		!strings.Contains(r.Header.Get("Authorization"), "/us-west-2/s3/aws4_request") {
		t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
	}
}

// A bucket in another region is found there, and from then on at once.
func TestElsewhere(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"redirect":        says(301, "<Error><Code>PermanentRedirect</Code></Error>", "X-Amz-Bucket-Region", "eu-west-1"),
		"wrong signature": says(400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"),
	} {
		tr := &transport{answers: []func(http.ResponseWriter){answer, says(200, "x")}}
		c := client(tr, nil)
		for range 2 {
			if got, err := c.Get(t.Context(), keys, "b", "k"); err != nil || string(got) != "x" {
				t.Fatalf("%s: %q, %v", name, got, err)
			}
		}
		if len(tr.requests) != 3 || tr.requests[1].URL.Host != "b.s3.eu-west-1.amazonaws.com" || tr.requests[2].URL.Host != tr.requests[1].URL.Host {
			t.Errorf("%s: %d requests", name, len(tr.requests))
		}
	}
	tr := &transport{answers: []func(http.ResponseWriter){says(301, "", "X-Amz-Bucket-Region", "us-west-2")}}
	if _, err := client(tr, nil).Get(t.Context(), keys, "b", "k"); err == nil || len(tr.requests) != 1 {
		t.Errorf("a redirect to the same region: %v after %d requests", err, len(tr.requests))
	}
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			answers []func(http.ResponseWriter)
			want    string
			tries   int
		}{
			{[]func(http.ResponseWriter){says(404, "<Error><Code>NoSuchKey</Code><Message>no key</Message></Error>")}, "call s3 GetObject: NoSuchKey: no key (status 404)", 1},
			{[]func(http.ResponseWriter){says(403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>")}, "call s3 GetObject: AccessDenied: no (status 403)", 1},
			{[]func(http.ResponseWriter){says(502, "<html>")}, "call s3 GetObject: UnknownError:  (status 502)", 3},
			{[]func(http.ResponseWriter){says(503, "<Error><Code>SlowDown</Code></Error>"), says(200, "x")}, "", 2},
			{[]func(http.ResponseWriter){says(200, strings.Repeat("x", 4<<20+1))}, "call s3 GetObject: read the reply: it is longer than 4194304 bytes", 1},
		} {
			tr := &transport{answers: tt.answers}
			_, err := client(tr, nil).Get(t.Context(), keys, "b", "k")
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || err.Error() != tt.want) || len(tr.requests) != tt.tries {
				t.Errorf("%v after %d requests, want %q after %d", err, len(tr.requests), tt.want, tt.tries)
			}
		}
		var refused *awsenv.Refusal
		_, err := client(&transport{answers: []func(http.ResponseWriter){says(404, "")}}, nil).Get(t.Context(), keys, "b", "k")
		if !errors.As(err, &refused) || refused.HTTPStatus != 404 {
			t.Errorf("%v", err)
		}
	})
}

func FuzzRefusal(f *testing.F) {
	f.Add(301, "<Error><Region>r</Region></Error>")
	f.Fuzz(func(t *testing.T, status int, body string) {
		if refusal(status, http.Header{}, []byte(body)) == nil {
			t.Error("no error")
		}
	})
}
