package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"ecsagent/agent/config"
	"ecsagent/agent/version"
	"ecsagent/ecsinit/release"
	"ecsagent/ecsinit/runs"
)

const (
	// updatesDir holds agents that came as updates, and which of them is to run.
	updatesDir = "/var/lib/ecs/updates"
	// trialTimer has an agent on trial looked at.
	trialTimer = "ecs-update-trial.timer"
	// noteVariable tells the agent what its status line says of updates.
	noteVariable = "AMAZON_ECS_INIT_NOTE"
)

// settle decides which agent the next start runs. Nothing that fails here keeps an agent
// from being started: it is told, and the one of before runs.
func (h *host) settle(ctx context.Context, cmd *cobra.Command, cfg *config.Config, record *runs.Record) {
	say := func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
	s, err := h.updates.Load()
	if err != nil {
		say("%v; the packaged agent runs", err)
	}
	if record.Update {
		record.Update = false
		s = h.adopt(ctx, say, cfg, s)
	}
	s = h.behind(s, *record)
	if verdict, reason := s.Verdict(); verdict == release.Lost {
		s = h.back(say, s, reason)
		*record = runs.Record{} // its failures are not those of the former
		if !h.dryRun {
			if err := timer(ctx, "stop"); err != nil {
				say("%v: its next look stops it", err)
			}
		}
	}
	if s.Trial != nil && !h.dryRun {
		if err := timer(ctx, "start"); err != nil {
			say("%v: the agent on trial is not looked at", err)
		}
	}
	if !h.dryRun {
		if err := h.runs.Save(*record); err != nil {
			say("%v", err)
		}
	}
}

// behind adds failures of an agent on trial that the disk had no room for.
func (h *host) behind(s release.State, record runs.Record) release.State {
	for s.Trial != nil && s.Trial.Failures < record.Failures {
		s = s.Failed(record.Ended, false)
	}
	return s
}

// adopt puts the update that is staged on trial. One that is not sound is removed.
func (h *host) adopt(ctx context.Context, say func(string, ...any), cfg *config.Config, s release.State) release.State {
	staged, err := release.FindStaged(cfg.UpdateDownloadDir)
	if staged == nil && err == nil {
		err = errors.New("none is staged in " + cfg.UpdateDownloadDir)
	}
	if h.dryRun {
		say("would put the update on trial that is staged in %s", cfg.UpdateDownloadDir)
		return s
	}
	refused := release.Release{}
	if err == nil {
		refused.ID = staged.ID
		var next release.State
		if next, err = h.begin(ctx, cfg, staged, s); err == nil {
			say("update: %s is on trial, %s is kept", next.Current, next.Former)
			err = staged.Discard()
			if err != nil {
				say("update: remove what was staged: %v", err)
			}
			return next
		}
	}
	say("update refused: %v; %s stays", err, s.Current)
	s = s.Refuse(refused, err.Error(), time.Now())
	if err := h.updates.Save(s); err != nil {
		say("%v", err)
	}
	if staged != nil {
		if err := staged.Discard(); err != nil {
			say("update: remove what was staged: %v", err)
		}
	}
	return s
}

func (h *host) begin(ctx context.Context, cfg *config.Config, staged *release.Staged, s release.State) (release.State, error) {
	b, err := staged.Check()
	if err != nil {
		return s, err
	}
	var r release.Release
	if cfg.AgentContainerImage != "" {
		r, err = h.loadUpdate(ctx, cfg, staged, b)
	} else {
		r, err = h.updates.Unpack(ctx, staged.ID, b, cfg.DataDir)
	}
	if err != nil {
		return s, err
	}
	next := s.Begin(r)
	return next, h.updates.Save(next)
}

// back makes the former agent the current one.
func (h *host) back(say func(string, ...any), s release.State, reason string) release.State {
	next := s.Back(reason, time.Now())
	if h.dryRun {
		say("would go back from update %s to %s: %s", s.Current, next.Current, reason)
		return next
	}
	say("update %s is given up: %s; back to %s", s.Current, reason, next.Current)
	if err := h.updates.Save(next); err != nil {
		say("%v", err)
	}
	return next
}

// decided is what is to run, also where the disk had no room for what pre-start decided.
// What cannot be read is the packaged agent; pre-start has told.
func (h *host) decided() release.State {
	s, err := h.updates.Load()
	if err != nil {
		return release.State{}.Refuse(release.Release{}, err.Error(), time.Now())
	}
	if record, err := h.runs.Load(); err == nil {
		s = h.behind(s, record)
	}
	if verdict, reason := s.Verdict(); verdict == release.Lost {
		s = s.Back(reason, time.Now())
	}
	return s
}

// program is the agent to become, and what its status line is to say of updates.
func (h *host) program(cmd *cobra.Command) (path, note string) {
	s := h.decided()
	path = h.updates.Program(s.Current, h.agent)
	if _, err := os.Stat(path); err != nil && path != h.agent {
		fmt.Fprintf(cmd.ErrOrStderr(), "update %s cannot be found: %v; the packaged agent runs\n", s.Current, err)
		return h.agent, fmt.Sprintf("update %s cannot be found", s.Current)
	}
	return path, s.Note()
}

// tried notes for the trial of an agent, if it is on one, that a run has ended. It reports
// whether the service manager has to be asked for another run.
func (h *host) tried(cmd *cobra.Command, end runs.End) (again bool) {
	if end.Asked || end.Result == "" || end.Result == "success" || end.Update() {
		return false
	}
	s, err := h.updates.Load()
	if err != nil || s.Trial == nil {
		return false // the next pre-start tells of the error
	}
	if err := h.updates.Save(s.Failed(end.String(), end.Terminal())); err != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), err)
		return false
	}
	return end.Terminal()
}

// checkUpdate looks at an agent on trial and ends the trial when it is decided.
func (h *host) checkUpdate(ctx context.Context, cmd *cobra.Command) error {
	say := func(format string, args ...any) { fmt.Fprintf(cmd.ErrOrStderr(), format+"\n", args...) }
	s, err := h.updates.Load()
	if err != nil {
		return err
	}
	if s.Trial == nil {
		fmt.Fprintln(cmd.OutOrStdout(), "no agent is on trial")
		if h.dryRun {
			return nil
		}
		return timer(ctx, "stop")
	}
	record, err := h.runs.Load()
	if err != nil {
		say("%v", err)
	}
	pid, err := h.process.PID()
	if err != nil {
		return err
	}
	s = h.behind(s, record).Looked(pid != 0 && record.Ready > 0)
	verdict, reason := s.Verdict()
	switch {
	case h.dryRun && verdict != release.Lost:
		fmt.Fprintf(cmd.OutOrStdout(), "would note look %d at update %s, which was ready at the last %d\n", s.Trial.Looks, s.Current, s.Trial.Steady)
		return nil
	case verdict == release.Passed:
		say("update %s works and stays", s.Current)
		s = s.Pass()
		return errors.Join(h.updates.Save(s), h.updates.Forget(s), timer(ctx, "stop"))
	case verdict == release.Lost:
		h.back(say, s, reason)
		if h.dryRun {
			return nil
		}
		// One that ended orderly would not be started again. A container goes with the start
		// of the next.
		_, err := h.process.Kill(ctx)
		return errors.Join(err, timer(ctx, "stop"))
	}
	return h.updates.Save(s)
}

// timer starts or stops the looks.
func timer(ctx context.Context, what string) error {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "systemctl", what, "--no-block", "--", trialTimer).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", what, trialTimer, err, out)
	}
	return nil
}

func (h *host) reloadCache(_ context.Context, cmd *cobra.Command) error {
	packaged := version.Number()
	s, err := h.updates.Load()
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%v; it is forgotten\n", err)
	}
	if s == (release.State{}) && err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "the agent is that of the package, %s\n", packaged)
		return nil
	}
	if h.dryRun {
		fmt.Fprintf(cmd.OutOrStdout(), "would go from update %s to the agent of the package, %s\n", s.Current, packaged)
		return nil
	}
	if err := errors.Join(h.updates.Save(release.State{}), h.updates.Forget(release.State{})); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "the next start runs the agent of the package, %s, and not update %s\n", packaged, s.Current)
	return nil
}
