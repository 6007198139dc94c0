package registration

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/capability"
	"ecsagent/agent/ecsapi"
)

// Limits of the loop around the call (docs/spec/01 section 1.6.1).
const (
	retryMin   = 3 * time.Second
	retryMax   = 192 * time.Second
	retryLimit = time.Hour
)

const zoneAttribute = "ecs.availability-zone"

// API is the part of the ECS API that registration calls.
type API interface {
	RegisterContainerInstance(context.Context, *ecsapi.RegisterContainerInstanceInput) (*ecsapi.RegisterContainerInstanceOutput, error)
	CreateCluster(context.Context, *ecsapi.CreateClusterInput) (*ecsapi.CreateClusterOutput, error)
}

// Options are the means of a registration.
type Options struct {
	API         API
	Identity    IdentitySource
	Credentials Credentials
	// InstanceTags finds the EC2 instance's tags; nil when they are not wanted.
	InstanceTags func(context.Context) (map[string]string, error)
	// RetryTransient makes every failure that is not terminal be tried again within
	// the hour, not only those that the service asks to repeat.
	RetryTransient bool
	Log            *zap.Logger
}

// Request is what to register.
type Request struct {
	Cluster string // as configured: a name, an ARN, or empty

	// InstanceARN and SavedCluster come from the saved state; both are empty on the
	// first registration.
	InstanceARN  string
	SavedCluster string
	// Token makes a repeated first registration the same one; empty for a random one.
	Token string

	Resources  Resources
	Attributes []capability.Attribute // capabilities, then attributes of the instance
	Custom     map[string]string      // ECS_INSTANCE_ATTRIBUTES; sent the first time only
	Tags       map[string]string      // ECS_CONTAINER_INSTANCE_TAGS
	GPUs       []string

	// NoIdentity leaves the identity document out: on external instances and where
	// the configuration says so.
	NoIdentity bool
}

// Result is the identity that the instance has from now on.
type Result struct {
	InstanceARN      string
	AvailabilityZone string
	Cluster          string // to be used in every later call, and saved
}

// Register registers the instance, or refreshes the registration of a saved one.
// It returns at once when ctx ends; cancelled, it asks for exit code 0.
// Every error is an *Error.
func Register(ctx context.Context, o Options, r Request) (Result, error) {
	result, err := register(ctx, o, r)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) {
		return Result{}, &Error{Code: ExitOK, Err: context.Cause(ctx)}
	}
	if err != nil {
		e := classify(err, r.InstanceARN != "")
		return Result{}, &Error{Code: e.Code, Err: fmt.Errorf("register the container instance: %w", e.Err)}
	}
	return result, nil
}

func register(ctx context.Context, o Options, r Request) (Result, error) {
	if r.InstanceARN != "" && !SameCluster(r.Cluster, r.SavedCluster) {
		return Result{}, terminal(fmt.Errorf("the configured cluster %q is not the saved one, %q: remove the saved state to join another cluster",
			r.Cluster, r.SavedCluster))
	}
	in, err := input(ctx, o, r)
	if err != nil {
		return Result{}, err
	}
	out, err := submit(ctx, o, r, in)
	if r.Cluster == "" && clusterMissing(err) {
		if in.Cluster, err = createDefault(ctx, o); err != nil {
			return Result{}, err
		}
		out, err = submit(ctx, o, r, in)
	}
	if err != nil {
		return Result{}, err
	}
	return accept(o, r, in, out)
}

// input builds the request, but for the identity document, which every attempt
// fetches anew.
func input(ctx context.Context, o Options, r Request) (*ecsapi.RegisterContainerInstanceInput, error) {
	resources, err := r.Resources.total()
	if err != nil {
		return nil, err
	}
	in := &ecsapi.RegisterContainerInstanceInput{
		ClientToken: cmp.Or(r.Token, uuid.NewString()), Cluster: r.Cluster, ContainerInstanceARN: r.InstanceARN,
		TotalResources: resources, PlatformDevices: platformDevices(r.GPUs), Attributes: []ecsapi.Attribute{},
	}
	if in.Cluster == "" {
		in.Cluster = DefaultCluster
	}
	if r.InstanceARN == "" {
		in.Attributes = append(in.Attributes, customAttributes(r.Custom)...)
	}
	for _, a := range r.Attributes {
		in.Attributes = append(in.Attributes, ecsapi.Attribute(a))
	}
	var ec2 map[string]string
	if o.InstanceTags != nil {
		if ec2, err = o.InstanceTags(ctx); err != nil {
			o.Log.Warn("tags of the ec2 instance not read, registering without them", zap.Error(err))
		}
	}
	in.Tags = mergeTags(ec2, r.Tags)
	if _, err := o.Credentials.Retrieve(ctx); err != nil {
		o.Log.Error("no credentials to register with", zap.Error(err))
	}
	return in, ctx.Err()
}

// submit repeats the call while the service asks for that, for up to an hour.
func submit(ctx context.Context, o Options, r Request, in *ecsapi.RegisterContainerInstanceInput) (*ecsapi.RegisterContainerInstanceOutput, error) {
	delay := awsenv.Backoff{Min: retryMin, Max: retryMax, Jitter: 0.2, Multiplier: 2}
	deadline := time.Now().Add(retryLimit)
	for attempt := 1; ; attempt++ {
		if !r.NoIdentity {
			in.InstanceIdentityDocument, in.InstanceIdentityDocumentSignature = identity(ctx, o)
		}
		out, err := o.API.RegisterContainerInstance(ctx, in)
		if err == nil {
			return out, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !worthRepeating(err) && !(o.RetryTransient && !clusterMissing(err) && classify(err, r.InstanceARN != "").Code == ExitRetry) {
			return nil, err
		}
		wait := delay.Next()
		if !time.Now().Add(wait).Before(deadline) {
			return nil, fmt.Errorf("give up after %v: %w", retryLimit, err)
		}
		o.Log.Warn("registration failed, trying again", zap.Int("attempt", attempt), zap.Duration("delay", wait), zap.Error(err))
		if err := awsenv.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// worthRepeating says which errors the loop around the call repeats.
func worthRepeating(err error) bool {
	var e *ecsapi.Error
	return errors.As(err, &e) && (e.Throttled() || e.Code == ecsapi.CodeServer)
}

func createDefault(ctx context.Context, o Options) (string, error) {
	o.Log.Info("creating the default cluster")
	out, err := o.API.CreateCluster(ctx, &ecsapi.CreateClusterInput{ClusterName: DefaultCluster})
	if err != nil {
		return "", fmt.Errorf("create the default cluster: %w", err)
	}
	if out.Cluster == nil || out.Cluster.ClusterName == "" {
		return "", errors.New("create the default cluster: the reply names no cluster")
	}
	return out.Cluster.ClusterName, nil
}

// accept checks the reply and draws the identity from it.
func accept(o Options, r Request, in *ecsapi.RegisterContainerInstanceInput, out *ecsapi.RegisterContainerInstanceOutput) (Result, error) {
	instance := out.ContainerInstance
	if instance == nil {
		return Result{}, errors.New("the reply holds no container instance")
	}
	result := Result{InstanceARN: r.InstanceARN, Cluster: in.Cluster}
	if result.InstanceARN == "" {
		result.InstanceARN = instance.ContainerInstanceARN
	}
	if result.InstanceARN == "" {
		return Result{}, errors.New("the reply holds no container instance ARN")
	}
	for _, a := range instance.Attributes {
		if a.Name == zoneAttribute {
			result.AvailabilityZone = a.Value
		}
	}
	if err := reconcile(o, r, in.Attributes, instance.Attributes); err != nil {
		return Result{}, terminal(err)
	}
	o.Log.Info("registered the container instance", zap.String("instance", result.InstanceARN), zap.String("cluster", result.Cluster))
	return result, nil
}
