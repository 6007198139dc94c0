package local

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	for name, value := range map[string]string{"secrets/team/registry": `{"username":"u"}`, "secrets/x-abcdef": "kept", "secrets/big": strings.Repeat("x", maxSecret+1), "outside": "hunter2"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "outside"), filepath.Join(dir, "secrets/link")); err != nil {
		t.Fatal(err)
	}
	s, err := openSecrets(filepath.Join(dir, "secrets"), "eu-west-1", "1", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	const signed = "AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=0000000000000000000000000000000000000000000000000000000000000000"
	const arn = "arn:aws:secretsmanager:eu-west-1:1:secret:"
	ask := func(body string, header map[string]string) (int, string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Authorization", signed)
		r.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
		for k, v := range header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		answer, _ := io.ReadAll(w.Body)
		return w.Code, string(answer)
	}
	id := func(s string) string { return `{"SecretId":"` + s + `"}` }
	for name, c := range map[string]struct {
		body   string
		header map[string]string
		want   string // in the answer; a success when it is a value
		status int
	}{
		"name":              {id("team/registry"), nil, `"SecretString":"{\"username\":\"u\"}"`, 200},
		"ARN":               {id(arn + "team/registry"), nil, `"Name":"team/registry"`, 200},
		"full ARN":          {id(arn + "team/registry-AbCdEf"), nil, `"Name":"team/registry"`, 200},
		"name with a tail":  {id(arn + "x-abcdef"), nil, `"SecretString":"kept"`, 200},
		"current":           {`{"SecretId":"team/registry","VersionStage":"AWSCURRENT"}`, nil, "SecretString", 200},
		"tail of no ARN":    {id("team/registry-AbCdEf"), nil, "ResourceNotFoundException", 400},
		"other region":      {id("arn:aws:secretsmanager:us-east-1:1:secret:team/registry"), nil, "ResourceNotFoundException", 400},
		"unknown":           {id("nope"), nil, "ResourceNotFoundException", 400},
		"previous":          {`{"SecretId":"team/registry","VersionStage":"AWSPREVIOUS"}`, nil, "ResourceNotFoundException", 400},
		"folder":            {id("team"), nil, "ResourceNotFoundException", 400},
		"above":             {id("../outside"), nil, "cannot be read", 400},
		"absolute":          {id(filepath.Join(dir, "outside")), nil, "cannot be read", 400},
		"link out":          {id("link"), nil, "cannot be read", 400},
		"too long":          {id("big"), nil, "cannot be read", 400},
		"empty":             {id(""), nil, "ResourceNotFoundException", 400},
		"not JSON":          {"x", nil, "SerializationException", 400},
		"not signed":        {id("team/registry"), map[string]string{"Authorization": ""}, "IncompleteSignatureException", 400},
		"signed for others": {id("team/registry"), map[string]string{"Authorization": strings.Replace(signed, "secretsmanager", "ecs", 1)}, "IncompleteSignatureException", 400},
		"a web page":        {id("team/registry"), map[string]string{"Origin": "http://evil.example"}, "AccessDeniedException", 400},
		"another operation": {id("team/registry"), map[string]string{"X-Amz-Target": "secretsmanager.DeleteSecret"}, "UnknownOperationException", 400},
	} {
		status, answer := ask(c.body, c.header)
		if status != c.status || !strings.Contains(answer, c.want) || strings.Contains(answer, "hunter2") {
			t.Errorf("%s: %d %s, want %d with %s", name, status, answer, c.status, c.want)
		}
	}
	if _, err := openSecrets(filepath.Join(dir, "none"), "r", "1", zap.NewNop()); err == nil {
		t.Error("a folder that is not there")
	}
}
