package store

import "ecsagent/agent/task"

// Discard stands in for a Store when checkpointing is off (ECS_CHECKPOINT=false):
// nothing is kept, and each start is that of a new container instance.
type Discard struct{}

// SaveTasks keeps nothing.
func (Discard) SaveTasks(int64, []task.Record) error { return nil }

// SaveState keeps nothing.
func (Discard) SaveState(string, task.State) error { return nil }

// SaveSent keeps nothing.
func (Discard) SaveSent(string, task.Sent) error { return nil }

// SaveSequence keeps nothing.
func (Discard) SaveSequence(int64) error { return nil }

// DeleteTask keeps nothing.
func (Discard) DeleteTask(string) error { return nil }

// SetMeta keeps nothing.
func (Discard) SetMeta(map[string]string) error { return nil }

// SaveAttachment keeps nothing.
func (Discard) SaveAttachment(string, any) error { return nil }

// DeleteAttachment keeps nothing.
func (Discard) DeleteAttachment(string) error { return nil }

// SaveImages keeps nothing.
func (Discard) SaveImages(map[string]any) error { return nil }

// SaveUsage keeps nothing.
func (Discard) SaveUsage(string, any) error { return nil }

// DeleteUsage keeps nothing.
func (Discard) DeleteUsage(string) error { return nil }

// Clear keeps nothing.
func (Discard) Clear(map[string]string) error { return nil }

// Close does nothing.
func (Discard) Close() error { return nil }
