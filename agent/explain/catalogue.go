package explain

import (
	"fmt"
	"io"
	"strings"
)

// ErrorName is an entry of the catalogue of errors (docs/spec/02 section 6.2).
type ErrorName struct {
	Name string
	// Where says whether the error is the reason of a container or of a task, or only
	// stands in the agent's log.
	Where Where
	// When the error comes up, and what the message after the name is.
	When    string
	Message string
	// Own marks names that the specification's table of names does not have.
	Own bool
	// Shown is the test that brings the error about: "folder Test", or "folder Test/case".
	// NotMade says instead why this agent does not make the error.
	Shown, NotMade string
}

// Where an error shows.
type Where string

// Places where an error shows.
const (
	OnContainer Where = "container"
	OnTask      Where = "task"
	InLog       Where = "log"
)

const (
	dockerText = "what Docker says"
	theCause   = "the cause"
)

// Catalogue returns every error name that ECS or the log may show, in the order of the
// documentation.
func Catalogue() []ErrorName {
	return []ErrorName{
		{Name: "CannotPullContainerError", Where: OnContainer, When: "The image could not be pulled or tagged.",
			Message: "what the registry or Docker says; for refusals and network trouble with a hint before it", Shown: "tests/taskengine TestReasons/layer is missing"},
		{Name: "CannotPullECRContainerError", Where: OnContainer, When: "ECR gave no login, or the credentials of the execution role are not there.", Message: theCause, Shown: "agent/image TestLoginFailures"},
		{Name: "CannotPullContainerAuthError", Where: OnContainer, When: "The login of a private registry is not there.", Message: "`engine docker private registry credentials: not found`", Shown: "agent/image TestLoginFailures"},
		{Name: "CannotPullImageManifestError", Where: OnContainer, When: "The registry did not tell the image's digest. This is where a missing image, a missing login or a bad reference shows first.", Message: theCause, Shown: "tests/taskengine TestReasons/image unknown"},
		{Name: "TaskStoppedBeforePullBeginError", Where: OnContainer, When: "The task was stopped before the pull began.", Message: "`Task stopped before image pull could begin for task: <arn>`", NotMade: "a container that is stopped before its pull has no reason"},
		{Name: "DockerTimeoutError", Where: OnContainer, When: "Docker did not finish a call in time.", Message: "`Could not transition to <label>; timed out after waiting <duration>`, the duration written as in `4m0s`", Shown: "tests/taskengine TestReasons/create too slow"},
		{Name: "CannotCreateContainerError", Where: OnContainer, When: "Docker refused to create the container, or its log could not be set up.", Message: dockerText, Shown: "tests/taskengine TestReasons/docker refuses to create"},
		{Name: "CannotStartContainerError", Where: OnContainer, When: "Docker refused to start the container, or what it depends on can never be met.", Message: dockerText + ", or `dependency graph: …`", Shown: "tests/taskengine TestReasons/command not found"},
		{Name: "CannotStopContainerError", Where: OnContainer, When: "The container could not be stopped.", Message: dockerText, Shown: "tests/taskengine TestReasons/stop fails"},
		{Name: "NoSuchContainerError", Where: InLog, When: "A container that was to be stopped, started or looked at is gone.", Message: "`Container not found: <id>`", Shown: "agent/runtime/docker TestStop"},
		{Name: "CannotInspectContainerError", Where: OnContainer, When: "The container could not be looked at after a step or an event.", Message: dockerText, Shown: "tests/taskengine TestReasons/inspect fails after start"},
		{Name: "CannotDescribeContainerError", Where: OnContainer, When: "The container could not be looked at after a restart of the agent or in a periodic check.", Message: dockerText, NotMade: "a container that cannot be looked at is not taken for ended, and one that is gone is a `ContainerVanishedError`"},
		{Name: "CannotRemoveContainerError", Where: InLog, When: "A container could not be removed in clean-up.", Message: theCause, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotListContainersError", Where: InLog, When: "Docker did not list its containers.", Message: theCause, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotListImagesError", Where: InLog, When: "Docker did not list its images.", Message: theCause, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotRemoveImageError", Where: InLog, When: "An image could not be removed in clean-up.", Message: theCause, Own: true, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotCreateVolumeError", Where: OnTask, When: "A volume could not be created. The task's reason is the message alone.", Message: theCause, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotInspectVolumeError", Where: OnTask, When: "A volume could not be looked at. The task's reason is the message alone.", Message: theCause, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotRemoveVolumeError", Where: InLog, When: "A volume could not be removed in clean-up.", Message: theCause, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotListPluginsError", Where: InLog, When: "Docker did not list its volume plugins.", Message: theCause, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotGetStatsError", Where: InLog, When: "Docker did not tell what a container uses, where the agent does not read that itself.", Message: theCause, Own: true, Shown: "agent/runtime/docker TestErrorNames"},
		{Name: "CannotCreateContainerExecError", Where: InLog, When: "A process could not be added to a container.", Message: theCause + "; it is part of the reason of the managed agent", Shown: "agent/runtime/docker TestEngineExec"},
		{Name: "CannotStartContainerExecError", Where: InLog, When: "A process that was added to a container did not start.", Message: theCause + "; it is part of the reason of the managed agent", Shown: "agent/runtime/docker TestEngineExec"},
		{Name: "CannotInspectContainerExecError", Where: InLog, When: "A process that was added to a container could not be looked at.", Message: theCause + "; it is part of the reason of the managed agent", Shown: "agent/runtime/docker TestEngineExec"},
		{Name: "CannotGetDockerclientError", Where: OnContainer, When: "There is no way to speak the Docker API version that is needed.", Message: "`(v<ver>) - <cause>`", Shown: "agent/runtime/docker TestVersions"},
		{Name: "CannotGetDockerClientVersionError", Where: OnContainer, When: "Docker did not tell its version.", Message: theCause, Shown: "agent/runtime/docker TestVersions"},
		{Name: "OutOfMemoryError", Where: OnContainer, When: "The kernel killed the container because it used more memory than its limit.", Message: "`Container killed due to memory usage`", Shown: "tests/taskengine TestReasons/killed for memory"},
		{Name: "DockerStateError", Where: OnContainer, When: "Docker itself reports an error for the container.", Message: "that error", Shown: "agent/task TestExit"},
		{Name: "ContainerVanishedError", Where: OnContainer, When: "The container was gone when the agent came back.", Message: "`No container matching saved ID found`", Shown: "tests/taskengine TestReasons/removed while the agent is down"},
		{Name: "ContainerNetworkingError", Where: OnContainer, When: "The task's network could not be set up.", Message: "e.g. `container resource provisioning: failed to setup network namespace: <e>`", Shown: "agent/engine TestNoTaskNetwork"},
		{Name: "HostConfigError", Where: OnContainer, When: "What the definition asks of the host cannot be had: links, volumes, ports, log credentials, GPUs, or a document that cannot be decoded.", Message: "what is wrong", Shown: "tests/taskengine TestReasons/volume is unknown"},
		{Name: "DockerClientConfigError", Where: OnContainer, When: "The container's configuration cannot be made: the document cannot be decoded, or the health check, secrets, a credential spec or FireLens is missing something.", Message: "e.g. `unable to get BridgeIP for task in bridge mode`", Shown: "tests/taskengine TestReasons/health check is missing"},
		{Name: "ResourceInitializationError", Where: OnContainer, When: "A resource of the container, such as its environment files, cannot be used.", Message: "`resource cannot be initialized for task <arn>: <e>`", Shown: "agent/engine TestResourceFails"},
		{Name: "ImpossibleStateTransitionError", Where: InLog, When: "The agent was about to do a step that does not exist.", Message: "`Cannot transition to <status>`", NotMade: "there is no such step"},
		{Name: "UnparsablePort", Where: InLog, When: "Docker reports a port that is no number.", Message: theCause, NotMade: "such a port is left out"},
		{Name: "UnrecognizedTransportProtocol", Where: InLog, When: "Docker reports a port of an unknown protocol.", Message: theCause, NotMade: "such a port is left out"},
		{Name: "InvalidVolumeError", Where: InLog, When: "Not in use.", Message: "—", NotMade: "reserved"},
		{Name: "UnknownError", Where: OnContainer, When: "An error without a name.", Message: theCause, Own: true, Shown: "agent/engine TestPanicIsOneTasksFailure"},
		{Name: "CgroupError", Where: OnTask, When: "The task's cgroup could not be made.", Message: "`Agent could not create task's platform resources`", Own: true, Shown: "agent/resource/cgroup TestCreateFails"},
		{Name: "VolumeError", Where: OnTask, When: "A volume of the task could not be made ready and there is no better reason.", Message: "`Agent could not create task's volume resources`", Own: true, Shown: "agent/engine TestVolumeFailureWithoutWords"},
		{Name: "TaskStateError", Where: OnTask, When: "The agent could not bring the task to an end.", Message: "`Agent could not progress task's state to stopped`", Own: true, Shown: "agent/task TestNothingCanMove"},
		{Name: "UnrecogniedTaskError", Where: OnTask, When: "The task as it came from ECS cannot be read. The name is spelt as people know it.", Message: "`Error loading task - <e>`", Own: true, Shown: "tests/e2e TestOneBrokenTaskAmongGoodOnes"},
	}
}

// Reference writes the page docs/errors.md.
func Reference(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`# Errors

The names of errors that stand in the reason of a stopped container or task
(` + "`aws ecs describe-tasks`" + `) or in the agent's log. A reason is the name, a colon and
the message. The first error of a container is kept. This page is generated from
` + "`agent/explain/catalogue.go`" + `; do not edit it.

Names of features that this agent does not have are listed as well, so that tools
which match on names know them all. The last column names the test that brings the error
about, or says why this agent never shows it.

`)
	for _, part := range []struct {
		where Where
		title string
		text  string
	}{
		{OnContainer, "Reasons of containers", ""},
		{OnTask, "Reasons of tasks", "\nBesides these, a task that cannot be run at all has the reason\n`resource cannot be initialized for task <arn>: <cause>` or\n`Task dependencies cannot be resolved, taskArn: <arn>`. A task that stops because an\nessential container exited has no reason of its own.\n"},
		{InLog, "In the log", "\nThese are never the reason of a container or a task.\n"},
	} {
		fmt.Fprintf(&b, "## %s\n%s\n| Name | When | Message | Shown by |\n|---|---|---|---|\n", part.title, part.text)
		for _, e := range Catalogue() {
			if e.Where == part.where {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", e.Name, e.When, e.Message, e.proof())
			}
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n"))
	return err
}

// proof is the entry's last column.
func (e *ErrorName) proof() string {
	if e.NotMade != "" {
		return "never: " + e.NotMade
	}
	return "`" + e.Shown + "`"
}
