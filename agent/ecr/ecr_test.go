package ecr

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ecsagent/agent/image"
)

func TestToken(t *testing.T) {
	good := base64.StdEncoding.EncodeToString([]byte("AWS:pass:word"))
	entry := `{"authorizationToken":"%s","expiresAt":1735787045,"proxyEndpoint":"https://1.dkr.ecr.eu-west-1.amazonaws.com"}`
	for name, c := range map[string]struct {
		id      string
		body    string
		status  int
		signer  string
		failure string
	}{
		"instance":         {"", fmt.Sprintf(`{"authorizationData":[`+entry+`]}`, good), 200, "INSTANCE", ""},
		"execution role":   {"id-1", fmt.Sprintf(`{"authorizationData":[`+entry+`]}`, good), 200, "ROLE", ""},
		"unknown role":     {"id-2", "", 200, "", ErrNoCredentials.Error()},
		"no token":         {"", `{"authorizationData":[]}`, 200, "INSTANCE", "0 tokens came"},
		"two tokens":       {"", fmt.Sprintf(`{"authorizationData":[`+entry+`,`+entry+`]}`, good, good), 200, "INSTANCE", "2 tokens came"},
		"not base64":       {"", fmt.Sprintf(`{"authorizationData":[`+entry+`]}`, "*"), 200, "INSTANCE", "not base64"},
		"without password": {"", fmt.Sprintf(`{"authorizationData":[`+entry+`]}`, base64.StdEncoding.EncodeToString([]byte("AWS"))), 200, "INSTANCE", "not user:password"},
		"denied":           {"", `{"__type":"AccessDeniedException","message":"no"}`, 400, "INSTANCE", "AccessDeniedException"},
	} {
		t.Run(name, func(t *testing.T) {
			var signer, asked string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				signer, _, _ = strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="), "/")
				body, _ := io.ReadAll(r.Body)
				asked = r.Header.Get("X-Amz-Target") + " " + string(body)
				w.Header().Set("Content-Type", "application/x-amz-json-1.1")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			}))
			defer server.Close()
			tokens := New(Options{
				Instance: credentials.NewStaticCredentialsProvider("INSTANCE", "s", ""), HTTP: server.Client(),
				Role: func(id string) (aws.Credentials, bool) {
					return aws.Credentials{AccessKeyID: "ROLE", SecretAccessKey: "s"}, id == "id-1"
				},
			})
			token, err := tokens.Token(t.Context(), image.ECRRequest{RegistryID: "111122223333", Region: "eu-west-1", Endpoint: server.URL, CredentialsID: c.id})
			if signer != c.signer {
				t.Errorf("signed by %q, want %q", signer, c.signer)
			}
			if c.failure != "" {
				if err == nil || !strings.Contains(err.Error(), c.failure) {
					t.Errorf("error %v, want %q", err, c.failure)
				}
				if c.signer == "" && !errors.Is(err, ErrNoCredentials) {
					t.Errorf("error %v is not ErrNoCredentials", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want := `AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken {"registryIds":["111122223333"]}`; asked != want {
				t.Errorf("asked %s\nwant  %s", asked, want)
			}
			if token.Username != "AWS" || token.Password.Reveal() != "pass:word" || !token.ExpiresAt.Equal(time.Unix(1735787045, 0)) ||
				token.Server != "https://1.dkr.ecr.eu-west-1.amazonaws.com" {
				t.Errorf("token %+v", token)
			}
		})
	}
}
