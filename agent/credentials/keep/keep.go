package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/credentials"
	"ecsagent/agent/secret"
)

// Place is memory that outlives the process and is on no disk.
type Place interface {
	// Load returns what was saved last; nil when nothing was.
	Load() ([]byte, error)
	// Save replaces it. Whoever is killed meanwhile leaves the old or the new data.
	Save(data []byte) error
	String() string
}

// Options configure a Keeper.
type Options struct {
	Store *credentials.Store
	Place Place
	// Known reports whether credentials of a task may still be served: others are
	// dropped at Restore.
	Known func(taskARN string) bool
	Log   *zap.Logger
}

// Keeper saves a store as it changes.
type Keeper struct{ o Options }

// New makes a keeper. It touches nothing.
func New(o Options) *Keeper { return &Keeper{o} }

// format is the version of what is saved; another one is not read.
const format = 1

type saved struct {
	Format int
	Sets   []savedSet
}

// savedSet is a credentials.Set whose secrets are written.
type savedSet struct {
	ID, TaskARN, Role, RoleARN, AccessKeyID, SecretAccessKey, SessionToken, Expiration string
}

// Restore puts what was kept into the store and returns how many sets. Sets that came
// since are left alone.
func (k *Keeper) Restore() (int, error) {
	data, err := k.o.Place.Load()
	if err != nil || len(data) == 0 {
		return 0, err
	}
	sets, err := decode(data)
	if err != nil {
		return 0, fmt.Errorf("read credentials kept in %s: %w", k.o.Place, err)
	}
	n := 0
	for _, set := range sets {
		if _, there := k.o.Store.Get(set.ID); there || !k.o.Known(set.TaskARN) {
			continue
		}
		k.o.Store.Put(set)
		n++
	}
	return n, nil
}

// share is the part of the time that saving may take: one twentieth.
const share = 20

// Run saves the store after each change until ctx ends, and then once more.
func (k *Keeper) Run(ctx context.Context) error {
	failing := false
	save := func() time.Duration {
		begin := time.Now()
		err := k.save()
		if err != nil && !failing {
			k.o.Log.Error("credentials not kept: a restart of the agent has to wait for ecs", zap.Error(err), zap.Stringer("place", k.o.Place))
		}
		failing = err != nil
		return time.Since(begin)
	}
	for {
		changed := k.o.Store.Changed()
		took := save()
		pause := time.NewTimer(took * share)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
		select {
		case <-ctx.Done():
			save()
			return nil
		case <-changed:
		}
	}
}

func (k *Keeper) save() error {
	data, err := encode(k.o.Store.All())
	if err != nil {
		return err
	}
	return k.o.Place.Save(data)
}

func encode(sets []credentials.Set) ([]byte, error) {
	s := saved{Format: format, Sets: make([]savedSet, 0, len(sets))}
	for _, set := range sets {
		s.Sets = append(s.Sets, savedSet{
			ID: set.ID, TaskARN: set.TaskARN, Role: string(set.Role), RoleARN: set.RoleARN, AccessKeyID: set.AccessKeyID,
			SecretAccessKey: set.SecretAccessKey.Reveal(), SessionToken: set.SessionToken.Reveal(), Expiration: set.Expiration,
		})
	}
	return json.Marshal(s)
}

func decode(data []byte) ([]credentials.Set, error) {
	var s saved
	if err := json.Unmarshal(data, &s); err != nil {
		// The decoder's text could quote a secret.
		return nil, errors.New("damaged")
	}
	if s.Format != format {
		return nil, fmt.Errorf("format %d is not known: want %d", s.Format, format)
	}
	sets := make([]credentials.Set, 0, len(s.Sets))
	for _, set := range s.Sets {
		if set.ID == "" || set.TaskARN == "" || !credentials.Role(set.Role).Valid() {
			continue
		}
		sets = append(sets, credentials.Set{
			ID: set.ID, TaskARN: set.TaskARN, Role: credentials.Role(set.Role), RoleARN: set.RoleARN, AccessKeyID: set.AccessKeyID,
			SecretAccessKey: secret.String(set.SecretAccessKey), SessionToken: secret.String(set.SessionToken), Expiration: set.Expiration,
		})
	}
	return sets, nil
}
