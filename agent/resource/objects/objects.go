// Package objects reads objects of S3 for tasks, on behalf of their execution roles: each
// at most once at a time, and once for a burst of tasks.
package objects

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"ecsagent/agent/resource/shared"
	"ecsagent/agent/s3"
)

// freshness is how old an object may be that a task gets: long enough for a burst of
// tasks, and short enough that a task that is run after a change has the new one.
const freshness = 5 * time.Second

// downloadLimit bounds the download of one object, all attempts together (docs/spec/02
// section 7.5).
const downloadLimit = 30 * time.Second

// ErrNoRole is for execution credentials that are not there any more.
var ErrNoRole = errors.New("unable to find execution role credentials")

// Client reads from S3; *s3.Client does.
type Client interface {
	Get(ctx context.Context, credentials aws.CredentialsProvider, bucket, key string) ([]byte, error)
}

// Options are the parts of a Reader.
type Options struct {
	Client Client
	// Credentials gives the provider for a set of execution credentials, nil for one that
	// is not known; Role the role behind it, whose tasks share what they read. Without a
	// role each set is a role of its own.
	Credentials func(credentialsID string) aws.CredentialsProvider
	Role        func(credentialsID string) (arn string, ok bool)
}

// Object names an object.
type Object struct{ Bucket, Key string }

// Parse reads the ARN of an object, of any partition.
func Parse(arn string) (Object, error) {
	bucket, key, err := s3.ParseARN(arn)
	return Object{bucket, key}, err
}

// Reader is safe for concurrent use.
type Reader struct {
	opts  Options
	files *shared.Values[wanted, []byte]
}

// wanted is an object as a role sees it.
type wanted struct {
	role string
	Object
}

// New makes a Reader. It reads nothing.
func New(o Options) *Reader {
	return &Reader{opts: o, files: shared.New[wanted, []byte](freshness)}
}

// Get downloads objects at the same time. Each has a result of its own; the error is for
// what befell all of them. What is returned must not be changed.
func (r *Reader) Get(ctx context.Context, credentialsID string, list ...Object) (map[Object]shared.Result[[]byte], error) {
	var credentials aws.CredentialsProvider
	if r.opts.Credentials != nil {
		credentials = r.opts.Credentials(credentialsID)
	}
	if credentials == nil {
		return nil, ErrNoRole
	}
	role := credentialsID
	if r.opts.Role != nil {
		if arn, ok := r.opts.Role(credentialsID); ok && arn != "" {
			role = arn
		}
	}
	var keys []wanted
	for _, o := range list {
		if k := (wanted{role, o}); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	single := func(keys []wanted) [][]wanted { return slices.Collect(slices.Chunk(keys, 1)) }
	found, err := r.files.Get(ctx, keys, single, func(ctx context.Context, keys []wanted) map[wanted]shared.Result[[]byte] {
		ctx, cancel := context.WithTimeout(ctx, downloadLimit)
		defer cancel()
		text, err := r.opts.Client.Get(ctx, credentials, keys[0].Bucket, keys[0].Key)
		return map[wanted]shared.Result[[]byte]{keys[0]: {Value: text, Err: err}}
	})
	if err != nil {
		return nil, err
	}
	results := make(map[Object]shared.Result[[]byte], len(keys))
	for _, k := range keys {
		results[k.Object] = found[k]
	}
	return results, nil
}

// One downloads one object.
func (r *Reader) One(ctx context.Context, credentialsID string, o Object) ([]byte, error) {
	results, err := r.Get(ctx, credentialsID, o)
	if err != nil {
		return nil, err
	}
	return results[o].Value, results[o].Err
}
