package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/engine"
	"ecsagent/agent/network"
	"ecsagent/agent/official"
	"ecsagent/agent/registration"
	"ecsagent/agent/store"
	"ecsagent/agent/task"
	"ecsagent/agent/version"
)

// checkpoint is what the agent needs of its state file; store.Discard is one that
// keeps nothing.
type checkpoint interface {
	SaveTasks(seq int64, records []task.Record) error
	SaveState(arn string, state task.State) error
	SaveSent(arn string, sent task.Sent) error
	SaveSequence(seq int64) error
	DeleteTask(arn string) error
	SetMeta(values map[string]string) error
	SaveAttachment(key string, record any) error
	DeleteAttachment(key string) error
	SaveImages(records map[string]any) error
	SaveUsage(id string, record any) error
	DeleteUsage(id string) error
	Clear(meta map[string]string) error
	Close() error
}

func openCheckpoint(cfg *config.Config, log *zap.Logger) (checkpoint, *store.Loaded, error) {
	if !cfg.Checkpoint {
		log.Info("checkpointing is off: this start is that of a new container instance")
		if err := store.Retire(cfg.DataDir); err != nil {
			log.Warn("state of an earlier run not set aside", zap.Error(err))
		}
		return store.Discard{}, &store.Loaded{Meta: map[string]string{}}, nil
	}
	s, loaded, err := store.Open(cfg.DataDir, log)
	if err != nil {
		return nil, nil, err
	}
	for _, problem := range loaded.Problems {
		log.Error("saved state damaged", zap.String("problem", problem))
	}
	if err := succeed(s, cfg.DataDir, loaded, log); err != nil {
		_ = s.Close() // nothing was written
		return nil, nil, err
	}
	return s, loaded, nil
}

// What became of the official agent's state.
const (
	officialTaking  = "taking"  // its identity is this agent's, its tasks may not be yet
	officialTaken   = "taken"   // this agent went on from it
	officialForeign = "foreign" // it is another instance's
)

// succeed goes on from what the official agent left, the first time that this agent
// starts in its place.
func succeed(s checkpoint, dir string, loaded *store.Loaded, log *zap.Logger) error {
	meta := loaded.Meta
	begun := meta[store.KeyInstanceARN] != "" || meta[store.KeyOfficial] != "" || meta[store.KeyFormerClusters] != "" || len(loaded.Tasks) > 0
	if begun && meta[store.KeyOfficial] != officialTaking {
		return nil
	}
	left, err := official.Read(dir, time.Now())
	if err != nil {
		return terminal(fmt.Errorf("%w; without that file this would be a new container instance", err))
	}
	if left == nil || left.InstanceARN == "" {
		return nil
	}
	for _, problem := range left.Problems {
		log.Warn("state of the official agent damaged", zap.String("problem", problem))
	}
	taken := map[string]string{
		store.KeyInstanceARN: left.InstanceARN, store.KeyCluster: left.Cluster, store.KeyEC2InstanceID: left.EC2InstanceID,
		store.KeyAvailabilityZone: left.AvailabilityZone, store.KeyOfficial: officialTaking,
	}
	if err := s.SetMeta(taken); err != nil {
		return fmt.Errorf("take over the official agent's identity: %w", err)
	}
	if err := s.SaveTasks(left.Seq, left.Tasks); err != nil {
		return fmt.Errorf("take over the official agent's tasks: %w", err)
	}
	taken[store.KeyOfficial] = officialTaken
	if err := s.SetMeta(map[string]string{store.KeyOfficial: officialTaken}); err != nil {
		return fmt.Errorf("take over the official agent's state: %w", err)
	}
	maps.Copy(meta, taken)
	loaded.Tasks, loaded.Seq = left.Tasks, left.Seq
	log.Info("this container instance goes on from the official agent's state", zap.String("instance", left.InstanceARN),
		zap.String("cluster", left.Cluster), zap.Int("tasks", len(left.Tasks)))
	return nil
}

// savedIdentity is who this instance was at the last run, and on which machine it
// runs now.
type savedIdentity struct {
	instanceARN   string
	cluster       string
	ec2InstanceID string // of now; empty when it cannot be found out
}

// identify compares the saved identity with the machine. State that was saved on
// another EC2 instance, by an image made of a running one, is forgotten: nothing of
// the other instance is ever reported for this one (docs/spec/01 section 1.3, 7).
func (a *agent) identify(ctx context.Context) (savedIdentity, error) {
	meta := a.loaded.Meta
	id := savedIdentity{instanceARN: meta[store.KeyInstanceARN], cluster: meta[store.KeyCluster]}
	if !a.imds.Blackholed() {
		now, err := a.imds.Retry(ctx, a.imds.InstanceID)
		if err != nil {
			a.log.Warn("ec2 instance id not known", zap.Error(err))
		}
		id.ec2InstanceID = now
	}
	saved := meta[store.KeyEC2InstanceID]
	if id.ec2InstanceID == "" {
		id.ec2InstanceID = saved
	}
	a.ec2InstanceID = id.ec2InstanceID
	if saved != "" && saved != id.ec2InstanceID {
		a.log.Warn("saved state belongs to another ec2 instance: starting as a new container instance",
			zap.String("saved", saved), zap.String("current", id.ec2InstanceID))
		return a.startAnew(id)
	}
	if id.instanceARN == "" && (len(a.loaded.Tasks) > 0 || a.loaded.Seq > 0) {
		a.log.Warn("saved state does not say whose it is: starting as a new container instance")
		return a.startAnew(id)
	}
	return id, nil
}

// startAnew forgets the former instance, durably, but for the clusters whose containers
// it may have left behind.
func (a *agent) startAnew(id savedIdentity) (savedIdentity, error) {
	meta := map[string]string{store.KeyOfficial: officialForeign}
	if former := former(a.loaded.Meta, id.cluster); former != "" {
		meta[store.KeyFormerClusters] = former
	}
	if err := a.store.Clear(meta); err != nil {
		return id, fmt.Errorf("forget the state of a former instance: %w", err)
	}
	*a.loaded = store.Loaded{Meta: meta}
	if a.endpoint != nil {
		a.endpoint.forget()
	}
	id.instanceARN, id.cluster = "", ""
	return id, nil
}

// former adds a cluster to those of former instances.
func former(meta map[string]string, cluster string) string {
	clusters := strings.Fields(meta[store.KeyFormerClusters])
	if cluster != "" && !slices.Contains(clusters, cluster) {
		clusters = append(clusters, cluster)
	}
	return strings.Join(clusters, " ")
}

// registrationToken makes a first registration that is repeated after a crash the same
// registration: it is durable before the call.
func (a *agent) registrationToken(id savedIdentity) (string, error) {
	if id.instanceARN != "" {
		return "", nil
	}
	if saved := a.loaded.Meta[store.KeyRegistrationToken]; saved != "" {
		return saved, nil
	}
	token := uuid.NewString()
	if err := a.store.SetMeta(map[string]string{store.KeyRegistrationToken: token}); err != nil {
		return "", fmt.Errorf("save the registration's token: %w", err)
	}
	a.loaded.Meta[store.KeyRegistrationToken] = token
	return token, nil
}

// leftovers decides about containers without a task: those of this instance are adopted
// and those of a former one removed. Which of the two it is is durable with the identity,
// and the same after a crash, until they are gone.
func (a *agent) leftovers() engine.Leftovers {
	remove := strings.Fields(a.loaded.Meta[store.KeyFormerClusters])
	clusters := append([]string{a.me.Cluster}, remove...)
	return engine.Leftovers{
		Ours: func(cluster string) bool {
			return slices.ContainsFunc(clusters, func(own string) bool { return registration.SameCluster(own, cluster) })
		},
		Adopt: len(remove) == 0,
		Whole: a.loaded.Meta[store.KeyInstanceARN] != "" && len(a.loaded.Problems) == 0,
		Removed: func() {
			if len(remove) > 0 {
				if err := a.store.SetMeta(map[string]string{store.KeyFormerClusters: ""}); err != nil {
					a.log.Warn("removal of a former instance's containers not recorded: the next start looks again", zap.Error(err))
				}
			}
		},
	}
}

func (a *agent) saveIdentity(id savedIdentity) error {
	if id.instanceARN == "" {
		// What carries our labels now is not this instance's.
		a.loaded.Meta[store.KeyFormerClusters] = former(a.loaded.Meta, a.me.Cluster)
	}
	return a.store.SetMeta(map[string]string{
		store.KeyFormerClusters: a.loaded.Meta[store.KeyFormerClusters], store.KeyRegistrationToken: "",
		store.KeyInstanceARN: a.me.InstanceARN, store.KeyCluster: a.me.Cluster,
		store.KeyEC2InstanceID: id.ec2InstanceID, store.KeyAvailabilityZone: a.me.AvailabilityZone,
		store.KeyAgentVersion: version.Number(),
	})
}

// checkCloudInit refuses to start when cloud-init found no data source although the
// instance has user data: its configuration would be missing (docs/spec/03 section
// 1.6). What cannot be read proves nothing.
func (a *agent) checkCloudInit(ctx context.Context) error {
	if a.cfg.External || a.imds.Blackholed() {
		return nil
	}
	content, err := os.ReadFile(a.cfg.CloudInitResultFile)
	if err != nil {
		return nil
	}
	var result struct {
		V1 struct{ Datasource string }
	}
	if json.Unmarshal(content, &result) != nil || result.V1.Datasource != "DataSourceNone" {
		return nil
	}
	if data, err := a.imds.UserData(ctx); err == nil && data != "" {
		return terminal(fmt.Errorf("cloud-init found no data source (%s) although the instance has user data: its configuration would be missing",
			a.cfg.CloudInitResultFile))
	}
	return nil
}

// ec2Tags reads the tags of the EC2 instance.
func (a *agent) ec2Tags(ctx context.Context) (map[string]string, error) {
	endpoint, err := awsenv.Endpoint(awsenv.EndpointOptions{Service: "ec2", Region: a.cfg.Region, IPv6Only: a.ipv6Only, Getenv: os.Getenv})
	if err != nil {
		return nil, err
	}
	return registration.InstanceTags(registration.TagOptions{
		Region: a.cfg.Region, Endpoint: endpoint, Credentials: a.credentials, HTTPClient: a.http,
		UserAgent: a.userAgent, InstanceID: a.imds.InstanceID, Log: a.log,
	})(ctx)
}

// attachmentStore keeps attachment records in the state file.
type attachmentStore struct{ checkpoint }

func (s attachmentStore) SaveAttachment(record network.Attachment) error {
	return s.checkpoint.SaveAttachment(record.Key(), record)
}

// savedAttachments decodes the records of the last run; a bad one is told and left
// out.
func savedAttachments(loaded *store.Loaded, log *zap.Logger) (records []network.Attachment) {
	for key, raw := range loaded.Attachments {
		var record network.Attachment
		err := json.Unmarshal(raw, &record)
		if err == nil && record.Key() != key {
			err = errors.New("it belongs to another key")
		}
		if err != nil {
			log.Error("saved attachment not read", zap.String("eni", key), zap.Error(err))
			continue
		}
		records = append(records, record)
	}
	return records
}
