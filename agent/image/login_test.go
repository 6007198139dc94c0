package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

func TestParseEngineAuth(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("user:pa:ss"))
	tests := []struct {
		name, kind, data string
		want             map[string]string // image to user:password
		problems         []string
	}{
		{name: "none"},
		{name: "docker", kind: "docker", data: `{"https://index.docker.io/v1/":{"username":"hub","password":"p","email":"e"},"r.example":{"username":"u","password":"q"}}`,
			want: map[string]string{"busybox": "hub:p", "docker.io/a/b": "hub:p", "registry-1.docker.io/a": "hub:p", "r.example/a:1": "u:q", "other.example/a": ""}},
		{name: "dockercfg", kind: "dockercfg", data: `{"http://r.example:5000":{"auth":"` + encoded + `"}}`,
			want: map[string]string{"r.example:5000/a": "user:pa:ss", "r.example/a": "", "busybox": ""}},
		{name: "longest key", kind: "docker", data: `{"r.example":{"username":"host"},"r.example/team":{"username":"team"},"r.example/team/app":{"username":"app"},"x.r.example":{"username":"x"}}`,
			want: map[string]string{"r.example/a": "host:", "r.example/team/b": "team:", "r.example/team/app": "app:", "example/a": ""}},
		{name: "broken entries", kind: "dockercfg", data: `{"a.example":{"auth":"%%"},"b.example":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("nocolon")) + `"},"c.example":5,"d.example":{"auth":"` + encoded + `"}}`,
			want:     map[string]string{"a.example/i": "", "d.example/i": "user:pa:ss"},
			problems: []string{`registry "a.example": auth is not base64`, `registry "b.example": auth is not user:password`, `registry "c.example": want an object with auth`}},
		{name: "broken data", kind: "docker", data: `[`, problems: []string{"the data is no JSON object of registries"}},
		{name: "unknown type", kind: "podman", data: `{}`, problems: []string{`unknown type "podman": want docker or dockercfg`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, problems := ParseEngineAuth(tt.kind, secret.String(tt.data))
			if !slices.Equal(problems, tt.problems) {
				t.Errorf("problems %q", problems)
			}
			for ref, want := range tt.want {
				n, err := parseName(ref, namePull)
				if err != nil {
					t.Fatal(err)
				}
				got := ""
				if auth := r.lookup(n); auth != nil {
					got = auth.Username + ":" + auth.Password.Reveal()
				}
				if got != want {
					t.Errorf("%s: %q, want %q", ref, got, want)
				}
			}
		})
	}
}

func FuzzParseEngineAuth(f *testing.F) {
	for _, seed := range []string{`{}`, `{"a":{"auth":"dTpw"}}`, `{"":{"username":"u"}}`, `{"https://":{}}`, `null`, `{"a":null}`} {
		f.Add("docker", seed)
		f.Add("dockercfg", seed)
	}
	n, err := parseName("r.example/a/b:1", namePull)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind, data string) {
		r, problems := ParseEngineAuth(kind, secret.String(data))
		_ = r.lookup(n)
		if len(data) > 20 && strings.Contains(strings.Join(problems, " "), data) {
			t.Errorf("the data shows in %q", problems)
		}
	})
}

// fakeECR gives numbered passwords.
type fakeECR struct {
	mu    sync.Mutex
	asked []ECRRequest
	err   error
	ttl   time.Duration
	delay time.Duration
}

func (f *fakeECR) Token(_ context.Context, req ECRRequest) (ECRToken, error) {
	time.Sleep(f.delay)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, req)
	if f.err != nil {
		return ECRToken{}, f.err
	}
	return ECRToken{Username: fmt.Sprintf("AWS%d", len(f.asked)), Password: "p", Server: "https://ecr", ExpiresAt: time.Now().Add(f.ttl)}, nil
}

func (f *fakeECR) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

func ecrAuth(role bool) *task.RegistryAuth {
	return &task.RegistryAuth{Type: "ecr", ECR: &task.ECRAuth{RegistryID: "1", Region: "eu-west-1", UseExecutionRole: role}}
}

// One token serves the digest and the pull, all tasks of a role, and half a day.
func TestECRTokensAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, e := newFake(), &fakeECR{ttl: 12 * time.Hour, delay: time.Second}
		f.remote["a"] = digestA
		roles := map[string]string{"c1": "role/x", "c2": "role/x", "c3": "role/y"}
		p := New(Options{Engine: f, Limits: quick, Behavior: task.PullAlways, Logins: Logins{ECR: e, Role: func(id string) (string, bool) {
			arn, ok := roles[id]
			return arn, ok
		}}})
		defer p.Close()
		var wg sync.WaitGroup
		for _, req := range []Request{
			{Ref: "a", Auth: ecrAuth(true), ExecutionCredentialsID: "c1"},
			{Ref: "b", Auth: ecrAuth(true), ExecutionCredentialsID: "c2"},
			{Ref: "a", Auth: ecrAuth(true), ExecutionCredentialsID: "c3"},
			{Ref: "a", Auth: ecrAuth(false)},
		} {
			wg.Go(func() {
				if _, err := p.Ensure(context.Background(), req); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if e.count() != 3 {
			t.Errorf("%d tokens for 2 roles and the instance: %+v", e.count(), e.asked)
		}
		if _, err := p.Digest(context.Background(), Request{Ref: "a", Auth: ecrAuth(false)}); err != nil || e.count() != 3 {
			t.Errorf("digest: %v, %d tokens", err, e.count())
		}
		time.Sleep(10 * time.Hour)
		_, _ = p.Digest(context.Background(), Request{Ref: "a", Auth: ecrAuth(false)})
		if e.count() != 3 {
			t.Errorf("after 10 h: %d tokens", e.count())
		}
		time.Sleep(91 * time.Minute)
		_, _ = p.Digest(context.Background(), Request{Ref: "a", Auth: ecrAuth(false)})
		if e.count() != 4 {
			t.Errorf("half an hour before it expires: %d tokens", e.count())
		}
	})
}

// When ECR does not answer, the token that is still good serves on.
func TestOldTokenServesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, e := newFake(), &fakeECR{ttl: 12 * time.Hour}
		f.remote["a"] = digestA
		p := New(Options{Engine: f, Limits: quick, Behavior: task.PullAlways, Logins: Logins{ECR: e}})
		defer p.Close()
		digest := func() error {
			_, err := p.Digest(context.Background(), Request{Ref: "a", Auth: ecrAuth(false)})
			return err
		}
		if err := digest(); err != nil {
			t.Fatal(err)
		}
		e.err = errors.New("ServiceUnavailable")
		time.Sleep(12*time.Hour - 2*time.Minute)
		if err := digest(); err != nil || e.count() != 2 {
			t.Errorf("two minutes before it expires: %v, %d calls", err, e.count())
		}
		time.Sleep(time.Minute)
		if err := digest(); reasonOf(err) != "CannotPullECRContainerError: ServiceUnavailable" || e.count() != 3 {
			t.Errorf("at its end: %v, %d calls", err, e.count())
		}
		e.err = nil
		if err := digest(); err != nil || e.count() != 4 || !slices.Equal(f.logins, []string{"AWS1", "AWS1", "AWS4"}) {
			t.Errorf("afterwards: %v, %d calls, logins %q", err, e.count(), f.logins)
		}
	})
}

func TestTokenCacheIsBounded(t *testing.T) {
	var wg sync.WaitGroup
	e := &fakeECR{ttl: 12 * time.Hour}
	c := newTokens(context.Background(), &wg, e, time.Now)
	get := func(key string) bool {
		_, fresh, err := c.get(context.Background(), key, ECRRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	for i := range maxTokens {
		get(fmt.Sprint(i))
	}
	get("0") // used again: 1 is the oldest now
	get("one more")
	if get("0") || !get("1") {
		t.Error("the least recently used token must go")
	}
	if len(c.byKey) != maxTokens || c.order.Len() != maxTokens {
		t.Errorf("%d tokens, %d in order", len(c.byKey), c.order.Len())
	}
	wg.Wait()
}

// A cached token that the registry refuses is replaced, once.
func TestRefusedTokenIsRenewed(t *testing.T) {
	f, e := newFake(), &fakeECR{ttl: 12 * time.Hour}
	p := newPuller(t, f, func(o *Options) { o.Behavior, o.Logins.ECR = task.PullAlways, e })
	req := Request{Ref: "a", Auth: ecrAuth(false)}
	if _, err := p.Ensure(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	denied := fail(namePull, "denied: Your authorization token has expired", runtime.ErrDenied)
	f.hooks["pull"] = func(_ context.Context, n int) error {
		if n == 2 {
			return denied
		}
		return nil
	}
	if _, err := p.Ensure(context.Background(), req); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.logins, []string{"AWS1", "AWS1", "AWS2"}) {
		t.Errorf("logins %q", f.logins)
	}
	f.hooks["pull"] = func(context.Context, int) error { return denied }
	if _, err := p.Ensure(context.Background(), req); !errors.Is(err, runtime.ErrDenied) || f.count("pull") != 5 {
		t.Errorf("%v after %d pulls", err, f.count("pull"))
	}
}

// fakeSecrets hands out a password per call.
type fakeSecrets struct {
	err   error
	delay time.Duration

	mu    sync.Mutex
	calls int
}

func (f *fakeSecrets) Login(_ context.Context, ref task.ASMAuth, id string) (runtime.RegistryAuth, error) {
	f.mu.Lock()
	f.calls++
	n := f.calls
	f.mu.Unlock()
	time.Sleep(f.delay)
	return runtime.RegistryAuth{Username: fmt.Sprintf("%s/%s/%d", ref.CredentialsParameter, id, n), Password: "p"}, f.err
}

func asmAuth(parameter string) *task.RegistryAuth {
	return &task.RegistryAuth{Type: "asm", ASM: &task.ASMAuth{CredentialsParameter: parameter, Region: "r"}}
}

// A secret is read once for the digest and the pull of a burst of tasks of one role,
// again when it is no longer fresh, and at once when the registry refuses it.
func TestRegistrySecretsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, source := newFake(), &fakeSecrets{delay: time.Second}
		f.remote["a"] = digestA
		roles := map[string]string{"c1": "role/x", "c2": "role/x", "c3": "role/y"}
		p := New(Options{Engine: f, Limits: quick, Behavior: task.PullAlways, Logins: Logins{Secrets: source, Role: func(id string) (string, bool) {
			arn, ok := roles[id]
			return arn, ok
		}}})
		defer p.Close()
		ensure := func(ref, id string) error {
			_, err := p.Ensure(context.Background(), Request{Ref: ref, Auth: asmAuth("s"), ExecutionCredentialsID: id})
			return err
		}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				id := []string{"c1", "c2"}[i%2]
				if _, err := p.Digest(context.Background(), Request{Ref: "a", Auth: asmAuth("s"), ExecutionCredentialsID: id}); err != nil {
					t.Error(err)
				}
				if err := ensure("a", id); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if source.calls != 1 {
			t.Errorf("%d calls for one role", source.calls)
		}
		if err := ensure("a", "c3"); err != nil || source.calls != 2 {
			t.Errorf("another role: %v, %d calls", err, source.calls)
		}
		time.Sleep(freshness)
		if err := ensure("a", "c1"); err != nil || source.calls != 3 || len(p.logins.passwords.byKey) != 1 {
			t.Errorf("no longer fresh: %v, %d calls, %d kept", err, source.calls, len(p.logins.passwords.byKey))
		}
		f.hooks["pull"] = func(context.Context, int) error {
			if f.logins[len(f.logins)-1] == "s/c1/3" {
				return fail(namePull, "unauthorized", runtime.ErrDenied)
			}
			return nil
		}
		if err := ensure("b", "c1"); err != nil || source.calls != 4 {
			t.Errorf("refused: %v, %d calls", err, source.calls)
		}
		source.err = errors.New("asm fetching secret from the service for s: no")
		f.have("z", "sha256:z")
		p.behavior = task.PullDefault
		time.Sleep(freshness)
		err := ensure("z", "c1")
		var secret *SecretError
		if !errors.As(err, &secret) || secret.Reason != source.err.Error() || source.calls != 5 {
			t.Errorf("an image that is here does not make up for a secret: %v, %d calls", err, source.calls)
		}
	})
}

func TestLoginFailures(t *testing.T) {
	asm := asmAuth("arn")
	tests := []struct {
		name   string
		logins Logins
		req    Request
		want   string
	}{
		{"no execution role", Logins{ECR: &fakeECR{}}, Request{Auth: ecrAuth(true)}, "CannotPullECRContainerError: engine ecr credentials: not found"},
		{"unknown execution role", Logins{ECR: &fakeECR{}, Role: func(string) (string, bool) { return "", false }}, Request{Auth: ecrAuth(true), ExecutionCredentialsID: "x"}, "CannotPullECRContainerError: engine ecr credentials: not found"},
		{"no ecr", Logins{}, Request{Auth: ecrAuth(false)}, "CannotPullECRContainerError: engine ecr credentials: not found"},
		{"ecr refuses", Logins{ECR: &fakeECR{err: errors.New("AccessDeniedException: no")}}, Request{Auth: ecrAuth(false)}, "CannotPullECRContainerError: AccessDeniedException: no"},
		{"ecr without permission", Logins{ECR: &fakeECR{err: errors.New("request canceled while waiting for connection")}}, Request{Auth: ecrAuth(false)},
			"CannotPullECRContainerError: The task can’t pull the image. Check your network configuration. request canceled while waiting for connection"},
		{"no secrets", Logins{}, Request{Auth: asm, ExecutionCredentialsID: "x"}, "CannotPullContainerAuthError: engine docker private registry credentials: not found"},
		{"no role for the secret", Logins{Secrets: &fakeSecrets{}}, Request{Auth: asm}, "CannotPullContainerAuthError: engine docker private registry credentials: not found"},
		{"unknown role for the secret", Logins{Secrets: &fakeSecrets{}, Role: func(string) (string, bool) { return "", false }}, Request{Auth: asm, ExecutionCredentialsID: "x"},
			"(no task error) asm resource: unable to find execution role credentials"},
		{"secret broken", Logins{Secrets: &fakeSecrets{err: errors.New("gone")}}, Request{Auth: asm, ExecutionCredentialsID: "x"}, "(no task error) gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake()
			p := newPuller(t, f, func(o *Options) { o.Behavior, o.Logins = task.PullAlways, tt.logins })
			tt.req.Ref = "a"
			_, digestErr := p.Digest(context.Background(), tt.req)
			_, err := p.Ensure(context.Background(), tt.req)
			if reasonOf(err) != tt.want || reasonOf(digestErr) != tt.want {
				t.Errorf("got  %s\nand  %s\nwant %s", reasonOf(digestErr), reasonOf(err), tt.want)
			}
			if len(f.calls) != 0 {
				t.Errorf("calls %q", f.calls)
			}
		})
	}
}

func TestLoginsReachTheRegistry(t *testing.T) {
	f := newFake()
	registries, _ := ParseEngineAuth("docker", `{"r.example":{"username":"engine","password":"p"}}`)
	p := newPuller(t, f, func(o *Options) {
		o.Behavior, o.Logins = task.PullAlways, Logins{Engine: registries, Secrets: &fakeSecrets{}}
	})
	asm := &task.RegistryAuth{Type: "asm", ASM: &task.ASMAuth{CredentialsParameter: "arn"}}
	for _, req := range []Request{{Ref: "r.example/a"}, {Ref: "other.example/a"}, {Ref: "r.example/a", Auth: asm, ExecutionCredentialsID: "c"}} {
		if _, err := p.Ensure(context.Background(), req); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(f.logins, []string{"engine", "arn/c/1"}) {
		t.Errorf("logins %q", f.logins)
	}
}

func TestExplain(t *testing.T) {
	const url = `https://prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com/x?X-Amz-Signature=abc`
	const pull = "The task can’t pull the image. "
	tests := []struct{ name, text, want string }{
		{namePull, "plain", "plain"},
		{namePull, `Get "` + url + `": timeout`, "Get REDACTED ECR URL related to app:1 timeout"},
		{nameManifest, "a " + url + " b", "a REDACTED ECR URL related to app:1 b"},
		{nameECR, "x https://starport-layer-bucket y", "x https://starport-layer-bucket y"},
		{namePull, "denied: User: arn:x is not authorized to perform: ecr:BatchGetImage on resource: y",
			pull + "Check that the role has the permissions to pull images from the registry. denied: User: arn:x is not authorized to perform: ecr:BatchGetImage on resource: y"},
		{namePull, "denied: requested access to the resource is denied", pull + "Check whether the image exists. denied: requested access to the resource is denied"},
		{namePull, "net/http: request canceled while waiting for connection", pull + "Check your network configuration. net/http: request canceled while waiting for connection"},
		{nameManifest, "denied: requested access to the resource is denied", "denied: requested access to the resource is denied"},
		{nameAuth, "denied: requested access to the resource is denied", "denied: requested access to the resource is denied"},
	}
	for _, tt := range tests {
		in := &runtime.Failure{Reason: task.Error{Name: tt.name, Message: tt.text}, Kind: runtime.ErrDenied, Cause: errors.New(tt.text)}
		out := explain(fmt.Errorf("wrapped: %w", in), namePull, "app:1")
		if got := reasonOf(out); got != tt.name+": "+tt.want {
			t.Errorf("got  %s\nwant %s: %s", got, tt.name, tt.want)
		}
		if !errors.Is(out, runtime.ErrDenied) || strings.Contains(fmt.Sprintf("%v %+v", out, errors.Unwrap(out)), "Signature") {
			t.Errorf("kind lost or secret kept: %v", out)
		}
		if again := explain(out, namePull, "app:1"); reasonOf(again) != reasonOf(out) {
			t.Errorf("a second pass changes it: %s", reasonOf(again))
		}
	}
}
