package ipam

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"go.etcd.io/bbolt"

	"ecsagent/cni/nettest"
	"ecsagent/cni/plugin"
)

func newTestDatabase(t testing.TB) database {
	return database{
		path: filepath.Join(t.TempDir(), "data", "eni-ipam.db"), wait: 20 * time.Second,
		inUse: func() (map[string]string, error) { return nil, nil },
		log:   func(format string, args ...any) { t.Logf(format, args...) },
	}
}

func (d database) give(f family, owner string) (a string, err error) {
	err = d.update(func(t table, _ *bbolt.Tx) error {
		got, err := f.allocate(t, owner)
		a = got.String()
		return err
	})
	return a, err
}

// TestLayout: the bytes are those of the official plugin, but for the revisions.
func TestLayout(t *testing.T) {
	d := newTestDatabase(t)
	for _, f := range []family{newFamily("169.254.172.0/22"), newFamily("fd00:172::/64")} {
		if _, err := d.give(f, "06:1f:2e:3d:4c:5b"); err != nil {
			t.Fatal(err)
		}
	}
	db, err := bbolt.Open(d.path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var lines []string
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("IPAM")).ForEach(func(k, v []byte) error {
			lines = append(lines, fmt.Sprintf("%s %s %s", k, hex.EncodeToString(v[:8]), v[8:]))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `169.254.172.1 0100000000000000 GateWay
169.254.172.2 0200000000000000 06:1f:2e:3d:4c:5b
6fd00:172::1 0400000000000000 GateWayV6
6fd00:172::2 0500000000000000 06:1f:2e:3d:4c:5b
lastKnownIP 0300000000000000 169.254.172.2
lastKnownIPv6 0600000000000000 fd00:172::2`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestTakesOver: a database that the official plugin wrote is honoured.
func TestTakesOver(t *testing.T) {
	d := newTestDatabase(t)
	if err := os.MkdirAll(filepath.Dir(d.path), 0o750); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(d.path, 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("IPAM"))
		for k, v := range map[string]string{"169.254.172.1": "GateWay", "169.254.172.2": "06:aa:aa:aa:aa:aa", "lastKnownIP": "169.254.172.2"} {
			err = errors.Join(err, b.Put([]byte(k), append([]byte{9, 1, 0, 0, 0, 0, 0, 0}, v...)))
		}
		return err
	})
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	f := newFamily("169.254.172.0/22")
	for owner, want := range map[string]string{"06:aa:aa:aa:aa:aa": "169.254.172.2", "06:bb:bb:bb:bb:bb": "169.254.172.3"} {
		if got, err := d.give(f, owner); err != nil || got != want {
			t.Errorf("%s: %s %v; want %s", owner, got, err, want)
		}
	}
}

// TestDamage: cut anywhere, or with bytes that changed anywhere, the file is set aside
// and made from what the kernel shows, or is still good; never does a call fail for it.
func TestDamage(t *testing.T) {
	f := newFamily("169.254.172.0/22")
	whole := newTestDatabase(t)
	for i := range 300 {
		if _, err := whole.give(f, fmt.Sprintf("06:00:00:00:%02x:%02x", i>>8, i&255)); err != nil {
			t.Fatal(err)
		}
	}
	good, err := os.ReadFile(whole.path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	attempt := func(what string, data []byte) {
		d := newTestDatabase(t)
		d.log = func(string, ...any) {}
		d.inUse = func() (map[string]string, error) { return map[string]string{"169.254.172.9": "06:00:00:00:00:07"}, nil }
		if err := errors.Join(os.MkdirAll(filepath.Dir(d.path), 0o750), os.WriteFile(d.path, data, 0o644)); err != nil {
			t.Fatal(err)
		}
		got, err := d.give(f, "06:00:00:00:00:07")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, err := os.Stat(d.path + ".damaged"); err == nil && got != "169.254.172.9" {
			t.Errorf("%s: set aside, and %s given", what, got)
		}
	}
	for i := range 20 {
		attempt(fmt.Sprintf("cut %d", i), good[:len(good)*i/20])
		attempt(fmt.Sprintf("cut at random %d", i), good[:r.IntN(len(good))])
	}
	for i := range 60 {
		data := append([]byte{}, good...)
		at := r.IntN(len(data) - 64)
		for j := range 1 + r.IntN(64) {
			data[at+j] = byte(r.Uint32())
		}
		attempt(fmt.Sprintf("bytes changed at %d (%d)", at, i), data)
	}
	attempt("no database", []byte("this is some other file, which is longer than two pages"+strings.Repeat(".", 10000)))
	attempt("empty", nil)
}

func TestManyAtOnce(t *testing.T) {
	d := newTestDatabase(t)
	f := newFamily("169.254.172.0/24")
	var mu sync.Mutex
	seen := map[string]string{}
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			owner := fmt.Sprint("owner ", i)
			a, err := d.give(f, owner)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || seen[a] != "" {
				t.Errorf("%s: %s, which is %q's: %v", owner, a, seen[a], err)
			}
			seen[a] = owner
		})
	}
	wait.Wait()
}

func TestLocked(t *testing.T) {
	d := newTestDatabase(t)
	f := newFamily("169.254.172.0/24")
	if _, err := d.give(f, "a"); err != nil {
		t.Fatal(err)
	}
	lock, err := d.lock()
	if err != nil {
		t.Fatal(err)
	}
	short := d
	short.wait = 10 * time.Millisecond
	_, err = short.give(f, "b")
	var e *types.Error
	if !errors.As(err, &e) || e.Code != types.ErrTryAgainLater || !strings.Contains(e.Msg, "locked by another process") {
		t.Error(err)
	}
	waiting := make(chan error)
	go func() {
		_, err := d.give(f, "c")
		waiting <- err
	}()
	lock.Close()
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

func command(id, netns string) *skel.CmdArgs {
	return &skel.CmdArgs{ContainerID: "c-" + id, IfName: "ecs-eth0", Netns: netns, StdinData: []byte(`{"cniVersion":"1.1.0","name":"n","type":"ecs-ipam",
		"ipam":{"type":"ecs-ipam","id":"` + id + `","ipv4-subnet":"169.254.172.0/29","ipv4-routes":[{"dst":"169.254.170.2/32"}]}}`)}
}

func TestCommands(t *testing.T) {
	t.Setenv("IPAM_DB_PATH", filepath.Join(t.TempDir(), "ipam.db"))
	for range 2 {
		r, err := Add(command("a", ""))
		if err != nil || r.IPs[0].Address.String() != "169.254.172.2/29" || r.IPs[0].Gateway.String() != "169.254.172.1" || len(r.Routes) != 1 {
			t.Fatalf("%v %v", r, err)
		}
	}
	if err := Check(command("a", "")); err != nil {
		t.Error(err)
	}
	if err := Check(command("b", "")); err == nil {
		t.Error("check of an address nobody has succeeded")
	}
	if err := Status(command("a", "")); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"b", "c", "d", "e"} {
		if _, err := Add(command(id, "")); err != nil {
			t.Fatal(err)
		}
	}
	var e *types.Error
	if err := Status(command("a", "")); !errors.As(err, &e) || e.Code != types.ErrPluginNotAvailable {
		t.Error(err)
	}
	for range 2 {
		if err := Del(command("a", "")); err != nil {
			t.Error(err)
		}
	}
	if r, err := Add(command("f", "")); err != nil || r.IPs[0].Address.IP.String() != "169.254.172.2" {
		t.Errorf("%v %v", r, err)
	}
	t.Setenv("IPAM_DB_CONNECTION_TIMEOUT", "soon")
	if err := Del(command("a", "")); err == nil || !strings.Contains(err.Error(), `IPAM_DB_CONNECTION_TIMEOUT: "soon"`) {
		t.Error(err)
	}
}

// TestReleaseOfAnother: the clean-up of a task does not take the address of the next one
// whose interface has the same MAC.
func TestReleaseOfAnother(t *testing.T) {
	t.Setenv("IPAM_DB_PATH", filepath.Join(t.TempDir(), "ipam.db"))
	first, second := command("06:1f:2e:3d:4c:5b", ""), command("06:1f:2e:3d:4c:5b", "")
	first.ContainerID, second.ContainerID = "c1", "c2"
	for _, args := range []*skel.CmdArgs{first, second} {
		if _, err := Add(args); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(Del(first), Check(second)); err != nil {
		t.Error(err)
	}
	if err := Del(second); err != nil {
		t.Error(err)
	}
	if err := Check(second); err == nil {
		t.Error("not released")
	}
	// Who does not say which container it is for is believed.
	if _, err := Add(first); err != nil {
		t.Fatal(err)
	}
	nobody := command("06:1f:2e:3d:4c:5b", "")
	nobody.ContainerID = plugin.NoContainer
	if err := Del(nobody); err != nil {
		t.Error(err)
	}
	if err := Check(first); err == nil {
		t.Error("not released")
	}
}

// TestRebuild: without its file, the plugin does not give what a task of this host has.
func TestRebuild(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("IPAM_DB_PATH", filepath.Join(dir, "ipam.db"))
	host, elsewhere := nettest.NewVPC(t), nettest.NewVPC(t)
	task, others := nettest.New(t), nettest.New(t)
	host.Attach(task, "eth0", "06:1f:2e:3d:4c:5b")
	host.Attach(task, "ecs-eth0", "0a:58:a9:fe:ac:02")
	task.Assign("ecs-eth0", "169.254.172.2/29")
	elsewhere.Attach(others, "ecs-eth0", "0a:58:a9:fe:ac:03")
	others.Assign("ecs-eth0", "169.254.172.3/29")
	add := func(id string) string {
		t.Helper()
		var given string
		err := host.Do(func() error {
			r, err := Add(command(id, task.Path()))
			if err == nil {
				given = r.IPs[0].Address.IP.String()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return given
	}
	for range 2 {
		if got := add("other"); got != "169.254.172.3" {
			t.Errorf("another task gets %s", got)
		}
		if got := add("06:1f:2e:3d:4c:5b"); got != "169.254.172.2" {
			t.Errorf("the task gets %s", got)
		}
		// Cut in half: the same again.
		info, err := os.Stat(os.Getenv("IPAM_DB_PATH"))
		if err == nil {
			err = os.Truncate(os.Getenv("IPAM_DB_PATH"), info.Size()/2)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestGC(t *testing.T) {
	t.Setenv("IPAM_DB_PATH", filepath.Join(t.TempDir(), "ipam.db"))
	for _, id := range []string{"a", "b"} {
		if _, err := Add(command(id, "")); err != nil {
			t.Fatal(err)
		}
	}
	gc := command("a", "")
	gc.StdinData = []byte(strings.Replace(string(gc.StdinData), `"type":"ecs-ipam",`, `"type":"ecs-ipam","cni.dev/valid-attachments":[{"containerID":"c-b","ifname":"ecs-eth0"}],`, 1))
	if err := GC(gc); err != nil {
		t.Fatal(err)
	}
	if err := Check(command("a", "")); err == nil {
		t.Error("the address of an attachment that is not valid stays")
	}
	if err := Check(command("b", "")); err != nil {
		t.Error(err)
	}
}
