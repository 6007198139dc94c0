package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/volume"

	"ecsagent/tests/harness"
)

const pluginDriver = "amazon-ecs-volume-plugin"

// volume makes a volume of the plugin.
func (p *plugin) volume(name, device, options string) {
	p.t.Helper()
	opts := map[string]string{"type": "efs", "device": device}
	if options != "" {
		opts["o"] = options
	}
	if _, err := p.docker.VolumeCreate(p.t.Context(), volume.CreateOptions{Name: name, Driver: pluginDriver, DriverOpts: opts}); err != nil {
		p.t.Fatal(err)
	}
}

// container makes a container with a volume at /v.
func (p *plugin) container(volume, script string) (id string) {
	p.t.Helper()
	made, err := p.docker.ContainerCreate(p.t.Context(), &container.Config{Image: p.image, Cmd: []string{"sh", "-c", script}},
		&container.HostConfig{NetworkMode: "none", Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/v"}}}, nil, nil, "")
	if err != nil {
		p.t.Fatal(err)
	}
	return made.ID
}

func (p *plugin) start(ctx context.Context, id string) error {
	return p.docker.ContainerStart(ctx, id, container.StartOptions{})
}

func (p *plugin) starts(id string) {
	p.t.Helper()
	if err := p.start(p.t.Context(), id); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plugin) removes(id string) {
	p.t.Helper()
	if err := p.docker.ContainerRemove(p.t.Context(), id, container.RemoveOptions{Force: true}); err != nil {
		p.t.Fatal(err)
	}
}

// ends waits for the end of a container.
func (p *plugin) ends(id string) (code int64) {
	p.t.Helper()
	done, failed := p.docker.ContainerWait(p.t.Context(), id, container.WaitConditionNotRunning)
	select {
	case d := <-done:
		return d.StatusCode
	case err := <-failed:
		p.t.Fatal(err)
	}
	return -1
}

func (p *plugin) hold(id string) {
	p.t.Helper()
	if err := syscall.Mkfifo(p.in(id+".hold"), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// held waits until the helper has come to a file system that is held.
func (p *plugin) held(id string) {
	p.t.Helper()
	p.await("the helper to mount "+id, nil, func(context.Context) (bool, error) {
		text, err := os.ReadFile(p.in("held"))
		return strings.Contains(string(text), id+"\n"), err
	})
}

// free lets a helper that is held go on.
func (p *plugin) free(id string) {
	p.t.Helper()
	if err := os.WriteFile(p.in(id+".hold"), nil, 0); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Remove(p.in(id + ".hold")); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plugin) isMounted(volume string, want bool) {
	p.t.Helper()
	if got := p.mounted(filepath.Join(p.volumes(), volume)); got != want {
		p.t.Errorf("volume %s is mounted: %v", volume, got)
	}
}

const waits = "sleep 3600 & while :; do wait; done"

// Real containers use volumes of the plugin while it is killed and started anew, while
// one file system hangs and another is refused.
func TestVolumePlugin(t *testing.T) {
	t.Parallel()
	a := newApart(t)
	p := a.startPlugin()
	ctx := t.Context()

	// Mounted once for two containers, with the words of the options.
	p.volume("one", "fs-1:/data", "tls,tlsport=20049,iam,awscredsuri=/v2/credentials/1")
	p.isMounted("one", false)
	first, second := p.container("one", "echo hello >/v/file; "+waits), p.container("one", "until grep hello /v/file; do sleep 1; done; "+waits)
	p.starts(first)
	p.starts(second)
	a.await("the second container to see the file", nil, func(context.Context) (bool, error) {
		text, err := os.ReadFile(a.in("fs/fs-1/file"))
		return string(text) == "hello\n", err
	})
	calls, err := os.ReadFile(a.in("calls"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "calls of the helper", string(calls), "-t efs -o tls,tlsport=20049,iam,awscredsuri=/v2/credentials/1 fs-1:/data "+a.volumes()+"/one\n")
	if err := p.docker.VolumeRemove(ctx, "one", false); err == nil {
		t.Error("a volume in use was removed")
	}

	// Killed between, it still knows who uses what.
	p.Kill()
	p = a.startPlugin()
	p.removes(first)
	p.isMounted("one", true)
	p.removes(second)
	a.await("the plugin to unmount after the last container", nil, func(context.Context) (bool, error) { return !a.mounted(a.volumes() + "/one"), nil })

	// Killed while it mounts: the helper ends after it. Docker asks the next one again, but
	// some versions do so with an empty request; then the container starts the next time.
	p.volume("two", "fs-2", "")
	p.hold("fs-2")
	third := p.container("two", waits)
	started := make(chan error, 1)
	go func() { started <- p.start(ctx, third) }()
	p.held("fs-2")
	p.Kill()
	p.free("fs-2")
	p = a.startPlugin()
	if err := <-started; err != nil {
		contains(t, "killed meanwhile", err.Error(), "Docker repeats requests so when the volume plugin was restarted")
		p.starts(third)
	}
	p.isMounted("two", true)
	p.removes(third)
	p.isMounted("two", false)

	// One that hangs is given up and keeps nobody from another; one that is refused is
	// refused with the reason, and mounted when it is not any more.
	p.volume("three", "fs-3", "")
	p.volume("four", "fs-4", "")
	p.hold("fs-3")
	fourth, fifth := p.container("three", waits), p.container("four", "true")
	go func() { started <- p.start(ctx, fourth) }()
	p.held("fs-3")
	if err := os.WriteFile(a.in("fs-4.refuse"), []byte("mount.nfs4: access denied by server while mounting fs-4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err = p.start(ctx, fifth)
	if err == nil || !strings.Contains(err.Error(), "exit status 32: mount.nfs4: access denied by server while mounting fs-4") {
		t.Errorf("refused: %v", err)
	}
	if err := os.Remove(a.in("fs-4.refuse")); err != nil {
		t.Fatal(err)
	}
	p.starts(fifth)
	if code := p.ends(fifth); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if err := <-started; err == nil || !strings.Contains(err.Error(), "did not end in time and was killed") {
		t.Errorf("hangs: %v", err)
	}
	p.isMounted("three", false)
	if err := os.Remove(a.in("fs-3.hold")); err != nil {
		t.Fatal(err)
	}
	p.starts(fourth)
	p.isMounted("three", true)

	// Bad requests are Docker's error.
	_, err = p.docker.VolumeCreate(ctx, volume.CreateOptions{Name: "bad", Driver: pluginDriver, DriverOpts: map[string]string{"type": "nfs", "device": "x"}})
	if err == nil || !strings.Contains(err.Error(), `option type is "nfs": want efs or s3files`) {
		t.Errorf("bad option: %v", err)
	}

	// Nothing is left of what is removed.
	for _, id := range []string{fourth, fifth} {
		p.removes(id)
	}
	for _, name := range []string{"one", "two", "three", "four"} {
		p.isMounted(name, false)
		if err := p.docker.VolumeRemove(ctx, name, false); err != nil {
			t.Error(err)
		}
	}
	equal(t, "state", a.sh("cat /var/lib/ecs/data/ecs_volume_plugin.json"), "{}")
	equal(t, "folders", a.sh("ls "+a.volumes()), "")
	if _, err := p.Stop(patience); err != nil || p.ExitCode() != 0 {
		t.Errorf("the plugin ended with %d, %v", p.ExitCode(), err)
	}
	equal(t, "files of the file system", harness.Tail(a.in("fs/fs-1/file"), 1), "hello")
}
