package firelens

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"ecsagent/agent/resource/objects"
	"ecsagent/agent/task"
)

// bucket is S3 with one object.
type bucket struct {
	mu    sync.Mutex
	fails error
	calls []string
}

// Get implements objects.Client.
func (b *bucket) Get(ctx context.Context, p aws.CredentialsProvider, name, key string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := ctx.Deadline(); !ok {
		return nil, errors.New("the download is not bounded")
	}
	who, err := p.Retrieve(ctx)
	b.calls = append(b.calls, who.AccessKeyID+" "+name+" "+key)
	if b.fails != nil {
		err = b.fails
	}
	return []byte("[FILTER]\n    Name mine\n"), err
}

func options(t *testing.T, b *bucket) Options {
	return Options{
		OS: "linux", Dir: filepath.Join(t.TempDir(), "firelens"), HostDir: "/host/data/firelens", Cluster: "arn:aws:ecs:eu-west-1:111122223333:cluster/demo",
		Objects: objects.New(objects.Options{
			Client: b, Credentials: func(id string) aws.CredentialsProvider {
				if id == "gone" {
					return nil
				}
				return credentials.NewStaticCredentialsProvider("AK"+id, "s", "")
			},
			Role: func(string) (string, bool) { return "arn:role", true },
		}),
	}
}

// provision does what the engine does of an accepted task.
func provision(t *testing.T, h *Hook, spec *task.Spec) ([]string, error) {
	t.Helper()
	needs, err := h.Needs(spec)
	if err != nil || len(needs) != 1 {
		t.Fatalf("needs %v (%v)", needs, err)
	}
	given, err := h.Provision(t.Context(), &task.Snapshot{Spec: spec}, &needs[0])
	if preview := h.Preview(spec, &needs[0]); err == nil && !slices.Equal(preview.Shared.Binds, given.Shared.Binds) {
		t.Errorf("previewed %q, gave %q", preview.Shared.Binds, given.Shared.Binds)
	}
	return given.Shared.Binds, err
}

// tree lists what is below a folder, with permissions.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		rel, _ := filepath.Rel(dir, path)
		found[rel] = info.Mode().Perm().String()
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return found
}

func TestNeeds(t *testing.T) {
	h := New(options(t, &bucket{}))
	object := map[string]string{"config-file-type": "s3", "config-file-value": "arn:aws:s3:::b/k"}
	for _, tt := range []struct {
		name string
		spec *task.Spec
		role bool
	}{
		{"plain", shop(task.FluentBit, "bridge", nil), false},
		{"file", shop(task.FluentD, "host", map[string]string{"config-file-type": "file", "config-file-value": "/x"}), false},
		{"s3", shop(task.FluentD, "awsvpc", object), true},
		{"odd metadata option", shop(task.FluentD, "none", map[string]string{"enable-ecs-log-metadata": "yes"}), false},
	} {
		list, err := h.Needs(tt.spec)
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %v (%v)", tt.name, list, err)
			continue
		}
		if r := list[0]; r.Name != "firelens" || r.NeedsRole != tt.role || r.Before != task.ContainerCreated || !slices.Equal(r.Containers, []string{"log_router"}) {
			t.Errorf("%s: %+v", tt.name, r)
		}
	}
	if list, err := h.Needs(&task.Spec{ARN: arn, Containers: []task.Container{sender("app", "{}")}}); list != nil || err != nil {
		t.Errorf("without a FireLens container: %v (%v)", list, err)
	}

	const prefix = "unable to initialize firelens resource: "
	two := shop(task.FluentD, "bridge", nil)
	two.Containers[1].FireLens = &task.FireLens{Type: task.FluentD}
	odd := shop(task.FluentD, "bridge", nil)
	odd.ARN = "arn:aws:ecs:eu-west-1:1:task/demo/.."
	poor := shop(task.FluentD, "bridge", object)
	poor.ExecutionCredentialsID = ""
	for _, tt := range []struct {
		spec *task.Spec
		want string
	}{
		{shop("vector", "bridge", nil), prefix + "unsupported firelens config type vector"},
		{shop(task.FluentD, "bridge", map[string]string{"config-file-type": "http"}), prefix + `option config-file-type of container log_router is "http": want s3 or file`},
		{shop(task.FluentD, "bridge", map[string]string{"config-file-type": "file"}), prefix + `option config-file-value of container log_router is "": want the ARN`},
		{two, prefix + "plain and log_router are both FireLens containers, and a task can have one"},
		{odd, prefix + `task id ".." cannot name a folder`},
		{poor, "FireLens container log_router has its configuration in S3, which takes a task execution role, and the task has none"},
	} {
		if list, err := h.Needs(tt.spec); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("needs %v, error %v; want %s", list, err, tt.want)
		}
	}
	o := options(t, &bucket{})
	o.OS = "windows"
	if _, err := New(o).Needs(shop(task.FluentD, "bridge", nil)); err == nil || !strings.Contains(err.Error(), "it takes Linux") {
		t.Errorf("on Windows: %v", err)
	}
}

// A task's folder is made, found half made, given to its container and removed.
func TestFolder(t *testing.T) {
	b := &bucket{}
	o := options(t, b)
	h := New(o)
	spec := shop(task.FluentBit, "bridge", map[string]string{"config-file-type": "s3", "config-file-value": "arn:aws:s3:::conf/dir/fluent.conf"})
	without(spec, "@type")
	spec.Containers[2].DockerConfig = fmt.Sprintf(`{"User":"%d:%d"}`, os.Getuid(), os.Getgid())

	// What a process that was killed leaves.
	if err := os.MkdirAll(filepath.Join(o.Dir, id, "config"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fluent.conf.new", "external.conf"} {
		if err := os.WriteFile(filepath.Join(o.Dir, id, "config", name), []byte(strings.Repeat("half", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		binds, err := provision(t, h, spec)
		if err != nil {
			t.Fatal(err)
		}
		const host = "/host/data/firelens/" + id
		if want := []string{
			host + "/config/fluent.conf:/fluent-bit/etc/fluent-bit.conf", host + "/socket/:/var/run/",
			host + "/config/external.conf:/fluent-bit/etc/external.conf",
		}; !slices.Equal(binds, want) {
			t.Errorf("binds %q, want %q", binds, want)
		}
		if got, want := tree(t, o.Dir), map[string]string{
			id: "-rwxr-xr-x", id + "/config": "-rwxr-xr-x", id + "/socket": "-rwxr-xr-x",
			id + "/config/fluent.conf": "-rw-r--r--", id + "/config/external.conf": "-rw-r--r--",
		}; !maps.Equal(got, want) {
			t.Errorf("made %v, want %v", got, want)
		}
	}
	external, err := os.ReadFile(filepath.Join(o.Dir, id, "config", "external.conf"))
	if err != nil || string(external) != "[FILTER]\n    Name mine\n" {
		t.Errorf("external.conf: %q (%v)", external, err)
	}
	config, err := os.ReadFile(filepath.Join(o.Dir, id, "config", "fluent.conf"))
	for _, want := range []string{"Record ecs_cluster demo\n", "apikey ${apikey_0}\n", "@INCLUDE /fluent-bit/etc/external.conf\n"} {
		if !strings.Contains(string(config), want) {
			t.Errorf("fluent.conf lacks %q (%v):\n%s", want, err, config)
		}
	}
	if want := []string{"AKrole conf dir/fluent.conf"}; !slices.Equal(b.calls, want) {
		t.Errorf("S3 was asked %q, want %q: a burst shares the file", b.calls, want)
	}

	d := shop(task.FluentD, "bridge", nil)
	d.ARN = strings.Replace(arn, id, "other", 1)
	if binds, err := provision(t, h, without(d, "Name")); err != nil || len(binds) != 2 || !strings.HasSuffix(binds[0], ":/fluentd/etc/fluent.conf") {
		t.Errorf("fluentd: %q (%v)", binds, err)
	}
	if err := h.Sweep(t.Context(), func(id string) bool { return id == "other" }); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, o.Dir); got["other"] == "" || got[id] != "" {
		t.Errorf("after the sweep: %v", got)
	}
	for range 2 {
		if err := h.CleanUp(t.Context(), &task.Snapshot{Spec: d}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := tree(t, o.Dir); len(got) != 0 {
		t.Errorf("after the clean-up: %v", got)
	}
	if err := os.Remove(o.Dir); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.Sweep(t.Context(), func(string) bool { return false }), h.CleanUp(t.Context(), &task.Snapshot{Spec: d}, nil, nil)); err != nil {
		t.Errorf("without a folder: %v", err)
	}
}

// A container that writes links into its socket's folder cannot have anything else removed.
func TestLinksAreNotFollowed(t *testing.T) {
	o := options(t, &bucket{})
	h := New(o)
	spec := without(shop(task.FluentBit, "bridge", nil), "@type")
	if _, err := provision(t, h, spec); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(precious), filepath.Join(o.Dir, id, "socket", "fluent.sock")); err != nil {
		t.Fatal(err)
	}
	if err := h.CleanUp(t.Context(), &task.Snapshot{Spec: spec}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(precious); err != nil || len(tree(t, o.Dir)) != 0 {
		t.Errorf("%v; %v", err, tree(t, o.Dir))
	}
}

func TestReasons(t *testing.T) {
	object := func(value string) map[string]string {
		return map[string]string{"config-file-type": "s3", "config-file-value": value}
	}
	const download, generate = "unable to download firelens s3 config file: ", "unable to generate firelens config file: unable to generate firelens config: "
	for name, tt := range map[string]struct {
		edit  func(*task.Spec)
		fails error
		want  string
	}{
		"no plugin, fluentbit": {func(s *task.Spec) { without(s, "Name") }, nil,
			generate + "unable to apply log options of container app to firelens config: missing output key Name which is required for firelens configuration of type fluentbit"},
		"no plugin, fluentd": {func(s *task.Spec) { without(s, "@type"); s.Containers[2].FireLens.Type = task.FluentD }, nil,
			generate + "unable to apply log options of container app to firelens config: missing output key @type which is required for firelens configuration of type fluentd"},
		"secret alone": {func(s *task.Spec) { s.Containers[0].DockerHostConfig = sender("", "null").DockerHostConfig }, nil,
			generate + "unable to apply log options of container app to firelens config: missing output key Name which"},
		"object":    {func(s *task.Spec) { s.Containers[2].FireLens.Options = object("arn:aws:s3:::b") }, nil, download + "invalid s3 arn: arn:aws:s3:::b"},
		"not there": {func(s *task.Spec) { s.Containers[2].FireLens.Options = object("arn:aws:s3:::b/k") }, errors.New("NoSuchKey"), download + "NoSuchKey"},
		"no credentials": {func(s *task.Spec) {
			s.ExecutionCredentialsID, s.Containers[2].FireLens.Options = "gone", object("arn:aws:s3:::b/k")
		}, nil, download + "unable to find execution role credentials"},
		"user": {func(s *task.Spec) { s.Containers[2].DockerConfig = `{"User":"fluent"}` }, nil,
			"unable to initialize resource directory DIR/" + id + `: user "fluent" of container log_router: want the number of a user, alone or with a group as in 1000:1000`},
	} {
		o := options(t, &bucket{fails: tt.fails})
		spec := shop(task.FluentBit, "bridge", nil)
		tt.edit(spec)
		_, err := provision(t, New(o), spec)
		if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), o.Dir, "DIR"), tt.want) {
			t.Errorf("%s: %v\nwant %s", name, err, tt.want)
		}
	}
	spec := shop("vector", "bridge", nil)
	if _, err := New(options(t, nil)).Provision(t.Context(), &task.Snapshot{Spec: spec}, nil); err == nil || err.Error() != "invalid firelens configuration type: vector" {
		t.Errorf("a restored task of an unknown type: %v", err)
	}
}

func TestOwner(t *testing.T) {
	for user, want := range map[string]string{
		"": "0 0 false", "0": "0 7 true", "1000": "1000 7 true", "1000:50": "1000 50 true", "1000:staff": "1000 7 true", "1000:": "1000 7 true",
		"4294967294": "4294967294 7 true", "root": "error", "app:50": "error", "-1": "error", "4294967295": "error", ":5": "error",
	} {
		uid, gid, ok, err := ownerOf(&task.Container{Name: "r", DockerConfig: fmt.Sprintf(`{"User":%q}`, user)}, 7)
		got := fmt.Sprint(uid, gid, ok)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s (%v), want %s", user, got, err, want)
		}
	}
}
