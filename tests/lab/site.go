package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/image"

	"ecsagent/tests/harness"
	"ecsagent/tests/proxy"
)

// Site is a control plane and an agent, with proxies before ECS and before Docker.
type Site struct {
	*harness.Stack
	Lab    *Lab
	Image  string        // with a shell; the site's own, so that its first task pulls it
	Link   *proxy.TCP    // before Plane
	Plane  *proxy.ECS    // before ecs-local
	Engine *proxy.Docker // before the engine
	Record *Record

	mu       sync.Mutex
	keeping  bool
	deaths   int
	next     []string // environment of the next start only
	kept     sync.WaitGroup
	keepErr  error
	restarts chan struct{} // one for each start after a death
}

var sites atomic.Int32

// NewSite prepares a site below a folder whose path is short enough for a socket.
func (l *Lab) NewSite(ctx context.Context, dir string, agent ...string) (*Site, error) {
	s := &Site{Lab: l, restarts: make(chan struct{}, 1024)}
	var err error
	if s.Image, err = l.Image(ctx); err != nil {
		return nil, err
	}
	if s.Engine, err = proxy.NewDocker(filepath.Join(dir, "d.sock"), l.Host); err != nil {
		return nil, err
	}
	// Agents that share a host must not choose the same ports.
	low := 25000 + 100*int(sites.Add(1)%300)
	s.Stack, err = harness.NewStack(harness.Options{
		Programs: l.Programs, Dir: filepath.Join(dir, "s"), DockerHost: s.Engine.Host(), Cluster: Name("l"), Keep: true,
		Agent: append([]string{
			fmt.Sprintf("ECS_DYNAMIC_HOST_PORT_RANGE=%d-%d", low, low+99),
			"ECS_LOGLEVEL=debug", "ECS_IMAGE_CLEANUP_INTERVAL=10h", "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION=1s",
			"ECS_FAILPOINT_LOG=" + filepath.Join(dir, "passed"),
		}, agent...),
	})
	if err == nil {
		s.Plane, err = proxy.NewECS("http://" + s.LocalAddress)
	}
	if err == nil {
		s.Link, err = proxy.NewTCP("tcp", s.Plane.Address())
	}
	if err != nil {
		return nil, err
	}
	s.Plane.SetPublic("http://" + s.Link.Address())
	s.Endpoint = s.Link.Address()
	s.Record = watch(ctx, l.Docker, s.Cluster)
	return s, nil
}

// Keep starts the agent and starts it again whenever it ends. env is for the first start.
func (s *Site) Keep(env ...string) error {
	s.mu.Lock()
	s.keeping, s.next = true, env
	s.mu.Unlock()
	p, err := s.startOnce()
	if err != nil {
		return err
	}
	s.kept.Go(func() {
		for p != nil {
			<-p.Done()
			s.mu.Lock()
			again := s.keeping
			if again {
				s.deaths++
			}
			s.mu.Unlock()
			if !again {
				return
			}
			if p, err = s.startOnce(); err != nil {
				s.mu.Lock()
				s.keepErr = err
				s.mu.Unlock()
				return
			}
			select {
			case s.restarts <- struct{}{}:
			default:
			}
		}
	})
	return nil
}

// NextStart sets environment variables for the next start of the agent only.
func (s *Site) NextStart(env ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = env
}

func (s *Site) startOnce() (*harness.Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	env := append(s.AgentEnvironment(), s.next...)
	s.next = nil
	p, err := harness.StartProcess("ecs-agent", filepath.Join(s.Dir, "log", "ecs-agent.out"), filepath.Join(s.Programs, "ecs-agent"), nil, env)
	if err == nil {
		s.Agent = p
	}
	return p, err
}

// Kill ends the agent as kill -9 does.
func (s *Site) Kill() {
	s.mu.Lock()
	p := s.Agent
	s.mu.Unlock()
	p.Kill()
}

// Deaths is how often the agent ended although it was to be kept.
func (s *Site) Deaths() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deaths
}

// AwaitRestart waits until the agent was started again.
func (s *Site) AwaitRestart(ctx context.Context) error {
	select {
	case <-s.restarts:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the agent's restart: %w", ctx.Err())
	}
}

// AwaitConnected waits until ECS has a connection to the agent, however often it dies
// meanwhile.
func (s *Site) AwaitConnected(ctx context.Context) error {
	return harness.Poll(ctx, "the agent to connect", func(ctx context.Context) (bool, error) {
		all, err := s.ECS.Instances(ctx)
		if err != nil {
			return false, err
		}
		return slices.ContainsFunc(all, func(i harness.Instance) bool { return i.AgentConnected }), fmt.Errorf("%d container instances, none connected", len(all))
	})
}

// End stops the agent for good and returns its exit code.
func (s *Site) End() (int, error) {
	s.mu.Lock()
	s.keeping = false
	p := s.Agent
	s.mu.Unlock()
	_, err := p.Stop(10 * time.Second)
	s.kept.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.ExitCode(), errors.Join(err, s.keepErr)
}

// Passed returns how often each failpoint was passed so far.
func (s *Site) Passed() (map[string]int, error) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(s.Dir), "passed"))
	if err != nil {
		return nil, err
	}
	passed := make(map[string]int)
	for _, name := range strings.Fields(string(text)) {
		passed[name]++
	}
	return passed, nil
}

// Close ends everything and removes what is left on the engine.
func (s *Site) Close(ctx context.Context) error {
	s.mu.Lock()
	s.keeping = false
	p := s.Agent
	s.mu.Unlock()
	var err error
	if p != nil && p.Running() {
		_, err = p.Stop(5 * time.Second)
	}
	s.kept.Wait()
	err = errors.Join(err, s.Stack.Close(ctx))
	_, _ = s.Lab.Docker.ImageRemove(ctx, s.Image, image.RemoveOptions{Force: true}) // it may never have been pulled
	s.Link.Close()
	s.Plane.Close()
	s.Engine.Close()
	s.Record.close()
	return err
}
