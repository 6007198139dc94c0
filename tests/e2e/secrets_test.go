package e2e

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ecsagent/tests/harness"
)

// put writes a file of the local services.
func (e *env) put(name, text string) {
	e.t.Helper()
	file := filepath.Join(e.Services, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// said waits until the log of ecs-local has a text.
func (e *env) said(text string) {
	e.t.Helper()
	file := filepath.Join(e.Dir, "log", "ecs-local.log")
	err := harness.Poll(e.ctx, "ecs-local to log "+text, func(context.Context) (bool, error) {
		content, err := os.ReadFile(file)
		return strings.Contains(string(content), text), err
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

// from is a secret of a definition.
func from(name, valueFrom string) M { return M{"name": name, "valueFrom": valueFrom} }

// withRole is a definition with an execution role.
func withRole(containers ...M) M {
	def := bridged(containers...)
	def["executionRoleArn"] = executionRole
	return def
}

// Secrets of both services, as variables and as log options: they reach their container
// and nothing else. What is missing or denied is the task's reason; what is throttled is
// asked for again; an agent that is killed while it asks, asks again.
func TestSecrets(t *testing.T) {
	const asm = "arn:aws:secretsmanager:us-west-2:000000000000:secret:"
	e := prepared(t)
	e.Services = filepath.Join(e.Dir, "services")
	e.put("ssm/prod/db", "canary-db\n")
	e.put("ssm/tag", "canary-tag")
	e.put("us-east-1/ssm/prod/db", "canary-far")
	e.put("secrets/team/app", `{"user":"canary-user","port":5432}`)
	e.put("secrets/team/text", "canary text with spaces and \"quotes\"")
	e.put("secrets-versions/team/text/AWSPREVIOUS", "canary-before")
	e.put("faults", strings.Join([]string{
		"secretsmanager BatchGetSecretValue * denied",
		"ssm GetParameters /prod/db throttled 1",
		"ssm GetParameters /denied denied",
		"ssm GetParameters /slow slow 5m 1",
		"s3 * files/app.env throttled 1",
		"s3 * files/denied.env denied",
		"s3 * files/slow.env slow 5m 1",
		"secretsmanager * " + asm + "team/denied denied",
	}, "\n"))
	e.put("s3/files/app.env", "# a comment\nPLAIN=of a file\nDB=of a file\nFIRST=first\nBOTH=first\nSPACED = a b \n")
	e.put("us-east-1/s3/far-files/dir/more.env", "BOTH=second\nSECOND=\"second\"\n")
	e.put("s3/files/denied.env", "A=canary-denied\n")
	e.put("s3/files/slow.env", "LATE=late\n")
	e.put("s3/files/long.env", "A="+strings.Repeat("x", 70_000))
	e.put("secrets/team/denied", "canary-denied")
	e.put("ssm/denied", "canary-denied")
	e.put("ssm/slow", "canary-slow")
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}

	app := sleeper("app", M{
		"environment": []M{{"name": "PLAIN", "value": "plain"}},
		"environmentFiles": []M{
			{"type": "s3", "value": "arn:aws:s3:::files/app.env"}, {"type": "s3", "value": "arn:aws:s3:::far-files/dir/more.env"},
		},
		"secrets": []M{
			from("DB", "/prod/db"), from("FAR", "arn:aws:ssm:us-east-1:000000000000:parameter/prod/db"),
			from("DB_USER", asm+"team/app-local1:user::"), from("DB_PORT", asm+"team/app-local1:port:AWSCURRENT:"),
			from("TEXT", asm+"team/text-local1"), from("BEFORE", asm+"team/text-local1::AWSPREVIOUS:"),
		},
		"logConfiguration": M{"logDriver": "json-file", "options": M{"max-size": "1m"}, "secretOptions": []M{from("tag", "tag")}},
	})
	task := e.running(withRole(app, sleeper("side")))
	info := e.inspect(task, "app")
	for _, want := range []string{
		"PLAIN=plain", "DB=canary-db", "FAR=canary-far", "DB_USER=canary-user", "DB_PORT=5432",
		`TEXT=canary text with spaces and "quotes"`, "BEFORE=canary-before",
		"FIRST=first", "BOTH=first", `SECOND="second"`, "SPACED = a b ",
	} {
		if !slices.Contains(info.Config.Env, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
	id := task.TaskARN[strings.LastIndexByte(task.TaskARN, '/')+1:]
	kept := filepath.Join(e.Dir, "data", "envfiles", e.Cluster, id, "far-files", "dir", "more.env")
	if file, err := os.Stat(kept); err != nil || file.Mode().Perm() != 0o600 {
		t.Errorf("the file that was fetched: %v, %v", file, err)
	}
	equal(t, "log option", info.HostConfig.LogConfig.Config["tag"], "canary-tag")
	if labels, err := json.Marshal(info.Config.Labels); err != nil || strings.Contains(string(labels), "canary") {
		t.Errorf("labels %s (%v)", labels, err)
	}
	if side := e.inspect(task, "side"); strings.Contains(strings.Join(side.Config.Env, " "), "canary") {
		t.Error("another container has secrets")
	}
	// The agent asked with the credentials of the role, not with its own.
	e.said(`"operation": "GetSecretValue"`)
	if log := harness.Tail(filepath.Join(e.Dir, "log", "ecs-local.log"), 1000); strings.Contains(log, "AKIDLOCAL\"") || strings.Count(log, `"key": "ASIALOCAL`) == 0 {
		t.Errorf("asked with other credentials than the role's:\n%s", log)
	}

	const ssm = "Fetching secret data from SSM Parameter Store in us-west-2: "
	const s3 = "Unable to download env file with key "
	for _, c := range []struct{ valueFrom, reason string }{
		{"arn:aws:s3:::files/nope.env", s3 + "nope.env from bucket files, error: call s3 GetObject: NoSuchKey: "},
		{"arn:aws:s3:::files/../../x", `Invalid path: bucket "files" key "../../x" escapes envfile resource directory`},
		{"arn:aws:s3:::files/denied.env", s3 + "denied.env from bucket files, error: call s3 GetObject: AccessDenied: "},
		{"arn:aws:s3:::files/long.env", "ResourceInitializationError: resource cannot be initialized for task "},
		{"arn:aws:ssm:eu-west-1:000000000000:parameter/prod/db", "Fetching secret data from SSM Parameter Store in eu-west-1: invalid parameters: "},
		{asm + "team/denied", "Secret " + asm + "team/denied: call secretsmanager GetSecretValue: AccessDeniedException: "},
		{asm + "team/text-local1:user::", "Retrieved secret from Secrets Manager is no JSON object, and json key user was asked for (SECRET from "},
		{"/nope", ssm + "invalid parameters: /nope"},
		{"/denied", ssm + "call ssm GetParameters: AccessDeniedException: "},
		{asm + "team/none", "ResourceNotFoundException: The task can't retrieve the secret with ARN '" + asm + "team/none' from AWS Secrets Manager. "},
		{asm + "team/app-local1:nope::", "Retrieved secret from Secrets Manager did not contain json key nope (SECRET from "},
	} {
		more := M{"secrets": []M{from("SECRET", c.valueFrom)}}
		if strings.HasPrefix(c.valueFrom, "arn:aws:s3:") {
			more = M{"environmentFiles": []M{{"type": "s3", "value": c.valueFrom}}}
		}
		task := e.stopped(e.launch(withRole(sleeper("app", more))))
		if got := task.Container("app"); !strings.HasPrefix(task.StoppedReason, c.reason) || got.Reason != "" || exitCode(got) != "none" || got.RuntimeID != "" {
			t.Errorf("%s: reason %q, container %s", c.valueFrom, task.StoppedReason, pretty(got))
		}
	}

	// Docker quotes a log option that it does not take.
	task = e.stopped(e.launch(withRole(sleeper("app", M{
		"logConfiguration": M{"logDriver": "json-file", "secretOptions": []M{from("max-size", "tag")}},
	}))))
	if reason := task.Container("app").Reason; !strings.Contains(reason, "[redacted]") || strings.Contains(pretty(task), "canary") {
		t.Errorf("a log option that Docker refuses: %s", pretty(task))
	}

	slow := e.launch(withRole(sleeper("app", M{
		"secrets": []M{from("SLOW", "/slow")}, "environmentFiles": []M{{"type": "s3", "value": "arn:aws:s3:::files/slow.env"}},
	})))
	e.said(`"ssm GetParameters /slow slow 5m 1"`)
	e.said(`"s3 * files/slow.env slow 5m 1"`)
	e.Agent.Kill()
	if err := e.StartAgent(); err != nil {
		t.Fatal(err)
	}
	task = e.awaits(slow, "RUNNING")
	if info := e.inspect(task, "app"); !slices.Contains(info.Config.Env, "SLOW=canary-slow") || !slices.Contains(info.Config.Env, "LATE=late") {
		t.Errorf("after the restart: %v", info.Config.Env)
	}
	e.nowhere("canary", "/v1/tasks", "/v1/metadata", "/v1/tasks/"+id+"/timeline")
}

// nowhere fails the test if a text is in what the agent wrote or tells.
func (e *env) nowhere(text string, pages ...string) {
	e.t.Helper()
	for _, page := range pages {
		status, body, err := e.Introspect(e.ctx, page)
		if err != nil || status != 200 || strings.Contains(string(body), text) {
			e.t.Errorf("introspection %s: status %d, error %v, or it shows a secret", page, status, err)
		}
	}
	e.Agent.Kill() // so that the files are whole
	looked := 0
	for _, dir := range []string{"data", "log", "run"} {
		err := filepath.WalkDir(filepath.Join(e.Dir, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			if strings.Contains(string(content), text) {
				e.t.Errorf("a secret shows in %s", path)
			}
			looked++
			return err
		})
		if err != nil {
			e.t.Error(err)
		}
	}
	if looked < 3 {
		e.t.Errorf("only %d files were looked at", looked)
	}
}
