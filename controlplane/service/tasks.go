package service

import (
	"fmt"
	"slices"

	"ecsagent/controlplane/api"
)

func (s *Service) stopTask(in *api.StopTaskRequest) (*api.StopTaskResponse, error) {
	if in.Task == "" {
		return nil, api.Invalid("Task can not be blank.")
	}
	if len(in.Reason) > 1024 {
		return nil, api.Invalid("Reason can have at most 1024 characters.")
	}
	reason := in.Reason
	if reason == "" {
		reason = reasonUser
	}
	out := new(api.StopTaskResponse)
	err := s.update(func(t *tx) error {
		c, err := s.state.cluster(in.Cluster)
		if err != nil {
			return err
		}
		tk, err := s.task(in.Task, c)
		if err != nil {
			return err
		}
		if tk == nil {
			return api.Invalid("The referenced task was not found.")
		}
		if tk.Task.DesiredStatus != api.StatusStopped {
			t.stopByUser(tk, reason)
		}
		out.Task = tk.view(true)
		return nil
	})
	return out, err
}

// stopByUser tells the agent to stop the task. A task that no agent has taken, and
// none is there to take, ends at once; the agent hears of both when it comes.
func (t *tx) stopByUser(tk *task, reason string) {
	t.stop(tk, api.StopUserInitiated, reason)
	t.advance(tk, api.StatusDeactivating)
	in := t.s.state.instances[tk.Task.ContainerInstanceARN]
	if in == nil || in.Status == api.StatusInactive || tk.provisioning() {
		t.finishTask(tk, "")
		return
	}
	t.deliver(tk)
	if !tk.AckedRunning && !in.connected {
		t.finishTask(tk, "")
	}
}

func (s *Service) describeTasks(in *api.DescribeTasksRequest) (*api.TasksResponse, error) {
	if len(in.Tasks) == 0 {
		return nil, api.Invalid("Tasks cannot be empty.")
	}
	if len(in.Tasks) > maxPage {
		return nil, api.Invalid("Tasks can have at most %d items.", maxPage)
	}
	out := &api.TasksResponse{Tasks: []api.Task{}, Failures: []api.Failure{}}
	err := s.read(func(st *state) error {
		c, err := st.cluster(in.Cluster)
		if err != nil {
			return err
		}
		for _, ref := range in.Tasks {
			tk, err := s.task(ref, c)
			switch {
			case err != nil:
				return err
			case tk == nil:
				out.Failures = append(out.Failures, s.missing("task", ref, c))
			default:
				out.Tasks = append(out.Tasks, tk.view(slices.Contains(in.Include, "TAGS")))
			}
		}
		return nil
	})
	return out, err
}

func (s *Service) listTasks(in *api.ListTasksRequest) (*api.ListTasksResponse, error) {
	if in.ServiceName != "" {
		return nil, api.Errorf(api.ServiceNotFoundException, "Service not found.")
	}
	desired := in.DesiredStatus
	if desired == "" {
		desired = api.StatusRunning
	}
	if !slices.Contains([]string{api.StatusRunning, api.StatusPending, api.StatusStopped}, desired) {
		return nil, api.Invalid("Invalid desired status '%s'. Valid values: RUNNING, PENDING, STOPPED.", clip(desired))
	}
	out := new(api.ListTasksResponse)
	err := s.read(func(st *state) error {
		c, err := st.cluster(in.Cluster)
		if err != nil {
			return err
		}
		instanceARN := ""
		if in.ContainerInstance != "" {
			i, err := s.instance(in.ContainerInstance, c)
			if err != nil {
				return err
			}
			if i == nil {
				return api.Invalid("The specified container instance is not found.")
			}
			instanceARN = i.ARN
		}
		var list []entry
		for arn, tk := range st.tasks {
			if tk.Cluster == c.Name && tk.Task.DesiredStatus == desired &&
				(instanceARN == "" || tk.Task.ContainerInstanceARN == instanceARN) &&
				(in.Family == "" || tk.Family == in.Family) &&
				(in.StartedBy == "" || tk.Task.StartedBy == in.StartedBy) &&
				(in.LaunchType == "" || tk.Task.LaunchType == in.LaunchType) {
				list = append(list, entry{fmt.Sprintf("%020d", tk.Seq), arn})
			}
		}
		out.TaskARNs, out.NextToken, err = page(list, in.Page, false)
		return err
	})
	return out, err
}
