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

// The cache of ECR tokens (docs/spec/02 section 5.4). A token is not used any more
// some time before it expires, spread at random so that hosts do not all ask at
// the same moment.
const (
	maxTokens   = 100
	tokenTTL    = 12 * time.Hour
	tokenMargin = 30 * time.Minute // plus a random part of the same length
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
	until time.Time
}

func newTokens(base context.Context, done *sync.WaitGroup, source ECRTokens, now func() time.Time) *tokens {
	return &tokens{
		source: source, now: now, asking: newFlights[ECRToken](base, done),
		byKey: make(map[string]*list.Element), order: list.New(),
	}
}

// get returns the token of the key; fresh says that ECR was asked for it.
func (t *tokens) get(ctx context.Context, key string, req ECRRequest) (token ECRToken, fresh bool, err error) {
	if token, ok := t.cached(key); ok {
		return token, false, nil
	}
	token, err = t.asking.do(ctx, key, func(ctx context.Context) (ECRToken, error) {
		token, err := t.source.Token(ctx, req)
		if err == nil {
			t.put(key, token)
		}
		return token, err
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		err = failure(nameECR, err.Error(), runtime.ErrDenied, err)
	}
	return token, true, err
}

func (t *tokens) cached(key string) (ECRToken, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.byKey[key]
	if !ok {
		return ECRToken{}, false
	}
	c := e.Value.(cachedToken)
	if !t.now().Before(c.until) {
		t.remove(e)
		return ECRToken{}, false
	}
	t.order.MoveToFront(e)
	return c.token, true
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
