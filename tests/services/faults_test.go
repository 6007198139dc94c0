package services

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ecsagent/agent/engine"
	"ecsagent/agent/image"
	"ecsagent/agent/image/asm"
	"ecsagent/agent/image/ecr"
	"ecsagent/agent/resource/firelens"
	"ecsagent/agent/resource/gmsa"
	"ecsagent/agent/resource/gmsa/fetcher"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/resource/secrets"
	"ecsagent/agent/s3"
	"ecsagent/agent/task"
)

// canary is in every value, and in no error.
const canary = "canary"

// source is something that the resources of tasks come from.
type source struct {
	service string // as faults name it
	file    string // in the folder
	good    string // what is in it
	get     func(w *world) error
	missing string // the error of one that is not there
	follows bool   // it is found in another region too
	// bad is in the file of a value that is malformed, and malformed the error; empty: any text
	// is a value.
	bad, malformed string
}

// daemon makes tickets of every account.
type daemon struct{ gmsa.Fetcher }

func (daemon) Add(context.Context, []string) (fetcher.Lease, error) {
	return fetcher.Lease{ID: "1", Tickets: []string{"/krb/Web"}}, nil
}

func (daemon) AddAs(_ context.Context, _ []string, as fetcher.Account) (fetcher.Lease, error) {
	if as.User != "svc" || as.Password.Reveal() != canary || as.Domain != "contoso.com" {
		return fetcher.Lease{}, errors.New("another user")
	}
	return fetcher.Lease{ID: "2", Tickets: []string{"/krb/Web"}}, nil
}

func (w *world) objects() *objects.Reader {
	return objects.New(objects.Options{Credentials: role, Client: s3.New(s3.Options{JSONOptions: w.options(), Region: region})})
}

func (w *world) sources() (gmsa.Sources, *secrets.Hook) {
	o := secrets.Options{JSONOptions: w.options(), Region: region}
	return gmsa.Sources{Objects: w.objects(), Parameters: secrets.NewSSM(o)}, secrets.NewASM(o)
}

// provide has a hook make what a container needs.
func provide(ctx context.Context, h engine.Hook, c task.Container) error {
	_, _, err := inputs(ctx, []engine.Hook{h}, c)
	return err
}

// variables checks a variable of a container.
func variables(w *world, c task.Container, want string) error {
	got, _, err := inputs(w.t.Context(), w.hooks(), c)
	if err == nil && got["V"] != want {
		return errors.New("another value")
	}
	return err
}

func (w *world) tickets(spec string) error {
	from, users := w.sources()
	return provide(w.t.Context(), gmsa.NewTickets(gmsa.TicketOptions{Sources: from, Secrets: users, Fetcher: daemon{}}),
		task.Container{Name: "app", CredentialSpecs: []string{spec}})
}

const (
	spec     = `{"ActiveDirectoryConfig":{"GroupManagedServiceAccounts":[{"Name":"Web","Scope":"` + canary + `"}]`
	userSpec = spec + `,"HostAccountConfig":{"PluginInput":{"CredentialArn":"` + asmARN + `user"}}}}`
	notJSON  = canary + " text"
)

var sources = map[string]source{
	"a parameter": {
		service: "ssm", file: "ssm/prod/db", good: canary, missing: "invalid parameters: /prod/db",
		get: func(w *world) error {
			return variables(w, task.Container{Name: "app", Secrets: []task.Secret{variable("V", "/prod/db")}}, canary)
		},
	},
	"a secret": {
		service: "secretsmanager", file: "secrets/team/app", good: `{"user":"` + canary + `"}`, missing: "ResourceNotFoundException: ",
		get: func(w *world) error {
			return variables(w, task.Container{Name: "app", Secrets: []task.Secret{variable("V", asmARN+"team/app-AbCdEf:user::")}}, canary)
		},
		bad: notJSON, malformed: "is no JSON object, and json key user was asked for",
	},
	"a file of variables": {
		service: "s3", file: "s3/files/app.env", good: "V=" + canary, missing: "NoSuch", follows: true,
		get: func(w *world) error {
			return variables(w, task.Container{Name: "app", EnvFiles: []task.EnvFile{{Type: "s3", Value: "arn:aws:s3:::files/app.env"}}}, canary)
		},
		bad: "V=" + strings.Repeat(canary, 15_000), malformed: "app.env",
	},
	"the password of a registry": {
		service: "secretsmanager", file: "secrets/registry", good: `{"username":"u","password":"` + canary + `"}`, missing: "ResourceNotFoundException: ",
		get: func(w *world) error {
			got, err := asm.New(w.options()).Login(w.t.Context(), task.ASMAuth{CredentialsParameter: asmARN + "registry", Region: region}, "id")
			if err == nil && got.Password.Reveal() != canary {
				return errors.New("another value")
			}
			return err
		},
		bad: notJSON, malformed: "unable to unmarshal secret value, invalid schema",
	},
	"the password of ECR": {
		service: "ecr", file: "ecr/1", good: `{"password":"` + canary + `"}`, missing: "InvalidParameterException: ",
		get: func(w *world) error {
			got, err := ecr.New(w.options()).Token(w.t.Context(), image.ECRRequest{RegistryID: "1", Region: region, CredentialsID: "id"})
			if err == nil && got.Password.Reveal() != canary {
				return errors.New("another value")
			}
			return err
		},
	},
	"the configuration of a FireLens container": {
		service: "s3", file: "s3/conf/extra.conf", good: "# " + canary, missing: "NoSuch", follows: true,
		get: func(w *world) error {
			dir := w.t.TempDir()
			h := firelens.New(firelens.Options{OS: "linux", Dir: dir, HostDir: dir, Cluster: "prod", Objects: w.objects()})
			return provide(w.t.Context(), h, task.Container{Name: "app", FireLens: &task.FireLens{Type: "fluentbit",
				Options: map[string]string{"config-file-type": "s3", "config-file-value": "arn:aws:s3:::conf/extra.conf"}}})
		},
	},
	"a credential spec in Parameter Store": {
		service: "ssm", file: "ssm/gmsa/web", good: spec + "}}", missing: "invalid parameters: ",
		get: func(w *world) error {
			return w.tickets("credentialspec:arn:aws:ssm:" + region + ":1:parameter/gmsa/web")
		},
		bad: notJSON, malformed: "it is not JSON",
	},
	"a credential spec in S3": {
		service: "s3", file: "s3/specs/web.json", good: spec + "}}", missing: "NoSuch", follows: true,
		get: func(w *world) error { return w.tickets("credentialspec:arn:aws:s3:::specs/web.json") },
		bad: notJSON, malformed: "it is not JSON",
	},
	"the user of a credential spec": {
		service: "secretsmanager", file: "secrets/user", good: `{"username":"svc","password":"` + canary + `","domainName":"contoso.com"}`,
		missing: "ResourceNotFoundException: ",
		get: func(w *world) error {
			w.put("s3/specs/user.json", userSpec)
			return w.tickets("credentialspecdomainless:arn:aws:s3:::specs/user.json")
		},
		bad: notJSON, malformed: "want JSON with username, password and domainName",
	},
	"a credential spec on Windows": {
		service: "s3", file: "s3/specs/web.json", good: spec + "}}", missing: "NoSuch", follows: true,
		get: func(w *world) error {
			from, _ := w.sources()
			return provide(w.t.Context(), gmsa.New(gmsa.Options{Dir: w.t.TempDir(), Sources: from, Credentials: role}),
				task.Container{Name: "app", CredentialSpecs: []string{"credentialspec:arn:aws:s3:::specs/web.json"}})
		},
		bad: notJSON, malformed: "it is not JSON",
	},
}

// TestFaults: each source of resources denied, throttled, slow, with credentials
// that have expired, in another region, deleted and malformed: what passes is waited for, what
// does not is an error that tells what the service said, and nothing of the value.
func TestFaults(t *testing.T) {
	const slow = 300 * time.Millisecond
	for name, s := range sources {
		try := func(what, faults, want string, prepare func(w *world)) {
			t.Run(name+", "+what, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, map[string]string{s.file: s.good, "faults": strings.ReplaceAll(faults, "SERVICE", s.service)})
				if prepare != nil {
					prepare(w)
				}
				begun := time.Now()
				err := s.get(w)
				switch {
				case want == "" && err != nil:
					t.Error(err)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
					t.Errorf("%v, want %s", err, want)
				case err != nil && strings.Contains(err.Error(), canary):
					t.Errorf("the error tells of the value: %v", err)
				case what == "slow" && time.Since(begun) < slow:
					t.Errorf("after %v", time.Since(begun))
				}
			})
		}
		move := func(w *world) {
			folder := filepath.FromSlash(path.Dir(s.file)) // with S3, the bucket
			to := filepath.Join(w.dir, "us-east-1", folder)
			if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(filepath.Join(w.dir, folder), to)); err != nil {
				w.t.Fatal(err)
			}
		}
		elsewhere := s.missing
		if s.follows {
			elsewhere = ""
		}
		try("as it should be", "", "", nil)
		try("denied", "SERVICE * * denied", "AccessDenied", nil)
		try("throttled", "SERVICE * * throttled 1", "", nil)
		try("slow", "SERVICE * * slow "+slow.String()+" 1", "", nil)
		try("with old credentials", "SERVICE * * expired", "ExpiredToken", nil)
		try("in another region", "", elsewhere, move)
		try("deleted", "", s.missing, func(w *world) {
			if err := s.get(w); err != nil { // it was there
				w.t.Error(err)
			}
			if err := os.Remove(filepath.Join(w.dir, filepath.FromSlash(s.file))); err != nil {
				w.t.Fatal(err)
			}
		})
		if s.malformed != "" {
			try("malformed", "", s.malformed, func(w *world) { w.put(s.file, s.bad) })
		}
	}
}
