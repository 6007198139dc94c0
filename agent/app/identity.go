package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"

	"ecsagent/agent/awsenv"
	"ecsagent/agent/config"
	"ecsagent/agent/network"
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
	Clear() error
	Close() error
}

func openCheckpoint(cfg *config.Config, log *zap.Logger) (checkpoint, *store.Loaded, error) {
	if !cfg.Checkpoint {
		log.Info("checkpointing is off: this start is that of a new container instance")
		return store.Discard{}, &store.Loaded{}, nil
	}
	s, loaded, err := store.Open(cfg.DataDir, log)
	if err != nil {
		return nil, nil, err
	}
	for _, problem := range loaded.Problems {
		log.Error("saved state damaged", zap.String("problem", problem))
	}
	return s, loaded, nil
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
	if saved != "" && saved != id.ec2InstanceID {
		a.log.Warn("saved state belongs to another ec2 instance: starting as a new container instance",
			zap.String("saved", saved), zap.String("current", id.ec2InstanceID))
		if err := a.store.Clear(); err != nil {
			return id, fmt.Errorf("forget the state of %s: %w", saved, err)
		}
		*a.loaded = store.Loaded{}
		if a.endpoint != nil {
			a.endpoint.forget()
		}
		id.instanceARN, id.cluster = "", ""
	}
	return id, nil
}

func (a *agent) saveIdentity(ec2InstanceID string) error {
	return a.store.SetMeta(map[string]string{
		store.KeyInstanceARN: a.me.InstanceARN, store.KeyCluster: a.me.Cluster,
		store.KeyEC2InstanceID: ec2InstanceID, store.KeyAvailabilityZone: a.me.AvailabilityZone,
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
