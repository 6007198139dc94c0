package credentials

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestPutGetForTask(t *testing.T) {
	s := New()
	s.Put(Set{ID: "a", TaskARN: "t1", Role: Application, AccessKeyID: "1"})
	s.Put(Set{ID: "x", TaskARN: "t1", Role: Execution, AccessKeyID: "2"})

	if got, ok := s.Get("a"); !ok || got.AccessKeyID != "1" {
		t.Errorf("Get(a) = %+v, %v", got, ok)
	}
	if got, ok := s.ForTask("t1", Execution); !ok || got.ID != "x" {
		t.Errorf("ForTask(t1, execution) = %+v, %v", got, ok)
	}

	s.Put(Set{ID: "a", TaskARN: "t1", Role: Application, AccessKeyID: "3"})
	if got, _ := s.Get("a"); got.AccessKeyID != "3" {
		t.Errorf("a refresh must replace the set, got %+v", got)
	}

	s.Put(Set{ID: "b", TaskARN: "t1", Role: Application, AccessKeyID: "4"})
	if got, _ := s.ForTask("t1", Application); got.ID != "b" {
		t.Errorf("the newest set must be current, got %q", got.ID)
	}
	if _, ok := s.Get("a"); !ok {
		t.Error("containers still hold the old id: it must stay")
	}

	s.RemoveTask("t1")
	if s.Len() != 0 {
		t.Errorf("%d sets left after the task was removed", s.Len())
	}
	if _, ok := s.ForTask("t1", Application); ok {
		t.Error("a removed task still has credentials")
	}
}

func TestIDThatMovesToAnotherTask(t *testing.T) {
	s := New()
	s.Put(Set{ID: "a", TaskARN: "t1", Role: Application})
	s.Put(Set{ID: "a", TaskARN: "t2", Role: Application})
	if _, ok := s.ForTask("t1", Application); ok {
		t.Error("t1 must have lost the set")
	}
	s.RemoveTask("t1")
	if _, ok := s.Get("a"); !ok {
		t.Error("removing t1 must not remove what belongs to t2")
	}
	if !s.Bind("t3", Execution, "a") {
		t.Fatal("Bind of a known id failed")
	}
	if got, ok := s.ForTask("t3", Execution); !ok || got.ID != "a" {
		t.Errorf("ForTask after Bind = %+v, %v", got, ok)
	}
	if s.Bind("t3", Execution, "nope") {
		t.Error("Bind of an unknown id succeeded")
	}
	s.Remove("a")
	if _, ok := s.ForTask("t3", Execution); ok {
		t.Error("a removed set is still current")
	}
}

func TestSubscribe(t *testing.T) {
	s := New()
	var seen []string
	cancel := s.Subscribe(func(set Set) { seen = append(seen, set.ID) })
	s.Put(Set{ID: "a"})
	cancel()
	s.Put(Set{ID: "b"})
	if len(seen) != 1 || seen[0] != "a" {
		t.Errorf("subscriber saw %v, want [a]", seen)
	}
}

func TestSetShowsNoSecret(t *testing.T) {
	set := Set{ID: "a", SecretAccessKey: "hunter2", SessionToken: "hunter3"}
	for _, shown := range []string{fmt.Sprint(set), fmt.Sprintf("%+v", set), fmt.Sprintf("%#v", set)} {
		if strings.Contains(shown, "hunter") {
			t.Errorf("secret shown in %s", shown)
		}
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		go func() {
			time.Sleep(time.Second)
			s.Put(Set{ID: "other"})
			time.Sleep(time.Second)
			s.Put(Set{ID: "a", AccessKeyID: "1"})
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if got, ok := s.Await(ctx, "a"); !ok || got.AccessKeyID != "1" {
			t.Errorf("Await(a) = %+v, %v", got, ok)
		}
		if _, ok := s.Await(ctx, "b"); ok {
			t.Error("Await of a set that never came succeeded")
		}
	})
}

func TestRemoveRole(t *testing.T) {
	s := New()
	s.Put(Set{ID: "a", TaskARN: "t1", Role: Application})
	s.Put(Set{ID: "b", TaskARN: "t1", Role: Application})
	s.Put(Set{ID: "x", TaskARN: "t1", Role: Execution})
	changed := s.Changed()
	s.RemoveRole("t1", Application)
	select {
	case <-changed:
	default:
		t.Error("a removal is a change")
	}
	if _, ok := s.Get("x"); !ok || s.Len() != 1 {
		t.Errorf("%d sets left, want the execution role's", s.Len())
	}
	changed = s.Changed()
	s.RemoveRole("t1", Application)
	select {
	case <-changed:
		t.Error("nothing was removed: no change")
	default:
	}
}

func TestConcurrentUse(t *testing.T) {
	s := New()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 100 {
				arn := fmt.Sprintf("t%d", j%5)
				s.Put(Set{ID: fmt.Sprint(i, j), TaskARN: arn, Role: Application})
				s.Get(fmt.Sprint(j, i))
				s.ForTask(arn, Application)
				if j%10 == 0 {
					s.RemoveTask(arn)
				}
			}
		})
	}
	wg.Wait()
}

// Whatever happens, a task's current set is a stored set of that task and role.
func TestBindingsAreConsistent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		id := rapid.SampledFrom([]string{"a", "b", "c"})
		arn := rapid.SampledFrom([]string{"t1", "t2"})
		role := rapid.SampledFrom([]Role{Application, Execution})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				s.Put(Set{ID: id.Draw(t, "id"), TaskARN: arn.Draw(t, "arn"), Role: role.Draw(t, "role")})
			},
			"bind":       func(t *rapid.T) { s.Bind(arn.Draw(t, "arn"), role.Draw(t, "role"), id.Draw(t, "id")) },
			"remove":     func(t *rapid.T) { s.Remove(id.Draw(t, "id")) },
			"removeTask": func(t *rapid.T) { s.RemoveTask(arn.Draw(t, "arn")) },
			"removeRole": func(t *rapid.T) { s.RemoveRole(arn.Draw(t, "arn"), role.Draw(t, "role")) },
			"": func(t *rapid.T) {
				if all := s.All(); len(all) != s.Len() {
					t.Fatalf("%d sets, counted %d", len(all), s.Len())
				}
				for taskARN, roles := range s.tasks {
					if len(roles) == 0 {
						t.Fatalf("empty binding kept for %s", taskARN)
					}
					for r, setID := range roles {
						set, ok := s.Get(setID)
						if !ok || set.TaskARN != taskARN || set.Role != r {
							t.Fatalf("%s/%s points at %+v (stored: %v)", taskARN, r, set, ok)
						}
					}
				}
			},
		})
	})
}
