package secrets

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/resource/shared"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

const (
	asmService  = "secretsmanager"
	asmVariable = "SECRETS_MANAGER" // in AWS_ENDPOINT_URL_…
	asmBatch    = 20                // secrets that BatchGetSecretValue takes

	currentStage = "AWSCURRENT"

	// batchMemory is how long a role that may not ask for batches is not tried again:
	// roles that were made for the official agent may not.
	batchMemory = 15 * time.Minute
)

// manager gets secrets from Secrets Manager.
type manager struct {
	opts    Options
	values  *shared.Values[version, secret.String]
	batches refusals
}

// version is one of a secret, as a role sees it.
type version struct{ role, region, id, stage, version string }

func newManager(o Options) *manager {
	return &manager{opts: o, values: shared.New[version, secret.String](Freshness), batches: refusals{until: make(map[string]time.Time)}}
}

// find implements service. All that went wrong is told.
func (m *manager) find(ctx context.Context, credentialsID string, wanted []task.Secret) (map[task.Secret]secret.String, error) {
	who := m.opts.asker(credentialsID)
	if who == nil {
		return nil, errors.New("ASM secret resource: unable to find execution role credentials")
	}
	refs := make([]reference, len(wanted))
	var keys []version
	var failed problems
	keyOf := func(i int) version {
		return version{who.role, m.opts.region(&wanted[i]), refs[i].id, refs[i].stage, refs[i].version}
	}
	for i := range wanted {
		var err error
		if refs[i], err = parseReference(wanted[i].ValueFrom); err != nil {
			failed.add(err)
		} else if k := keyOf(i); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	if failed != nil { // no value is of use
		return nil, failed.err()
	}
	divide := func(keys []version) [][]version { return m.divide(who, keys) }
	results, err := m.values.Get(ctx, keys, divide, func(ctx context.Context, keys []version) map[version]shared.Result[secret.String] {
		return m.fetch(ctx, who, keys)
	})
	if err != nil {
		return nil, err
	}
	values := make(map[task.Secret]secret.String, len(wanted))
	for i := range wanted {
		r := results[keyOf(i)]
		if r.Err != nil {
			failed.add(r.Err)
			continue
		}
		value, err := member(r.Value, refs[i].key)
		if err != nil {
			failed.add(fmt.Errorf("%w (%s from %s)", err, wanted[i].Name, wanted[i].ValueFrom))
		}
		values[wanted[i]] = value
	}
	return values, failed.err()
}

// divide makes calls of what is wanted. A batch has the current versions of secrets of
// one region.
func (m *manager) divide(who *asker, keys []version) [][]version {
	var calls [][]version
	current := make(map[string][]version) // by region
	for _, k := range keys {
		if k.stage == "" && k.version == "" && !m.batches.refused(who.role, k.region) {
			current[k.region] = append(current[k.region], k)
		} else {
			calls = append(calls, []version{k})
		}
	}
	for _, list := range current {
		calls = slices.AppendSeq(calls, slices.Chunk(list, asmBatch))
	}
	return calls
}

// fetch gets what one call gives. What a batch does not give is asked for by itself, for
// that answer counts: a role may be allowed the one and not the other.
func (m *manager) fetch(ctx context.Context, who *asker, keys []version) map[version]shared.Result[secret.String] {
	results := make(map[version]shared.Result[secret.String], len(keys))
	left := keys
	if len(keys) > 1 {
		var err error
		if left, err = m.batch(ctx, who, keys, results); err != nil {
			for _, k := range keys {
				results[k] = shared.Result[secret.String]{Err: describe(k.id, err)}
			}
			return results
		}
	}
	var mu sync.Mutex
	var calls sync.WaitGroup
	for _, k := range left {
		calls.Go(func() {
			value, err := m.one(ctx, who, k)
			mu.Lock()
			defer mu.Unlock()
			results[k] = shared.Result[secret.String]{Value: value, Err: describe(k.id, err)}
		})
	}
	calls.Wait()
	return results
}

// batch asks for the current versions of several secrets and returns those that it did
// not get: all of them when the service refuses batches.
func (m *manager) batch(ctx context.Context, who *asker, keys []version, results map[version]shared.Result[secret.String]) (left []version, err error) {
	ids := make([]string, 0, len(keys))
	for _, k := range keys {
		ids = append(ids, k.id)
	}
	var reply batchReply
	err = m.call(ctx, who, keys[0].region, "BatchGetSecretValue", map[string]any{"SecretIdList": ids}, reply.read)
	var refused *awsenv.Refusal
	if errors.As(err, &refused) && !refused.Retryable() {
		if refused.Code == "AccessDeniedException" || refused.Code == "UnknownOperationException" {
			m.batches.note(who.role, keys[0].region)
		}
		return keys, nil
	}
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if value, ok := reply.find(k.id); ok {
			results[k] = shared.Result[secret.String]{Value: value}
		} else {
			left = append(left, k)
		}
	}
	return left, nil
}

// one asks for a version of a secret.
func (m *manager) one(ctx context.Context, who *asker, k version) (value secret.String, err error) {
	request := map[string]string{"SecretId": k.id}
	if k.stage != "" {
		request["VersionStage"] = k.stage
	}
	if k.version != "" {
		request["VersionId"] = k.version
	}
	err = m.call(ctx, who, k.region, "GetSecretValue", request, func(body []byte) (err error) {
		value, err = readValue(body)
		return err
	})
	return value, err
}

func (m *manager) call(ctx context.Context, who *asker, region, operation string, request any, read func([]byte) error) error {
	endpoint, err := awsenv.Endpoint(awsenv.EndpointOptions{
		Service: asmService, Variable: asmVariable, Region: region, IPv6Only: m.opts.IPv6Only, Getenv: m.opts.Getenv,
	})
	if err != nil {
		return fmt.Errorf("unable to create ASM client: %w", err)
	}
	return m.opts.Do(ctx, awsenv.JSONCall{
		Service: asmService, Target: asmService + "." + operation, Region: region, Endpoint: endpoint,
		Credentials: who.credentials, Request: request,
	}, read)
}

// describe puts an error of the service into the words of docs/spec/02 section 7.4.
func describe(id string, err error) error {
	var refused *awsenv.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused.Code == "ResourceNotFoundException":
		return fmt.Errorf("ResourceNotFoundException: The task can't retrieve the secret with ARN '%s' from AWS Secrets Manager. "+
			"Check whether the secret exists in the specified Region: %w", id, err)
	}
	return fmt.Errorf("secret %s: %w", id, err)
}

// problems are what went wrong, each once.
type problems []string

func (p *problems) add(err error) {
	if text := err.Error(); !slices.Contains(*p, text) {
		*p = append(*p, text)
	}
}

func (p problems) err() error {
	if p == nil {
		return nil
	}
	return errors.New(strings.Join(p, ";"))
}

// refusals remember for a while who may not ask for batches.
type refusals struct {
	mu    sync.Mutex
	until map[string]time.Time // by role and region
}

func (r *refusals) note(role, region string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for k, until := range r.until {
		if now.After(until) {
			delete(r.until, k)
		}
	}
	r.until[role+" "+region] = now.Add(batchMemory)
}

func (r *refusals) refused(role, region string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until[role+" "+region])
}
