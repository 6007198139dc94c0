package metadata

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ecsagent/agent/ecsapi"
	"ecsagent/agent/task"
)

// Limits of tag look-ups: they have to end before the server gives up on the request,
// and are not repeated for each request (docs/spec/04 appendix B, 21).
const (
	tagLimit  = 4 * time.Second
	tagFresh  = time.Minute
	tagFailed = 5 * time.Second // a failure is remembered for less
	maxTagged = 4096
)

// tagged is a task with the tags of its instance and its own; in version 4 with an
// error for each look-up that failed (docs/spec/04 section 3.9).
func (h *Handler) tagged(ctx context.Context, s *task.Snapshot, v version, container string) any {
	in := h.o.Instance()
	// Before anything of the task is in Docker there are no tags.
	started := false
	for i := range s.State.Containers {
		started = started || s.State.Containers[i].RuntimeID != ""
	}
	var instance, own tags
	var failures []tagError
	if started && h.tags != nil {
		ctx, cancel := context.WithTimeout(ctx, tagLimit)
		defer cancel()
		for _, look := range []struct {
			field, arn string
			to         *tags
		}{{"ContainerInstanceTags", in.ARN, &instance}, {"TaskTags", s.ARN, &own}} {
			found, err := h.tags.get(ctx, look.arn, container)
			*look.to = found
			if err != nil {
				failures = append(failures, tagFailure(look.field, look.arn, err))
			}
		}
	}
	if v == v4 {
		body := renderTaskV4(s, in)
		body.ContainerInstanceTags, body.TaskTags, body.Errors = instance, own, failures
		return body
	}
	body := renderTaskV3(s, in, v)
	body.ContainerInstanceTags, body.TaskTags = instance, own
	return body
}

func tagFailure(field, arn string, err error) tagError {
	e := tagError{ErrorField: field, ResourceARN: arn, ErrorMessage: err.Error()}
	var refusal *ecsapi.Error
	if errors.As(err, &refusal) {
		e.ErrorCode, e.ErrorMessage, e.StatusCode, e.RequestId = refusal.Code, refusal.Message, refusal.HTTPStatus, refusal.RequestID
	}
	return e
}

// tagCache keeps what was looked up. One look-up of a resource runs at a time.
type tagCache struct {
	source Tags
	mu     sync.Mutex
	known  map[string]*tagEntry
}

type tagEntry struct {
	busy  chan struct{} // held by the look-up under way
	tags  map[string]string
	err   error
	until time.Time
}

func newTagCache(source Tags) *tagCache {
	if source == nil {
		return nil
	}
	return &tagCache{source: source, known: make(map[string]*tagEntry)}
}

func (c *tagCache) get(ctx context.Context, arn, container string) (map[string]string, error) {
	e := c.entry(arn)
	select {
	case e.busy <- struct{}{}:
		defer func() { <-e.busy }()
	case <-ctx.Done():
		return nil, fmt.Errorf("look up tags of %s: %w", arn, ctx.Err())
	}
	if time.Now().Before(e.until) {
		return e.tags, e.err
	}
	found, err := c.source.Tags(ctx, arn, container)
	e.tags, e.err, e.until = found, err, time.Now().Add(tagFresh)
	if err != nil {
		e.until = time.Now().Add(tagFailed)
	}
	return found, err
}

func (c *tagCache) entry(arn string) *tagEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known[arn]
	if e == nil {
		if len(c.known) >= maxTagged {
			clear(c.known)
		}
		e = &tagEntry{busy: make(chan struct{}, 1)}
		c.known[arn] = e
	}
	return e
}
