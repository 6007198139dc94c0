package acs

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/credentials"
	"ecsagent/agent/network"
	"ecsagent/agent/task"
	"ecsagent/agent/update"
)

// Engine runs the tasks.
type Engine interface {
	// Deliver returns once everything is durable. The latest sequence number only
	// rises; a lower one changes nothing.
	Deliver(ctx context.Context, d task.Delivery) error
	Snapshots() []*task.Snapshot
	Snapshot(arn string) *task.Snapshot // nil when the task is not known
	// StopTasks makes it durable that the tasks have to stop.
	StopTasks(ctx context.Context, arns []string) error
	// SequenceNumber returns the latest sequence number; Advance raises it durably.
	SequenceNumber() int64
	Advance(seq int64) error
}

// Roles keeps the credentials of tasks.
type Roles interface {
	Put(set credentials.Set)
	ForTask(taskARN string, role credentials.Role) (credentials.Set, bool)
	RemoveTask(taskARN string)
}

// Attachments keeps the records of announced interfaces and volumes.
type Attachments interface {
	Add(ctx context.Context, a network.Attachment) error
}

// Updater updates the agent. Neither method blocks.
type Updater interface {
	Stage(m update.Message, send update.Send)
	Perform(m update.Message, send update.Send)
}

// Health runs the health checks of the instance.
type Health interface {
	Trigger() // never blocks
}

// Options configure a Session. What has no default below is required.
type Options struct {
	Cluster       string // as configured, name or ARN
	InstanceARN   string
	Region        string
	AgentVersion  string
	AgentHash     string
	DockerVersion func() string // "" when not known; default: not known

	// Discover returns the ACS endpoint. It may cache; Dialed tells it how each
	// attempt to connect to the endpoint ended, so that it can drop what it cached.
	Discover func(ctx context.Context) (endpoint string, err error)
	Dialed   func(endpoint string, err error) // default: nothing

	Signing aws.CredentialsProvider                                           // resolved anew for each connection
	TLS     *tls.Config                                                       // default: the library's
	Proxy   func(*http.Request) (*url.URL, error)                             // default: no proxy
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // default: TCP
	// Inactive is told true when ECS says that the instance is deregistered, and
	// false when a connection is accepted after that. Default: nothing.
	Inactive func(inactive bool)

	Engine      Engine
	Roles       Roles
	Attachments Attachments
	Updater     Updater // default: updates are refused
	Health      Health  // default: nothing

	Log  *zap.Logger
	Rand func() float64 // uniform in [0,1); default math/rand/v2
}
