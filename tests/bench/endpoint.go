package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
)

// Loads of the task endpoint, and how long each lasts.
const (
	loadConnections = 8
	loadTime        = 3 * time.Second
	pacedRate       = 500 // a second
	pacedTime       = 5 * time.Second
)

// endpoint measures the task endpoint against a bare net/http server that answers the
// same bytes, in a process of its own, in the same run. The rate limit is raised, and
// the load comes from the same processors.
func (b *bench) endpoint() error {
	r, err := b.newRig(false)
	if err != nil {
		return err
	}
	r.Stack.Options.Agent = append(r.Stack.Options.Agent, "ECS_TASK_METADATA_RPS_LIMIT=1000000000,1000000000")
	defer func() { _ = r.close() }()
	if err := r.start(b.ctx); err != nil {
		return err
	}
	credentials, metadata, err := b.endpointPaths(r)
	if err != nil {
		return err
	}
	for _, m := range []struct {
		what, path, oldCPU, oldRate, goalCPU, goalRate string
		cpu, rate                                      float64
	}{
		{"credentials", credentials, "56 µs", "18900/s", "25 µs", "35000/s", 25, 35000},
		{"v4 task metadata", metadata, "79 µs", "14400/s", "30 µs", "30000/s", 30, 30000},
	} {
		agent, floor, err := b.endpointPair(r, m.path)
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		b.table.add(row{what: m.what + ", CPU of a request", unit: "µs", floor: floor.cpu, agent: agent.cpu, old: m.oldCPU, goal: "≤ " + m.goalCPU, met: agent.cpu <= m.cpu})
		b.table.add(row{what: m.what + ", requests a second, 8 connections", unit: "/s", floor: floor.rate, agent: agent.rate, old: m.oldRate, goal: "≥ " + m.goalRate, met: agent.rate >= m.rate})
		old, goal, met := "", "", false
		if m.what == "credentials" {
			old, goal, met = "630 µs", "≤ 400 µs", agent.p99 <= 400
		}
		b.table.add(row{what: m.what + ", p99 at 500/s", unit: "µs", floor: floor.p99, agent: agent.p99, old: old, goal: goal, met: met})
	}
	b.table.note("Task endpoint: floor is a bare net/http server with the same bytes; for requests a second more is better, so a ratio below 1 is the agent's share of it.")
	return nil
}

// endpointPaths runs a task with a role and returns what it asks for.
func (b *bench) endpointPaths(r *rig) (credentials, metadata string, err error) {
	id := fmt.Sprintf("b%d-endpoint", time.Now().UnixNano())
	body := b.task(r, id, "RUNNING")
	body["roleCredentials"] = map[string]any{
		"credentialsId": "bench-" + id, "roleArn": "arn:aws:iam::111122223333:role/bench", "accessKeyId": "ASIABENCHBENCHBENCH1",
		"secretAccessKey": strings.Repeat("s", 40), "sessionToken": strings.Repeat("t", 800), "expiration": time.Now().UTC().Add(6 * time.Hour).Format(time.RFC3339),
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	seq := r.NextSeq()
	if err := r.Payload(fmt.Sprintf("m%d", seq), seq, body); err != nil {
		return "", "", err
	}
	if _, err := r.AwaitChange(ctx, r.TaskARN(id), "RUNNING"); err != nil {
		return "", "", err
	}
	list, err := b.docker.ContainerList(ctx, container.ListOptions{})
	if err != nil {
		return "", "", err
	}
	for _, c := range list {
		if c.Labels["com.amazonaws.ecs.task-arn"] != r.TaskARN(id) {
			continue
		}
		info, err := b.docker.ContainerInspect(ctx, c.ID)
		if err != nil {
			return "", "", err
		}
		for _, kv := range info.Config.Env {
			if v, ok := strings.CutPrefix(kv, "ECS_CONTAINER_METADATA_URI_V4=http://169.254.170.2"); ok {
				metadata = v + "/task"
			}
			if v, ok := strings.CutPrefix(kv, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="); ok {
				credentials = v
			}
		}
	}
	if credentials == "" || metadata == "" {
		return "", "", fmt.Errorf("the container lacks its URIs: %q, %q", credentials, metadata)
	}
	return credentials, metadata, nil
}

// figures are what is measured of a server.
type figures struct{ cpu, rate, p99 float64 } // µs a request, requests a second, µs

// endpointPair measures the agent and the bare server, turn and turn about.
func (b *bench) endpointPair(r *rig, path string) (agent, floor figures, err error) {
	reply, err := http.Get("http://" + r.TaskEndpoint + path)
	if err != nil {
		return agent, floor, err
	}
	body, err := io.ReadAll(reply.Body)
	_ = reply.Body.Close()
	if err != nil {
		return agent, floor, err
	}
	if reply.StatusCode != http.StatusOK || !json.Valid(body) {
		return agent, floor, fmt.Errorf("%s: status %d: %.200s", path, reply.StatusCode, body)
	}
	address, pid, stop, err := b.bareServer(body)
	if err != nil {
		return agent, floor, err
	}
	defer stop()
	var agents, floors []figures
	for range max(1, b.rounds/5) {
		f, err := b.load(address, path, pid)
		if err != nil {
			return agent, floor, fmt.Errorf("bare server: %w", err)
		}
		floors = append(floors, f)
		a, err := b.load(r.TaskEndpoint, path, r.Agent.PID())
		if err != nil {
			return agent, floor, err
		}
		agents = append(agents, a)
	}
	return middle(agents), middle(floors), nil
}

func middle(list []figures) figures {
	of := func(pick func(figures) float64) float64 {
		var values []float64
		for _, f := range list {
			values = append(values, pick(f))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	return figures{
		cpu: of(func(f figures) float64 { return f.cpu }), rate: of(func(f figures) float64 { return f.rate }), p99: of(func(f figures) float64 { return f.p99 }),
	}
}

// load measures a server: as fast as it can, and then at a fixed rate.
func (b *bench) load(address, path string, pid int) (f figures, err error) {
	before, err := processCPU(pid)
	if err != nil {
		return f, err
	}
	begin := time.Now()
	n, _, err := drive(b.ctx, address, path, loadTime, 0)
	if err != nil {
		return f, err
	}
	took := time.Since(begin)
	after, err := processCPU(pid)
	if err != nil {
		return f, err
	}
	f.rate = float64(n) / took.Seconds()
	f.cpu = float64((after - before).Microseconds()) / float64(n)
	_, times, err := drive(b.ctx, address, path, pacedTime, pacedRate)
	if err != nil {
		return f, err
	}
	slices.Sort(times)
	f.p99 = float64(times[len(times)*99/100].Nanoseconds()) / 1000
	return f, nil
}

// drive asks over eight connections for a while, with a rate of 0 as fast as answers
// come; times are those of requests from when they were due, at a fixed rate only.
func drive(ctx context.Context, address, path string, d time.Duration, rate int) (n int64, times []time.Duration, err error) {
	var count atomic.Int64
	var mu sync.Mutex
	var group sync.WaitGroup
	errs := make([]error, loadConnections)
	begin := time.Now()
	for i := range loadConnections {
		group.Go(func() {
			c, err := newCaller(address, path)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.conn.Close()
			var own []time.Duration
			for k := 0; ctx.Err() == nil && time.Since(begin) < d; k++ {
				due := time.Now()
				if rate > 0 {
					due = begin.Add(time.Duration(k*loadConnections+i) * time.Second / time.Duration(rate))
					if errs[i] = pause(ctx, time.Until(due)); errs[i] != nil {
						return
					}
					due = time.Now() // a late timer is the load's own
				}
				if errs[i] = c.ask(); errs[i] != nil {
					return
				}
				if rate > 0 {
					own = append(own, time.Since(due))
				}
				count.Add(1)
			}
			mu.Lock()
			times = append(times, own...)
			mu.Unlock()
		})
	}
	group.Wait()
	if err := first(errs); err != nil {
		return 0, nil, err
	}
	if rate > 0 && len(times) == 0 || count.Load() == 0 {
		return 0, nil, fmt.Errorf("nothing was answered by %s", address)
	}
	return count.Load(), times, nil
}

// caller is one connection of the load: as little work as possible.
type caller struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
}

func newCaller(address, path string) (*caller, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: application/json\r\n\r\n", path, address)
	return &caller{c, bufio.NewReaderSize(c, 16<<10), []byte(request)}, nil
}

func (c *caller) ask() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(line), "HTTP/1.1 200") {
		return fmt.Errorf("answered %q", line)
	}
	length := -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		const name = "Content-Length: "
		if len(line) > len(name) && string(line[:len(name)]) == name {
			if length, err = strconv.Atoi(strings.TrimSpace(string(line[len(name):]))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("an answer without a length")
	}
	_, err = c.in.Discard(length)
	return err
}

// bareVariable makes this program the bare server: it answers every request with its
// standard input.
const bareVariable = "ECS_BENCH_BARE"

func (b *bench) bareServer(body []byte) (address string, pid int, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", 0, nil, err
	}
	cmd := exec.CommandContext(b.ctx, self)
	cmd.Env = append(os.Environ(), bareVariable+"=1")
	cmd.Stdin = strings.NewReader(string(body))
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return "", 0, nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return "", 0, nil, fmt.Errorf("start the bare server: %w", err)
	}
	return strings.TrimSpace(line), cmd.Process.Pid, stop, nil
}

// serveBare is the bare server.
func serveBare() error {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
}
