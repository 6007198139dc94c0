package service

import (
	"slices"
	"time"

	"ecsagent/controlplane/api"
)

// Bounds of a task's protection.
const (
	defaultProtection = 2 * time.Hour
	maxProtection     = 2880 // minutes
)

func (s *Service) getTaskProtection(in *api.TaskProtectionRequest) (*api.TaskProtectionResponse, error) {
	out := newProtection()
	err := s.read(func(st *state) error {
		c, err := st.cluster(in.Cluster)
		if err != nil {
			return err
		}
		refs := in.Tasks
		if len(refs) == 0 {
			for arn, tk := range st.tasks {
				if tk.Cluster == c.Name && tk.protected(s.opts.Now()) {
					refs = append(refs, arn)
				}
			}
			slices.Sort(refs)
		}
		return s.protection(c, refs, out, func(*task) {})
	})
	return out, err
}

func (s *Service) updateTaskProtection(in *api.TaskProtectionRequest) (*api.TaskProtectionResponse, error) {
	if n := len(in.Tasks); n < 1 || n > 10 {
		return nil, api.Invalid("Tasks must have 1 to 10 items.")
	}
	if in.ProtectionEnabled == nil {
		return nil, api.Invalid("protectionEnabled can not be blank.")
	}
	life := defaultProtection
	if in.ExpiresInMinutes != nil {
		if *in.ExpiresInMinutes < 1 || *in.ExpiresInMinutes > maxProtection {
			return nil, api.Invalid("expiresInMinutes must be between 1 and %d.", maxProtection)
		}
		life = time.Duration(*in.ExpiresInMinutes) * time.Minute
	}
	out := newProtection()
	err := s.update(func(t *tx) error {
		c, err := s.state.cluster(in.Cluster)
		if err != nil {
			return err
		}
		return s.protection(c, in.Tasks, out, func(tk *task) {
			tk.ProtectedUntil = time.Time{}
			if *in.ProtectionEnabled {
				tk.ProtectedUntil = t.now.Add(life)
			}
			t.saveTask(tk)
		})
	})
	return out, err
}

func newProtection() *api.TaskProtectionResponse {
	return &api.TaskProtectionResponse{ProtectedTasks: []api.ProtectedTask{}, Failures: []api.Failure{}}
}

func (tk *task) protected(now time.Time) bool { return now.Before(tk.ProtectedUntil) }

func (s *Service) protection(c *cluster, refs []string, out *api.TaskProtectionResponse, change func(*task)) error {
	for _, ref := range refs {
		tk, err := s.task(ref, c)
		switch {
		case err != nil:
			return err
		case tk == nil:
			out.Failures = append(out.Failures, s.missing("task", ref, c))
			continue
		case tk.isStopped():
			out.Failures = append(out.Failures, api.Failure{ARN: tk.Task.TaskARN, Reason: "TASK_NOT_VALID", Detail: "The task is stopped."})
			continue
		}
		change(tk)
		p := api.ProtectedTask{TaskARN: tk.Task.TaskARN, ProtectionEnabled: tk.protected(s.opts.Now())}
		if p.ProtectionEnabled {
			p.ExpirationDate = api.At(tk.ProtectedUntil)
		}
		out.ProtectedTasks = append(out.ProtectedTasks, p)
	}
	return nil
}
