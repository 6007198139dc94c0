package envfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/goleak"

	"ecsagent/agent/engine"
	"ecsagent/agent/resource/objects"
	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ engine.Sweeper = (*Hook)(nil)

// bucket plays S3.
type bucket struct {
	files map[string]string // by bucket/key
	takes time.Duration

	mu    sync.Mutex
	calls []string
}

func (b *bucket) Get(ctx context.Context, who aws.CredentialsProvider, name, key string) ([]byte, error) {
	keys, err := who.Retrieve(ctx)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.calls = append(b.calls, keys.AccessKeyID+" "+name+"/"+key)
	b.mu.Unlock()
	select {
	case <-time.After(b.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	text, ok := b.files[name+"/"+key]
	if !ok {
		return nil, errors.New("NoSuchKey")
	}
	return []byte(text), nil
}

func (b *bucket) told() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := slices.Sorted(slices.Values(b.calls))
	b.calls = nil
	return calls
}

func hookOf(t *testing.T, b *bucket) *Hook {
	return New(Options{
		Dir: filepath.Join(t.TempDir(), "data", "envfiles"), Cluster: "prod", Objects: objects.New(objects.Options{
			Client: b, Credentials: func(id string) aws.CredentialsProvider {
				if id == "gone" {
					return nil
				}
				return credentials.NewStaticCredentialsProvider("AK"+id, "SK", "")
			},
		}),
	})
}

// taskOf is a task with a container for each list of ARNs: c0, c1 and so on.
func taskOf(id string, files ...[]string) *task.Snapshot {
	s := &task.Snapshot{Spec: &task.Spec{ARN: "arn:aws:ecs:eu-west-1:1:task/prod/" + id, ExecutionCredentialsID: "role"}}
	for i, list := range files {
		c := task.Container{Name: fmt.Sprint("c", i)}
		for _, f := range list {
			c.EnvFiles = append(c.EnvFiles, task.EnvFile{Value: f, Type: "s3"})
		}
		s.Containers = append(s.Containers, c)
	}
	return s
}

// provision provides for the first container that has files.
func provision(t *testing.T, h *Hook, s *task.Snapshot) (map[string]string, error) {
	t.Helper()
	needs, err := h.Needs(s.Spec)
	if err != nil || len(needs) == 0 {
		t.Fatalf("needs %v, %v", needs, err)
	}
	given, err := h.Provision(t.Context(), s, &needs[0])
	return given.Shared.EnvFiles, err
}

// written are the files below the hook's folder, with their modes.
func written(t *testing.T, h *Hook) map[string]string {
	t.Helper()
	got := make(map[string]string)
	err := filepath.WalkDir(h.opts.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		rel, _ := filepath.Rel(h.opts.Dir, path)
		mode := info.Mode().Perm()
		if runtime.GOOS == "windows" {
			mode = 0o600 // there are none
		}
		got[filepath.ToSlash(rel)] = fmt.Sprintf("%04o %s", mode, text)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return got
}

const arnS3 = "arn:aws:s3:::"

func TestFiles(t *testing.T) {
	b := &bucket{files: map[string]string{"b/one.env": "A=1\nB=1\n", "b/dir/two.env": "B=2\nC=2\n", "cn/x": "D=4"}}
	h := hookOf(t, b)
	s := taskOf("t1", nil, []string{arnS3 + "b/one.env", arnS3 + "b/dir/two.env", "arn:aws-cn:s3:::cn/x", arnS3 + "b/one.env"}, []string{arnS3 + "b/one.env"})
	got, err := provision(t, h, s)
	if want := map[string]string{"A": "1", "B": "1", "C": "2", "D": "4"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("variables %v (%v), want %v", got, err, want)
	}
	if calls, want := b.told(), []string{"AKrole b/dir/two.env", "AKrole b/one.env", "AKrole cn/x"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	if files, want := written(t, h), map[string]string{
		"prod/t1/b/one.env": "0600 A=1\nB=1\n", "prod/t1/b/dir/two.env": "0600 B=2\nC=2\n", "prod/t1/cn/x": "0600 D=4",
	}; !maps.Equal(files, want) {
		t.Errorf("files %v, want %v", files, want)
	}
	if _, err := provision(t, h, s); err != nil { // as after a restart of the agent
		t.Error(err)
	}
	needs, _ := h.Needs(s.Spec)
	if len(needs) != 2 || needs[0].Name != "envfile_c1" || needs[1].Name != "envfile_c2" || !needs[0].NeedsRole || needs[0].Before != task.ContainerCreated {
		t.Errorf("needs %+v", needs)
	}
	other := taskOf("t2", []string{arnS3 + "b/one.env"})
	if _, err := provision(t, h, other); err != nil {
		t.Error(err)
	}
	for range 2 { // clean-up may be called again
		for i := range needs {
			if err := h.CleanUp(t.Context(), s, &needs[i], nil); err != nil {
				t.Error(err)
			}
		}
	}
	if files := written(t, h); len(files) != 1 || files["prod/t2/b/one.env"] == "" {
		t.Errorf("after the clean-up: %v", files)
	}
	if err := h.Sweep(t.Context(), func(id string) bool { return id == "t2" }); err != nil || len(written(t, h)) != 1 {
		t.Errorf("sweep removed the files of a task that is known: %v", err)
	}
	if err := h.Sweep(t.Context(), func(string) bool { return false }); err != nil || len(written(t, h)) != 0 {
		t.Errorf("after the sweep: %v, %v", written(t, h), err)
	}
	if _, err := os.Stat(filepath.Join(h.opts.Dir, "prod")); err != nil {
		t.Errorf("the folder of the cluster: %v", err)
	}
}

// Nothing is made before it is needed, and nothing has to be there to be removed.
func TestNothing(t *testing.T) {
	h := hookOf(t, &bucket{})
	s := taskOf("t", []string{arnS3 + "b/k"})
	needs, err := h.Needs(s.Spec)
	if err != nil {
		t.Fatal(err)
	}
	preview := h.Preview(s.Spec, &needs[0])
	if got := preview.Shared.EnvFiles["<variables of "+arnS3+"b/k>"]; got != "<values>" {
		t.Errorf("preview %v", preview.Shared.EnvFiles)
	}
	if err := errors.Join(h.CleanUp(t.Context(), s, &needs[0], nil), h.Sweep(t.Context(), func(string) bool { return false })); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.opts.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
	if needs, err := h.Needs(taskOf("t", nil).Spec); needs != nil || err != nil {
		t.Errorf("without files: %v, %v", needs, err)
	}
}

func TestFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		files []string
		id    string
		want  string
	}{
		"missing":        {[]string{arnS3 + "b/k"}, "", "unable to download env file with key k from bucket b, error: NoSuchKey"},
		"two missing":    {[]string{arnS3 + "b/k", arnS3 + "b/good", arnS3 + "c/k"}, "", "unable to download env file with key k from bucket b, error: NoSuchKey;unable to download env file with key k from bucket c, error: NoSuchKey"},
		"no ARN":         {[]string{"s3://b/k"}, "", "unable to parse bucket and key from s3 ARN specified in environmentFile s3://b/k, error: invalid s3 arn: s3://b/k"},
		"no credentials": {[]string{arnS3 + "b/good"}, "gone", "environment file resource: unable to find execution role credentials"},
		"escape":         {[]string{arnS3 + "b/../../other/x"}, "", `invalid path: bucket "b" key "../../other/x" escapes envfile resource directory`},
		"escape by name": {[]string{arnS3 + "../k"}, "", `invalid path: bucket ".." key "k" escapes envfile resource directory`},
		"the folder":     {[]string{arnS3 + "b/.."}, "", `invalid path: bucket "b" key ".." escapes envfile resource directory`},
		"long line":      {[]string{arnS3 + "b/long"}, "", "ResourceInitializationError: resource cannot be initialized for task arn:aws:ecs:eu-west-1:1:task/prod/t: environment file " + arnS3 + "b/long: line 2 is longer than 65535 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			h := hookOf(t, &bucket{files: map[string]string{"b/good": "A=1", "b/long": "A=1\nB=" + strings.Repeat("x", 1<<16) + "\n", "b/../../other/x": "A=1", "../k": "A=1", "b/..": "A=1"}})
			s := taskOf("t", tt.files)
			if tt.id != "" {
				s.ExecutionCredentialsID = tt.id
			}
			_, err := provision(t, h, s)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			for file := range written(t, h) {
				if !strings.HasPrefix(file, "prod/t/b/") {
					t.Errorf("written: %s", file)
				}
			}
		})
	}
	s := taskOf("t", []string{arnS3 + "b/k"})
	for want, edit := range map[string]func(){
		"container c0 has environment files, which take a task execution role, and the task has none": func() { s.ExecutionCredentialsID = "" },
		"environment file " + arnS3 + "b/k of container c0 is of type \"ftp\": want s3":               func() { s.ExecutionCredentialsID = "role"; s.Containers[0].EnvFiles[0].Type = "ftp" },
		"task id \"..\" cannot name a folder for environment files":                                   func() { s.Containers[0].EnvFiles[0].Type = "s3"; s.ARN = "task/.." },
	} {
		edit()
		if _, err := hookOf(t, nil).Needs(s.Spec); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		s = taskOf("t", []string{arnS3 + "b/k"})
	}
}

// A link in the folder leads nowhere.
func TestLinks(t *testing.T) {
	h := hookOf(t, &bucket{files: map[string]string{"b/k": "A=1"}})
	outside := t.TempDir()
	if err := os.MkdirAll(filepath.Join(h.opts.Dir, "prod", "t"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(h.opts.Dir, "prod", "t", "b")); err != nil {
		t.Skip("this host makes no links:", err)
	}
	if _, err := os.Lstat(filepath.Join(h.opts.Dir, "prod", "t", "b")); err != nil {
		t.Skip("Wine says that it makes a link, and does not:", err)
	}
	if _, err := provision(t, h, taskOf("t", []string{arnS3 + "b/k"})); err == nil {
		t.Error("written through a link")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Sweep(t.Context(), func(string) bool { return false }); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outside, "kept")); err != nil {
		t.Errorf("removed through a link: %v", err)
	}
}

// A burst of tasks downloads once; the files of a task come at the same time, each within
// its limit.
func TestBurst(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := &bucket{files: map[string]string{"b/one": "A=1", "b/two": "B=2"}, takes: time.Second}
		h := hookOf(t, b)
		h.opts.Dir = dir
		begin := time.Now()
		var tasks sync.WaitGroup
		for i := range 20 {
			tasks.Go(func() {
				if got, err := provision(t, h, taskOf(fmt.Sprint("t", i), []string{arnS3 + "b/one", arnS3 + "b/two"})); err != nil || len(got) != 2 {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		tasks.Wait()
		if calls := b.told(); len(calls) != 2 || time.Since(begin) != time.Second {
			t.Errorf("%d calls in %v", len(calls), time.Since(begin))
		}
		b.takes = time.Hour
		time.Sleep(5 * time.Second)
		begin = time.Now()
		if _, err := provision(t, h, taskOf("slow", []string{arnS3 + "b/one"})); !strings.Contains(fmt.Sprint(err), "deadline exceeded") || time.Since(begin) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestParse(t *testing.T) {
	for in, want := range map[string]map[string]string{
		"":                                     {},
		"A=1\n#B=2\n C = 3 \nD\n=E\nF=\nG=a=b": {"A": "1", " C ": " 3 ", "F": "", "G": "a=b"},
		"A='q'\nB=\"$A\"\nexport C=1":          {"A": "'q'", "B": `"$A"`, "export C": "1"},
		"A=1\r\nB=2\r\n":                       {"A": "1", "B": "2"},
		"A=1\nA=2":                             {"A": "2"},
		"A=" + strings.Repeat("x", 65533):      {"A": strings.Repeat("x", 65533)},
		"A=\x00\xff":                           {"A": "\x00\xff"},
	} {
		if got, err := parse([]byte(in)); err != nil || !maps.Equal(got, want) {
			t.Errorf("%.80q: %.80v, %v", in, got, err)
		}
	}
	if _, err := parse([]byte("A=" + strings.Repeat("x", 65534))); err == nil || err.Error() != "line 1 is longer than 65535 bytes" {
		t.Errorf("%v", err)
	}
}

func TestParseObject(t *testing.T) {
	for in, want := range map[string][2]string{
		"arn:aws:s3:::b/k": {"b", "k"}, "arn:aws-us-gov:s3:::b/a/b:c": {"b", "a/b:c"}, "arn:aws-cn:s3:::b/ ": {"b", " "},
		"arn:aws:s3:::b": {}, "arn:aws:s3:::b/": {}, "arn:aws:s3:::/k": {}, "arn:aws:s3:eu-west-1::b/k": {}, "arn:aws:s3::1:b/k": {},
		"arn:aws:sns:::b/k": {}, "arn::s3:::b/k": {}, "s3://b/k": {}, "": {}, "arn:aws:s3:::evil.example#/k": {}, "arn:aws:s3:::a@evil.example/k": {},
	} {
		got, err := parseObject(in)
		if got != (objects.Object{Bucket: want[0], Key: want[1]}) || (err == nil) != (want[0] != "") {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("A=1\n#B=2\nC\n=D\nE=\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		variables, err := parse(text)
		for name := range variables {
			if err != nil || name == "" || name[0] == '#' || strings.ContainsAny(name, "=\n") {
				t.Errorf("%q: %q, %v", text, variables, err)
			}
		}
	})
}

// Whatever an object is called, its place is in the folder of its task.
func FuzzPlace(f *testing.F) {
	for _, seed := range []string{"arn:aws:s3:::b/k", "arn:aws:s3:::../k", "arn:aws:s3:::b/../../../etc/passwd", "arn:aws:s3:::b//k/.", `arn:aws:s3:::b/..\..\k`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		o, err := parseObject(value)
		if err != nil {
			return
		}
		name, err := place(o)
		if err != nil {
			return
		}
		if rel, err := filepath.Rel("/task", filepath.Join("/task", name)); err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
			t.Errorf("%q is at %q", value, name)
		}
	})
}
