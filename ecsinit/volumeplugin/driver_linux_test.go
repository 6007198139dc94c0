package volumeplugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is a Mounter whose file systems are names in a table.
type table struct {
	mu       sync.Mutex
	mounted  map[string]string // by path: device
	failing  error             // of mounts
	stuck    error             // of unmounts
	empty    bool              // mounts succeed and mount nothing
	waits    map[string]chan struct{}
	deaf     bool // waiting mounts do not end with their context
	helpers  int
	most     int
	attempts int
}

func newTable() *table {
	return &table{mounted: make(map[string]string), waits: make(map[string]chan struct{})}
}

func (m *table) Mount(ctx context.Context, kind, options, device, path string) error {
	m.mu.Lock()
	m.attempts++
	m.helpers++
	m.most = max(m.most, m.helpers)
	wait, deaf := m.waits[device], m.deaf
	m.mu.Unlock()
	if wait != nil {
		done := ctx.Done()
		if deaf {
			done = nil
		}
		select {
		case <-wait:
		case <-done:
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.helpers--
	if m.failing != nil || m.empty {
		return m.failing
	}
	if wait != nil && !deaf && ctx.Err() != nil {
		return ctx.Err()
	}
	m.mounted[path] = strings.Trim(strings.Join([]string{kind, options, device}, " "), " ")
	return nil
}

func (m *table) Unmount(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stuck != nil {
		return m.stuck
	}
	delete(m.mounted, path)
	return nil
}

func (m *table) Points() (map[string]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	points := make(map[string]bool)
	for path := range m.mounted {
		points[path] = true
	}
	return points, nil
}

// place is where a plugin under test has everything.
type place struct {
	t      testing.TB
	dir    string
	state  stateFile
	table  *table
	driver *Driver
}

func newPlace(t testing.TB, dir string) *place {
	p := &place{t: t, dir: filepath.Join(dir, "volumes"), state: stateFile(filepath.Join(dir, "data", "state.json")), table: newTable()}
	p.restart()
	return p
}

// restart is what a new process makes of what an old one left.
func (p *place) restart() {
	p.t.Helper()
	d, err := newDriver(p.dir, p.state, p.table, zap.NewNop())
	if err != nil {
		p.t.Fatal(err)
	}
	p.driver = d
}

func (p *place) create(name string) {
	p.t.Helper()
	if err := p.driver.create(p.t.Context(), name, map[string]string{"type": "efs", "device": "fs-" + name, "o": "tls"}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) mount(name, id string) error {
	_, err := p.driver.mount(p.t.Context(), name, id)
	return err
}

func (p *place) saved() string {
	p.t.Helper()
	volumes, err := p.state.load()
	if err != nil {
		p.t.Fatal(err)
	}
	return counts(volumes)
}

// counts shows who uses what: "a(x:1 y:2) b()".
func counts(volumes map[string]record) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		var ids []string
		for _, id := range slices.Sorted(maps.Keys(volumes[name].Mounts)) {
			ids = append(ids, fmt.Sprintf("%s:%d", id, volumes[name].Mounts[id]))
		}
		all = append(all, name+"("+strings.Join(ids, " ")+")")
	}
	return strings.Join(all, " ")
}

func (p *place) is(saved, mounted string) {
	p.t.Helper()
	if got := p.saved(); got != saved {
		p.t.Errorf("saved %q, want %q", got, saved)
	}
	if got := counts(*p.driver.volumes.Load()); got != saved {
		p.t.Errorf("in memory %q, want %q", got, saved)
	}
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	var all []string
	for _, path := range slices.Sorted(maps.Keys(p.table.mounted)) {
		all = append(all, filepath.Base(path)+"="+p.table.mounted[path])
	}
	if got := strings.Join(all, ", "); got != mounted {
		p.t.Errorf("mounted %q, want %q", got, mounted)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wants fails unless an error says all of it.
func wants(t testing.TB, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v: want it to say %q", err, part)
		}
	}
}

func TestLifeOfAVolume(t *testing.T) {
	p := newPlace(t, t.TempDir())
	ctx := t.Context()
	p.create("v")
	p.is("v()", "")
	p.create("v") // the question asked twice
	wants(t, p.driver.create(ctx, "v", map[string]string{"device": "fs-2"}), `volume "v": it exists, with other options`)

	path, err := p.driver.mount(ctx, "v", "a")
	must(t, err)
	if path != filepath.Join(p.driver.root, "v") {
		t.Errorf("mounted at %q", path)
	}
	must(t, p.mount("v", "a"))
	must(t, p.mount("v", "b"))
	p.is("v(a:2 b:1)", "v=efs tls fs-v")
	if p.table.attempts != 1 {
		t.Errorf("mounted %d times", p.table.attempts)
	}
	for _, id := range []string{"a", "c", "b"} {
		must(t, p.driver.unmount(ctx, "v", id))
	}
	p.is("v(a:1)", "v=efs tls fs-v")
	p.restart()
	p.is("v(a:1)", "v=efs tls fs-v")
	must(t, p.driver.unmount(ctx, "v", "a"))
	p.is("v()", "")
	must(t, p.mount("v", "d"))
	p.is("v(d:1)", "v=efs tls fs-v")
	must(t, p.driver.remove(ctx, "v")) // with a user that nobody took away
	p.is("", "")
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
	for _, err := range []error{p.mount("v", "a"), p.driver.unmount(ctx, "v", "a"), p.driver.remove(ctx, "v")} {
		wants(t, err, `volume "v" does not exist`)
	}
}

func TestFaults(t *testing.T) {
	p := newPlace(t, t.TempDir())
	ctx := t.Context()
	p.create("v")

	p.table.failing = errors.New("mount: exit status 32: access denied")
	wants(t, p.mount("v", "a"), `mount volume "v"`, "exit status 32: access denied")
	p.is("v()", "")
	p.table.failing, p.table.empty = nil, true
	wants(t, p.mount("v", "a"), "the mount helper succeeded, and nothing is mounted")
	p.table.empty = false

	// The disk takes nothing: what is not noted is not left mounted.
	data := filepath.Dir(string(p.state))
	must(t, os.Rename(data, data+".away"))
	must(t, os.WriteFile(data, nil, 0o600))
	wants(t, p.mount("v", "a"), "save the plugin's state")
	wants(t, p.driver.create(ctx, "w", map[string]string{"device": "fs-w"}), `create volume "w"`, "save the plugin's state")
	wants(t, p.driver.remove(ctx, "v"), "save the plugin's state")
	must(t, os.Remove(data))
	must(t, os.Rename(data+".away", data))
	p.is("v()", "")
	if _, err := os.Stat(filepath.Join(p.dir, "w")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder of a volume that was not made is left: %v", err)
	}

	// What cannot be unmounted keeps its user.
	must(t, p.mount("v", "a"))
	p.table.stuck = errors.New("operation not permitted")
	wants(t, p.driver.unmount(ctx, "v", "a"), `unmount volume "v"`, "operation not permitted")
	wants(t, p.driver.remove(ctx, "v"), `remove volume "v"`, "operation not permitted")
	p.is("v(a:1)", "v=efs tls fs-v")
	p.table.stuck = nil

	// Somebody unmounted it: it is mounted again, and both users are counted.
	p.table.mounted = make(map[string]string)
	must(t, p.mount("v", "b"))
	p.is("v(a:1 b:1)", "v=efs tls fs-v")

	// What is in the folder of a removed volume is not the plugin's to delete.
	file := filepath.Join(p.dir, "v", "somebodys")
	must(t, os.WriteFile(file, nil, 0o600))
	must(t, p.driver.remove(ctx, "v"))
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
	p.is("", "")
}

// A target of the caller's is mounted on when it is free, and never removed.
func TestTarget(t *testing.T) {
	p := newPlace(t, t.TempDir())
	ctx := t.Context()
	base, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	target, link := filepath.Join(base, "there"), filepath.Join(base, "link")
	must(t, os.Symlink(target, link))
	must(t, p.driver.create(ctx, "v", map[string]string{"device": "fs-1", "target": target + "/"}))
	must(t, p.driver.create(ctx, "l", map[string]string{"device": "fs-2", "target": link}))
	wants(t, p.mount("v", "a"), "no such file")
	must(t, os.Mkdir(target, 0o755))
	wants(t, p.mount("l", "a"), "the target "+link+" is "+target+": want a path without symbolic links")
	p.table.mounted[target] = "foreign"
	wants(t, p.mount("v", "a"), "something is mounted on the target "+target+" already")
	p.restart() // takes nothing away that is not its own
	must(t, p.driver.remove(ctx, "l"))
	p.is("v()", "there=foreign")
	delete(p.table.mounted, target)
	must(t, p.mount("v", "a"))
	p.is("v(a:1)", "there=fs-1")
	must(t, p.driver.unmount(ctx, "v", "a"))
	must(t, p.driver.remove(ctx, "v"))
	p.is("", "")
	if _, err := os.Stat(target); err != nil {
		t.Error(err)
	}
}

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	p := newPlace(t, dir)
	for _, name := range []string{"used", "gone", "late"} {
		p.create(name)
	}
	must(t, p.mount("used", "a"))
	must(t, p.mount("gone", "b"))
	delete(p.table.mounted, filepath.Join(p.driver.root, "gone"))           // the host was started anew
	p.table.mounted[filepath.Join(p.driver.root, "late")] = "helper's"      // it ended after the plugin did
	p.table.mounted[filepath.Join(p.driver.root, "foreign")] = "somebody's" // of no volume
	for _, name := range []string{"foreign", "empty", "full"} {
		must(t, os.Mkdir(filepath.Join(p.dir, name), 0o700))
	}
	must(t, os.WriteFile(filepath.Join(p.dir, "full", "file"), nil, 0o600))
	p.restart()
	p.is("gone() late() used(a:1)", "foreign=somebody's, used=efs tls fs-used")
	var left []string
	entries, err := os.ReadDir(p.dir)
	must(t, err)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "foreign full gone late used" {
		t.Errorf("folders: %s", got)
	}
	must(t, p.mount("gone", "c"))
	must(t, p.driver.unmount(t.Context(), "gone", "b")) // Docker's, of before
	p.is("gone(c:1) late() used(a:1)", "foreign=somebody's, gone=efs tls fs-gone, used=efs tls fs-used")

	// The same through a link, as where /var/lib is elsewhere.
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	p.dir = filepath.Join(link, "volumes")
	p.restart()
	p.is("gone(c:1) late() used(a:1)", "foreign=somebody's, gone=efs tls fs-gone, used=efs tls fs-used")

	p.table.stuck = errors.New("no") // does not keep the plugin from starting
	p.table.mounted[filepath.Join(p.driver.root, "late")] = "helper's"
	p.restart()
	p.table.stuck = nil
	must(t, p.mount("late", "d"))
	if got := p.table.mounted[filepath.Join(p.driver.root, "late")]; got != "efs tls fs-late" {
		t.Errorf("mounted: %q", got)
	}
}

// A volume that hangs keeps nobody from another, nor from asking.
func TestHangs(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t, dir)
		p.create("slow")
		p.create("quick")
		free := make(chan struct{})
		p.table.waits["fs-slow"], p.table.deaf = free, true
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		first := make(chan error, 1)
		go func() {
			_, err := p.driver.mount(ctx, "slow", "a")
			first <- err
		}()
		synctest.Wait()
		must(t, p.mount("quick", "a"))
		must(t, p.driver.unmount(t.Context(), "quick", "a"))
		if _, err := p.driver.known("slow"); err != nil {
			t.Error(err)
		}
		soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		wants(t, p.driver.unmount(soon, "slow", "a"), `unmount volume "slow": it is busy for 10s: mount`)
		wants(t, <-first, `mount volume "slow": it hangs, and nothing can be done with it before that ends`)
		p.is("quick() slow()", "")
		close(free)
		synctest.Wait()
		p.is("quick() slow()", "") // nobody waited any more
		must(t, p.mount("slow", "b"))
		p.is("quick() slow(b:1)", "slow=efs tls fs-slow")
	})
}

// Who asks and goes away leaves nothing behind.
func TestAskerGone(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t, dir)
		p.create("v")
		must(t, p.mount("v", "a"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.driver.mount(ctx, "v", "b"); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		p.is("v(a:1)", "v=efs tls fs-v")
		must(t, p.driver.unmount(t.Context(), "v", "a"))
		p.table.waits["fs-v"] = make(chan struct{})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.driver.mount(ctx, "v", "b")
		wants(t, err, `mount volume "v"`, "deadline")
		p.is("v()", "")
	})
}

func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t, dir)
		free := make(chan struct{})
		const n = 3 * maxHelpers
		var all sync.WaitGroup
		for i := range n {
			p.table.waits[fmt.Sprint("fs-v", i)] = free
		}
		for i := range n {
			name := fmt.Sprint("v", i)
			p.create(name)
			for range 2 {
				all.Go(func() {
					if err := p.mount(name, "a"); err != nil {
						t.Error(err)
					}
				})
			}
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p.create("late")
		_, err := p.driver.mount(ctx, "late", "a")
		wants(t, err, fmt.Sprintf(`mount volume "late": %d other volumes are being mounted`, maxHelpers))
		close(free)
		all.Wait()
		if p.table.most != maxHelpers || p.table.attempts != n {
			t.Errorf("%d helpers at once, %d in all", p.table.most, p.table.attempts)
		}
		if got := strings.Count(p.saved(), "a:2"); got != n {
			t.Errorf("%d volumes with two users: %s", got, p.saved())
		}
	})
}

// Whatever happens in whatever order, mounted is what has users.
func TestAgreesWithKernel(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(base, "")
		must(t, err)
		p := newPlace(t, dir)
		model := map[string]map[string]int{}
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			name := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "volume")
			id := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "id")
			users, exists := model[name]
			switch what := rapid.SampledFrom([]string{"create", "mount", "mount", "unmount", "unmount", "remove", "restart", "reboot", "refused"}).Draw(rt, "what"); what {
			case "create":
				p.create(name)
				if !exists {
					model[name] = map[string]int{}
				}
			case "mount", "refused":
				if what == "refused" {
					p.table.failing = errors.New("refused")
				}
				err := p.mount(name, id)
				p.table.failing = nil
				if ok := exists && (what == "mount" || len(users) > 0); ok != (err == nil) {
					rt.Fatalf("%s: %v", what, err)
				} else if ok {
					users[id]++
				}
			case "unmount":
				if err := p.driver.unmount(t.Context(), name, id); exists != (err == nil) {
					rt.Fatal(err)
				}
				if !exists {
					break
				}
				if users[id]--; users[id] <= 0 {
					delete(users, id)
				}
			case "remove":
				if err := p.driver.remove(t.Context(), name); exists != (err == nil) {
					rt.Fatal(err)
				}
				delete(model, name)
			case "reboot":
				p.table.mounted = map[string]string{}
				for _, users := range model {
					clear(users)
				}
				p.restart()
			case "restart":
				p.restart()
			}
			want := map[string]record{}
			for name, users := range model {
				want[name] = record{Mounts: users}
				_, mounted := p.table.mounted[filepath.Join(p.driver.root, name)]
				if mounted != (len(users) > 0) {
					rt.Fatalf("volume %s: mounted: %v, users: %v", name, mounted, users)
				}
			}
			if got := p.saved(); got != counts(want) {
				rt.Fatalf("saved %q, want %q", got, counts(want))
			}
		}
	})
}
