package service

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"ecsagent/controlplane/api"
)

// store keeps records in a bbolt file:
//
//	meta          format -> "1"
//	clusters      name -> cluster
//	families      name -> family
//	definitions   family:revision -> definition
//	instances     ARN -> instance
//	tasks         ARN -> task
//
// Values are JSON.
type store struct{ db *bolt.DB }

const (
	bucketMeta    = "meta"
	storeFormat   = "1"
	openTimeout   = 2 * time.Second // for the file's lock
	storeFileMode = 0o600
)

var kinds = []string{kindCluster, kindFamily, kindDefinition, kindInstance, kindTask}

func openStore(path string) (*store, error) {
	db, err := bolt.Open(path, storeFileMode, &bolt.Options{Timeout: openTimeout})
	if err != nil {
		return nil, fmt.Errorf("open state file %q (is another ecs-local using it?): %w", path, err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists([]byte(bucketMeta))
		if err != nil {
			return err
		}
		switch format := string(meta.Get([]byte("format"))); format {
		case "":
			err = meta.Put([]byte("format"), []byte(storeFormat))
		case storeFormat:
		default:
			err = fmt.Errorf("format %q is not known: want %q", format, storeFormat)
		}
		for _, kind := range kinds {
			if err == nil {
				_, err = tx.CreateBucketIfNotExists([]byte(kind))
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("prepare state file %q: %w", path, errorsJoin(err, db.Close()))
	}
	return &store{db}, nil
}

func (s *store) close() error { return s.db.Close() }

func (s *store) write(puts map[recordKey][]byte) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		for key, value := range puts {
			b := tx.Bucket([]byte(key.kind))
			var err error
			if value == nil {
				err = b.Delete([]byte(key.key))
			} else {
				err = b.Put([]byte(key.key), value)
			}
			if err != nil {
				return fmt.Errorf("write %s %q: %w", key.kind, key.key, err)
			}
		}
		return nil
	})
}

// load fills an empty state.
func (s *store) load(st *state) error {
	return s.db.View(func(tx *bolt.Tx) error {
		for _, err := range []error{
			each(tx, kindCluster, func(c *cluster) { st.clusters[c.Name] = c }),
			each(tx, kindFamily, func(f *family) { st.families[f.Name] = f }),
			each(tx, kindDefinition, func(d *definition) { st.definitions[d.key()] = d }),
			each(tx, kindInstance, func(in *instance) {
				in.tasks = map[string]*task{}
				st.instances[in.ARN] = in
			}),
			each(tx, kindTask, st.loadTask),
		} {
			if err != nil {
				return err
			}
		}
		slices.SortFunc(st.stopped, func(a, b *task) int {
			return cmp.Or(a.Task.StoppedAt.Compare(b.Task.StoppedAt.Time), cmp.Compare(a.Seq, b.Seq))
		})
		return nil
	})
}

func (st *state) loadTask(t *task) {
	st.tasks[t.Task.TaskARN] = t
	st.seq = max(st.seq, t.Seq)
	if t.isStopped() {
		st.stopped = append(st.stopped, t)
		return
	}
	t.Task.Connectivity = disconnected
	if in := st.instances[t.Task.ContainerInstanceARN]; in != nil && in.Status != api.StatusInactive {
		in.tasks[t.Task.TaskARN] = t
	}
}

func each[T any](tx *bolt.Tx, kind string, add func(*T)) error {
	return tx.Bucket([]byte(kind)).ForEach(func(k, v []byte) error {
		record := new(T)
		if err := json.Unmarshal(v, record); err != nil {
			return fmt.Errorf("read %s %q: %w", kind, k, err)
		}
		add(record)
		return nil
	})
}
