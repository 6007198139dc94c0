package fault

import (
	"context"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/image"

	"ecsagent/agent/failpoint"
	"ecsagent/agent/resource/gmsa/fetcher/fetchertest"
	"ecsagent/tests/harness"
	"ecsagent/tests/lab"
	"ecsagent/tests/proxy"
)

const secretARN = "arn:aws:secretsmanager:us-west-2:000000000000:secret:"

// spec is a credential spec of an account.
func spec(account, host string) string {
	return `{"ActiveDirectoryConfig":{"GroupManagedServiceAccounts":[{"Name":"` + account + `","Scope":"contoso.com"}]` + host + `}}`
}

// served is what the task of rich fetches.
var served = map[string]string{
	"ssm/db": "canary-one", "secrets/app": `{"key":"canary-two"}`, "secrets/more": "four", "s3/files/app.env": "THREE=canary-three\n", "s3/files/extra.conf": "[FILTER]\n    Name mine\n",
	"ssm/account": spec("Web", ""), "s3/files/alone": spec("Alone", `,"HostAccountConfig":{"PluginInput":{"CredentialArn":"`+secretARN+`user"}}`),
	"secrets/user": `{"username":"svc","password":"canary-two","domainName":"contoso.com"}`, "ecr/000000000000": `{"password":"canary-one"}`,
	"secrets/registry": `{"username":"someone","password":"canary-three"}`,
}

// rich is a task with secrets of both services, a file of variables, a FireLens container
// with a part of its configuration from S3, tickets of managed service accounts on a host in
// a domain and in none, an image of ECR, and one of a registry with a password. Whether all
// of it is there tells that it runs, and its end; the values do not stand in the definition,
// which the state file has.
func rich(s *lab.Site, family string) M {
	const ticket = "/var/credentials-fetcher/krbdir/krb5cc"
	return M{
		"family": family, "networkMode": "bridge", "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
		"containerDefinitions": []M{
			sh(s, "router", `grep -q mine /fluent-bit/etc/external.conf && [ "$key_1" = canary-''one ] && grep -q Web `+ticket+` || exit 9; trap 'exit 0' TERM; sleep 3600 & while :; do wait; done`, M{
				"firelensConfiguration": M{"type": "fluentbit", "options": M{"config-file-type": "s3", "config-file-value": "arn:aws:s3:::files/extra.conf"}},
				"image":                 fromECR(family), "credentialSpecs": []string{"credentialspec:arn:aws:ssm:us-west-2:000000000000:parameter/account"},
			}),
			sh(s, "app", `[ "$ONE/$TWO/$THREE/$FOUR" = canary-''one/canary-''two/canary-''three/four ] && grep -q Alone `+ticket+` || exit 9; trap 'exit 7' TERM; sleep 3600 & while :; do wait; done`, M{
				"secrets":          []M{{"name": "ONE", "valueFrom": "/db"}, {"name": "TWO", "valueFrom": secretARN + "app:key::"}, {"name": "FOUR", "valueFrom": secretARN + "more"}},
				"credentialSpecs":  []string{"credentialspecdomainless:arn:aws:s3:::files/alone"},
				"environmentFiles": []M{{"type": "s3", "value": "arn:aws:s3:::files/app.env"}},
				"logConfiguration": M{"logDriver": "awsfirelens", "options": M{"Name": "null"}, "secretOptions": []M{{"name": "key", "valueFrom": "/db"}}},
			}),
		},
	}
}

// fromECR is the name of an image there.
func fromECR(family string) string {
	return "000000000000.dkr.ecr.us-west-2.amazonaws.com/" + family + ":1"
}

// playECR gives the image of a site a name of ECR, and has the site's registry answer what
// the agent asks of that one. It asks for a digest that the engine has under the other name,
// so that the image of this name is used as it is there.
func playECR(ctx context.Context, t *testing.T, s *lab.Site, name string) {
	t.Helper()
	pull, err := s.Lab.Docker.ImagePull(ctx, s.Image, image.PullOptions{})
	if err == nil {
		_, err = io.Copy(io.Discard, pull)
	}
	if err == nil {
		err = s.Lab.Docker.ImageTag(ctx, s.Image, name)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = s.Lab.Docker.ImageRemove(context.WithoutCancel(ctx), name, image.RemoveOptions{}) // the agent may have removed it
	})
	repository, _, _ := strings.Cut(name, ":1")
	here := strings.TrimSuffix(s.Image, ":1")
	s.Engine.SetIntercept(func(_ proxy.Call, _ http.ResponseWriter, r *http.Request) bool {
		if query := r.URL.Query(); query.Get("fromImage") == repository {
			query.Set("fromImage", here)
			r.URL.RawQuery = query.Encode()
		}
		if strings.HasSuffix(r.URL.Path, "/distribution/"+name+"/json") {
			r.URL.Path = strings.Replace(r.URL.Path, name, s.Image, 1)
		}
		return false
	})
}

// calls are the failpoints around calls that the task of rich takes in any case, the first
// time that they are passed.
func calls() (all []string) {
	for _, name := range failpoint.All() {
		area, call, _ := strings.Cut(name, ".")
		if slices.Contains([]string{"ssm", "secretsmanager", "s3", "ecr", "fetcher"}, area) && !strings.HasPrefix(call, "Renew") {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// renewals are the failpoints around what a restart brings about of a task that has tickets:
// ECS sends credentials again, and tickets are renewed with them.
var renewals = []string{
	"acs.credentials.before", "acs.credentials.after",
	"fetcher.RenewNonDomainJoinedKerberosLease.before", "fetcher.RenewNonDomainJoinedKerberosLease.after",
}

// TestKilledWithResources: the agent is killed before and after it makes and removes
// resources of each kind, when their containers are made, and before and after the calls to
// the services that they come from. The next one has the values again, and leaves nothing of
// them.
func TestKilledWithResources(t *testing.T) {
	t.Parallel()
	cases := []string{
		// The task has six: cgroup, tickets, two kinds of secrets, files, FireLens.
		"resource.provision.before=kill@6", "resource.provision.after=kill@1", "docker.created.after=kill@2",
		"resource.clean-up.before=kill@2", "resource.clean-up.after=kill@3",
	}
	for _, name := range calls() {
		if c := name + "=kill@1"; *whole || inPart(c) {
			cases = append(cases, c)
		}
	}
	for _, name := range renewals {
		if c := "docker.created.after=kill@2 then " + name + "=kill@1"; *whole || inPart(c) {
			cases = append(cases, c)
		}
	}
	for _, c := range cases {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			needEngine(t)
			daemon, agent := playFetcher(t)
			ctx, s := serving(t, bench, limit, served, agent...)
			family := lab.Name("r")
			playECR(ctx, t, s, fromECR(family))
			first, second, twice := strings.Cut(c, " then ")
			deaths := 1
			if err := s.Keep("ECS_FAILPOINTS=" + first); err != nil {
				t.Fatal(err)
			}
			if twice {
				deaths = 2
				s.NextStart("ECS_FAILPOINTS=" + second)
			}
			if err := s.AwaitConnected(ctx); err != nil {
				t.Fatal(err)
			}
			arn := launch(ctx, t, s, rich(s, family))
			for _, c := range await(ctx, t, s, arn, "RUNNING").Containers {
				if err := harness.AwaitTermHandler(ctx, s.Lab.Docker, c.RuntimeID); err != nil {
					t.Fatal(err)
				}
			}
			if strings.HasPrefix(c, "docker.created") {
				awaitPassed(ctx, t, s, renewals)
			}
			if err := s.ECS.Stop(ctx, arn, "enough"); err != nil {
				t.Fatal(err)
			}
			task := await(ctx, t, s, arn, "STOPPED")
			if app, router := exitOf(task.Container("app")), exitOf(task.Container("router")); app != "7" || router != "0" {
				t.Errorf("exit codes of app %s and router %s, want 7 and 0: %+v", app, router, task)
			}
			cleanedUp(ctx, t, s)
			if code, err := s.End(); err != nil || code != 0 {
				t.Errorf("exit code %d of the agent: %v", code, err)
			}
			if s.Deaths() != deaths {
				t.Errorf("the agent was killed %d times, want %d", s.Deaths(), deaths)
			}
			allPassed(t, s)
			// The daemon may have made the two leases of a task for an agent that was killed before
			// it wrote down what they are.
			if left := daemon.Leases(); len(left) > 2 || len(left) > 0 && (strings.Contains(c, "clean-up") || strings.Contains(c, "Delete")) {
				t.Errorf("leases %q are left", left)
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

// playFetcher plays credentials-fetcher for an agent with these settings.
func playFetcher(t *testing.T) (daemon *fetchertest.Server, agent []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ecs-fetcher-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	daemon = &fetchertest.Server{Dir: filepath.Join(dir, "krbdir")}
	socket := filepath.Join(dir, "socket", "f.sock")
	if err := daemon.Serve(t.Context(), socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(daemon.Close)
	return daemon, []string{"ECS_GMSA_SUPPORTED=true", "CREDENTIALS_FETCHER_HOST=unix://" + socket, "ECS_DOMAIN_JOINED_LINUX_INSTANCE=true"}
}

// awaitPassed waits until failpoints have been passed.
func awaitPassed(ctx context.Context, t *testing.T, s *lab.Site, names []string) {
	t.Helper()
	err := harness.Poll(ctx, strings.Join(names, ", ")+" to be passed", func(context.Context) (bool, error) {
		passed, err := s.Passed()
		return err == nil && !slices.ContainsFunc(names, func(name string) bool { return passed[name] == 0 }), err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// allPassed checks that each call was made, and that its name is in the table.
func allPassed(t *testing.T, s *lab.Site) {
	t.Helper()
	passed, err := s.Passed()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range calls() {
		if passed[name] == 0 {
			t.Errorf("%s is never passed", name)
		}
	}
	all := failpoint.All()
	for name := range passed {
		if !slices.Contains(all, name) {
			t.Errorf("%s is passed and not in the table", name)
		}
	}
}
