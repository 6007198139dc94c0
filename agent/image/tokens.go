package image

import (
	"container/list"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"ecsagent/agent/runtime"
)

// The cache of ECR tokens (docs/spec/02 section 5.4). A token is replaced some time
// before it expires, spread at random so that hosts do not all ask at the same moment.
// Should ECR not give a new one, the old one serves until it expires.
const (
	maxTokens   = 100
	tokenTTL    = 12 * time.Hour
	tokenMargin = 30 * time.Minute // plus a random part of the same length
	// tokenReserve is how long an old token must still be good to be used for want of a
	// new one.
	tokenReserve = time.Minute
)

// tokens caches ECR tokens and asks for each at most once at a time.
type tokens struct {
	source ECRTokens
	now    func() time.Time
	asking *flights[ECRToken]

	mu    sync.Mutex
	byKey map[string]*list.Element // of cachedToken
	order *list.List               // most recently used first
}

type cachedToken struct {
	key   string
	token ECRToken
	until time.Time // then it is time for a new one
}

func newTokens(base context.Context, done *sync.WaitGroup, source ECRTokens, now func() time.Time) *tokens {
	return &tokens{
		source: source, now: now, asking: newFlights[ECRToken](base, done),
		byKey: make(map[string]*list.Element), order: list.New(),
	}
}

// get returns the token of the key; fresh says that ECR was asked for it.
func (t *tokens) get(ctx context.Context, key string, req ECRRequest) (token ECRToken, fresh bool, err error) {
	old, ok := t.cached(key)
	if ok && t.now().Before(old.until) {
		return old.token, false, nil
	}
	token, err = t.asking.do(ctx, key, func(ctx context.Context) (ECRToken, error) {
		token, err := t.source.Token(ctx, req)
		if err == nil {
			t.put(key, token)
		}
		return token, err
	})
	if err != nil && ok && ctx.Err() == nil && t.now().Before(old.token.ExpiresAt.Add(-tokenReserve)) {
		return old.token, false, nil
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		err = failure(nameECR, err.Error(), runtime.ErrDenied, err)
	}
	return token, true, err
}

func (t *tokens) cached(key string) (cachedToken, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byKey[key]
	if !ok {
		return cachedToken{}, false
	}
	t.order.MoveToFront(e)
	return e.Value.(cachedToken), true
}

func (t *tokens) put(key string, token ECRToken) {
	until := token.ExpiresAt.Add(-tokenMargin - rand.N(tokenMargin))
	if limit := t.now().Add(tokenTTL); until.After(limit) {
		until = limit
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byKey[key]; ok {
		t.remove(e)
	}
	t.byKey[key] = t.order.PushFront(cachedToken{key, token, until})
	if t.order.Len() > maxTokens {
		t.remove(t.order.Back())
	}
}

func (t *tokens) drop(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.byKey[key]; ok {
		t.remove(e)
	}
}

// remove is called with the lock held.
func (t *tokens) remove(e *list.Element) {
	t.order.Remove(e)
	delete(t.byKey, e.Value.(cachedToken).key)
}
