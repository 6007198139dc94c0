package fault

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"ecsagent/tests/harness"
	"ecsagent/tests/lab"
)

// seldom are the failpoints of TestKilledAtSeldomSteps.
var seldom = []string{
	"docker.removing-image.before", "docker.removing-image.after",
	"ecs.UpdateContainerInstancesState.before", "ecs.UpdateContainerInstancesState.after",
}

// TestKilledAtSeldomSteps: an image that nobody uses goes from a full disk, and a Spot
// instance that is announced to end is drained, although the agent is killed at that.
func TestKilledAtSeldomSteps(t *testing.T) {
	t.Parallel()
	for _, point := range seldom {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			needEngine(t)
			ctx, s := preparedSite(t, bench, limit)
			s.LocalArgs = []string{"--imds"}
			if err := s.StartLocal(ctx); err != nil {
				t.Fatal(err)
			}
			s.Options.Agent = append(s.Options.Agent, "ECS_EXTERNAL=false", "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true",
				"ECS_IMAGE_CLEANUP_DISK_HIGH_PERCENT=1",
				"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://"+s.LocalAddress, "AWS_EC2_METADATA_DISABLED=false")
			if err := s.Keep("ECS_FAILPOINTS=" + point + "=kill@1"); err != nil {
				t.Fatal(err)
			}
			if err := s.AwaitConnected(ctx); err != nil {
				t.Fatal(err)
			}
			family, unused := lab.Name("m"), s.Image
			await(ctx, t, s, launch(ctx, t, s, job(s, family)), "STOPPED")
			cleanedUp(ctx, t, s)

			var err error
			if s.Image, err = s.Lab.Image(ctx); err != nil {
				t.Fatal(err)
			}
			arn := launch(ctx, t, s, job(s, family))
			err = harness.Poll(ctx, "the unused image to go", func(ctx context.Context) (bool, error) {
				_, err := s.Lab.Docker.ImageInspect(ctx, unused)
				return errdefs.IsNotFound(err), err
			})
			if err != nil {
				t.Fatal(err)
			}
			if code := exitOf(await(ctx, t, s, arn, "STOPPED").Container("once")); code != "7" {
				t.Errorf("exit code of the job %s, want 7", code)
			}
			cleanedUp(ctx, t, s)
			announceEnd(ctx, t, s)
			err = harness.Poll(ctx, "the instance to drain", func(ctx context.Context) (bool, error) {
				all, err := s.ECS.Instances(ctx)
				return len(all) == 1 && all[0].Status == "DRAINING", err
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.AwaitRestart(ctx); err != nil { // it is drained before the kill, in one case
				t.Fatal(err)
			}
			err = harness.Poll(ctx, "the agent to answer again", func(ctx context.Context) (bool, error) {
				status, _, err := s.Introspect(ctx, "/v1/metadata")
				return status == http.StatusOK, err
			})
			if err != nil {
				t.Fatal(err)
			}
			if s.Deaths() != 1 {
				t.Errorf("the agent was killed %d times, want once", s.Deaths())
			}
			over(ctx, t, s, family)
		})
	}
}

// announceEnd has instance metadata tell that EC2 ends the instance.
func announceEnd(ctx context.Context, t *testing.T, s *lab.Site) {
	t.Helper()
	notice, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+s.LocalAddress+"/_local/imds/meta-data/spot/instance-action",
		strings.NewReader(`{"action":"terminate","time":"2026-01-02T03:04:05Z"}`))
	if err != nil {
		t.Fatal(err)
	}
	notice.Header.Set("X-Ecs-Local", "1")
	reply, err := http.DefaultClient.Do(notice)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	if reply.StatusCode != http.StatusNoContent {
		t.Fatalf("the notice was answered with %s", reply.Status)
	}
}
