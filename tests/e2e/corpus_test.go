package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"ecsagent/tests/corpus"
)

// Definitions such as the documentation of ECS has are run, with busybox under the names
// of their images: they run or end as they should.
func TestCorpus(t *testing.T) {
	e := prepared(t)
	e.Services = filepath.Join(e.Dir, "services")
	e.put("ssm/plain", "one")
	e.put("ssm/token", "two")
	e.put("secrets/db", `{"password":"three"}`)
	if err := e.Start(e.ctx); err != nil {
		t.Fatal(err)
	}
	images := make(map[string]string)
	defs := make(map[string]M)
	for _, r := range corpus.Runs {
		text, err := corpus.Read(r.Name)
		if err != nil {
			t.Fatal(err)
		}
		var def M
		if err := json.Unmarshal(text, &def); err != nil {
			t.Fatal(err)
		}
		for _, c := range def["containerDefinitions"].([]any) {
			image := c.(M)["image"].(string)
			if images[image] == "" {
				ref, _, err := push(e.ctx, "corpus/"+strings.TrimPrefix(image, corpus.Registry), v1.Config{Cmd: []string{"sleep", "3600"}, Env: []string{"PATH=/bin"}})
				if err != nil {
					t.Fatal(err)
				}
				images[image] = ref
			}
			c.(M)["image"] = images[image]
		}
		defs[r.Name] = def
	}
	tasks := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(defs)) {
		tasks[name] = e.launch(defs[name])
	}
	t.Cleanup(func() {
		// It outlives its tasks.
		_ = shared.docker.VolumeRemove(context.WithoutCancel(e.ctx), "corpus-shared", true)
	})
	for _, r := range corpus.Runs {
		arn := tasks[r.Name]
		if !r.Ends {
			e.awaits(arn, "RUNNING")
			continue
		}
		task := e.stopped(arn)
		for _, c := range task.Containers {
			if exitCode(c) != "0" {
				t.Errorf("%s: container %s ended with %s: %s", r.Name, c.Name, exitCode(c), c.Reason)
			}
		}
		if r.Says != "" {
			var said string
			e.eventually(time.Minute, "the output of "+r.Name, func() (bool, error) {
				said = e.output(task, r.Of)
				return strings.Contains(said, r.Says), nil
			})
		}
	}
}
