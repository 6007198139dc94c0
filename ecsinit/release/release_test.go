package release

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	one = Release{ID: strings.Repeat("1", 64), Version: "1.0.0"}
	two = Release{ID: strings.Repeat("2", 64), Version: "2.0.0"}
)

func TestTrials(t *testing.T) {
	failed := func(s State) State { return s.Failed("exit code 1", false) }
	ready := func(s State) State { return s.Looked(true) }
	notReady := func(s State) State { return s.Looked(false) }
	many := func(n int, do func(State) State) func(State) State {
		return func(s State) State {
			for range n {
				s = do(s)
			}
			return s
		}
	}
	for name, c := range map[string]struct {
		does    []func(State) State
		verdict Verdict
		reason  string
	}{
		"nothing yet":         {nil, Open, ""},
		"ready for a while":   {[]func(State) State{many(2, ready)}, Open, ""},
		"steadily ready":      {[]func(State) State{many(3, ready)}, Passed, ""},
		"ready late":          {[]func(State) State{many(7, notReady), many(3, ready)}, Passed, ""},
		"failed twice":        {[]func(State) State{many(2, failed), many(3, ready)}, Passed, ""},
		"failed three times":  {[]func(State) State{many(3, failed)}, Lost, "it failed 3 times, at last: exit code 1"},
		"fails between looks": {[]func(State) State{many(2, ready), failed, many(2, ready)}, Open, ""},
		"never ready":         {[]func(State) State{many(10, notReady)}, Lost, "it was not ready at 10 looks"},
		"now and then ready":  {[]func(State) State{many(2, ready), failed, many(2, ready), failed, many(2, ready), many(4, notReady)}, Lost, "it did not stay ready at 10 looks, and failed 2 times, at last: exit code 1"},
		"ended for good":      {[]func(State) State{func(s State) State { return s.Failed("exit code 5", true) }}, Lost, "it ended for good: exit code 5"},
	} {
		t.Run(name, func(t *testing.T) {
			s := State{Current: &one}.Begin(two)
			for _, do := range c.does {
				s = do(s)
			}
			if verdict, reason := s.Verdict(); verdict != c.verdict || reason != c.reason {
				t.Errorf("verdict %v %q, want %v %q", verdict, reason, c.verdict, c.reason)
			}
			if got := s.Pass(); *got.Current != two || got.Former != nil || got.Trial != nil {
				t.Errorf("passed: %+v", got)
			}
			back := s.Back("it is broken", time.Unix(0, 0))
			if *back.Current != one || back.Former != nil || back.Trial != nil {
				t.Errorf("back: %+v", back)
			}
			if note, want := back.Note(), "update 2.0.0 (sha256 222222222222) is not in use since 1970-01-01T00:00:00Z: it is broken"; note != want {
				t.Errorf("note %q, want %q", note, want)
			}
		})
	}
}

// However failures and looks follow each other, a trial ends, and the agent of before is
// there until it has ended well.
func TestTrialEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := State{}.Begin(one)
		for n := 0; ; n++ {
			if n > maxLooks+maxFailures {
				t.Fatal("the trial does not end")
			}
			if verdict, _ := s.Verdict(); verdict != Open {
				return
			}
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				s = s.Failed("signal KILL", false)
			case 1:
				s = s.Looked(true)
			case 2:
				s = s.Looked(false)
			}
			if s.Back("", time.Now()).Current != nil {
				t.Fatal("the packaged agent is not the one of before")
			}
		}
	})
}

func TestNoTrial(t *testing.T) {
	s := State{Current: &one}
	if got := s.Failed("signal KILL", true).Looked(false); got != s {
		t.Errorf("without a trial something is noted: %+v", got)
	}
	if verdict, _ := s.Verdict(); verdict != Open || s.Note() != "" {
		t.Errorf("verdict %v, note %q", verdict, s.Note())
	}
}

func TestFolder(t *testing.T) {
	f := Folder(filepath.Join(t.TempDir(), "updates"))
	if got := f.Program(nil, "/packaged"); got != "/packaged" {
		t.Errorf("packaged: %s", got)
	}
	if got, want := f.Program(&one, "/packaged"), filepath.Join(string(f), one.ID, "ecs-agent"); got != want {
		t.Errorf("an update: %s, want %s", got, want)
	}
	for _, want := range []State{{}, State{Current: &one}.Begin(two).Failed("it hung", false), State{}.Refuse(two, "it is damaged", time.Now()), {}} {
		if err := f.Save(want); err != nil {
			t.Fatal(err)
		}
		got, err := f.Load()
		if err != nil || got.Note() != want.Note() || (got.Trial == nil) != (want.Trial == nil) || got.Trial != nil && *got.Trial != *want.Trial {
			t.Errorf("read %+v, %v; want %+v", got, err, want)
		}
	}
	if _, err := os.Stat(f.file(stateFile)); !os.IsNotExist(err) {
		t.Errorf("nothing decided is a file: %v", err)
	}
	for _, text := range []string{
		`{"current":`, `{"trial":{}}`, `{"current":{"id":"../../x"}}`,
		`{"current":{"id":"` + one.ID + `"},"trial":{},"former":{"id":"2"}}`,
	} {
		if err := os.WriteFile(f.file(stateFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err == nil || got != (State{}) {
			t.Errorf("of %s: %+v, %v", text, got, err)
		}
	}
}

func TestForget(t *testing.T) {
	f := Folder(t.TempDir())
	three := Release{ID: strings.Repeat("3", 64)}
	for _, name := range []string{one.ID, two.ID, three.ID, "unpacking-1"} {
		if err := os.Mkdir(f.file(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Forget(State{Current: &one}.Begin(two)); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(f.file("*"))
	if err != nil || len(left) != 2 || left[0] != f.of(&one) || left[1] != f.of(&two) {
		t.Errorf("left: %q, %v", left, err)
	}
	if err := Folder(f.file("none")).Forget(State{}); err != nil {
		t.Error(err)
	}
}
