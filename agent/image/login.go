package image

import (
	"context"
	"errors"
	"sync"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

// ECRTokens asks ECR for a password of a registry. Each call is a call to AWS: the
// puller caches the answers.
type ECRTokens interface {
	Token(ctx context.Context, req ECRRequest) (ECRToken, error)
}

// ECRRequest names a registry and the credentials with which to ask.
type ECRRequest struct {
	RegistryID string
	Region     string
	Endpoint   string // overrides the region's endpoint
	// CredentialsID is that of the execution role; empty means the instance's own.
	CredentialsID string
}

// ECRToken is a password for a registry.
type ECRToken struct {
	Username  string
	Password  secret.String
	Server    string // the registry's URL
	ExpiresAt time.Time
}

// RegistrySecrets fetches the login of a private registry from a secret
// (docs/spec/02 section 7.2). The text of an error is the reason for which the task
// stops; it must hold nothing of the secret. The puller shares the answers.
type RegistrySecrets interface {
	Login(ctx context.Context, ref task.ASMAuth, credentialsID string) (runtime.RegistryAuth, error)
}

// Logins are the ways to log in to registries. All are optional.
type Logins struct {
	Engine  *Registries // ECS_ENGINE_AUTH_TYPE and ECS_ENGINE_AUTH_DATA
	ECR     ECRTokens
	Secrets RegistrySecrets
	// Role gives the role behind a set of execution credentials, so that tasks of one
	// role share tokens and pulls; ok is false for an id that is not known. Nil means
	// that every id is known and a role of its own.
	Role func(credentialsID string) (arn string, ok bool)
}

// login is a way to log in to the registry of one image.
type login struct {
	key string // equal for requests that may share a pull
	// auth returns the login, nil for none; fresh says that it was made just now.
	auth func(context.Context) (auth *runtime.RegistryAuth, fresh bool, err error)
	// renew drops a cached login; nil when there is nothing to drop.
	renew func()
}

// with calls do with the login. When the registry refuses a login that came from
// the cache, do is called once more with a new one.
func (l login) with(ctx context.Context, do func(*runtime.RegistryAuth) error) error {
	auth, fresh, err := l.auth(ctx)
	if err != nil {
		return err
	}
	err = do(auth)
	if err == nil || fresh || l.renew == nil || !errors.Is(err, runtime.ErrDenied) {
		return err
	}
	l.renew()
	if auth, _, err = l.auth(ctx); err != nil {
		return err
	}
	return do(auth)
}

// fixed is a login that is known already.
func fixed(key string, auth *runtime.RegistryAuth) login {
	return login{key: key, auth: func(context.Context) (*runtime.RegistryAuth, bool, error) { return auth, true, nil }}
}

// logins finds the login for a request (docs/spec/02 section 5.4).
type logins struct {
	opts      Logins
	tokens    *tokens
	passwords *passwords
}

func newLogins(base context.Context, done *sync.WaitGroup, opts Logins, now func() time.Time) *logins {
	return &logins{
		opts: opts, tokens: newTokens(base, done, opts.ECR, now),
		passwords: newPasswords(base, done, opts.Secrets, now),
	}
}

func (l *logins) find(n name, req Request) (login, error) {
	switch {
	case req.Auth == nil:
		return fixed("engine", l.opts.Engine.lookup(n)), nil
	case req.Auth.Type == "ecr" && req.Auth.ECR != nil:
		return l.ecr(*req.Auth.ECR, req.ExecutionCredentialsID)
	case req.Auth.Type == "asm" && req.Auth.ASM != nil:
		return l.asm(*req.Auth.ASM, req.ExecutionCredentialsID)
	}
	return fixed("engine", l.opts.Engine.lookup(n)), nil
}

func (l *logins) ecr(a task.ECRAuth, credentialsID string) (login, error) {
	req := ECRRequest{RegistryID: a.RegistryID, Region: a.Region, Endpoint: a.EndpointOverride}
	role := ""
	if a.UseExecutionRole {
		var ok bool
		if role, ok = l.role(credentialsID); !ok {
			return login{}, failure(nameECR, "engine ecr credentials: not found", runtime.ErrDenied, nil)
		}
		req.CredentialsID = credentialsID
	}
	if l.opts.ECR == nil {
		return login{}, failure(nameECR, "engine ecr credentials: not found", runtime.ErrDenied, nil)
	}
	key := role + " " + req.Region + " " + req.RegistryID + " " + req.Endpoint
	return login{
		key: "ecr " + key,
		auth: func(ctx context.Context) (*runtime.RegistryAuth, bool, error) {
			t, fresh, err := l.tokens.get(ctx, key, req)
			if err != nil {
				return nil, false, err
			}
			return &runtime.RegistryAuth{Username: t.Username, Password: t.Password, ServerAddress: t.Server}, fresh, nil
		},
		renew: func() { l.tokens.drop(key) },
	}, nil
}

func (l *logins) asm(a task.ASMAuth, credentialsID string) (login, error) {
	if credentialsID == "" || l.opts.Secrets == nil {
		return login{}, failure(nameAuth, "engine docker private registry credentials: not found", runtime.ErrDenied, nil)
	}
	role, ok := l.role(credentialsID)
	if !ok {
		return login{}, &SecretError{Reason: "asm resource: unable to find execution role credentials"}
	}
	key := role + " " + a.Region + " " + a.CredentialsParameter
	return login{
		key: "asm " + key,
		auth: func(ctx context.Context) (*runtime.RegistryAuth, bool, error) {
			return l.passwords.get(ctx, key, a, credentialsID)
		},
		renew: func() { l.passwords.drop(key) },
	}, nil
}

// role is what requests with these credentials have in common.
func (l *logins) role(credentialsID string) (string, bool) {
	if credentialsID == "" {
		return "", false
	}
	if l.opts.Role == nil {
		return credentialsID, true
	}
	return l.opts.Role(credentialsID)
}
