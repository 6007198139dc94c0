package awsfolder

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// folder writes files and serves them in eu-west-1.
func folder(t *testing.T, files map[string]string) *Services {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "services")
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "ssm", "link")); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir, Region: "eu-west-1", Account: "1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// files are what most tests have.
var files = map[string]string{
	"outside": "hunter2", "ssm/prod/db": "pa:ss\n", "ssm/plain": " two \r\n", "ssm/long": strings.Repeat("x", maxParameter+2), "ssm-versions/prod/db/3": "old",
	"us-east-1/ssm/prod/db": "elsewhere", "secrets/team/json": `{"a":"b"}` + "\n", "secrets/x-abcdef": "kept", "secrets-versions/team/json/AWSPREVIOUS": "before",
	"secrets-versions/team/json/0f": "by id", "s3/bucket/dir/app.env": "A=1\n", "us-east-1/s3/far/app.env": "B=2\n", "ecr/1": `{"password":"pw"}`, "ecr/2": "no JSON",
}

func signature(service, region string) string {
	return "AWS4-HMAC-SHA256 Credential=AK/20260101/" + region + "/" + service + "/aws4_request, SignedHeaders=host, Signature=" + strings.Repeat("0", 64)
}

// ask makes a signed call to a JSON service.
func ask(s *Services, region, target, body string, header ...string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", target)
	service, _ := operationOf(r)
	r.Header.Set("Authorization", signature(service, region))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

const (
	asmARN = "arn:aws:secretsmanager:eu-west-1:1:secret:"
	token  = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
)

func TestJSONServices(t *testing.T) {
	s := folder(t, files)
	for name, c := range map[string]struct {
		region, target, body string
		header               []string
		status               int
		want                 string // parts of the answer, with | between
	}{
		"parameters":           {"", "AmazonSSM.GetParameters", `{"Names":["/prod/db","plain","nope","../outside","link","prod"],"WithDecryption":true}`, nil, 500, "InternalServerError"},
		"names that are none":  {"", "AmazonSSM.GetParameters", `{"Names":["/prod/db","plain","nope","../outside","prod","/","a/../plain"],"WithDecryption":true}`, nil, 200, `"Name":"/prod/db"|"Value":"pa:ss"|"Name":"plain"|"Value":" two "|"InvalidParameters":["nope","../outside","prod","/","a/../plain"]`},
		"encrypted":            {"", "AmazonSSM.GetParameters", `{"Names":["/prod/db"]}`, nil, 200, `"Value":"encrypted:`},
		"ARN and version":      {"", "AmazonSSM.GetParameters", `{"Names":["arn:aws:ssm:eu-west-1:1:parameter/prod/db:3"],"WithDecryption":true}`, nil, 200, `"Selector":":3"|"Value":"old"`},
		"ARN elsewhere":        {"", "AmazonSSM.GetParameters", `{"Names":["arn:aws:ssm:us-east-1:1:parameter/prod/db"]}`, nil, 200, `"InvalidParameters":["arn:aws:ssm:us-east-1:1:parameter/prod/db"]`},
		"another region":       {"us-east-1", "AmazonSSM.GetParameters", `{"Names":["arn:aws:ssm:us-east-1:1:parameter/prod/db"],"WithDecryption":true}`, nil, 200, `"Value":"elsewhere"|arn:aws:ssm:us-east-1:1:parameter/prod/db`},
		"twice":                {"", "AmazonSSM.GetParameters", `{"Names":["/prod/db","arn:aws:ssm:eu-west-1:1:parameter/prod/db"]}`, nil, 400, "ValidationException"},
		"eleven":               {"", "AmazonSSM.GetParameters", `{"Names":["a","b","c","d","e","f","g","h","i","j","k"]}`, nil, 400, "ValidationException"},
		"none":                 {"", "AmazonSSM.GetParameters", `{}`, nil, 400, "ValidationException"},
		"too long":             {"", "AmazonSSM.GetParameters", `{"Names":["long"]}`, nil, 500, "InternalServerError"},
		"one parameter":        {"", "AmazonSSM.GetParameter", `{"Name":"plain","WithDecryption":true}`, nil, 200, `{"Parameter":{|"Value":" two "`},
		"no parameter":         {"", "AmazonSSM.GetParameter", `{"Name":"nope"}`, nil, 400, "ParameterNotFound"},
		"secret":               {"", "secretsmanager.GetSecretValue", `{"SecretId":"team/json"}`, nil, 200, `"SecretString":"{\"a\":\"b\"}"|"VersionStages":["AWSCURRENT"]|"ARN":"` + asmARN + `team/json-local1"`},
		"secret by ARN":        {"", "secretsmanager.GetSecretValue", `{"SecretId":"` + asmARN + `team/json-AbCdEf","VersionStage":"AWSCURRENT"}`, nil, 200, `"Name":"team/json"|"ARN":"` + asmARN + `team/json-AbCdEf"`},
		"name with a tail":     {"", "secretsmanager.GetSecretValue", `{"SecretId":"` + asmARN + `x-abcdef"}`, nil, 200, `"SecretString":"kept"`},
		"tail of no ARN":       {"", "secretsmanager.GetSecretValue", `{"SecretId":"team/json-AbCdEf"}`, nil, 400, "ResourceNotFoundException"},
		"stage":                {"", "secretsmanager.GetSecretValue", `{"SecretId":"` + asmARN + `team/json-AbCdEf","VersionStage":"AWSPREVIOUS"}`, nil, 200, `"SecretString":"before"|"VersionStages":["AWSPREVIOUS"]`},
		"version":              {"", "secretsmanager.GetSecretValue", `{"SecretId":"team/json","VersionId":"0f"}`, nil, 200, `"SecretString":"by id"|"VersionId":"0f"`},
		"no such version":      {"", "secretsmanager.GetSecretValue", `{"SecretId":"team/json","VersionId":"1f"}`, nil, 400, "ResourceNotFoundException|1f"},
		"secret elsewhere":     {"us-east-1", "secretsmanager.GetSecretValue", `{"SecretId":"team/json"}`, nil, 400, "ResourceNotFoundException"},
		"ARN for elsewhere":    {"us-east-1", "secretsmanager.GetSecretValue", `{"SecretId":"` + asmARN + `team/json"}`, nil, 400, "ResourceNotFoundException"},
		"folder":               {"", "secretsmanager.GetSecretValue", `{"SecretId":"team"}`, nil, 400, "ResourceNotFoundException"},
		"outside":              {"", "secretsmanager.GetSecretValue", `{"SecretId":"../outside"}`, nil, 400, "ResourceNotFoundException"},
		"below a file":         {"", "secretsmanager.GetSecretValue", `{"SecretId":"team/json/x"}`, nil, 400, "ResourceNotFoundException"},
		"batch":                {"", "secretsmanager.BatchGetSecretValue", `{"SecretIdList":["team/json","nope"]}`, nil, 200, `"SecretString":"{\"a\":\"b\"}"|"ErrorCode":"ResourceNotFoundException"|"SecretId":"nope"`},
		"empty batch":          {"", "secretsmanager.BatchGetSecretValue", `{"SecretIdList":[]}`, nil, 400, "InvalidParameterException"},
		"token":                {"", token, `{"registryIds":["1"]}`, nil, 200, `"authorizationToken":"` + base64.StdEncoding.EncodeToString([]byte("AWS:pw")) + `"|"proxyEndpoint":"https://1.dkr.ecr.eu-west-1.amazonaws.com"`},
		"token of the account": {"", token, `{}`, nil, 200, "authorizationToken"},
		"no registry":          {"", token, `{"registryIds":["3"]}`, nil, 400, "InvalidParameterException|ecr/3"},
		"broken registry":      {"", token, `{"registryIds":["2"]}`, nil, 500, "InternalServerError"},
		"not JSON":             {"", "secretsmanager.GetSecretValue", "x", nil, 400, "SerializationException"},
		"not signed":           {"", "AmazonSSM.GetParameters", "{}", []string{"Authorization", ""}, 400, "IncompleteSignatureException"},
		"signed for others":    {"", "AmazonSSM.GetParameters", "{}", []string{"Authorization", signature("ecs", "eu-west-1")}, 400, "IncompleteSignatureException"},
		"a web page":           {"", "AmazonSSM.GetParameters", "{}", []string{"Origin", "http://evil.example"}, 400, "AccessDeniedException"},
		"another operation":    {"", "AmazonSSM.PutParameter", "{}", nil, 400, "UnknownOperationException"},
	} {
		region := c.region
		if region == "" {
			region = "eu-west-1"
		}
		status, answer := ask(s, region, c.target, c.body, c.header...)
		for part := range strings.SplitSeq(c.want, "|") {
			if status != c.status || !strings.Contains(answer, part) || strings.Contains(answer, "hunter2") || strings.Contains(answer, "root:") {
				t.Errorf("%s: %d %s, want %d with %s", name, status, answer, c.status, part)
			}
		}
	}
	if _, err := Open(Options{Dir: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a folder that is not there")
	}
}

func TestS3(t *testing.T) {
	s := folder(t, files)
	for name, c := range map[string]struct {
		method, url, region string
		header              []string
		status              int
		want                string
	}{
		"path style":      {"GET", "http://127.0.0.1/bucket/dir/app.env", "", nil, 200, "A=1\n"},
		"of an SDK":       {"GET", "http://127.0.0.1/bucket/dir/app.env?x-id=GetObject", "", nil, 200, "A=1\n"},
		"virtual host":    {"GET", "http://bucket.localhost:4580/dir/app.env", "", nil, 200, "A=1\n"},
		"AWS's host":      {"GET", "http://bucket.s3.eu-west-1.amazonaws.com/dir/app.env", "", nil, 200, "A=1\n"},
		"part":            {"GET", "http://127.0.0.1/bucket/dir/app.env", "", []string{"Range", "bytes=2-"}, 206, "1\n"},
		"head":            {"HEAD", "http://127.0.0.1/bucket/dir/app.env", "", nil, 200, ""},
		"head of bucket":  {"HEAD", "http://127.0.0.1/bucket", "", nil, 200, ""},
		"no key":          {"GET", "http://127.0.0.1/bucket/nope", "", nil, 404, "<Code>NoSuchKey</Code>"},
		"head of no key":  {"HEAD", "http://127.0.0.1/bucket/nope", "", nil, 404, ""},
		"no bucket":       {"GET", "http://127.0.0.1/nope/x", "", nil, 404, "<Code>NoSuchBucket</Code>"},
		"folder":          {"GET", "http://127.0.0.1/bucket/dir", "", nil, 404, "<Code>NoSuchKey</Code>"},
		"outside":         {"GET", "http://127.0.0.1/bucket/../../outside", "", nil, 404, "<Code>NoSuchKey</Code>"},
		"above":           {"GET", "http://127.0.0.1/../outside", "", nil, 404, "<Code>NoSuchBucket</Code>"},
		"elsewhere":       {"GET", "http://127.0.0.1/far/app.env", "", nil, 301, "<Code>PermanentRedirect</Code>"},
		"there":           {"GET", "http://127.0.0.1/far/app.env", "us-east-1", nil, 200, "B=2\n"},
		"list":            {"GET", "http://127.0.0.1/bucket?list-type=2", "", nil, 501, "<Code>NotImplemented</Code>"},
		"write":           {"PUT", "http://127.0.0.1/bucket/x", "", nil, 501, "<Code>NotImplemented</Code>"},
		"signed for more": {"GET", "http://127.0.0.1/bucket/dir/app.env", "", []string{"Authorization", signature("ecs", "eu-west-1")}, 400, "<Code>IncompleteSignatureException</Code>"},
	} {
		region := c.region
		if region == "" {
			region = "eu-west-1"
		}
		r := httptest.NewRequest(c.method, c.url, nil)
		r.Header.Set("Authorization", signature("s3", region))
		if !s.Serves(r) {
			t.Errorf("%s: not served", name)
		}
		for i := 0; i+1 < len(c.header); i += 2 {
			r.Header.Set(c.header[i], c.header[i+1])
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		answer := w.Body.String()
		if w.Code != c.status || !strings.Contains(answer, c.want) || c.want == "" && answer != "" || strings.Contains(answer, "hunter2") {
			t.Errorf("%s: %d %q, want %d with %q", name, w.Code, answer, c.status, c.want)
		}
		if w.Code == 301 && w.Header().Get("X-Amz-Bucket-Region") != "us-east-1" {
			t.Errorf("%s: header %v", name, w.Header())
		}
		if w.Code >= 300 && answer != "" {
			if err := xml.Unmarshal([]byte(answer), new(struct{ Code string })); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/bucket/dir/app.env", nil)
	if s.Serves(r) {
		t.Error("a page without a signature is served")
	}
}

func TestFaults(t *testing.T) { synctest.Test(t, testFaults) }

func testFaults(t *testing.T) {
	s := folder(t, map[string]string{"ssm/a": "1", "ssm/b": "2", "secrets/a": "3", "s3/b/k": "4"})
	file := filepath.Join(s.root.Name(), Faults)
	ssm := func(name string) string {
		status, answer := ask(s, "eu-west-1", "AmazonSSM.GetParameters", `{"Names":["`+name+`"]}`)
		var said struct {
			Type string `json:"__type"`
		}
		if err := json.Unmarshal([]byte(answer), &said); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(status, " ", said.Type)
	}
	is := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	write(t, file, "# a comment\n\nssm GetParameters a denied\nssm * * throttled 2\nsecretsmanager * * unavailable\n* * * slow 5s 1\n")
	is("denied", ssm("a"), "400 AccessDeniedException")
	is("throttled", ssm("b"), "400 ThrottlingException")
	is("throttled again", ssm("b"), "400 ThrottlingException")
	begin := time.Now()
	is("slow", ssm("b"), "200 ")
	if took := time.Since(begin); took != 5*time.Second {
		t.Errorf("slow took %v", took)
	}
	is("neither", ssm("b"), "200 ")
	is("still denied", ssm("a"), "400 AccessDeniedException")
	status, _ := ask(s, "eu-west-1", "secretsmanager.GetSecretValue", `{"SecretId":"a"}`)
	is("unavailable", fmt.Sprint(status), "500")
	write(t, file, "ssm * * throttled 1\ns3 * b/k denied\n")
	is("counted anew", ssm("b"), "400 ThrottlingException")
	is("over", ssm("b"), "200 ")
	r := httptest.NewRequest(http.MethodGet, "/b/k", nil)
	r.Header.Set("Authorization", signature("s3", "eu-west-1"))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != 403 || !strings.Contains(w.Body.String(), "<Code>AccessDenied</Code>") {
		t.Errorf("S3: %d %s", w.Code, w.Body)
	}
	for text, want := range map[string]string{
		"ssm * *":               "line 1: want SERVICE OPERATION NAME FAULT",
		"\nssm * * broken":      `line 2: the fault is "broken"`,
		"ssm * * slow":          "slow takes a time",
		"ssm * * slow soon":     `the time is "soon"`,
		"ssm * * denied often":  `the end is "often"`,
		"ssm * * denied 0":      `the end is "0"`,
		"ssm * * slow 1s 1 two": `the end is "1 two"`,
	} {
		if _, err := parseFaults(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	write(t, file, "nonsense")
	is("a file that is wrong", ssm("b"), "500 InternalServerError")
}

func FuzzFaults(f *testing.F) {
	f.Add("ssm * * slow 5s 1\n# x\n* * * denied")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parseFaults(text)
		if err != nil && rules != nil {
			t.Errorf("%q: %v and %v", text, rules, err)
		}
	})
}

// The real AWS CLI reads from the services. Each call takes about a second.
func TestAWSCLI(t *testing.T) {
	program := ""
	for _, path := range []string{"/usr/bin/aws", "/usr/local/bin/aws"} {
		if _, err := os.Stat(path); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("the AWS CLI is not installed")
	}
	server := httptest.NewServer(folder(t, files))
	defer server.Close()
	home := t.TempDir()
	for _, c := range []struct{ line, want string }{
		{"ssm get-parameters --names /prod/db nope --with-decryption --query [Parameters[0].Value,InvalidParameters[0]] --output text", "pa:ss\tnope\n"},
		{"secretsmanager get-secret-value --secret-id team/json --query SecretString --output text", "{\"a\":\"b\"}\n"},
		{"secretsmanager batch-get-secret-value --secret-id-list team/json --query SecretValues[0].Name --output text", "team/json\n"},
		{"s3 cp s3://bucket/dir/app.env -", "A=1\n"},
		{"ecr get-login-password", "pw\n"},
	} {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"--endpoint-url", server.URL, "--region", "eu-west-1"}, strings.Fields(c.line)...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=thing", "AWS_EC2_METADATA_DISABLED=true"}
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil && strings.Contains(stderr.String(), "Invalid choice") { // an older CLI has no batches
			continue
		}
		if err != nil || string(out) != c.want {
			t.Errorf("aws %s: %q (%v), want %q\n%s", c.line, out, err, c.want, stderr.String())
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/bucket/dir/app.env", nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if text, err := io.ReadAll(reply.Body); err != nil || reply.StatusCode != http.StatusBadRequest || strings.Contains(string(text), "A=1") {
		t.Errorf("unsigned: %d %s (%v)", reply.StatusCode, text, err)
	}
}
