package image

import (
	"maps"
	"slices"
	"sync"
	"time"

	"ecsagent/agent/runtime"
)

// Record is what is kept of an image across restarts (docs/spec/02 section 5.5).
type Record struct {
	Image         RecordImage
	PulledAt      time.Time
	LastUsedAt    time.Time
	PullSucceeded bool
}

// RecordImage names an image.
type RecordImage struct {
	ImageID string
	Names   []string // references; none when the image lost them
	Size    int64
}

// Accounts know which images the agent has used, by image id. They are safe for
// concurrent use. To keep them across restarts, one goroutine waits for Dirty and
// stores what Changes returns.
type Accounts struct {
	dirty chan struct{}

	mu      sync.Mutex
	byID    map[string]*Record
	changed map[string]bool // ids that Changes has not told of
}

// NewAccounts starts with the records of the last run.
func NewAccounts(records []Record) *Accounts {
	a := &Accounts{
		dirty: make(chan struct{}, 1), changed: make(map[string]bool),
		byID: make(map[string]*Record, len(records)),
	}
	for _, r := range records {
		r := r.clone()
		a.byID[r.Image.ImageID] = &r
	}
	return a
}

// Dirty receives a value when there are changes to store.
func (a *Accounts) Dirty() <-chan struct{} { return a.dirty }

// Changes returns the records that changed since the last call, and the ids of
// those that are gone.
func (a *Accounts) Changes() (saved []Record, gone []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id := range a.changed {
		if r := a.byID[id]; r != nil {
			saved = append(saved, r.clone())
		} else {
			gone = append(gone, id)
		}
	}
	clear(a.changed)
	return saved, gone
}

// Used notes that a task is about to use the image under a name. A name that
// belonged to another image moves to this one.
func (a *Accounts) Used(ref string, img runtime.Image, now time.Time) {
	a.update(func(changed map[string]bool) {
		r, ok := a.byID[img.ID]
		if !ok {
			r = &Record{Image: RecordImage{ImageID: img.ID, Size: img.Size}, PulledAt: now}
			a.byID[img.ID] = r
		}
		r.LastUsedAt = now
		if slices.Contains(r.Image.Names, ref) {
			return
		}
		if old := a.find(ref); old != nil {
			old.unname(ref)
			changed[old.Image.ImageID] = true
		}
		r.Image.Names = append(r.Image.Names, ref)
		changed[img.ID] = true
	})
}

// Confirmed notes that the image of a name came from its registry.
func (a *Accounts) Confirmed(ref string) {
	a.update(func(changed map[string]bool) {
		if r := a.find(ref); r != nil && !r.PullSucceeded {
			r.PullSucceeded = true
			changed[r.Image.ImageID] = true
		}
	})
}

// Pulled reports whether the image of a name came from its registry.
func (a *Accounts) Pulled(ref string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.find(ref)
	return r != nil && r.PullSucceeded
}

// Gone notes that a name means no local image any more. An image without names
// stays known: it may still be there.
func (a *Accounts) Gone(ref string) {
	a.update(func(changed map[string]bool) {
		if r := a.find(ref); r != nil {
			r.unname(ref)
			changed[r.Image.ImageID] = true
		}
	})
}

// Drop notes that an image does not exist any more.
func (a *Accounts) Drop(id string) {
	a.update(func(changed map[string]bool) {
		delete(a.byID, id)
		changed[id] = true
	})
}

// Records returns a copy of all records, in the order of their ids.
func (a *Accounts) Records() []Record {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]Record, 0, len(a.byID))
	for _, id := range slices.Sorted(maps.Keys(a.byID)) {
		all = append(all, a.byID[id].clone())
	}
	return all
}

// inUse notes that containers use the images now.
func (a *Accounts) inUse(ids []string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		if r := a.byID[id]; r != nil {
			r.LastUsedAt = now
		}
	}
}

// Released notes that a task that used the image of a name is gone.
func (a *Accounts) Released(ref string, now time.Time) {
	a.update(func(changed map[string]bool) {
		if r := a.find(ref); r != nil {
			r.LastUsedAt = now
			changed[r.Image.ImageID] = true
		}
	})
}

// lost notes that an image does not have a name any more.
func (a *Accounts) lost(id, ref string) {
	a.update(func(changed map[string]bool) {
		if r := a.byID[id]; r != nil && slices.Contains(r.Image.Names, ref) {
			r.unname(ref)
			changed[id] = true
		}
	})
}

// touch notes that a task asked for the image of a name.
func (a *Accounts) touch(ref string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.find(ref); r != nil {
		r.LastUsedAt = now
	}
}

func (r *Record) clone() Record {
	c := *r
	c.Image.Names = slices.Clone(r.Image.Names)
	return c
}

func (r *Record) unname(ref string) {
	r.Image.Names = slices.DeleteFunc(r.Image.Names, func(n string) bool { return n == ref })
}

// find is called with the lock held.
func (a *Accounts) find(ref string) *Record {
	for _, r := range a.byID {
		if slices.Contains(r.Image.Names, ref) {
			return r
		}
	}
	return nil
}

// update runs change under the lock; change marks the ids of records worth storing.
func (a *Accounts) update(change func(changed map[string]bool)) {
	a.mu.Lock()
	change(a.changed)
	dirty := len(a.changed) > 0
	a.mu.Unlock()
	if dirty {
		select {
		case a.dirty <- struct{}{}:
		default:
		}
	}
}
