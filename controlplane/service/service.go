package service

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/controlplane/telemetry"
	"ecsagent/controlplane/wire"
)

// Defaults of Options.
const (
	DefaultRegion    = "us-east-1"
	DefaultAccountID = "000000000000"
	// DefaultKeep is how long a stopped task can be described.
	DefaultKeep = time.Hour
	// DefaultCredentialsLife is how long the credentials of a role last.
	DefaultCredentialsLife = 6 * time.Hour
	// DefaultAttachWait is how long an agent may take to see a task's network interface.
	DefaultAttachWait = 3 * time.Minute
)

// RoleKeys are the keys of a task role. The control plane makes none that open
// anything; a developer may hand in some that do.
type RoleKeys struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
}

// Options make a Service. The zero value keeps everything in memory.
type Options struct {
	Region           string // DefaultRegion
	AccountID        string // DefaultAccountID
	AvailabilityZone string // the region's zone a
	// PollEndpoint and TelemetryEndpoint are the base URLs of ACS and TCS for
	// DiscoverPollEndpoint; empty means the host that the agent called.
	PollEndpoint      string
	TelemetryEndpoint string
	// DataDir keeps the state over restarts; empty means memory only.
	DataDir         string
	RoleKeys        RoleKeys      // keys of every role; without them, made-up ones that open nothing
	CredentialsLife time.Duration // DefaultCredentialsLife
	Keep            time.Duration // DefaultKeep
	// VPC gives tasks of network mode awsvpc their interfaces; nil: none are placed.
	VPC VPC
	// Disks gives tasks their EBS volumes; nil: such tasks are refused.
	Disks Disks
	// Update is the agent that UpdateContainerAgent puts on an instance; nil: there is none.
	Update func() (wire.Update, error)
	// AttachWait is how long a task waits for its interface and its volume; DefaultAttachWait.
	AttachWait time.Duration
	// Sessions are the ways into containers; nil: ExecuteCommand is refused.
	Sessions Sessions
	Log      *zap.Logger // nil logs nothing
	Now      func() time.Time
}

func (o Options) withDefaults() Options {
	set := func(s *string, def string) {
		if *s == "" {
			*s = def
		}
	}
	set(&o.Region, DefaultRegion)
	set(&o.AccountID, DefaultAccountID)
	set(&o.AvailabilityZone, o.Region+"a")
	if o.CredentialsLife <= 0 {
		o.CredentialsLife = DefaultCredentialsLife
	}
	if o.Keep <= 0 {
		o.Keep = DefaultKeep
	}
	if o.AttachWait <= 0 {
		o.AttachWait = DefaultAttachWait
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Dispatcher carries work to agents; it is the agent link's hub. Deliver must not
// wait for the network. It returns the message id that PayloadAcked will name.
type Dispatcher interface {
	Deliver(instanceARN string, p wire.Payload) (messageID string)
	// Announce tells an agent of a network interface or a volume. It must not wait either.
	Announce(instanceARN string, a wire.Announcement)
	// Update tells an agent of another version of it. It must not wait either.
	Update(instanceARN string, u wire.Update)
	// Disconnect ends the sessions of an instance with an exception of package wire.
	Disconnect(instanceARN, exception string)
}

// Service is the local ECS.
type Service struct {
	opts      Options
	log       *zap.Logger
	partition string
	store     *store // nil in memory
	commits   *committer
	subs      *subscribers
	usage     *telemetry.Board

	mu    sync.Mutex
	state state
}

// New returns a service with the state found in Options.DataDir. The caller closes
// it.
func New(o Options) (*Service, error) {
	o = o.withDefaults()
	s := &Service{opts: o, log: o.Log, partition: partition(o.Region), state: newState(), subs: newSubscribers(), usage: telemetry.NewBoard()}
	if o.DataDir != "" {
		if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
			return nil, fmt.Errorf("make data directory %q: %w", o.DataDir, err)
		}
		st, err := openStore(filepath.Join(o.DataDir, "ecs-local.db"))
		if err != nil {
			return nil, err
		}
		if err := st.load(&s.state); err != nil {
			return nil, fmt.Errorf("load state: %w", errorsJoin(err, st.close()))
		}
		s.store = st
	}
	s.commits = newCommitter(s)
	return s, nil
}

// Close writes what is left and ends every Watch. Calls that come later fail.
func (s *Service) Close() error {
	s.commits.close()
	s.quietly(func(st *state) {
		for _, timer := range st.waits {
			timer.Stop()
		}
	})
	s.subs.close()
	if s.store == nil {
		return nil
	}
	return s.store.close()
}

// SetDispatcher connects the service with the agents. Work that no agent has
// acknowledged, in this run or before a restart, is delivered anew before it returns.
func (s *Service) SetDispatcher(d Dispatcher) {
	err := s.update(func(t *tx) error {
		s.state.dispatcher = d
		for _, in := range s.state.instances {
			for _, tk := range in.live() {
				switch {
				case tk.provisioning():
					t.attach(tk)
				case !tk.acked():
					t.deliver(tk)
				}
			}
		}
		return nil
	})
	if err != nil {
		s.log.Error("work not delivered again", zap.Error(err))
	}
}

// Watch reports every change of a task or a container instance, in order, until
// ctx ends or the service is closed; then the channel is closed. A slow receiver
// delays nobody and loses nothing.
func (s *Service) Watch(ctx context.Context) <-chan Event { return s.subs.add(ctx) }

// Region returns the region whose ARNs the service gives out.
func (s *Service) Region() string { return s.opts.Region }

func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// newID returns 32 random hexadecimal digits, as ECS's resources have.
func newID() string { return strings.ReplaceAll(uuid.NewString(), "-", "") }
