package update

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"ecsagent/agent/update/bundle"
	"ecsagent/packaging/archive"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// image is an update, another one of another program.
var image, another = archived(bundle.Program), archived("/agent")

func archived(program string) string {
	i := archive.Image{Tag: "agent:1", OS: runtime.GOOS, Arch: runtime.GOARCH, Files: []archive.File{{Name: program[1:], Mode: 0o755, Content: []byte("agent")}}}
	content, err := i.Bytes()
	if err != nil {
		panic(err)
	}
	return string(content)
}

func signature(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

type bench struct {
	*Updater
	t       *testing.T
	dir     string
	url     string
	replies chan Reply
	exits   atomic.Int32
}

func open(t *testing.T, enabled bool) *bench {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/image":
			_, _ = w.Write([]byte(image))
		case "/another":
			_, _ = w.Write([]byte(another))
		case "/hang":
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		default:
			http.Error(w, "gone", http.StatusNotFound)
		}
	}))
	b := &bench{t: t, dir: t.TempDir(), url: server.URL, replies: make(chan Reply, 16)}
	b.Updater = New(Options{
		Enabled: enabled, Dir: b.dir, Client: server.Client(), Log: zap.NewNop(),
		Exit: func() { b.exits.Add(1) },
	})
	ctx, cancel := context.WithCancel(t.Context())
	finished := make(chan error, 1)
	go func() { finished <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-finished; err != nil {
			t.Errorf("Run: %v", err)
		}
		close(hang)
		server.CloseClientConnections()
		server.Close()
	})
	return b
}

func (b *bench) send(r Reply, written func()) {
	b.replies <- r
	if written != nil {
		written()
	}
}

func (b *bench) stage(id, path, sig string) {
	b.Stage(Message{ID: id, Cluster: "c", Instance: "i", Location: b.url + path, Signature: sig}, b.send)
}

func (b *bench) want(id, reason string) {
	b.t.Helper()
	r := <-b.replies
	if r.ID != id || !strings.HasPrefix(r.Reason, reason) || (reason == "" && r.Reason != "") {
		b.t.Errorf("reply %q %q, want %q %q", r.ID, r.Reason, id, reason)
	}
}

func TestStageAndPerform(t *testing.T) {
	b := open(t, true)
	if err := os.WriteFile(filepath.Join(b.dir, "former"+Suffix), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.Perform(Message{ID: "early"}, b.send)
	b.want("early", "Cannot perform update; update not downloaded")

	b.stage("1", "/image", signature(image))
	b.want("1", "")
	b.stage("2", "/image", signature(image))
	b.want("2", "")

	desired, err := os.ReadFile(filepath.Join(b.dir, DesiredImage))
	if err != nil {
		t.Fatal(err)
	}
	name, digest, _ := strings.Cut(string(desired), "\n")
	if !strings.HasSuffix(name, ".ecs-update.tar") || digest != "sha256:"+signature(image)+"\n" {
		t.Fatalf("desired-image holds %q", desired)
	}
	if got, err := os.ReadFile(filepath.Join(b.dir, name)); err != nil || string(got) != image {
		t.Errorf("staged %q, %v", got, err)
	}

	if staged, err := os.ReadDir(b.dir); err != nil || len(staged) != 2 {
		t.Errorf("staged: %v, %v", staged, err)
	}

	b.Perform(Message{ID: "3"}, b.send)
	b.want("3", "")
	b.Perform(Message{ID: "4"}, b.send) // waits until the first is done
	b.want("4", "")
	if b.exits.Load() == 0 {
		t.Error("exit was not asked for")
	}
}

func TestRefusals(t *testing.T) {
	for name, tc := range map[string]struct{ path, sig, reason string }{
		"no signature": {"/image", "", "Invalid update: no signature"},
		"not found":    {"/gone", signature(image), "Unable to download: download update: HTTP status 404"},
		"wrong hash":   {"/image", signature("another"), "Unable to download: check update: SHA-256 is"},
		"other image":  {"/another", signature(another), "Unable to download: check update: the image has no " + bundle.Program},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, true)
			b.stage("1", tc.path, tc.sig)
			b.want("1", tc.reason)
			b.Perform(Message{ID: "2"}, b.send)
			b.want("2", "Cannot perform update; update not downloaded")
			left, err := os.ReadDir(b.dir)
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	t.Run("no location", func(t *testing.T) {
		b := open(t, true)
		b.Stage(Message{ID: "1", Signature: "x"}, b.send)
		b.want("1", "Invalid update: no location")
	})
	t.Run("strange scheme", func(t *testing.T) {
		b := open(t, true)
		b.Stage(Message{ID: "1", Location: "file:///etc/passwd", Signature: "x"}, b.send)
		b.want("1", "Unable to download: location")
	})
}

func TestDisabled(t *testing.T) {
	b := open(t, false)
	b.stage("1", "/image", signature(image))
	b.want("1", "Updates are disabled")
	b.Perform(Message{ID: "2"}, b.send)
	b.want("2", "Updates are disabled")
	if b.exits.Load() != 0 {
		t.Error("a disabled update exits")
	}
}

// A message that arrives during a download is answered at once.
func TestNewUpdateDuringDownload(t *testing.T) {
	b := open(t, true)
	b.stage("1", "/hang", "aaaa")
	b.stage("2", "/hang", "aaaa")
	b.want("2", "")
	b.stage("3", "/image", signature(image))
	b.want("1", "New update arrived: 3")
	b.want("3", "")
	b.Perform(Message{ID: "4"}, b.send)
	b.want("4", "")
}

func TestNoDirectoryMeansDisabled(t *testing.T) {
	if New(Options{Enabled: true}).opts.Enabled {
		t.Error("updates would be staged in the working directory")
	}
}

func TestDualStackLocation(t *testing.T) {
	u := New(Options{DualStack: true})
	got, err := u.location("https://s3.us-west-2.amazonaws.com/s3.tar")
	if err != nil || got != "https://s3.dualstack.us-west-2.amazonaws.com/s3.tar" {
		t.Errorf("location = %q, %v", got, err)
	}
}
