// Package services lets the agent's clients of AWS read from the services that ecs-local
// serves out of a folder, over HTTP, without a Docker engine.
package services

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/engine"
	"ecsagent/agent/image"
	"ecsagent/agent/image/asm"
	"ecsagent/agent/image/ecr"
	"ecsagent/agent/resource/envfile"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/resource/secrets"
	"ecsagent/agent/s3"
	"ecsagent/agent/task"
	"ecsagent/controlplane/awsfolder"
)

const (
	region = "eu-west-1"
	asmARN = "arn:aws:secretsmanager:eu-west-1:1:secret:"
)

// world is a folder that is served, and what an agent needs to read from it.
type world struct {
	t     testing.TB
	dir   string
	url   string
	delay time.Duration // of each answer

	mu    sync.Mutex
	calls []string
}

func newWorld(t testing.TB, files map[string]string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	for name, text := range files {
		w.put(name, text)
	}
	services, err := awsfolder.Open(awsfolder.Options{Dir: w.dir, Region: region, Account: "1"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		what := r.Header.Get("X-Amz-Target")
		if what == "" {
			what = r.Method + " " + r.URL.Path
		}
		w.calls = append(w.calls, what[strings.LastIndexByte(what, '.')+1:])
		w.mu.Unlock()
		if w.delay > 0 {
			timer := time.NewTimer(w.delay)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
			}
		}
		services.ServeHTTP(rw, r)
	}))
	w.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := services.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) put(name, text string) {
	w.t.Helper()
	file := filepath.Join(w.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// told are the calls so far, sorted, and forgets them.
func (w *world) told() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := slices.Sorted(slices.Values(w.calls))
	w.calls = nil
	return calls
}

func role(string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider("AK", "SK", "TOKEN")
}

func (w *world) options() awsenv.JSONOptions {
	return awsenv.JSONOptions{
		HTTP: awsenv.HTTPClient(awsenv.HTTPOptions{}), UserAgent: "test", Credentials: role, Log: zap.NewNop(),
		Getenv: func(name string) string {
			if name == "AWS_ENDPOINT_URL" {
				return w.url
			}
			return ""
		},
	}
}

// hooks are those of an agent.
func (w *world) hooks() []engine.Hook {
	o := secrets.Options{JSONOptions: w.options(), Region: region}
	return []engine.Hook{secrets.NewSSM(o), secrets.NewASM(o), envfile.New(envfile.Options{
		Dir: filepath.Join(w.t.TempDir(), "envfiles"), Cluster: "prod",
		Objects: objects.New(objects.Options{Credentials: role, Client: s3.New(s3.Options{JSONOptions: w.options(), Region: region})}),
	})}
}

// inputs are what a container gets of all its resources, which are made at the same time.
func inputs(ctx context.Context, hooks []engine.Hook, c task.Container) (variables, options map[string]string, err error) {
	spec := &task.Spec{ARN: "arn:aws:ecs:eu-west-1:1:task/prod/t", ExecutionCredentialsID: "id", Containers: []task.Container{c}}
	if err := engine.NeedsOf(hooks, spec); err != nil {
		return nil, nil, err
	}
	st := task.State{Containers: []task.ContainerState{{Desired: task.ContainerRunning}}}
	s := st.Snapshot(spec)
	variables, options = make(map[string]string), make(map[string]string)
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range spec.Resources {
		all.Go(func() {
			for _, h := range hooks {
				if h.Kind() != spec.Resources[i].Kind {
					continue
				}
				given, failed := h.Provision(ctx, s, &spec.Resources[i])
				mu.Lock()
				defer mu.Unlock()
				if failed != nil {
					err = failed
				}
				own := given.Inputs[c.Name]
				for _, m := range []map[string]string{given.Shared.EnvFiles, own.Secrets} {
					for k, v := range m {
						variables[k] = v
					}
				}
				for k, v := range own.LogOptions {
					options[k] = v
				}
			}
		})
	}
	all.Wait()
	return variables, options, err
}

// variable is a secret of either service.
func variable(name, from string) task.Secret {
	s := task.Secret{Name: name, ValueFrom: from, Region: region, Provider: "ssm", Type: "ENVIRONMENT_VARIABLE"}
	if strings.Contains(from, ":secretsmanager:") {
		s.Provider = "asm"
	}
	return s
}

// TestWhole: every service, over the wire.
func TestWhole(t *testing.T) {
	w := newWorld(t, map[string]string{
		"ssm/prod/db": "of ssm\n", "ssm-versions/prod/db/3": "third", "us-east-1/ssm/far": "far", "ssm/tag": "tag",
		"secrets/team/app": `{"user":"u","port":5432}`, "secrets/team/text": "text", "secrets-versions/team/text/AWSPREVIOUS": "before",
		"s3/files/app.env": "A=1\nB=1\n", "us-east-1/s3/far-files/a b/ä.env": "B=2\nC=2\n",
		"ecr/1": `{"password":"pw"}`, "secrets/registry": `{"username":"someone","password":"p:w"}`,
		"faults": "ssm * arn:aws:ssm:us-east-1:1:parameter/far throttled 1\nsecretsmanager GetSecretValue * unavailable 1\ns3 * files/app.env throttled 1\n",
	})
	far := variable("FAR", "arn:aws:ssm:us-east-1:1:parameter/far")
	app := task.Container{
		Name: "app",
		Secrets: []task.Secret{
			variable("DB", "/prod/db"), variable("THIRD", "/prod/db:3"), far,
			variable("APP_USER", asmARN+"team/app-AbCdEf:user::"), variable("PORT", asmARN+"team/app-AbCdEf:port::"),
			variable("TEXT", asmARN+"team/text-AbCdEf"), variable("BEFORE", asmARN+"team/text-AbCdEf::AWSPREVIOUS:"),
			{Name: "tag", ValueFrom: "tag", Provider: "ssm", Type: "BOOTSTRAP", Target: "LOG_DRIVER"},
		},
		EnvFiles: []task.EnvFile{{Type: "s3", Value: "arn:aws:s3:::files/app.env"}, {Type: "s3", Value: "arn:aws:s3:::far-files/a b/ä.env"}},
	}
	_, _, err := inputs(t.Context(), w.hooks(), app)
	if want := "fetching secret data from SSM Parameter Store in eu-west-1: invalid parameters: " + far.ValueFrom; fmt.Sprint(err) != want {
		t.Errorf("asked in the wrong region: got %v, want %s", err, want)
	}
	app.Secrets[2].Region = "us-east-1"
	got, options, err := inputs(t.Context(), w.hooks(), app)
	for name, want := range map[string]string{
		"DB": "of ssm", "THIRD": "third", "FAR": "far", "APP_USER": "u", "PORT": "5432", "TEXT": "text", "BEFORE": "before", "A": "1", "B": "1", "C": "2",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q (%v)", name, got[name], want, err)
		}
	}
	if options["tag"] != "tag" {
		t.Errorf("log options %v", options)
	}
	login, err := asm.New(w.options()).Login(t.Context(), task.ASMAuth{CredentialsParameter: asmARN + "registry", Region: region}, "id")
	if err != nil || login.Username != "someone" || login.Password.Reveal() != "p:w" {
		t.Errorf("login of a registry: %+v, %v", login, err)
	}
	token, err := ecr.New(w.options()).Token(t.Context(), image.ECRRequest{RegistryID: "1", Region: region, CredentialsID: "id"})
	if err != nil || token.Username != "AWS" || token.Password.Reveal() != "pw" || token.Server != "https://1.dkr.ecr.eu-west-1.amazonaws.com" || time.Until(token.ExpiresAt) < 11*time.Hour {
		t.Errorf("token of ECR: %+v, %v", token, err)
	}
}

// twenty are ten secrets of each service.
func twenty(w *world) task.Container {
	c := task.Container{Name: "app"}
	for i := range 10 {
		name := fmt.Sprint("s", i)
		w.put("ssm/"+name, name)
		w.put("secrets/"+name, name)
		c.Secrets = append(c.Secrets, variable("SSM"+name, "/"+name), variable("ASM"+name, asmARN+name+"-AbCdEf"))
	}
	return c
}

// TestCalls: twenty secrets of two services are a call for each.
func TestCalls(t *testing.T) {
	w := newWorld(t, nil)
	c := twenty(w)
	got, _, err := inputs(t.Context(), w.hooks(), c)
	if calls := w.told(); err != nil || len(got) != 20 || !slices.Equal(calls, []string{"BatchGetSecretValue", "GetParameters"}) {
		t.Errorf("%d values (%v) by %q", len(got), err, calls)
	}
	w.put("faults", "secretsmanager BatchGetSecretValue * denied\n")
	hooks := w.hooks()
	got, _, err = inputs(t.Context(), hooks, c)
	if calls := w.told(); err != nil || len(got) != 20 || len(calls) != 1+10+1 {
		t.Errorf("without batches: %d values (%v) by %q", len(got), err, calls)
	}
}

// BenchmarkTwentySecrets is what a task waits for ten secrets of each service that
// answers after 20 ms, beside its image.
func BenchmarkTwentySecrets(b *testing.B) {
	w := newWorld(b, nil)
	w.delay = 20 * time.Millisecond
	c := twenty(w)
	for _, tt := range []struct{ name, faults string }{{"batches", "# none"}, {"one by one", "secretsmanager BatchGetSecretValue * denied"}} {
		b.Run(tt.name, func(b *testing.B) {
			w.put("faults", tt.faults)
			w.told()
			for b.Loop() {
				if got, _, err := inputs(b.Context(), w.hooks(), c); err != nil || len(got) != 20 { // new hooks: nothing is shared
					b.Fatal(len(got), err)
				}
			}
			b.ReportMetric(float64(len(w.told()))/float64(b.N), "calls/op")
		})
	}
}
