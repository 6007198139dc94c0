// Command demo shows a task of ECS come and go on this machine: a Docker engine, a
// registry on loopback with the example images, the local ECS and the agent as
// processes of their own, one task run through the ECS API, and its page fetched.
// `make run` calls it. Everything it makes is gone when it ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ecsagent/tests/harness"
)

type settings struct {
	programs, engine, definition, services string
	once                                   bool
}

func main() {
	var s settings
	flag.StringVar(&s.programs, "programs", "bin", "`folder` of ecs-agent, ecs-local and the example programs (below examples/)")
	flag.StringVar(&s.engine, "engine", "scripts/engine", "`script` that makes sure a Docker engine answers")
	flag.StringVar(&s.definition, "definition", "examples/web.json", "task definition `file`")
	flag.StringVar(&s.services, "services", "examples/services", "`folder` that stands for Parameter Store, Secrets Manager, S3 and ECR")
	flag.BoolVar(&s.once, "once", false, "stop the task at once and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, s)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nrun failed:", err)
		stop()
		os.Exit(1)
	}
}

// demo is what run has built so far.
type demo struct {
	settings
	begin time.Time
	dir   string
	stack *harness.Stack
	undo  []func(context.Context) error // in order of making
}

func run(ctx context.Context, s settings) (err error) {
	definition, err := readDefinition(s.definition)
	if err != nil {
		return err
	}
	d := &demo{settings: s, begin: time.Now()}
	defer func() { err = errors.Join(err, d.close()) }()
	for _, step := range []func(context.Context) error{d.makeFolder, d.startEngine, d.startPrograms} {
		if err := step(ctx); err != nil {
			return d.explain(err)
		}
	}
	if err := d.serveImages(ctx, definition); err != nil {
		return err
	}
	task, err := d.runTask(ctx, definition)
	if err != nil {
		return d.explain(err)
	}
	d.hints(task)
	if !s.once {
		fmt.Println("\nPress Ctrl-C to stop everything.")
		d.watch(ctx, task)
	}
	// The user's Ctrl-C ends the watching; the task still stops in order.
	return d.explain(d.stopTask(context.WithoutCancel(ctx), task))
}

func (d *demo) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(d.begin).Seconds(), fmt.Sprintf(format, args...))
}

// explain adds the end of the agent's log to an error.
func (d *demo) explain(err error) error {
	if err == nil || d.stack == nil || d.stack.Agent == nil {
		return err
	}
	log := d.stack.AgentLog()
	return fmt.Errorf("%w\n--- last lines of the agent's log\n%s", err, harness.Tail(log, 25))
}

// close undoes what was made, the last first.
func (d *demo) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var errs []error
	for i := len(d.undo) - 1; i >= 0; i-- {
		errs = append(errs, d.undo[i](ctx))
	}
	if d.dir != "" {
		d.say("everything is gone again")
	}
	return errors.Join(errs...)
}

func (d *demo) makeFolder(context.Context) error {
	dir, err := os.MkdirTemp("", "ecsagent-run-")
	if err != nil {
		return fmt.Errorf("make a folder for this run: %w", err)
	}
	d.dir = dir
	d.undo = append(d.undo, func(context.Context) error { return os.RemoveAll(dir) })
	return nil
}

// startEngine uses the engine that answers, or one of its own below the folder.
func (d *demo) startEngine(ctx context.Context) error {
	own := filepath.Join(d.dir, "engine")
	call := func(ctx context.Context, verb string) (string, error) {
		cmd := exec.CommandContext(ctx, d.engine, verb)
		cmd.Env = append(os.Environ(), "ECSAGENT_ENGINE_DIR="+own)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", d.engine, verb, err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	// Before the start: a start that is interrupted leaves something behind.
	d.undo = append(d.undo, func(ctx context.Context) error {
		_, err := call(ctx, "purge")
		return err
	})
	host, err := call(ctx, "start")
	if err != nil {
		return err
	}
	if strings.Contains(host, own) {
		d.say("no Docker engine answered; started one, %s", host)
	} else {
		d.say("Docker engine: %s", host)
	}
	commands := filepath.Join(d.dir, "exec") // of ECS Exec
	d.stack, err = harness.NewStack(harness.Options{
		Programs: d.programs, Dir: filepath.Join(d.dir, "stack"), DockerHost: host, Services: d.services,
		LocalArgs: []string{"--exec", commands},
		Agent:     []string{"ECS_MANAGED_AGENTS_DIR=" + commands, "ECS_TASK_LOG_DIR=" + filepath.Join(commands, "log")},
	})
	if err == nil {
		d.stack.ECS.ExecuteCommand = true
	}
	return err
}

func (d *demo) startPrograms(ctx context.Context) error {
	d.undo = append(d.undo, d.stack.Close)
	if err := d.stack.StartLocal(ctx); err != nil {
		return err
	}
	d.say("ecs-local: process %d, http://%s", d.stack.Local.PID(), d.stack.LocalAddress)
	if err := d.stack.StartAgent(); err != nil {
		return err
	}
	instance, err := d.stack.AwaitAgent(ctx)
	if err != nil {
		return err
	}
	d.say("ecs-agent: process %d, registered as %s", d.stack.Agent.PID(), instance.ARN)
	return nil
}

// runTask runs the definition and returns the task once it runs.
func (d *demo) runTask(ctx context.Context, definition map[string]any) (harness.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	arn, err := d.stack.ECS.Register(ctx, definition)
	if err != nil {
		return harness.Task{}, err
	}
	d.say("task definition: %s", arn)
	tasks, failures, err := d.stack.ECS.Run(ctx, arn, 1)
	if err != nil {
		return harness.Task{}, err
	}
	if len(tasks) != 1 {
		return harness.Task{}, fmt.Errorf("run the task: not placed: %v", failures)
	}
	d.say("task: %s", tasks[0].TaskARN)
	d.say("  %s", tasks[0].LastStatus)
	task, err := d.follow(ctx, tasks[0], "RUNNING")
	if err != nil {
		return task, err
	}
	if task.LastStatus == "STOPPED" && d.ends(task) {
		return task, nil
	}
	if task.LastStatus == "STOPPED" {
		return task, fmt.Errorf("the task stopped before it ran: %s", reasons(task))
	}
	return task, d.fetch(ctx, task)
}

// ends reports whether a stopped task did all its work.
func (d *demo) ends(task harness.Task) bool {
	for _, c := range task.Containers {
		if c.ExitCode == nil || *c.ExitCode != 0 {
			return false
		}
	}
	return true
}

// follow shows each new status of a task until it has the one wanted, or is stopped.
func (d *demo) follow(ctx context.Context, task harness.Task, want string) (harness.Task, error) {
	shown := task.LastStatus
	return d.stack.ECS.Await(ctx, task.TaskARN, "the task to be "+want, func(t harness.Task) bool {
		if t.LastStatus != shown {
			shown = t.LastStatus
			d.say("  %s", shown)
		}
		return t.LastStatus == want || t.LastStatus == "STOPPED"
	})
}

// fetch shows the page behind each published TCP port.
func (d *demo) fetch(ctx context.Context, task harness.Task) error {
	for _, c := range task.Containers {
		for _, b := range c.NetworkBindings {
			if b.Protocol != "tcp" || b.HostPort == 0 || strings.Contains(b.BindIP, ":") {
				continue
			}
			page := fmt.Sprintf("http://127.0.0.1:%d/", b.HostPort)
			body, err := get(ctx, page)
			if err != nil {
				return err
			}
			d.say("%s, port %d of container %s, says:", page, b.ContainerPort, c.Name)
			for line := range strings.Lines(body) {
				fmt.Print("         | ", line)
			}
		}
	}
	return nil
}

// get fetches a page; the container may need a moment until it listens.
func get(ctx context.Context, page string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var body string
	err := harness.Poll(ctx, page+" to answer", func(ctx context.Context) (bool, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
		if err != nil {
			return false, err
		}
		reply, err := http.DefaultClient.Do(request)
		if err != nil {
			return false, err
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(io.LimitReader(reply.Body, 1<<16))
		if err != nil || reply.StatusCode != http.StatusOK {
			return false, errors.Join(err, fmt.Errorf("status %s", reply.Status))
		}
		body = string(text)
		return true, nil
	})
	return body, err
}

// watch shows what becomes of the task until the user has seen enough.
func (d *demo) watch(ctx context.Context, task harness.Task) {
	stopped, err := d.follow(ctx, task, "STOPPED")
	if err == nil {
		d.say("the task stopped by itself: %s", reasons(stopped))
		<-ctx.Done()
	}
	fmt.Println()
}

func (d *demo) stopTask(ctx context.Context, task harness.Task) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	now, err := d.stack.ECS.Describe(ctx, task.TaskARN)
	if err != nil || now.LastStatus == "STOPPED" {
		return err
	}
	d.say("stopping the task")
	if err := d.stack.ECS.Stop(ctx, task.TaskARN, "the demonstration is over"); err != nil {
		return err
	}
	task, err = d.follow(ctx, now, "STOPPED")
	if err != nil {
		return err
	}
	for _, c := range task.Containers {
		code := "no exit code"
		if c.ExitCode != nil {
			code = fmt.Sprintf("exit code %d", *c.ExitCode)
		}
		d.say("container %s: %s, %s", c.Name, c.LastStatus, code)
	}
	return nil
}

func reasons(task harness.Task) string {
	all := []string{task.StopCode, task.StoppedReason}
	for _, c := range task.Containers {
		if c.Reason != "" {
			all = append(all, c.Name+": "+c.Reason)
		}
		if c.ExitCode != nil {
			all = append(all, fmt.Sprintf("%s: exit code %d", c.Name, *c.ExitCode))
		}
	}
	return strings.Join(all, "; ")
}

// hints prints what to try next.
func (d *demo) hints(task harness.Task) {
	fmt.Printf(`
Try, in another terminal:

  export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=%s
  export ECS=http://%s
  aws ecs --endpoint-url $ECS list-tasks
  aws ecs --endpoint-url $ECS describe-tasks --tasks %s
  aws ecs --endpoint-url $ECS run-task --task-definition %s
  aws ecs --endpoint-url $ECS stop-task --task %s
  ECS_LOCAL_ENDPOINT=$ECS bin/ecs-local ps
  ECS_LOCAL_ENDPOINT=$ECS bin/ecs-local exec %s -- COMMAND   # that is in the image, /bin/sh or another
  curl http://%s/v1/tasks
  tail -f %s
`, harness.Region, d.stack.LocalAddress, last(task.TaskARN), last(task.TaskDefinitionARN), last(task.TaskARN), last(task.TaskARN)[:8], d.stack.Introspection, d.stack.AgentLog())
}

// last returns the last segment of an ARN.
func last(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }
