package dockerspec

import (
	"path"
	"strconv"

	"github.com/docker/docker/api/types/container"

	"ecsagent/agent/task"
)

// routerPort is where FireLens containers listen, where tasks have a network.
const routerPort = "24224"

// BufferOption is the name of the option of log driver awsfirelens that is passed on to
// the driver which stands in for it; all others are the FireLens container's.
const BufferOption = "log-driver-buffer-limit"

// SocketFolder is the folder, below that of package firelens, in which the FireLens
// container of a task makes its socket.
func SocketFolder(dir, taskID string) string { return path.Join(dir, taskID, "socket") }

// routedLog sends the container's log to the FireLens container of its task, with the
// driver fluentd and nothing of what its own options say (docs/spec/02 section 7.6).
func (b *build) routedLog() error {
	r := b.spec.Router()
	switch {
	case r < 0:
		return failure(nameCreate, "log driver %s: the task has no FireLens container", task.FireLensDriver)
	case b.env.FireLens.Dir == "":
		return failure(nameCreate, "log driver %s: there is no FireLens on this container instance", task.FireLensDriver)
	}
	id := b.spec.ID()
	options := map[string]string{
		"tag":                          b.c.Name + "-firelens-" + id,
		"fluentd-address":              "unix://" + path.Join(SocketFolder(b.env.FireLens.Dir, id), "fluent.sock"),
		"fluentd-sub-second-precision": "true",
	}
	if limit := b.host.LogConfig.Config[BufferOption]; limit != "" {
		options["fluentd-buffer-limit"] = limit
	}
	async := "fluentd-async"
	if b.env.FireLens.OldEngine {
		async = "fluentd-async-connect"
	}
	options[async] = strconv.FormatBool(b.env.FireLens.Async)
	b.host.LogConfig = container.LogConfig{Type: "fluentd", Config: options}

	switch b.spec.NetworkMode {
	case "awsvpc":
		b.router = "127.0.0.1"
	case "bridge":
		if b.router = BridgeAddress(b.st.Containers[b.networkOf(r)].Networks); b.router == "" {
			return failure(nameDockerConfig, "unable to get BridgeIP for task in bridge mode")
		}
	}
	return nil
}

// BridgeAddress is a container's IPv4 address in Docker's own network, empty when it has
// none.
func BridgeAddress(networks []task.Network) string {
	v4, _ := BridgeAddresses(networks)
	return v4
}
