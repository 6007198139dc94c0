package objects

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"ecsagent/agent/s3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ Client = (*s3.Client)(nil)

// bucket is S3, whose answers take a second.
type bucket struct {
	mu    sync.Mutex
	calls []string
}

func (b *bucket) Get(ctx context.Context, p aws.CredentialsProvider, name, key string) ([]byte, error) {
	who, err := p.Retrieve(ctx)
	b.mu.Lock()
	b.calls = append(b.calls, who.AccessKeyID+" "+name+"/"+key)
	b.mu.Unlock()
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("the download is not bounded")
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if key == "gone" {
		return nil, errors.New("NoSuchKey")
	}
	return []byte(key), err
}

func reader(b *bucket) *Reader {
	return New(Options{
		Client: b,
		Credentials: func(id string) aws.CredentialsProvider {
			if id == "gone" {
				return nil
			}
			return credentials.NewStaticCredentialsProvider(id, "s", "")
		},
		Role: func(id string) (string, bool) { return "arn:shared", id == "a" || id == "b" },
	})
}

// TestShared: tasks of one role share what they read at one time, tasks of another role and
// tasks that come later do not; a failure is that of one object.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{}
		r := reader(b)
		var readers sync.WaitGroup
		begin := time.Now()
		for _, id := range []string{"a", "b", "alone"} {
			readers.Go(func() {
				got, err := r.Get(t.Context(), id, Object{"b", "one"}, Object{"b", "gone"}, Object{"b", "one"})
				if err != nil || string(got[Object{"b", "one"}].Value) != "one" || got[Object{"b", "gone"}].Err == nil || len(got) != 2 {
					t.Errorf("%s: %v, %v", id, got, err)
				}
			})
		}
		readers.Wait()
		if took := time.Since(begin); took != time.Second {
			t.Errorf("it took %s", took)
		}
		ofRole := slices.DeleteFunc(slices.Clone(b.calls), func(c string) bool { return c == "alone b/one" || c == "alone b/gone" })
		if len(b.calls) != 4 || len(ofRole) != 2 {
			t.Errorf("calls %q", b.calls)
		}
		if _, err := r.One(t.Context(), "b", Object{"b", "one"}); err != nil || len(b.calls) != 4 {
			t.Errorf("within the burst: %v, %d calls", err, len(b.calls))
		}
		time.Sleep(freshness)
		if got, err := r.One(t.Context(), "b", Object{"b", "one"}); err != nil || string(got) != "one" || b.calls[len(b.calls)-1] != "b b/one" || len(b.calls) != 5 {
			t.Errorf("after the burst: %q, %v, calls %q", got, err, b.calls)
		}
	})
}

// TestWithout: credentials that are gone, a task that is stopped.
func TestWithout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{}
		r := reader(b)
		if _, err := r.One(t.Context(), "gone", Object{"b", "one"}); !errors.Is(err, ErrNoRole) || len(b.calls) != 0 {
			t.Errorf("%v, calls %q", err, b.calls)
		}
		if _, err := New(Options{Client: b}).One(t.Context(), "a", Object{"b", "one"}); !errors.Is(err, ErrNoRole) {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.One(ctx, "a", Object{"b", "one"}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	if _, err := Parse("arn:aws:s3:::b"); err == nil {
		t.Error("a bucket is no object")
	}
	if o, err := Parse("arn:aws-cn:s3:::b/dir/k"); err != nil || o != (Object{"b", "dir/k"}) {
		t.Errorf("%v, %v", o, err)
	}
}
