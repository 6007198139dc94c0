package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	docker "github.com/docker/docker/client"
)

// bareClient as the value of bareVariable makes this program the bare client.
const bareClient = "client"

// clientCPU is the processor time that a process of its own takes for a container when it
// does nothing but make the calls that the agent makes (create, start, inspect, stop) and
// follow the engine's events. It is the floor of the agent's.
func (b *bench) clientCPU(rounds int) (_ time.Duration, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(b.ctx, self, b.ref, strconv.Itoa(rounds))
	cmd.Env = append(os.Environ(), bareVariable+"="+bareClient)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the bare client: %w", err)
	}
	defer func() {
		_ = in.Close()
		err = errors.Join(err, cmd.Wait())
	}()
	lines := bufio.NewReader(out)
	var used [2]time.Duration
	for i := range used {
		if _, err := lines.ReadString('\n'); err != nil { // it is warm; it is done
			return 0, fmt.Errorf("bare client: %w", err)
		}
		if used[i], err = processCPU(cmd.Process.Pid); err != nil {
			return 0, err
		}
		if _, err := fmt.Fprintln(in); err != nil {
			return 0, fmt.Errorf("bare client: %w", err)
		}
	}
	return (used[1] - used[0]) / time.Duration(rounds), nil
}

// beClient is the bare client's whole life.
func (b *bench) beClient(rounds int) (err error) {
	if b.docker, err = docker.NewClientWithOpts(docker.WithHost(b.host), docker.WithAPIVersionNegotiation()); err != nil {
		return err
	}
	defer b.docker.Close()
	messages, failed := b.docker.Events(b.ctx, events.ListOptions{})
	go func() {
		for {
			select {
			case <-messages:
			case err := <-failed: // the end of the context, or of the engine
				if err != nil {
					return
				}
			}
		}
	}()
	turn := bufio.NewReader(os.Stdin)
	var all []string
	for _, n := range []int{2, rounds} { // the first ones warm it
		for range n {
			id, err := b.plainLaunch()
			if err != nil {
				return err
			}
			all = append(all, id)
			if err := b.docker.ContainerStop(b.ctx, id, container.StopOptions{}); err != nil {
				return fmt.Errorf("stop: %w", err)
			}
		}
		fmt.Println("here")
		if _, err := turn.ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return b.remove(all)
}
