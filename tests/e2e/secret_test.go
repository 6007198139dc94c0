package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ecsagent/tests/registry"
)

// A registry password from Secrets Manager: it pulls; what is wrong with it is the
// task's reason (docs/spec/02 section 7.2); it shows nowhere.
func TestRegistryPasswordFromSecretsManager(t *testing.T) {
	const password = "canary-pass:word"
	server, err := registry.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Kill)
	server.Protect("someone", password)
	img, err := toolsWith("secret")
	if err != nil {
		t.Fatal(err)
	}
	ref, _, err := server.Push(t.Context(), "team/secret:1", img)
	if err != nil {
		t.Fatal(err)
	}
	e := prepared(t)
	e.Services = filepath.Join(e.Dir, "services")
	for name, value := range map[string]string{
		"team/good":   `{"username":"someone","password":"` + password + `"}`,
		"team/wrong":  `{"username":"someone","password":"no-canary"}`,
		"team/plain":  password,
		"team/nobody": `{"password":"` + password + `"}`,
	} {
		file := filepath.Join(e.Services, "secrets", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const arn = "arn:aws:secretsmanager:us-west-2:000000000000:secret:"
	e.put("faults", strings.Join([]string{
		"secretsmanager * " + arn + "team/denied denied",
		"secretsmanager * " + arn + "team/good-AbCdEf throttled 1",
		"secretsmanager * " + arn + "team/good-AbCdEf slow 2s 1",
	}, "\n"))
	e.put("secrets/team/denied", `{"username":"someone","password":"`+password+`"}`)
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}
	run := func(secret string) (reason, container, exit string) {
		t.Helper()
		c := once("app", ref)
		c["repositoryCredentials"] = M{"credentialsParameter": secret}
		def := definition(c)
		def["executionRoleArn"] = "arn:aws:iam::000000000000:role/execution"
		task := e.stopped(e.launch(def))
		return task.StoppedReason, task.Container("app").Reason, exitCode(task.Container("app"))
	}
	for _, c := range []struct{ secret, reason, container string }{
		{"team/nobody", "Asm fetching username: AuthorizationData is malformed, empty field", ""},
		{"team/plain-AbCdEf", "Asm fetching authorization data: unable to unmarshal secret value, invalid schema", ""},
		{"team/none", "Asm fetching secret from the service for " + arn + "team/none: call secretsmanager GetSecretValue: ResourceNotFoundException: ", ""},
		{"team/denied", "Asm fetching secret from the service for " + arn + "team/denied: call secretsmanager GetSecretValue: AccessDeniedException: ", ""},
		{"team/wrong", "", "CannotPullImageManifestError: "},
	} {
		reason, container, exit := run(arn + c.secret)
		if !strings.HasPrefix(reason, c.reason) || !strings.HasPrefix(container, c.container) || (c.container == "") != (container == "") || exit != "none" {
			t.Errorf("%s: reason %q, container %q, exit code %s", c.secret, reason, container, exit)
		}
	}
	for range 2 {
		if reason, container, exit := run(arn + "team/good-AbCdEf"); exit != "0" || container != "" {
			t.Errorf("reason %q, container %q, exit code %s", reason, container, exit)
		}
	}
	for _, fault := range []string{"throttled 1", "slow 2s 1"} {
		e.said(`team/good-AbCdEf ` + fault + `"`)
	}
	e.Agent.Kill() // so that the file is whole
	for _, file := range []string{e.AgentLog(), filepath.Join(e.Dir, "data", "ecs-agent.db"), filepath.Join(e.Dir, "data", "ecs-agent.db-journal")} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), "canary") {
			t.Errorf("a password shows in %s", file)
		}
	}
}
