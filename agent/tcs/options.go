package tcs

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"ecsagent/agent/stats"
	"ecsagent/agent/task"
)

// Metrics gathers what containers use.
type Metrics interface {
	Round() stats.Round
}

// Tasks shows the tasks, for the health of their containers.
type Tasks interface {
	Snapshots() []*task.Snapshot
}

// Status is the result of one check of the instance (docs/spec/04 section 9.3).
type Status struct {
	Type    string // such as ContainerRuntime
	Status  string // INITIALIZING, OK, IMPAIRED or INSUFFICIENT_DATA
	Updated time.Time
	Changed time.Time
}

// Checks are the health checks of the instance.
type Checks interface {
	// Statuses returns the latest results and the number of the run that they are of.
	// They are reported once for each run.
	Statuses() (list []Status, run uint64)
}

// Options configure a Session. What has no default below is required.
type Options struct {
	Cluster       string // as configured, name or ARN
	InstanceARN   string
	Region        string
	AgentVersion  string
	AgentHash     string
	DockerVersion func() string // "" when not known; default: not known

	// Discover returns the telemetry endpoint; Dialed tells it how each attempt to
	// connect ended.
	Discover func(ctx context.Context) (endpoint string, err error)
	Dialed   func(endpoint string, err error) // default: nothing

	Signing aws.CredentialsProvider
	TLS     *tls.Config                                                       // default: the library's
	Proxy   func(*http.Request) (*url.URL, error)                             // default: no proxy
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // default: TCP

	Metrics Metrics // default: the instance looks idle (ECS_DISABLE_METRICS)
	Tasks   Tasks
	// Connect asks the Service Connect proxy of a task for what it has counted since it was
	// asked last; default: such tasks have none.
	Connect func(ctx context.Context, s *task.Snapshot) ([]stats.ConnectGroup, error)
	// Volumes tells how full the volumes of a task are; what it tells beside an error counts.
	// Default: nothing is told.
	Volumes func(ctx context.Context, s *task.Snapshot) ([]stats.VolumeUsage, error)
	Checks  Checks // default: no instance status is sent

	Log  *zap.Logger
	Rand func() float64 // uniform in [0,1); default math/rand/v2
}
