package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ecsagent/agent/config"
	"ecsagent/ecsinit/container"
	"ecsagent/ecsinit/prepare"
	"ecsagent/ecsinit/process"
	"ecsagent/ecsinit/release"
	"ecsagent/ecsinit/runs"
	"ecsagent/ecsinit/step"
)

const (
	// agentProgram is where the packages put the agent.
	agentProgram = "/usr/libexec/amazon-ecs/ecs-agent"
	// runDir is gone when the host is started anew, as what it remembers must be.
	runDir = "/run/ecs-init"
	// stopGrace is what the agent gets to save its state (docs/spec/03 section 5.6.5).
	stopGrace = 10 * time.Second
	// jobLimit bounds the question for the service manager's plans.
	jobLimit = 5 * time.Second
)

// host is what every action works on.
type host struct {
	runs    runs.File
	updates release.Folder
	process process.File
	dryRun  bool
	agent   string
	unit    string

	container string // name of the agent's
}

func actions() []*cobra.Command {
	h := &host{runs: runDir + "/runs.json", process: runDir + "/agent.pid", updates: updatesDir}
	action := func(use, short, long string, do func(ctx context.Context, cmd *cobra.Command) error) *cobra.Command {
		cmd := &cobra.Command{
			Use: use, Short: short, Long: long,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if !h.dryRun && os.Geteuid() != 0 {
					return fmt.Errorf("%s: needs root; --dry-run does not", use)
				}
				ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
				defer stop()
				if err := do(ctx, cmd); err != nil {
					return fmt.Errorf("%s: %w", use, err)
				}
				return nil
			},
		}
		cmd.Flags().BoolVar(&h.dryRun, "dry-run", false, "print what would be done, and do nothing")
		cmd.Flags().Func("run-dir", "`FOLDER` that remembers runs until the host is started anew (default "+runDir+")", func(dir string) error {
			h.runs, h.process = runs.File(filepath.Join(dir, "runs.json")), process.File(filepath.Join(dir, "agent.pid"))
			return nil
		})
		return cmd
	}
	start := action("start", "Become the agent",
		"Become the agent, or run it as a container where ECS_AGENT_CONTAINER_IMAGE says so. It keeps the packet rules that pre-start made, unless ECS_HOST_RULES\nsays that somebody else does.", h.start)
	start.Flags().StringVar(&h.agent, "agent", agentProgram, "`FILE` of the agent")
	start.Flags().StringVar(&h.container, "container", container.DefaultName, "`NAME` of the agent's container, where ECS_AGENT_CONTAINER_IMAGE is set")
	after := action("post-stop", "Put the host back",
		"Take away the packet rules, the route and the kernel settings of pre-start, each whatever\nbecomes of the others. Called by systemd for an agent that failed and is started again,\nit leaves them where they are.", h.postStop)
	after.Flags().StringVar(&h.unit, "unit", "ecs.service", "`NAME` of the systemd unit that calls")
	stop := "Ask the agent to end, and kill it after ten seconds. Tasks run on."
	return []*cobra.Command{
		action("pre-start", "Prepare the host",
			"Make folders, remove a container of the official agent, describe the GPUs, and make\nthe packet rules, the route and the kernel settings of 169.254.170.2. After an agent that\nfailed, wait before: half a second, doubling up to 15 seconds.", h.preStart),
		start,
		action("post-start", "Note that the agent is ready",
			"Note that the agent is ready. One that was for ten minutes is started again without delay.", h.postStart),
		action("stop", "Stop the agent", stop, h.stop),
		action("pre-stop", "Stop the agent (the same as stop)", stop, h.stop),
		after,
		action("check-update", "Look at an agent on trial",
			"Note whether an agent that came as an update is ready. At three looks in a row it must be,\nto stay. At the tenth look without that, or after three runs that failed, the former agent\nis started again. Called by ecs-update-trial.timer.", h.checkUpdate),
		action("reload-cache", "Go back to the agent of the package",
			"Have the next start run the agent of the package, and not one that came as an update.\nCalled when the package is installed or changed.", h.reloadCache),
		volumePlugin(),
	}
}

// runDir is where the host's runs are remembered.
func (h *host) runDir() string { return filepath.Dir(string(h.process)) }

// load returns the settings, also where the agent could not run with them: those that
// are wrong have their defaults then, and the agent says what is wrong.
func load(ctx context.Context) *config.Config {
	sources := config.System()
	// The region is the agent's business; nothing here waits for instance metadata.
	sources.Environ = append([]string{"AWS_DEFAULT_REGION=us-east-1"}, sources.Environ...)
	cfg, _, _ := config.Load(ctx, sources)
	return cfg
}

func (h *host) runner(cmd *cobra.Command) step.Runner {
	return step.Runner{DryRun: h.dryRun, Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr()}
}

func (h *host) preStart(ctx context.Context, cmd *cobra.Command) error {
	record, err := h.runs.Load()
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%v; starting at once\n", err)
	}
	cfg := load(ctx)
	h.settle(ctx, cmd, cfg, &record)
	if err := h.delay(ctx, cmd, record); err != nil {
		return err
	}
	steps := prepare.Host{Config: cfg}.Before()
	if cfg.AgentContainerImage != "" {
		steps = append([]step.Step{h.image(cfg)}, steps...)
	}
	return h.runner(cmd).Run(ctx, steps...)
}

// delay waits after runs that failed, when it is systemd that starts the next one.
func (h *host) delay(ctx context.Context, cmd *cobra.Command, record runs.Record) error {
	wait := record.Delay(runs.Random())
	if wait == 0 || os.Getenv("INVOCATION_ID") == "" {
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "the agent failed %d times in a row, at last: %s; next start in %v\n",
		record.Failures, record.Ended, wait.Round(100*time.Millisecond))
	if h.dryRun {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (h *host) start(ctx context.Context, cmd *cobra.Command) error {
	environ, cfg := os.Environ(), load(ctx)
	if !cfg.Explicit("ECS_HOST_RULES") {
		environ = append(environ, "ECS_HOST_RULES="+config.RulesByAgent)
	}
	agent, note := h.agent, ""
	if !cmd.Flags().Changed("agent") {
		agent, note = h.program(cmd)
	}
	if note != "" {
		environ = append(environ, noteVariable+"="+note)
	}
	program, err := filepath.Abs(agent)
	if err != nil {
		return err
	}
	if cfg.AgentContainerImage != "" && !cmd.Flags().Changed("agent") {
		program = "" // it is no program of the host
	} else if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("find the agent: %w", err)
	}
	if pid, err := h.process.PID(); err == nil && pid != 0 && pid != os.Getpid() {
		return fmt.Errorf("the agent runs already, as process %d", pid)
	}
	if h.dryRun {
		if program == "" {
			fmt.Fprintf(cmd.OutOrStdout(), "would run %s as a container\n", h.imageName(cfg))
			return nil
		}
		fmt.Fprintf(cmd.OutOrStdout(), "would become %s\n", program)
		return nil
	}
	if program == "" {
		return h.runContainer(ctx, cmd, cfg, h.decided().Note(), environ)
	}
	if err := h.process.Claim(); err != nil {
		return err
	}
	return process.Become(program, nil, environ)
}

func (h *host) postStart(_ context.Context, cmd *cobra.Command) error {
	if h.dryRun {
		fmt.Fprintln(cmd.OutOrStdout(), "would note that the agent is ready")
		return nil
	}
	record, err := h.runs.Load()
	if err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), err)
	}
	if record.Ready, err = process.SinceBoot(); err != nil {
		return err
	}
	return h.runs.Save(record)
}

func (h *host) stop(ctx context.Context, cmd *cobra.Command) error {
	pid, err := h.process.PID()
	if err != nil {
		return err
	}
	if pid == 0 {
		fmt.Fprintln(cmd.OutOrStdout(), "no agent runs")
		return nil
	}
	if h.dryRun {
		fmt.Fprintf(cmd.OutOrStdout(), "would stop process %d\n", pid)
		return nil
	}
	_, err = h.process.Stop(ctx, stopGrace)
	return err
}

func (h *host) postStop(ctx context.Context, cmd *cobra.Command) error {
	end := runs.End{Result: os.Getenv("SERVICE_RESULT"), Code: os.Getenv("EXIT_CODE"), Status: os.Getenv("EXIT_STATUS")}
	if !end.Final() || end.Terminal() {
		end.Asked = asked(ctx, h.unit)
		end.Words = lastWords(ctx, h.unit)
	}
	if !h.dryRun {
		if err := h.remember(end); err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), err)
		}
		if h.tried(cmd, end) {
			fmt.Fprintf(cmd.ErrOrStderr(), "the agent on trial ended (%s): the former one is started\n", end)
			return h.startAgain(ctx)
		}
	}
	if !end.Final() {
		fmt.Fprintf(cmd.ErrOrStderr(), "the agent ended (%s) and is started again: the host stays prepared\n", end)
		return nil
	}
	err := h.runner(cmd).RunAll(ctx, prepare.Host{Config: load(ctx)}.After()...)
	if h.dryRun {
		return err
	}
	// An agent that still runs has its file in it.
	if gone := os.Remove(h.runDir()); gone != nil && !errors.Is(gone, fs.ErrNotExist) && !errors.Is(gone, syscall.ENOTEMPTY) {
		err = errors.Join(err, gone)
	}
	return err
}

// remember keeps how the run ended for the next pre-start.
func (h *host) remember(end runs.End) error {
	record, err := h.runs.Load()
	now, clockErr := process.SinceBoot()
	err = errors.Join(err, clockErr, h.runs.Save(record.After(end, now)))
	if pid, pidErr := h.process.PID(); pidErr != nil || pid == 0 {
		err = errors.Join(err, h.process.Forget())
	}
	return err
}

// startAgain asks the service manager for another run, after an end that is none of those
// after which it starts one by itself. A start would be taken for the one that has failed.
func (h *host) startAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "systemctl", "restart", "--no-block", "--", h.unit).CombinedOutput(); err != nil {
		return fmt.Errorf("start %s: %w: %s", h.unit, err, out)
	}
	return nil
}

// maxWords is how much is kept of what the agent says at its end, in bytes.
const maxWords = 500

// lastWords are what the agent told the service manager before it ended, when that was why;
// empty: nothing of the kind.
func lastWords(ctx context.Context, unit string) string {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "systemctl", "show", "--property=StatusText", "--value", "--", unit).Output()
	text := strings.TrimSpace(string(out))
	if err != nil || !strings.HasPrefix(text, "cannot start: ") && !strings.HasPrefix(text, "ended: ") {
		return ""
	}
	return strings.ToValidUTF8(text[:min(len(text), maxWords)], "")
}

// asked reports whether a job of systemd's ends the unit or starts it anew. The job that
// started an agent that was never ready is still there, and asks for nothing; without a job
// it ended by itself.
func asked(ctx context.Context, unit string) bool {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	jobs, err := exec.CommandContext(ctx, "systemctl", "list-jobs", "--no-legend", "--plain", "--full", "--", unit).Output()
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(jobs)) { // number, unit, type, state
		if fields := strings.Fields(line); len(fields) >= 3 && fields[1] == unit && fields[2] != "start" {
			return true
		}
	}
	return false
}
