package report

import (
	"ecsagent/agent/ecsapi"
	"ecsagent/agent/task"
)

// wireChange is the change as ECS wants it (docs/spec/01 section 1.10.1).
func wireChange(cluster, arn string, c change) *ecsapi.SubmitTaskStateChangeInput {
	in := &ecsapi.SubmitTaskStateChangeInput{
		Cluster: cluster, Task: arn, Reason: &c.reason,
		PullStartedAt: ecsapi.At(c.pullStartedAt), PullStoppedAt: ecsapi.At(c.pullStoppedAt),
		ExecutionStoppedAt: ecsapi.At(c.executionStoppedAt),
	}
	switch c.status {
	case task.Running, task.Stopped:
		in.Status = c.status.String()
	default:
		in.Status = "PENDING"
	}
	for _, cc := range c.containers {
		in.Containers = append(in.Containers, wireContainer(cc))
	}
	for _, g := range c.agents {
		in.ManagedAgents = append(in.ManagedAgents, ecsapi.ManagedAgentStateChange{
			ContainerName: g.container, ManagedAgentName: task.ExecAgentName, Status: g.Status.String(), Reason: cut(g.Reason, maxReason),
		})
	}
	return in
}

func wireContainer(c containerChange) ecsapi.ContainerStateChange {
	out := ecsapi.ContainerStateChange{
		ContainerName: c.name, RuntimeID: c.runtimeID, ImageDigest: c.imageDigest,
		ExitCode: c.exitCode, Reason: c.reason,
	}
	switch c.status {
	case task.ContainerStopped:
		out.Status = "STOPPED"
	case task.ContainerRunning, task.ContainerResourcesProvisioned:
		out.Status = "RUNNING"
	default:
		out.Status = "PENDING"
	}
	for _, b := range c.bindings {
		out.NetworkBindings = append(out.NetworkBindings, ecsapi.NetworkBinding{
			BindIP: b.bindIP, Protocol: string(b.protocol),
			ContainerPort: int(b.containerPort), HostPort: int(b.hostPort),
			ContainerPortRange: b.containerPorts, HostPortRange: b.hostPortsRun,
		})
	}
	return out
}
