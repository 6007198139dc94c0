// Package awsenvtest has a fake instance metadata service and fake credentials for
// the tests of other packages.
package awsenvtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

// Token is the session token that the fake hands out and asks for.
const Token = "imds-session-token"

// IMDS is a fake instance metadata service that insists on version 2.
type IMDS struct {
	URL string

	mu    sync.Mutex
	paths map[string]string
	fail  map[string][]int
	asked map[string]int
}

// NewIMDS starts a fake that answers the given paths, such as
// "meta-data/instance-id", and 404 elsewhere. It points the process environment at
// itself until the test ends.
func NewIMDS(t *testing.T, paths map[string]string) *IMDS {
	t.Helper()
	m := &IMDS{paths: make(map[string]string), fail: make(map[string][]int), asked: make(map[string]int)}
	for path, answer := range paths {
		m.paths[path] = answer
	}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	m.URL = server.URL
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	return m
}

// Set changes the answer of a path.
func (m *IMDS) Set(path, answer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paths[path] = answer
}

// Fail makes the next requests for a path answer with the given statuses.
func (m *IMDS) Fail(path string, statuses ...int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[path] = statuses
}

// Asked returns how often a path was requested.
func (m *IMDS) Asked(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked[path]
}

// ServeHTTP implements http.Handler.
func (m *IMDS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/latest/")
	m.mu.Lock()
	m.asked[path]++
	answer, known := m.paths[path]
	status := 0
	if failures := m.fail[path]; len(failures) > 0 {
		status, m.fail[path] = failures[0], failures[1:]
	}
	m.mu.Unlock()
	switch {
	case path == "api/token" && r.Method == http.MethodPut:
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
		_, _ = io.WriteString(w, Token)
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != Token:
		w.WriteHeader(http.StatusUnauthorized)
	case status != 0:
		w.WriteHeader(status)
	case !known:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = io.WriteString(w, answer)
	}
}

// Credentials returns fixed keys; the session token may be empty.
func Credentials(sessionToken string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", secretKey, sessionToken)
}
