package metadatafile

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const arn = "arn:aws:ecs:eu-west-1:111122223333:task/prod-a/9d2c1f0b7e6a4d5c8b3a2f1e0d9c8b7a"

func spec() *task.Spec {
	return &task.Spec{ARN: arn, Family: "web", Version: "17", NetworkMode: "bridge", Containers: []task.Container{
		{Name: "nginx", Image: "public.ecr.aws/nginx/nginx:1.27"}, {Name: "pause", Type: task.NamespacePause},
	}}
}

func running() *task.Snapshot {
	st := task.State{Containers: []task.ContainerState{{
		Known: task.ContainerRunning, RuntimeID: "3f1b2c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809",
		DockerName: "ecs-web-17-nginx-b4c6d8e0f2a4b6c8d001", ImageID: "sha256:5ef79149e0ec84a7a9f9284c3f91aa3c20608f8391f5445eabe92ef07dbda03c",
		Bindings: []task.PortBinding{{BindIP: "0.0.0.0", ContainerPort: 80, HostPort: 32768, Protocol: task.TCP}},
		Networks: []task.Network{{Name: "bridge", IPv4: "172.17.0.4"}},
	}, {Known: task.ContainerRunning, RuntimeID: "p"}}}
	return st.Snapshot(spec())
}

func newFiles(t *testing.T, change ...func(*Options)) *Files {
	o := Options{
		Dir: filepath.Join(t.TempDir(), "metadata"), HostDir: "/host/data/metadata", OS: "linux", Log: zap.NewNop(),
		Instance: func() Instance {
			return Instance{Cluster: "prod-a", ARN: "arn:aws:ecs:eu-west-1:111122223333:container-instance/prod-a/0f6b6d1c2a3e4f5b8c9d0e1f2a3b4c5d",
				Zone: "eu-west-1b", PrivateIPv4: "10.0.1.20", PublicIPv4: "198.51.100.7"}
		},
	}
	for _, fn := range change {
		fn(&o)
	}
	return New(o)
}

func (f *Files) read(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(f.o.Dir, "prod-a/9d2c1f0b7e6a4d5c8b3a2f1e0d9c8b7a/nginx", fileName))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestStages compares with the examples of docs/spec/04 section 7.3.
func TestStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFiles(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		f.Published(running()) // not made for the file: there is nothing to bring up to date
		synctest.Wait()
		if _, err := os.Stat(f.o.Dir); !os.IsNotExist(err) {
			t.Errorf("a file for a container without a mount: %v", err)
		}
		f.done = map[string]map[int]string{}
		m, err := f.Create(spec(), 0)
		if err != nil {
			t.Fatal(err)
		}
		source, inside, _ := strings.Cut(m.Bind, ":")
		if source != filepath.FromSlash("/host/data/metadata/prod-a/9d2c1f0b7e6a4d5c8b3a2f1e0d9c8b7a/nginx") || !strings.HasPrefix(inside, "/opt/ecs/metadata/") || m.File != inside+"/"+fileName {
			t.Errorf("mount %+v", m)
		}
		golden(t, "create", f.read(t))
		f.Published(running())
		synctest.Wait()
		golden(t, "update", f.read(t))
		info, err := os.Stat(filepath.Join(f.o.Dir, "prod-a/9d2c1f0b7e6a4d5c8b3a2f1e0d9c8b7a/nginx"))
		if err != nil || info.Mode().Perm() != 0o755 && runtime.GOOS != "windows" {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		again := running()
		again.State.Containers[0].Networks[0].IPv4 = "172.17.0.9"
		f.Published(again)
		synctest.Wait()
		if strings.Contains(f.read(t), "172.17.0.9") {
			t.Error("the file is written once for each start")
		}
		again.State.Containers[0].RestartCount++
		f.Published(again)
		synctest.Wait()
		if !strings.Contains(f.read(t), "172.17.0.9") {
			t.Error("a restart does not bring the file up to date")
		}
		f.Gone(arn)
		synctest.Wait()
		if left, _ := os.ReadDir(f.o.Dir); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestMounts(t *testing.T) {
	f := newFiles(t, func(o *Options) { o.Relabel = true })
	if m, err := f.Create(spec(), 0); err != nil || !strings.HasSuffix(m.Bind, ":Z") || strings.Contains(m.File, ":Z") {
		t.Errorf("with SELinux: %+v, %v", m, err)
	}
	f = newFiles(t, func(o *Options) { o.OS = "windows" })
	if m, err := f.Create(spec(), 0); err != nil || !strings.HasPrefix(m.File, `C:\ProgramData\Amazon\ECS\metadata\`) || !strings.HasSuffix(m.File, `\`+fileName) {
		t.Errorf("on Windows: %+v, %v", m, err)
	}
}

func TestPathsStayInside(t *testing.T) {
	f := newFiles(t)
	for _, c := range []struct{ arn, name string }{
		{"arn:aws:ecs:r:1:task/../../etc", "nginx"}, {"arn", "nginx"}, {"arn:x/", "nginx"},
		{arn, "../x"}, {arn, "a/b"}, {arn, ""}, {arn, `a\b`},
	} {
		if _, err := f.Create(&task.Spec{ARN: c.arn, Containers: []task.Container{{Name: c.name}}}, 0); err == nil {
			t.Errorf("%+v: made a file", c)
		}
	}
	f.clean("arn:aws:ecs:r:1:task/../../etc")
}

func TestModes(t *testing.T) {
	s := running()
	s.State.Containers[0].Networks = nil
	if got := newFiles(t).second(s, 0).Networks[0]; got.NetworkMode != "bridge" || got.IPv4Addresses[0] != "" {
		t.Errorf("%+v", got)
	}
	s.Containers[1].Type = task.CNIPause
	if got := newFiles(t).second(s, 0).Networks[0].NetworkMode; got != "container:p" {
		t.Errorf("%+v", got)
	}
}
