package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
)

// identity is who the container instance is. It is kept a second time, in a small file
// of its own: should the state file be lost to damage, the instance is still the same,
// and its tasks are found by the labels of their containers.
type identity struct {
	InstanceARN   string `json:"container-instance-arn"`
	Cluster       string `json:"cluster-name"`
	EC2InstanceID string `json:"ec2-instance-id,omitempty"`
}

func identityPath(state string) string {
	return strings.TrimSuffix(state, filepath.Ext(state)) + "-identity.json"
}

// restoreIdentity fills in the identity when the state file was damaged and lost it. A
// state file that somebody removed takes the identity with it.
func (s *Store) restoreIdentity(f *file, loaded *Loaded) {
	if content, err := os.ReadFile(identityPath(s.path)); err == nil {
		if err := json.Unmarshal(content, &s.identity); err != nil {
			s.log.Warn("copy of the identity not read", zap.Error(err))
			s.identity = identity{}
		}
	}
	if f.damaged && loaded.Meta[KeyInstanceARN] == "" && s.identity.InstanceARN != "" {
		loaded.Meta[KeyInstanceARN], loaded.Meta[KeyCluster] = s.identity.InstanceARN, s.identity.Cluster
		loaded.Meta[KeyEC2InstanceID] = s.identity.EC2InstanceID
		loaded.Problems = append(loaded.Problems, "the identity of the container instance was taken from its copy")
	}
}

// keepIdentity writes the copy. Its loss is no loss of state, so that a failure is only
// told.
func (s *Store) keepIdentity(now identity) {
	if now == s.identity {
		return
	}
	err := writeIdentity(identityPath(s.path), now)
	if err != nil {
		s.log.Warn("copy of the identity not saved", zap.Error(err))
		return
	}
	s.identity = now
}

func writeIdentity(path string, id identity) error {
	content, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("encode the identity: %w", err)
	}
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(content, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func removeIdentity(state string) error {
	if err := os.Remove(identityPath(state)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the copy of the identity: %w", err)
	}
	return nil
}
