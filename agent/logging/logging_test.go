package logging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"pgregory.net/rapid"

	"ecsagent/agent/secret"
)

var then = time.Date(2026, 1, 2, 5, 4, 5, 999, time.FixedZone("east", 2*3600))

// open makes a logger whose console is the returned buffer.
func open(t *testing.T, o Options) (*zap.Logger, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	var console, stderr bytes.Buffer
	o.Console, o.Stderr = &console, &stderr
	if o.Now == nil {
		o.Now = func() time.Time { return then }
	}
	log, _, closer, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closer(); err != nil {
			t.Error(err)
		}
	})
	return log, &console, &stderr
}

// verbose is an error with a stack, as some libraries make.
type verbose struct{}

func (verbose) Error() string              { return "boom" }
func (verbose) Format(s fmt.State, _ rune) { fmt.Fprint(s, "boom\nstack") }

// broken is an error that cannot be printed.
type broken struct{ text *string }

func (b *broken) Error() string { return *b.text }

type pair struct{ a, b string }

func (p pair) MarshalLogObject(e zapcore.ObjectEncoder) error {
	e.AddString("a", p.a)
	e.AddString("b", p.b)
	return nil
}

func TestRecords(t *testing.T) {
	log := func(f func(*zap.Logger)) func(*zap.Logger) { return f }
	for _, test := range []struct {
		name         string
		write        func(*zap.Logger)
		logfmt, json string
	}{
		{
			"plain", log(func(l *zap.Logger) { l.Info("text") }),
			`level=info time=2026-01-02T03:04:05Z msg="text" module=logging_test.go`,
			`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"text","module":"logging_test.go"}`,
		},
		{
			"structured", log(func(l *zap.Logger) {
				l.Warn("text", zap.String("task", "abc"), zap.Error(errors.New("boom")), zap.Int("count", 3))
			}),
			`level=warn time=2026-01-02T03:04:05Z msg="text" task="abc" error="boom" count=3`,
			`{"level":"warn","time":"2026-01-02T03:04:05Z","msg":"text","task":"abc","error":"boom","count":3}`,
		},
		{
			"context", log(func(l *zap.Logger) { l.With(zap.String("task", "abc")).With(zap.Bool("up", true)).Error("text") }),
			`level=error time=2026-01-02T03:04:05Z msg="text" task="abc" up=true`,
			`{"level":"error","time":"2026-01-02T03:04:05Z","msg":"text","task":"abc","up":true}`,
		},
		{
			"critical, and debug left out", log(func(l *zap.Logger) { l.Debug("no"); l.Log(Critical, "text", zap.Uint16("port", 80)) }),
			`level=critical time=2026-01-02T03:04:05Z msg="text" port=80`,
			`{"level":"critical","time":"2026-01-02T03:04:05Z","msg":"text","port":80}`,
		},
		{
			"escapes", log(func(l *zap.Logger) { l.Info("a \"b\"\n\\ \x00\x1b[0m é", zap.String("k", "x\ny\x07")) }),
			`level=info time=2026-01-02T03:04:05Z msg="a \"b\"\n\\ \x00\x1b[0m é" k="x\ny\a"`,
			`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"a \"b\"\n\\ \u0000\u001b[0m é","k":"x\ny\u0007"}`,
		},
		{
			"kinds", log(func(l *zap.Logger) {
				l.Info("text", zap.Duration("elapsed", 1500*time.Millisecond), zap.Float64("f", 0.25), zap.Int64("n", -1),
					zap.Strings("list", []string{"a", "b c"}), zap.Any("map", map[string]int{"x": 1}),
					zap.Object("pair", pair{"1", "2"}), zap.Any("key", secret.String("hunter2")), zap.Error(nil))
			}),
			`level=info time=2026-01-02T03:04:05Z msg="text" elapsed=1.5s f=0.25 n=-1 list=["a","b c"] map={"x":1} pair={"a":"1","b":"2"} key="[redacted]"`,
			`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"text","elapsed":"1.5s","f":0.25,"n":-1,"list":["a","b c"],"map":{"x":1},"pair":{"a":"1","b":"2"},"key":"[redacted]"}`,
		},
		{
			"errors are their message", log(func(l *zap.Logger) { l.Info("text", zap.Error(verbose{}), zap.Int("n", 1)) }),
			`level=info time=2026-01-02T03:04:05Z msg="text" error="boom" n=1`,
			`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"text","error":"boom","n":1}`,
		},
		{
			"key that would break the line", log(func(l *zap.Logger) { l.Info("text", zap.String("a b=\"", "x")) }),
			`level=info time=2026-01-02T03:04:05Z msg="text" a_b__="x"`,
			`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"text","a b=\"":"x"}`,
		},
		{
			"namespace", log(func(l *zap.Logger) { l.Info("text", zap.Namespace("in"), zap.Int("n", 1)) }),
			`level=info time=2026-01-02T03:04:05Z msg="text" in.n=1`,
			`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"text","in":{"n":1}}`,
		},
	} {
		for format, want := range map[string]string{"logfmt": test.logfmt, "json": test.json} {
			t.Run(test.name+"/"+format, func(t *testing.T) {
				l, console, stderr := open(t, Options{Format: format})
				test.write(l)
				if diff := cmp.Diff(want+"\n", console.String()); diff != "" {
					t.Error(diff)
				}
				if stderr.Len() > 0 {
					t.Errorf("stderr: %s", stderr)
				}
			})
		}
	}
}

func TestAnErrorThatCannotBePrintedIsStillLogged(t *testing.T) {
	for _, format := range []string{"logfmt", "json"} {
		l, console, _ := open(t, Options{Format: format})
		l.Info("text", zap.Error(&broken{}))
		if !strings.Contains(console.String(), "text") || strings.Count(console.String(), "\n") != 1 {
			t.Errorf("%s: %q", format, console)
		}
	}
}

// Whatever is logged, a record is one line and its parts can be read back.
func TestEveryRecordIsOneReadableLine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		message, value := rapid.String().Draw(rt, "message"), string(rapid.SliceOf(rapid.Byte()).Draw(rt, "value"))
		l, console, _ := open(t, Options{Format: "json"})
		l.Info(message, zap.String("k", value))
		var record map[string]string
		if err := json.Unmarshal(console.Bytes(), &record); err != nil || bytes.Count(console.Bytes(), []byte("\n")) != 1 {
			rt.Fatalf("%v: %q", err, console)
		}
		l, console, _ = open(t, Options{})
		l.Info(message, zap.String("k", value))
		line := strings.TrimSuffix(console.String(), "\n")
		_, rest, _ := strings.Cut(line, " msg=")
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil || strings.Contains(line, "\n") {
			rt.Fatalf("%v: %q", err, line)
		}
		gotMessage, _ := strconv.Unquote(quoted)
		gotValue, err := strconv.Unquote(strings.TrimPrefix(rest[len(quoted):], " k="))
		if err != nil || gotMessage != message || gotValue != value {
			rt.Fatalf("%v: read %q, %q; wrote %q, %q", err, gotMessage, gotValue, message, value)
		}
	})
}

func TestOutputsHaveTheirOwnLevels(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sub", "ecs-agent.log")
	var console bytes.Buffer
	events := &fakeEvents{}
	log, levels, closer, err := New(Options{Level: "WARN", FileLevel: "debug", File: file, Console: &console, EventLog: events, Now: func() time.Time { return then }})
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("one", zap.Int("n", 1))
	log.With(zap.String("task", "abc")).Warn("two", zap.Int("n", 2))
	levels.Set(Off, zapcore.ErrorLevel)
	log.Warn("three")
	log.Error("four", zap.Int("n", 4))
	levels.Set(zapcore.InfoLevel, Off)
	log.Error("five", zap.Int("n", 5))
	log.Info("six")
	if err := closer(); err != nil {
		t.Fatal(err)
	}
	levels.Set(Off, zapcore.DebugLevel)
	log.Info("after closing")

	const at = " time=2026-01-02T03:04:05Z "
	wantFile := "level=debug" + at + "msg=\"one\" n=1\nlevel=warn" + at + "msg=\"two\" task=\"abc\" n=2\nlevel=error" + at + "msg=\"four\" n=4\n"
	if diff := cmp.Diff(wantFile, read(t, file)); diff != "" {
		t.Errorf("file: %s", diff)
	}
	wantConsole := "level=warn" + at + "msg=\"two\" task=\"abc\" n=2\nlevel=error" + at + "msg=\"five\" n=5\nlevel=info" + at + "msg=\"six\" module=logging_test.go\n"
	if diff := cmp.Diff(wantConsole, console.String()); diff != "" {
		t.Errorf("console: %s", diff)
	}
	wantEvents := []string{`warning 999 two task="abc" n=2`, "error 999 five n=5", "info 999 six"}
	if diff := cmp.Diff(wantEvents, events.got); diff != "" {
		t.Errorf("event log: %s", diff)
	}
}

type fakeEvents struct {
	got []string
	err error
}

func (f *fakeEvents) add(kind string, id uint32, m string) error {
	f.got = append(f.got, fmt.Sprintf("%s %d %s", kind, id, m))
	return f.err
}
func (f *fakeEvents) Info(id uint32, m string) error    { return f.add("info", id, m) }
func (f *fakeEvents) Warning(id uint32, m string) error { return f.add("warning", id, m) }
func (f *fakeEvents) Error(id uint32, m string) error   { return f.add("error", id, m) }

func TestLevelWords(t *testing.T) {
	for in, want := range map[string]string{
		"debug": "debug", "INFO": "info", "Warn": "warn", "error": "error", "crit": "critical", "critical": "critical", "none": "off", "off": "off", " info ": "info",
	} {
		level, err := ParseLevel(in)
		if err != nil || Word(level) != want {
			t.Errorf("ParseLevel(%q) = %s, %v; want %s", in, Word(level), err, want)
		}
	}
	if _, err := ParseLevel("verbose"); err == nil {
		t.Error("verbose was taken for a level")
	}
}

func TestUnknownWordsAreErrors(t *testing.T) {
	for _, o := range []Options{{Level: "x"}, {FileLevel: "x"}, {Format: "x"}, {Rollover: "x"}} {
		if log, _, _, err := New(o); err == nil || log != nil {
			t.Errorf("New(%+v) = %v, %v", o, log, err)
		}
	}
}

// A destination that fails is reported once, and nothing else is disturbed.
func TestFailingDestinations(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	events := &fakeEvents{err: errors.New("service stopped")}
	log, console, stderr := open(t, Options{File: filepath.Join(blocked, "ecs-agent.log"), EventLog: events})
	for range 3 {
		log.Info("text")
	}
	if n := strings.Count(console.String(), "\n"); n != 3 {
		t.Errorf("console has %d records, want 3", n)
	}
	if n := strings.Count(stderr.String(), "\n"); n != 2 || !strings.Contains(stderr.String(), blocked) || !strings.Contains(stderr.String(), "event log") {
		t.Errorf("stderr: %q", stderr)
	}
}

func TestAFileThatComesBackIsUsedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	now := then
	log, _, stderr := open(t, Options{File: filepath.Join(dir, "a.log"), Now: func() time.Time { return now }})
	log.Info("lost")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	log.Info("lost too, it is not tried with every record")
	now = now.Add(retryAfter)
	log.Info("kept")
	if got := read(t, filepath.Join(dir, "a.log")); !strings.Contains(got, "kept") || strings.Contains(got, "lost") {
		t.Errorf("file: %q", got)
	}
	if strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("stderr: %q", stderr)
	}
}

func TestDisabledLevelsDoNotAllocate(t *testing.T) {
	log, _, closer, err := New(Options{Level: "error", Console: io.Discard, File: filepath.Join(t.TempDir(), "a.log")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = closer() }()
	if n := testing.AllocsPerRun(100, func() { log.Debug("text") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		log.Info("text", zap.String("task", "abc"), zap.Int("attempt", 3), zap.Duration("elapsed", time.Second))
	}); n > 1 {
		t.Errorf("with fields: %v allocations", n)
	}
}

func TestConcurrentRecordsStayWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.log")
	log, _, _ := open(t, Options{Level: "none", FileLevel: "info", File: file, MaxFileSizeMB: 0.001, MaxRollCount: 0})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				log.Info("text", zap.Int("g", g), zap.Int("i", i), zap.Strings("pad", []string{"x", "y"}))
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	files, err := filepath.Glob(file + "*")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		for _, line := range strings.Split(strings.TrimSpace(read(t, f)), "\n") {
			if !strings.HasPrefix(line, "level=info time=") || !strings.HasSuffix(line, `pad=["x","y"]`) {
				t.Errorf("broken record %q", line)
			}
			seen[line] = true
		}
	}
	if len(seen) != 400 {
		t.Errorf("%d different records, want 400", len(seen))
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func BenchmarkLogfmt(b *testing.B) {
	log, _, _, err := New(Options{Console: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		log.Info("text", zap.String("task", "abc"), zap.Int("attempt", 3))
	}
}
