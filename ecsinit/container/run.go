package container

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

// grace is what a container gets to end before it is killed (docs/spec/03 section 5.6.5).
const grace = 10 * time.Second

// ExitError is an end of the agent that is no success.
type ExitError struct{ Code int }

// Error implements error.
func (e *ExitError) Error() string { return fmt.Sprintf("the agent ended with exit code %d", e.Code) }

// ExitCode is the code with which its supervisor ends too.
func (e *ExitError) ExitCode() int { return e.Code }

// Run runs the agent until its container has ended. The end of ctx stops it, and is no
// error if the agent ends well. What the agent writes goes to out and told.
func (a Agent) Run(ctx context.Context, engine Engine, out, told io.Writer) (err error) {
	if err := a.clear(ctx, engine); err != nil {
		return err
	}
	var made struct {
		ID       string `json:"Id"`
		Warnings []string
	}
	if err := engine.call(ctx, askLimit, http.MethodPost, "/containers/create?name="+url.QueryEscape(a.name()), a.request(), &made); err != nil {
		return fmt.Errorf("make the agent's container from image %s: %w", a.named(), err)
	}
	for _, w := range made.Warnings {
		fmt.Fprintf(told, "Docker warns: %s\n", w)
	}
	path := "/containers/" + url.PathEscape(made.ID)
	// Waiting begins before the start, so that no end is missed.
	outlive := context.WithoutCancel(ctx)
	waiting, err := engine.ask(outlive, http.MethodPost, path+"/wait?condition=next-exit", nil, "")
	if err != nil {
		return fmt.Errorf("wait for the agent's container %s: %w", short(made.ID), err)
	}
	if err := engine.call(ctx, askLimit, http.MethodPost, path+"/start", nil, nil); err != nil {
		return errors.Join(fmt.Errorf("start the agent's container %s: %w", short(made.ID), err), waiting.Close())
	}
	var parts sync.WaitGroup
	defer parts.Wait()
	ended, done := context.WithCancel(outlive)
	parts.Go(func() {
		if err := engine.logs(outlive, path, out, told); err != nil {
			fmt.Fprintf(told, "the agent's log is not followed: %v\n", err)
		}
	})
	parts.Go(func() {
		select {
		case <-ended.Done():
		case <-ctx.Done():
			err := engine.call(outlive, grace+stopLimit, http.MethodPost, path+"/stop?t="+strconv.Itoa(int(grace.Seconds())), nil, nil)
			if err != nil {
				fmt.Fprintf(told, "stop the agent's container %s: %v\n", short(made.ID), err)
			}
		}
	})
	defer done()
	return waited(waiting)
}

// clear removes the container of a run before. One of that name that is not ours stays, and
// is an error.
func (a Agent) clear(ctx context.Context, engine Engine) error {
	var found struct {
		ID     string `json:"Id"`
		Config struct{ Labels map[string]string }
	}
	err := engine.call(ctx, askLimit, http.MethodGet, "/containers/"+url.PathEscape(a.name())+"/json", nil, &found)
	if notFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a container %q: %w", a.name(), err)
	}
	if found.Config.Labels[label] == "" {
		return fmt.Errorf("container %s is called %q and is not of ecs-init: rename or remove it", short(found.ID), a.name())
	}
	err = engine.call(ctx, askLimit, http.MethodDelete, "/containers/"+found.ID+"?force=1", nil, nil)
	if err != nil && !notFound(err) {
		return fmt.Errorf("remove the container %q of before: %w", a.name(), err)
	}
	return nil
}

// waited reads how the container has ended.
func waited(answer io.ReadCloser) (err error) {
	defer func() { err = errors.Join(err, answer.Close()) }()
	var end struct {
		StatusCode int64
		Error      *struct{ Message string }
	}
	if err := decodeOne(answer, &end); err != nil {
		return fmt.Errorf("wait for the agent's container: %w", err)
	}
	if end.Error != nil && end.Error.Message != "" {
		return errors.New("wait for the agent's container: " + end.Error.Message)
	}
	if code := exitCode(end.StatusCode); code != 0 {
		return &ExitError{code}
	}
	return nil
}

// logs copies what a container writes until it has ended.
func (e Engine) logs(ctx context.Context, path string, out, told io.Writer) (err error) {
	answer, err := e.ask(ctx, http.MethodGet, path+"/logs?follow=1&stdout=1&stderr=1", nil, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Close()) }()
	r := bufio.NewReader(answer)
	for {
		// Each part begins with its stream, three zeros and its length.
		var head [8]byte
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		to := out
		if head[0] == 2 {
			to = told
		}
		if _, err := io.CopyN(to, r, int64(binary.BigEndian.Uint32(head[4:]))); err != nil {
			return err
		}
	}
}

// Prepare makes sure that the engine has the agent's image: from an archive if it has not.
func (a Agent) Prepare(ctx context.Context, engine Engine, archive string) error {
	has, err := engine.Has(ctx, a.Image)
	if err != nil {
		return fmt.Errorf("look for image %s: %w", a.named(), err)
	}
	if has {
		return nil
	}
	if _, err := os.Stat(archive); err != nil {
		return fmt.Errorf("image %s is not in Docker, and there is no %s to load it from", a.named(), archive)
	}
	if err := engine.Load(ctx, archive); err != nil {
		return fmt.Errorf("load %s: %w", archive, err)
	}
	if has, err = engine.Has(ctx, a.Image); err == nil && !has {
		err = fmt.Errorf("%s was loaded and has no image %s", archive, a.named())
	}
	return err
}
