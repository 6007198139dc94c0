package service

import (
	"strings"

	"ecsagent/controlplane/api"
)

// Sessions are the ways into containers.
type Sessions interface {
	// Open makes a session in a container and returns its id, the token that opens it and
	// the path of its websocket.
	Open(taskID, container, command string) (id, token, path string)
}

func (s *Service) executeCommand(c *call, in *api.ExecuteCommandRequest) (*api.ExecuteCommandResponse, error) {
	switch {
	case in.Task == "":
		return nil, api.Invalid("Task can not be blank.")
	case strings.TrimSpace(in.Command) == "":
		return nil, api.Invalid("Command can not be blank.")
	case !in.Interactive:
		return nil, api.Invalid("Interactive is the only mode supported currently.")
	case s.opts.Sessions == nil:
		return nil, api.Errorf(api.UnsupportedFeatureException, "The local ECS was started without ECS Exec: use ecs-local up --exec FOLDER.")
	}
	out := new(api.ExecuteCommandResponse)
	err := s.read(func(st *state) error {
		cluster, err := st.cluster(in.Cluster)
		if err != nil {
			return err
		}
		tk, err := s.task(in.Task, cluster)
		if err != nil {
			return err
		}
		if tk == nil {
			return api.Invalid("The referenced task was not found.")
		}
		target, err := execTarget(&tk.Task, in.Container)
		if err != nil {
			return err
		}
		id := tk.Task.TaskARN[strings.LastIndexByte(tk.Task.TaskARN, '/')+1:]
		session, token, path := s.opts.Sessions.Open(id, target.Name, in.Command)
		scheme := "ws://"
		if c.tls {
			scheme = "wss://"
		}
		*out = api.ExecuteCommandResponse{
			ClusterARN: cluster.ARN, ContainerARN: target.ContainerARN, ContainerName: target.Name, Interactive: true, TaskARN: tk.Task.TaskARN,
			Session: api.Session{SessionID: session, StreamURL: scheme + c.host + path, TokenValue: token},
		}
		return nil
	})
	return out, err
}

// execTarget is the container of a task into which a command may be sent now.
func execTarget(t *api.Task, name string) (*api.Container, error) {
	if name == "" && len(t.Containers) > 1 {
		return nil, api.Invalid("Container can not be blank for a task of more than one container.")
	}
	for i := range t.Containers {
		c := &t.Containers[i]
		if name != "" && c.Name != name {
			continue
		}
		for _, g := range c.ManagedAgents {
			if g.Name == api.ExecuteCommandAgent && g.LastStatus == api.StatusRunning && c.LastStatus == api.StatusRunning {
				return c, nil
			}
		}
		return nil, api.Invalid("The execute command failed because execute command was not enabled when the task was run or the execute command agent isn't running. Wait and try again or run a new task with execute command enabled and try again.")
	}
	return nil, api.Invalid("The referenced container was not found in the task.")
}
