package volumeplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"ecsagent/ecsinit/staging"
)

// maxHelpers is how many mount helpers run at a time; each is an interpreter with some
// ten MiB.
const maxHelpers = 16

// Mounter puts file systems to their places. No method is called twice at the same time
// for one path.
type Mounter interface {
	// Mount returns when nothing of it runs any more, also when ctx ends.
	Mount(ctx context.Context, kind, options, device, path string) error
	// Unmount takes away all that is mounted on a path, whether or not it is in use.
	Unmount(path string) error
	// Points are the paths on which something is mounted.
	Points() (map[string]bool, error)
}

// Driver holds the volumes. Its methods may be called from any goroutine; each returns
// when its context has ended, a little later at most.
type Driver struct {
	root    string
	state   stateFile
	mounter Mounter
	log     *zap.Logger
	grace   time.Duration // for what was told to end
	stager  staging.Stager

	volumes atomic.Pointer[map[string]record] // never changed, only replaced
	saving  chan struct{}                     // held by who replaces them
	helpers chan struct{}                     // held by each helper that runs
	work    sync.WaitGroup                    // what is being done

	mu   sync.Mutex
	busy map[string]*job // by volume
}

// job is what is being done with a volume.
type job struct {
	what  string
	since time.Time
	ended chan struct{}
}

// newDriver reads the state and makes it agree with the kernel: who uses a volume that is
// not mounted ended with the host, and what is mounted for nobody was on its way when the
// plugin was killed.
func newDriver(root string, state stateFile, mounter Mounter, log *zap.Logger) (*Driver, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the volumes: %w", err)
	}
	// Mount points are compared with what the kernel calls them.
	named := filepath.Clean(root)
	root, err := filepath.EvalSymlinks(named)
	if err != nil {
		return nil, fmt.Errorf("find the folder of the volumes: %w", err)
	}
	volumes, err := state.load()
	if err != nil {
		return nil, err
	}
	d := &Driver{
		root: root, state: state, mounter: mounter, log: log, grace: killGrace,
		saving: make(chan struct{}, 1), helpers: make(chan struct{}, maxHelpers), busy: make(map[string]*job),
	}
	points, err := mounter.Points()
	if err != nil {
		return nil, err
	}
	gone, idle := disagree(volumes, points, named, root)
	for _, name := range gone {
		r := volumes[name]
		log.Info("volume is not mounted any more", zap.String("volume", name), zap.Int("mounts", len(r.Mounts)))
		r.Mounts = nil
		volumes[name] = r
	}
	for _, name := range idle {
		path := volumes[name].Path
		log.Warn("volume is mounted for nobody", zap.String("volume", name), zap.String("path", path))
		if err := mounter.Unmount(path); err != nil { // tried again before the next mount
			log.Error("volume not unmounted", zap.String("volume", name), zap.Error(err))
		}
	}
	if len(gone) > 0 {
		if err := state.save(volumes); err != nil {
			return nil, err
		}
	}
	d.volumes.Store(&volumes)
	d.sweep(points)
	return d, nil
}

// disagree compares the volumes with what is mounted: gone are those that have users and are
// not mounted, idle those that are mounted and have none. Paths below the folder as it was
// named become paths below the one that it is.
func disagree(volumes map[string]record, points map[string]bool, named, root string) (gone, idle []string) {
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		r := volumes[name]
		if filepath.Dir(r.Path) == named {
			r.Path = filepath.Join(root, filepath.Base(r.Path))
			volumes[name] = r
		}
		switch mounted := points[r.Path]; {
		case len(r.Mounts) > 0 && !mounted:
			gone = append(gone, name)
		case len(r.Mounts) == 0 && mounted && filepath.Dir(r.Path) == root:
			idle = append(idle, name)
		}
	}
	return gone, idle
}

// sweep removes empty folders of volumes that are no more.
func (d *Driver) sweep(points map[string]bool) {
	entries, err := os.ReadDir(d.root)
	if err != nil {
		d.log.Warn("folder of the volumes not read", zap.Error(err))
		return
	}
	for _, e := range entries {
		path := filepath.Join(d.root, e.Name())
		if _, known := d.volume(e.Name()); known || !e.IsDir() {
			continue
		}
		if points[path] {
			d.log.Warn("a file system that belongs to no volume is left alone", zap.String("path", path))
			continue
		}
		_ = os.Remove(path) // one that is not empty is somebody's
	}
}

func (d *Driver) volume(name string) (record, bool) {
	r, ok := (*d.volumes.Load())[name]
	return r, ok
}

func (d *Driver) known(name string) (record, error) {
	r, ok := d.volume(name)
	if !ok {
		return record{}, fmt.Errorf("volume %q does not exist", name)
	}
	return r, nil
}

// names are those of all volumes, sorted.
func (d *Driver) names() []string { return slices.Sorted(maps.Keys(*d.volumes.Load())) }

// do does one thing at a time with a volume. What does not end with its context goes on
// by itself, and keeps the volume.
func (d *Driver) do(ctx context.Context, name, what string, fn func() error) error {
	j, err := d.take(ctx, name, what)
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	d.work.Go(func() {
		err := fn()
		d.leave(name, j) // before the answer, so that who has it finds the volume free
		result <- err
	})
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(2 * d.grace)
	defer timer.Stop()
	select {
	case err := <-result:
		return err
	case <-timer.C:
		d.log.Error("volume hangs", zap.String("volume", name), zap.String("in", what), zap.Time("since", j.since))
		return fmt.Errorf("%s volume %q: it hangs, and nothing can be done with it before that ends", what, name)
	}
}

// take waits for its turn with a volume.
func (d *Driver) take(ctx context.Context, name, what string) (*job, error) {
	for {
		d.mu.Lock()
		other := d.busy[name]
		if other == nil {
			j := &job{what: what, since: time.Now(), ended: make(chan struct{})}
			d.busy[name] = j
			d.mu.Unlock()
			return j, nil
		}
		d.mu.Unlock()
		select {
		case <-other.ended:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s volume %q: it is busy for %v: %s", what, name, time.Since(other.since).Round(time.Second), other.what)
		}
	}
}

func (d *Driver) leave(name string, j *job) {
	d.mu.Lock()
	delete(d.busy, name)
	d.mu.Unlock()
	close(j.ended)
}

// commit replaces a volume's record, nil: removes it, on disk and then in memory.
// Whatever the disk says, memory has it when the kernel has it already.
func (d *Driver) commit(name string, r *record, done bool) error {
	d.saving <- struct{}{}
	defer func() { <-d.saving }()
	next := maps.Clone(*d.volumes.Load())
	if r == nil {
		delete(next, name)
	} else {
		next[name] = *r
	}
	err := d.state.save(next)
	if err == nil || done {
		d.volumes.Store(&next)
	}
	return err
}

// counted is a record with other counts of one id.
func (r record) counted(id string, change int) *record {
	r.Mounts = maps.Clone(r.Mounts)
	if r.Mounts == nil {
		r.Mounts = make(map[string]int)
	}
	if r.Mounts[id] += change; r.Mounts[id] <= 0 {
		delete(r.Mounts, id)
	}
	return &r
}

// own reports whether the folder of a volume is one that the plugin makes and removes.
func (d *Driver) own(path string) bool { return filepath.Dir(path) == d.root }

// create notes a volume; nothing is mounted. One that exists with the same options is
// the answer to a question that was asked twice.
func (d *Driver) create(ctx context.Context, name string, options map[string]string) error {
	if err := errors.Join(checkName(name), checkOptions(options)); err != nil {
		return fmt.Errorf("create volume %q: %w", name, err)
	}
	return d.do(ctx, name, "create", func() error {
		if r, ok := d.volume(name); ok {
			if maps.Equal(r.Options, options) {
				return nil
			}
			return fmt.Errorf("create volume %q: it exists, with other options", name)
		}
		r := record{
			Type: options[optType], Path: options[optTarget], Options: options,
			CreatedAt: time.Now().UTC().Format(time.RFC3339Nano),
		}
		if r.Path == "" {
			r.Path = filepath.Join(d.root, name)
			if err := os.Mkdir(r.Path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("create volume %q: %w", name, err)
			}
		}
		r.Path = filepath.Clean(r.Path)
		if err := d.commit(name, &r, false); err != nil {
			if d.own(r.Path) {
				err = errors.Join(err, os.Remove(r.Path))
			}
			return fmt.Errorf("create volume %q: %w", name, err)
		}
		d.log.Info("volume created", zap.String("volume", name), zap.String("device", options[optDevice]))
		return nil
	})
}

// mount mounts a volume for one more user and returns where.
func (d *Driver) mount(ctx context.Context, name, id string) (path string, err error) {
	if err := errors.Join(checkName(name), checkID(id)); err != nil {
		return "", fmt.Errorf("mount volume %q: %w", name, err)
	}
	err = d.do(ctx, name, "mount", func() error {
		r, err := d.known(name)
		if err != nil {
			return err
		}
		first, err := d.ensure(ctx, name, &r)
		if err != nil {
			return fmt.Errorf("mount volume %q: %w", name, err)
		}
		if err = d.commit(name, r.counted(id, 1), false); err != nil && first {
			err = errors.Join(err, d.mounter.Unmount(r.Path))
		}
		if err == nil && ctx.Err() != nil { // nobody waits any more, so nobody will unmount
			err = errors.Join(fmt.Errorf("asked for no longer: %w", context.Cause(ctx)), d.release(name, id))
		}
		if err != nil {
			return fmt.Errorf("mount volume %q: %w", name, err)
		}
		path = r.Path
		return nil
	})
	if err != nil {
		d.log.Error("volume not mounted", zap.String("volume", name), zap.Error(err))
		return "", err
	}
	return path, nil
}

// ensure makes a volume be mounted. first reports that it was mounted for the first user.
func (d *Driver) ensure(ctx context.Context, name string, r *record) (first bool, err error) {
	points, err := d.mounter.Points()
	if err != nil {
		return false, err
	}
	used := len(r.Mounts) > 0
	switch mounted := points[r.Path]; {
	case mounted && used:
		return false, nil
	case mounted && !d.own(r.Path):
		return false, fmt.Errorf("something is mounted on the target %s already", r.Path)
	case mounted: // for nobody: what an earlier helper finished after all
		if err := d.mounter.Unmount(r.Path); err != nil {
			return false, err
		}
	case used:
		d.log.Warn("volume is not mounted any more and is mounted again; who has it already has the old one", zap.String("volume", name))
	}
	if err := d.prepare(r.Path); err != nil {
		return false, err
	}
	select {
	case d.helpers <- struct{}{}:
		defer func() { <-d.helpers }()
	case <-ctx.Done():
		return false, fmt.Errorf("%d other volumes are being mounted: %w", maxHelpers, ctx.Err())
	}
	begun := time.Now()
	err = d.mounter.Mount(ctx, r.Type, r.Options[optMount], r.Options[optDevice], r.Path)
	if err == nil {
		if points, err = d.mounter.Points(); err == nil && !points[r.Path] {
			err = errors.New("the mount helper succeeded, and nothing is mounted")
		}
	}
	if err != nil {
		// It may have been interrupted halfway.
		return false, errors.Join(err, d.mounter.Unmount(r.Path))
	}
	d.log.Info("volume mounted", zap.String("volume", name), zap.Duration("took", time.Since(begun)))
	return !used, nil
}

// prepare makes sure that a path can be mounted on. One that the caller chose has to be
// there, under the name that the kernel has for it.
func (d *Driver) prepare(path string) error {
	if d.own(path) {
		return os.MkdirAll(path, 0o700)
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil && real != path {
		err = fmt.Errorf("the target %s is %s: want a path without symbolic links", path, real)
	}
	return err
}

// unmount takes a user away, and unmounts after the last. One that is not known is gone
// already.
func (d *Driver) unmount(ctx context.Context, name, id string) error {
	if err := errors.Join(checkName(name), checkID(id)); err != nil {
		return fmt.Errorf("unmount volume %q: %w", name, err)
	}
	return d.do(ctx, name, "unmount", func() error {
		if _, err := d.known(name); err != nil {
			return err
		}
		if err := d.release(name, id); err != nil {
			d.log.Error("volume not unmounted", zap.String("volume", name), zap.Error(err))
			return fmt.Errorf("unmount volume %q: %w", name, err)
		}
		return nil
	})
}

func (d *Driver) release(name, id string) error {
	r, _ := d.volume(name)
	if r.Mounts[id] == 0 {
		return nil
	}
	next := r.counted(id, -1)
	if len(next.Mounts) == 0 {
		if err := d.mounter.Unmount(r.Path); err != nil {
			return err
		}
		d.log.Info("volume unmounted", zap.String("volume", name))
	}
	if err := d.commit(name, next, true); err != nil {
		// Read back, it is a user too many of a volume that is not mounted, or of one
		// that Docker removes before long.
		d.log.Error("state not saved", zap.String("volume", name), zap.Error(err))
	}
	return nil
}

// remove forgets a volume. What is in the file system stays there.
func (d *Driver) remove(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("remove volume: %w", err)
	}
	return d.do(ctx, name, "remove", func() error {
		r, err := d.known(name)
		if err != nil {
			return err
		}
		if len(r.Mounts) > 0 || d.own(r.Path) {
			if err := d.mounter.Unmount(r.Path); err != nil {
				return fmt.Errorf("remove volume %q: %w", name, err)
			}
		}
		if err := d.commit(name, nil, false); err != nil {
			return fmt.Errorf("remove volume %q: %w", name, err)
		}
		// Never what is in it: that would be of a file system, or of somebody.
		if d.own(r.Path) {
			if err := os.Remove(r.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				d.log.Warn("folder of a removed volume kept", zap.String("volume", name), zap.Error(err))
			}
		}
		d.log.Info("volume removed", zap.String("volume", name))
		return nil
	})
}

// wait waits until nothing is being done, or the time is up.
func (d *Driver) wait(limit time.Duration) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.work.Wait()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		d.log.Warn("left although volumes hang")
	}
}
