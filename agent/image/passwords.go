package image

import (
	"context"
	"sync"
	"time"

	"ecsagent/agent/runtime"
	"ecsagent/agent/task"
)

// freshness is how long a login from a secret is used again: long enough for the digest
// and the pull of a burst of tasks. A registry that refuses it makes it be fetched anew
// at once, so that a changed password does not wait.
const freshness = time.Minute

// SecretError is a login that could not be got from its secret. It stops the task with
// a reason of the task's own, and no container is to blame (docs/spec/02 sections 2.4
// and 7.2).
type SecretError struct{ Reason string }

// Error implements error.
func (e *SecretError) Error() string { return e.Reason }

// Unwrap says that asking the registry again is of no use.
func (e *SecretError) Unwrap() error { return runtime.ErrDenied }

// passwords keeps logins from secrets for a moment and fetches each at most once at a
// time.
type passwords struct {
	source RegistrySecrets
	now    func() time.Time
	asking *flights[runtime.RegistryAuth]

	mu    sync.Mutex
	byKey map[string]password
}

type password struct {
	auth  runtime.RegistryAuth
	until time.Time
}

func newPasswords(base context.Context, done *sync.WaitGroup, source RegistrySecrets, now func() time.Time) *passwords {
	return &passwords{source: source, now: now, asking: newFlights[runtime.RegistryAuth](base, done), byKey: make(map[string]password)}
}

// get returns the login of the key; fresh says that the secret was read for it.
func (p *passwords) get(ctx context.Context, key string, ref task.ASMAuth, credentialsID string) (auth *runtime.RegistryAuth, fresh bool, err error) {
	if kept, ok := p.kept(key); ok {
		return &kept, false, nil
	}
	got, err := p.asking.do(ctx, key, func(ctx context.Context) (runtime.RegistryAuth, error) {
		auth, err := p.source.Login(ctx, ref, credentialsID)
		switch {
		case err == nil:
			p.put(key, auth)
		case ctx.Err() == nil:
			err = &SecretError{Reason: err.Error()}
		}
		return auth, err
	})
	if err != nil {
		return nil, false, err
	}
	return &got, true, nil
}

func (p *passwords) kept(key string) (runtime.RegistryAuth, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.byKey[key]
	return k.auth, ok && p.now().Before(k.until)
}

func (p *passwords) put(key string, auth runtime.RegistryAuth) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, k := range p.byKey {
		if !p.now().Before(k.until) {
			delete(p.byKey, other) // a password is kept no longer than it is of use
		}
	}
	p.byKey[key] = password{auth, p.now().Add(freshness)}
}

func (p *passwords) drop(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byKey, key)
}
