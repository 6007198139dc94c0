package fault

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ecsagent/tests/harness"
	"ecsagent/tests/lab"
)

// served is what the task of rich fetches.
var served = map[string]string{
	"ssm/db": "canary-one", "secrets/app": `{"key":"canary-two"}`, "s3/files/app.env": "THREE=canary-three\n", "s3/files/extra.conf": "[FILTER]\n    Name mine\n",
}

// rich is a task with secrets of both services, a file of variables, and a FireLens
// container with a part of its configuration from S3. Its end tells whether all of it was
// there; the values do not stand in the definition, which the state file has.
func rich(s *lab.Site, family string) M {
	return M{
		"family": family, "networkMode": "bridge", "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
		"containerDefinitions": []M{
			sh(s, "router", `grep -q mine /fluent-bit/etc/external.conf && [ "$key_1" = canary-''one ] || exit 9; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done`, M{
				"firelensConfiguration": M{"type": "fluentbit", "options": M{"config-file-type": "s3", "config-file-value": "arn:aws:s3:::files/extra.conf"}},
			}),
			sh(s, "app", `[ "$ONE/$TWO/$THREE" = canary-''one/canary-''two/canary-''three ] && exit 7`, M{
				"secrets": []M{{"name": "ONE", "valueFrom": "/db"},
					{"name": "TWO", "valueFrom": "arn:aws:secretsmanager:us-west-2:000000000000:secret:app:key::"}},
				"environmentFiles": []M{{"type": "s3", "value": "arn:aws:s3:::files/app.env"}},
				"logConfiguration": M{"logDriver": "awsfirelens", "options": M{"Name": "null"}, "secretOptions": []M{{"name": "key", "valueFrom": "/db"}}},
			}),
		},
	}
}

// TestKilledWithResources: the agent is killed before and after it makes and removes
// resources of each kind, and when their containers are made. The next one has the values
// again, and leaves nothing of them.
func TestKilledWithResources(t *testing.T) {
	t.Parallel()
	for _, c := range []string{
		// The task has five: cgroup, two kinds of secrets, files, FireLens.
		"resource.provision.before=kill@5", "resource.provision.after=kill@1", "docker.created.after=kill@2",
		"resource.clean-up.before=kill@2", "resource.clean-up.after=kill@3",
	} {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			needEngine(t)
			ctx, s := serving(t, bench, limit, served)
			if err := s.Keep("ECS_FAILPOINTS=" + c); err != nil {
				t.Fatal(err)
			}
			if err := s.AwaitConnected(ctx); err != nil {
				t.Fatal(err)
			}
			family := lab.Name("r")
			task := await(ctx, t, s, launch(ctx, t, s, rich(s, family)), "STOPPED")
			if app, router := exitOf(task.Container("app")), exitOf(task.Container("router")); app != "7" || router != "0" {
				t.Errorf("exit codes of app %s and router %s, want 7 and 0: %+v", app, router, task)
			}
			cleanedUp(ctx, t, s)
			if code, err := s.End(); err != nil || code != 0 {
				t.Errorf("exit code %d of the agent: %v", code, err)
			}
			if s.Deaths() != 1 {
				t.Errorf("the agent was killed %d times, want once", s.Deaths())
			}
			for _, v := range lab.Violations(s.Record.Events(), lab.Reports(s.Plane)) {
				t.Error(v)
			}
			for _, folder := range []string{"envfiles", "firelens"} {
				dir := filepath.Join(s.Dir, "data", folder)
				err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if rel, _ := filepath.Rel(dir, path); err == nil && strings.Count(rel, string(filepath.Separator)) > 0 || err == nil && !d.IsDir() {
						t.Errorf("%s is left", path)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			}
			for _, dir := range []string{"data", "log"} {
				_ = filepath.WalkDir(filepath.Join(s.Dir, dir), func(path string, d fs.DirEntry, err error) error {
					if err == nil && d.Type().IsRegular() && slices.ContainsFunc([]string{"canary-one", "canary-two", "canary-three"}, func(c string) bool { return strings.Contains(harness.Tail(path, 100000), c) }) {
						t.Errorf("%s has a secret", path)
					}
					return nil
				})
			}
			nothingLeft(ctx, t, s, family)
		})
	}
}
