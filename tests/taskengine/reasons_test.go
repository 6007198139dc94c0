package taskengine

import (
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/agent/engine"
	agentimage "ecsagent/agent/image"
	"ecsagent/agent/task"
	"ecsagent/tests/proxy"
	"ecsagent/tests/registry"
)

// outcome is how a task of a recipe ends: of its first container, a pattern of the
// reason, its exit code, and whether the container was made.
type outcome struct {
	reason string // pattern, of the whole text
	exit   string // "none" when there is no exit code
	made   bool
	task   string // pattern of the task's own reason; "" for none
}

// recipe is a way to fail (docs/spec/02 section 6.5).
type recipe struct {
	settings settings
	build    func(*rig) *task.Spec
	then     func(*rig, *task.Spec) // while the task starts or runs
	want     outcome
}

const daemon = "Error response from daemon: "

func image(ref string) func(*task.Container) {
	return func(c *task.Container) { c.Image = ref }
}

func command(words ...string) func(*task.Container) {
	return func(c *task.Container) { c.Command = words }
}

func hostConfig(text string) func(*task.Container) {
	return func(c *task.Container) { c.DockerHostConfig = text }
}

func one(c func(*rig) task.Container) func(*rig) *task.Spec {
	return func(r *rig) *task.Spec { return r.spec(c(r)) }
}

func plainly(edit ...func(*task.Container)) func(*rig) *task.Spec {
	return func(r *rig) *task.Spec { return r.spec(sleeper("a", edit...)) }
}

// bad pushes an image of a rig's own and lets its repository suffer.
func (r *rig) bad(f registry.Fault) (byTag, byDigest string) {
	r.t.Helper()
	repository := "bad-" + r.cluster
	ref, digest, err := push(r.ctx, repository+":1", v1.Config{Env: []string{"PATH=/bin"}, Labels: map[string]string{"of": r.cluster}})
	if err != nil {
		r.t.Fatal(err)
	}
	shared.registry.Set(repository, f)
	name, _, _ := strings.Cut(ref, repository)
	return ref, name + repository + "@" + digest
}

func registryAnswers(f registry.Fault) func(*rig) *task.Spec {
	return one(func(r *rig) task.Container {
		byTag, _ := r.bad(f)
		return sleeper("a", image(byTag))
	})
}

// disturbed lets a call fail from the start.
func disturbed(call string, times int, action proxy.Action, edit ...func(*task.Container)) func(*rig) *task.Spec {
	return one(func(r *rig) task.Container {
		r.proxy.Disturb(call, times, action)
		return sleeper("a", edit...)
	})
}

func pulls(behavior task.PullBehavior) settings {
	return settings{options: func(o *engine.Options) { o.Pull = behavior }, behavior: behavior}
}

// recipes are real ways to fail, each with the words in which ECS hears of it.
var recipes = map[string]recipe{
	// Images.
	"image unknown": {build: one(func(*rig) task.Container { return sleeper("a", image(shared.registry.Host()+"/no/such:1")) }),
		want: outcome{reason: "CannotPullImageManifestError: " + daemon + ".*(name|manifest) unknown.*", exit: "none"}},
	"image unknown, always": {settings: pulls(task.PullAlways),
		build: one(func(*rig) task.Container { return sleeper("a", image(shared.registry.Host()+"/no/such:1")) }),
		want:  outcome{reason: "CannotPullImageManifestError: " + daemon + ".*(name|manifest) unknown.*", exit: "none"}},
	"image reference that is none": {build: plainly(image("UPPER:case:tag")),
		want: outcome{reason: "CannotPullImageManifestError: .*", exit: "none"}},
	"digest unknown, always": {settings: pulls(task.PullAlways),
		build: one(func(*rig) task.Container {
			repository, _, _ := strings.Cut(shared.tools, ":1")
			return sleeper("a", image(repository+"@sha256:"+strings.Repeat("0", 64)))
		}),
		want: outcome{reason: "CannotPullContainerError: " + daemon + "manifest for .* not found.*", exit: "none"}},
	"registry wants a login": {build: registryAnswers(registry.Fault{Status: http.StatusUnauthorized}),
		want: outcome{reason: "CannotPullImageManifestError: " + daemon + ".*(no basic auth credentials|unauthorized).*", exit: "none"}},
	"registry refuses": {build: registryAnswers(registry.Fault{Status: http.StatusForbidden}),
		want: outcome{reason: "CannotPullImageManifestError: " + daemon + ".*denied.*", exit: "none"}},
	"registry is broken": {settings: settings{limits: quickly}, build: registryAnswers(registry.Fault{Status: http.StatusInternalServerError}),
		want: outcome{reason: "CannotPullImageManifestError: " + daemon + ".*", exit: "none"}},
	"nobody listens": {settings: settings{limits: quickly}, build: plainly(image("127.0.0.1:1/a:1")),
		want: outcome{reason: "CannotPullImageManifestError: " + daemon + ".*connection refused.*", exit: "none"}},
	"layer is missing": {build: registryAnswers(registry.Fault{Status: http.StatusNotFound, Blobs: true}),
		want: outcome{reason: "CannotPullContainerError: .*", exit: "none"}},
	"manifest never comes": {settings: settings{limits: agentimage.Limits{Manifest: time.Second, Pull: time.Second}},
		build: registryAnswers(registry.Fault{Stall: true}),
		want:  outcome{reason: "DockerTimeoutError: Could not transition to MANIFEST_PULLED; timed out after waiting 1s", exit: "none"}},
	"pull never ends, always": {settings: settings{limits: agentimage.Limits{Pull: time.Second}, options: pulls(task.PullAlways).options, behavior: task.PullAlways},
		build: one(func(r *rig) task.Container {
			_, byDigest := r.bad(registry.Fault{Stall: true, Blobs: true})
			return sleeper("a", image(byDigest))
		}),
		want: outcome{reason: "DockerTimeoutError: Could not transition to pulled; timed out after waiting 1s", exit: "none"}},

	// Creation.
	"docker refuses to create": {build: plainly(hostConfig(`{"NetworkMode":"host","CapAdd":["NO_SUCH_CAPABILITY"]}`)),
		want: outcome{reason: "CannotCreateContainerError: " + daemon + ".*NO_SUCH_CAPABILITY.*", exit: "none"}},
	"log driver is unknown": {build: plainly(hostConfig(`{"LogConfig":{"Type":"no-such-driver"}}`)),
		want: outcome{reason: "Cannot(Create|Start)ContainerError: " + daemon + ".*no-such-driver.*", exit: "none"}},
	"connection lost in create": {build: disturbed(create, 1, proxy.LoseAnswer()),
		want: outcome{reason: "CannotCreateContainerError: .*EOF.*", exit: "none"}},
	"create too slow": {settings: limited(func(s *settings) { s.docker.Create = time.Second }), build: disturbed(create, 1, proxy.Hang()),
		want: outcome{reason: "DockerTimeoutError: Could not transition to created; timed out after waiting 1s", exit: "none"}},
	"host config is no JSON": {build: plainly(hostConfig("{")),
		want: outcome{reason: "HostConfigError: Unable to decode given host config: unexpected end of JSON input", exit: "none"}},
	"config is no JSON": {build: plainly(func(c *task.Container) { c.DockerConfig = "[" }),
		want: outcome{reason: "DockerClientConfigError: Unable decode given docker config: .*", exit: "none"}},
	"health check is missing": {build: plainly(func(c *task.Container) { c.HealthCheckType = "docker" }),
		want: outcome{reason: "DockerClientConfigError: docker health check is nil while container health check type is DOCKER", exit: "none"}},
	"volume is unknown": {build: plainly(func(c *task.Container) { c.MountPoints = []task.MountPoint{{SourceVolume: "v", ContainerPath: "/v"}} }),
		want: outcome{reason: "HostConfigError: Invalid volume referenced: v", exit: "none"}},
	"mount has no path": {
		build: func(r *rig) *task.Spec {
			spec := r.spec(sleeper("a", func(c *task.Container) { c.MountPoints = []task.MountPoint{{SourceVolume: "v"}} }))
			spec.Volumes = []task.Volume{{Name: "v", Type: task.VolumeHost, Host: &task.HostVolume{SourcePath: "/src"}}}
			return spec
		},
		want: outcome{reason: "HostConfigError: Unable to resolve volume mounts; invalid path: a v; /src -> ", exit: "none"}},
	"port range is none": {build: plainly(func(c *task.Container) {
		c.Ports = []task.PortMapping{{Range: "x-y", Protocol: task.TCP}}
	}), want: outcome{reason: "HostConfigError: error retrieving docker port map: .*", exit: "none"}},
	"no role for the log driver": {build: plainly(func(c *task.Container) { c.LogsAuthStrategy = "ExecutionRole" }),
		want: outcome{reason: "HostConfigError: No execution credentials set for the task", exit: "none"}},

	// Start.
	"command not found": {build: plainly(command("/no/such/program")),
		want: outcome{reason: "CannotStartContainerError: " + daemon + ".*/no/such/program.*no such file or directory.*", exit: "none", made: true}},
	"command may not be run": {build: plainly(command("/etc")),
		want: outcome{reason: "CannotStartContainerError: " + daemon + ".*permission denied.*", exit: "none", made: true}},
	"bind source is missing": {build: plainly(hostConfig(`{"Mounts":[{"Type":"bind","Source":"/no/such/folder","Target":"/x"}]}`)),
		want: outcome{reason: "CannotCreateContainerError: " + daemon + ".*bind source path does not exist: /no/such/folder.*", exit: "none"}},
	"device is missing": {build: plainly(hostConfig(`{"Devices":[{"PathOnHost":"/dev/no-such","PathInContainer":"/dev/x","CgroupPermissions":"r"}]}`)),
		want: outcome{reason: "CannotStartContainerError: " + daemon + ".*/dev/no-such.*", exit: "none", made: true}},
	"connection lost in start": {settings: limited(nil), build: disturbed(start, 1, proxy.LoseAnswer()),
		want: outcome{reason: "CannotStartContainerError: .*EOF", exit: "(0|2|137|143)", made: true}},
	"start too slow": {settings: limited(func(s *settings) { s.docker.Start = time.Second }), build: disturbed(start, 1, proxy.Hang()),
		want: outcome{reason: "DockerTimeoutError: Could not transition to started; timed out after waiting 1s", exit: "none", made: true}},
	// 2 is how the runtime's own program ends, where SIGTERM comes before it is the container's.
	"inspect fails after start": {settings: limited(nil), build: disturbed(inspect, 1, proxy.Fail(http.StatusInternalServerError, "boom")),
		want: outcome{reason: "CannotInspectContainerError: " + daemon + "boom", exit: "(0|2|137|143)", made: true}},
	"dependency fails": {
		build: func(r *rig) *task.Spec {
			return r.spec(sleeper("a", after("init", task.DependsSuccess)), sh("init", "exit 1", nonEssential))
		},
		want: outcome{reason: `CannotStartContainerError: dependency graph: failed to resolve container ordering dependency \[init\(.*\) \(STOPPED->RUNNING\) - Exit: 1\] for target \[a\(.*\) \(MANIFEST_PULLED->RUNNING\)\] as dependency did not exit successfully\.`, exit: "143"}},

	// The end.
	"killed for memory": {build: one(func(*rig) task.Container {
		return sh("a", "head -c 200m /dev/zero | tail", func(c *task.Container) { c.Memory = 8 })
	}), want: outcome{reason: "OutOfMemoryError: Container killed due to memory usage", exit: "137", made: true}},
	"exits by itself": {build: one(func(*rig) task.Container { return sh("a", "sleep 0.2; exit 7") }), want: outcome{exit: "7", made: true}},
	"killed from outside": {build: plainly(), then: func(r *rig, spec *task.Spec) {
		r.kill(r.becomes(spec, task.Running).Containers[0].RuntimeID, "KILL")
	}, want: outcome{exit: "137", made: true}},
	"segmentation fault": {build: one(func(*rig) task.Container { return sh("a", "sh -c 'kill -SEGV $$'; exit $?") }),
		want: outcome{exit: "139", made: true}},
	"removed from outside": {build: plainly(), then: func(r *rig, spec *task.Spec) {
		r.becomes(spec, task.Running)
		r.removeAll()
	}, want: outcome{exit: "137", made: true}},
	"stop fails": {build: plainly(), then: func(r *rig, spec *task.Spec) {
		r.becomes(spec, task.Running)
		r.proxy.Disturb(stop, 5, proxy.Fail(http.StatusInternalServerError, "boom"))
		r.ask(spec)
	}, want: outcome{reason: "CannotStopContainerError: " + daemon + "boom", exit: "137", made: true}},
	"removed while the agent is down": {build: plainly(), then: func(r *rig, spec *task.Spec) {
		r.becomes(spec, task.Running)
		r.stop()
		r.removeAll()
		// A new agent listens to the events of the last second, and may hear of the end.
		r.proxy.Disturb(events, 0, proxy.Hang())
		r.start()
	}, want: outcome{reason: "ContainerVanishedError: No container matching saved ID found", exit: "none", made: true}},

	// Tasks.
	"link to nobody": {build: plainly(func(c *task.Container) { c.Links = []string{"x"} }),
		want: outcome{exit: "none", task: "resource cannot be initialized for task .*: could not find container for link x"}},
	"volumes from nobody": {build: plainly(func(c *task.Container) { c.VolumesFrom = []task.VolumeFrom{{SourceContainer: "x"}} }),
		want: outcome{exit: "none", task: "resource cannot be initialized for task .*: could not find volume source container with name x"}},
	"link with two colons": {build: plainly(func(c *task.Container) { c.Links = []string{"a:b:c"} }),
		want: outcome{exit: "none", task: "resource cannot be initialized for task .*: invalid link format"}},
	"dependencies go round": {build: plainly(after("a", task.DependsStart)),
		want: outcome{exit: "none", task: "Task dependencies cannot be resolved, taskArn: .*"}},
	"shared volume is absent": {build: volume(task.DockerVolume{Scope: task.VolumeShared, Driver: "local"}),
		want: outcome{exit: "none", task: "resource cannot be initialized for task .*: .*volume '.*' does not exist and autoprovision is set to false.*"}},
	"task volume autoprovisioned": {build: volume(task.DockerVolume{Scope: "task", Driver: "local", Autoprovision: true}),
		want: outcome{exit: "none", task: `resource cannot be initialized for task .*: volume \[v\] : task scoped volume could not be autoprovisioned`}},
	"volume driver is unknown": {build: volume(task.DockerVolume{Scope: "task", Driver: "no-such-driver"}),
		want: outcome{exit: "none", task: "Error response from daemon: .*no-such-driver.*"}},
	"GPU does not exist": {build: plainly(func(c *task.Container) { c.GPUs = []string{"gpu-7"} }),
		want: outcome{exit: "none", task: "resource cannot be initialized for task .*: GPU gpu-7 does not exist on this container instance"}},
	"no containers": {build: func(r *rig) *task.Spec { return r.spec() },
		want: outcome{task: "resource cannot be initialized for task .*: the task has no containers"}},
}

// quickly bounds what is tried again.
var quickly = agentimage.Limits{
	ManifestRetry: agentimage.Retry{Attempts: 2, First: time.Millisecond, Max: time.Millisecond, Factor: 1},
	PullRetry:     agentimage.Retry{Attempts: 2, First: time.Millisecond, Max: time.Millisecond, Factor: 1},
}

func limited(edit func(*settings)) settings {
	s := settings{options: func(o *engine.Options) { o.StopTimeout = time.Second }}
	if edit != nil {
		edit(&s)
	}
	return s
}

func volume(v task.DockerVolume) func(*rig) *task.Spec {
	return func(r *rig) *task.Spec {
		spec := r.spec(sleeper("a", func(c *task.Container) { c.MountPoints = []task.MountPoint{{SourceVolume: "v", ContainerPath: "/v"}} }))
		spec.Volumes = []task.Volume{{Name: "v", Type: task.VolumeDocker, Docker: &v}}
		return spec
	}
}

// Every recipe ends in the specified words: the cause first, of the right container, with
// its exit code.
func TestReasons(t *testing.T) {
	for name, recipe := range recipes {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, recipe.settings)
			spec := recipe.build(r)
			r.run(spec)
			if recipe.then != nil {
				recipe.then(r, spec)
			}
			st := r.becomes(spec, task.Stopped)
			want := recipe.want
			if got := st.TerminalReason; !matches("^"+want.task+"$", got) {
				t.Errorf("the task's reason %q, want %q", got, want.task)
			}
			if len(st.Containers) == 0 {
				return
			}
			c := &st.Containers[0]
			if got := reasonOf(c); !matches("^"+want.reason+"$", got) {
				t.Errorf("reason %q, want %q", got, want.reason)
			}
			if got := exitOf(c); !matches("^"+want.exit+"$", got) {
				t.Errorf("exit code %s, want %s", got, want.exit)
			}
			if made := c.RuntimeID != ""; made != want.made {
				t.Errorf("has a runtime id: %v, want %v", made, want.made)
			}
			for i := range st.Containers[1:] {
				if other := &st.Containers[i+1]; other.Error != nil {
					t.Errorf("container %s is blamed too: %s", spec.Containers[i+1].Name, other.Error)
				}
			}
			if want.reason == "" && want.task == "" {
				return
			}
			// A moment after the state, as it is shown on its own.
			r.eventually("a timeline that tells why", func() bool {
				told := r.story(spec)
				return strings.Contains(told, reasonOf(c)) && strings.Contains(told, st.TerminalReason)
			})
		})
	}
}
