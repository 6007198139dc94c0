package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	dockerimage "github.com/docker/docker/api/types/image"
)

func (b *bench) pull() error {
	progress, err := b.docker.ImagePull(b.ctx, b.ref, dockerimage.PullOptions{})
	if err != nil {
		return fmt.Errorf("pull %s: %w", b.ref, err)
	}
	defer progress.Close()
	if _, err := io.Copy(io.Discard, progress); err != nil {
		return fmt.Errorf("pull %s: %w", b.ref, err)
	}
	return nil
}

// plainLaunch creates, starts and inspects a container, and returns its id.
func (b *bench) plainLaunch() (string, error) {
	created, err := b.docker.ContainerCreate(b.ctx,
		&container.Config{Image: b.ref},
		&container.HostConfig{NetworkMode: "bridge", Resources: container.Resources{Memory: 16 << 20, CPUShares: 2}}, nil, nil, "")
	if err != nil {
		return "", fmt.Errorf("create: %w", err)
	}
	if err := b.docker.ContainerStart(b.ctx, created.ID, container.StartOptions{}); err != nil {
		return "", fmt.Errorf("start: %w", err)
	}
	if _, err := b.docker.ContainerInspect(b.ctx, created.ID); err != nil {
		return "", fmt.Errorf("inspect: %w", err)
	}
	return created.ID, nil
}

// plainStop stops and inspects a container.
func (b *bench) plainStop(id string) error {
	if err := b.docker.ContainerStop(b.ctx, id, container.StopOptions{}); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if _, err := b.docker.ContainerInspect(b.ctx, id); err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	return nil
}

// plainRound launches and stops n containers at once, and removes them.
func (b *bench) plainRound(n int) (launch, stop time.Duration, err error) {
	ids, errs := make([]string, n), make([]error, n)
	begin := time.Now()
	each(n, func(i int) { ids[i], errs[i] = b.plainLaunch() })
	launch = time.Since(begin)
	if err := first(errs); err != nil {
		return 0, 0, err
	}
	begin = time.Now()
	each(n, func(i int) { errs[i] = b.plainStop(ids[i]) })
	stop = time.Since(begin)
	if err := first(errs); err != nil {
		return 0, 0, err
	}
	return launch, stop, b.remove(ids)
}

// remove removes containers, one after the other: nobody waits for it.
func (b *bench) remove(ids []string) error {
	for _, id := range ids {
		if id == "" {
			continue
		}
		if err := b.docker.ContainerRemove(b.ctx, id, container.RemoveOptions{Force: true}); err != nil && !strings.Contains(err.Error(), "No such container") {
			return fmt.Errorf("remove: %w", err)
		}
	}
	return nil
}

// each calls f for every index below n, all at once.
func each(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
