package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/resource/shared"
	"ecsagent/agent/secret"
	"ecsagent/agent/task"
)

const (
	ssmService = "ssm"
	ssmTarget  = "AmazonSSM.GetParameters"
	ssmBatch   = 10 // parameters that GetParameters takes
)

// parameters are those of Parameter Store.
type parameters struct {
	opts   Options
	values *shared.Values[parameter, secret.String]
}

// parameter is one of a region, as a role sees it. The name is what the definition says:
// a name or an ARN, with a version or label behind it.
type parameter struct{ role, region, name string }

// errInvalid says that a parameter is not there, or its name is none.
var errInvalid = errors.New("invalid parameter")

func newParameters(o Options) *parameters {
	return &parameters{opts: o, values: shared.New[parameter, secret.String](Freshness)}
}

// find implements service.
func (p *parameters) find(ctx context.Context, credentialsID string, wanted []task.Secret) (map[task.Secret]secret.String, error) {
	who := p.opts.asker(credentialsID)
	if who == nil {
		return nil, errors.New("ssm secret resource: unable to find execution role credentials")
	}
	keyOf := func(s *task.Secret) parameter { return parameter{who.role, p.opts.region(s), s.ValueFrom} }
	var keys []parameter
	for i := range wanted {
		if k := keyOf(&wanted[i]); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	results, err := p.values.Get(ctx, keys, ssmBatches, func(ctx context.Context, keys []parameter) map[parameter]shared.Result[secret.String] {
		return p.fetch(ctx, who, keys)
	})
	if err != nil {
		return nil, err
	}
	if err := ssmFailure(keys, results); err != nil {
		return nil, err
	}
	values := make(map[task.Secret]secret.String, len(wanted))
	for i := range wanted {
		values[wanted[i]] = results[keyOf(&wanted[i])].Value
	}
	return values, nil
}

// ssmFailure is the first reason why a parameter could not be had, with every parameter
// of its region that is invalid.
func ssmFailure(keys []parameter, results map[parameter]shared.Result[secret.String]) error {
	for _, k := range keys {
		err := results[k].Err
		switch {
		case err == nil:
		case errors.Is(err, errInvalid):
			var names []string
			for _, other := range keys {
				if other.region == k.region && errors.Is(results[other].Err, errInvalid) {
					names = append(names, other.name)
				}
			}
			return fmt.Errorf("fetching secret data from SSM Parameter Store in %s: invalid parameters: %s", k.region, strings.Join(names, ","))
		default:
			return err
		}
	}
	return nil
}

// ssmBatches divides parameters into calls: of one region, ten at most, and no name twice,
// which the service refuses and which would leave open which answer is whose.
func ssmBatches(keys []parameter) [][]parameter {
	var batches [][]parameter
	for _, k := range keys {
		fits := func(b []parameter) bool {
			return b[0].region == k.region && len(b) < ssmBatch &&
				!slices.ContainsFunc(b, func(other parameter) bool { return bareName(other.name) == bareName(k.name) })
		}
		if i := slices.IndexFunc(batches, fits); i >= 0 {
			batches[i] = append(batches[i], k)
		} else {
			batches = append(batches, []parameter{k})
		}
	}
	return batches
}

// bareName is the name of a parameter without what ARNs have before it, the version or
// label behind it, and the first slash, which ARNs do not tell.
func bareName(name string) string {
	if strings.HasPrefix(name, "arn:") {
		if _, resource, ok := strings.Cut(name, ":parameter/"); ok {
			name = resource
		}
	}
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "/"), ":")
	return name
}

// fetch makes one call.
func (p *parameters) fetch(ctx context.Context, who *asker, keys []parameter) map[parameter]shared.Result[secret.String] {
	type result = shared.Result[secret.String]
	results := make(map[parameter]result, len(keys))
	region := keys[0].region
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		names = append(names, k.name)
	}
	found, invalid, err := p.call(ctx, who, region, names)
	for _, k := range keys {
		bare := bareName(k.name)
		value, ok := found[bare]
		switch {
		case err != nil:
			results[k] = result{Err: err}
		case ok:
			results[k] = result{Value: value}
		case invalid[bare]:
			results[k] = result{Err: errInvalid}
		default:
			results[k] = result{Err: fmt.Errorf("fetching secret data from SSM Parameter Store in %s: %s: %w", region, k.name, errNoAnswer)}
		}
	}
	return results
}

// call asks for parameters. Found are values by bare name.
func (p *parameters) call(ctx context.Context, who *asker, region string, names []string) (found map[string]secret.String, invalid map[string]bool, err error) {
	endpoint, err := awsenv.Endpoint(awsenv.EndpointOptions{Service: ssmService, Region: region, IPv6Only: p.opts.IPv6Only, Getenv: p.opts.Getenv})
	if err != nil {
		return nil, nil, fmt.Errorf("unable to create SSM client in %s: %w", region, err)
	}
	err = p.opts.Do(ctx, awsenv.JSONCall{
		Service: ssmService, Target: ssmTarget, Region: region, Endpoint: endpoint, Credentials: who.credentials,
		Request: map[string]any{"Names": names, "WithDecryption": true},
	}, func(reply []byte) (err error) {
		found, invalid, err = readParameters(reply)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("fetching secret data from SSM Parameter Store in %s: %w", region, err)
	}
	return found, invalid, nil
}

// readParameters reads a reply. Nothing of it is quoted.
func readParameters(body []byte) (found map[string]secret.String, invalid map[string]bool, err error) {
	var reply struct {
		Parameters []struct {
			ARN, Name string
			Value     secretText
		}
		InvalidParameters []string
	}
	if json.Unmarshal(body, &reply) != nil {
		return nil, nil, errors.New("the reply is not that of GetParameters")
	}
	found, invalid = make(map[string]secret.String), make(map[string]bool)
	for _, p := range reply.Parameters {
		name := p.Name
		if name == "" {
			name = p.ARN
		}
		found[bareName(name)] = secret.String(p.Value)
	}
	for _, name := range reply.InvalidParameters {
		invalid[bareName(name)] = true
	}
	return found, invalid, nil
}

// secretText is read from JSON and never written.
type secretText string
