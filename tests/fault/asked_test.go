package fault

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/docker/docker/client"

	"ecsagent/tests/harness"
	"ecsagent/tests/lab"
	"ecsagent/tests/proxy"
)

// asked are the calls to ECS that are made because a container asks the agent, with what it
// asks, below the address in a variable of its environment.
var asked = []struct{ operation, method, variable, path, body string }{
	{"ListTagsForResource", http.MethodGet, "ECS_CONTAINER_METADATA_URI_V4", "/taskWithTags", ""},
	{"GetTaskProtection", http.MethodGet, "ECS_AGENT_URI", "/task-protection/v1/state", ""},
	{"UpdateTaskProtection", http.MethodPut, "ECS_AGENT_URI", "/task-protection/v1/state", `{"ProtectionEnabled":true}`},
}

// answering are the failpoints of asked, in order.
func answering() (points []string) {
	for _, a := range asked {
		points = append(points, "ecs."+a.operation+".before", "ecs."+a.operation+".after")
	}
	return points
}

// TestKilledWhileAsked: the agent is killed around each call that it makes for a container.
// The next agent answers the same question, the task runs on, and nothing else was done.
func TestKilledWhileAsked(t *testing.T) {
	t.Parallel()
	ctx, s := site(t)
	points := answering()
	if err := s.Keep("ECS_FAILPOINTS=" + points[0] + "=kill@1"); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	family := lab.Name("a")
	arn := launch(ctx, t, s, M{"family": family, "networkMode": "host", "taskRoleArn": role, "containerDefinitions": []M{
		sh(s, "app", "trap 'exit 5' TERM; sleep 3600 & while :; do wait; done", nil),
	}})
	app := await(ctx, t, s, arn, "RUNNING").Container("app")
	if err := harness.AwaitTermHandler(ctx, s.Lab.Docker, app.RuntimeID); err != nil {
		t.Fatal(err)
	}
	for i, point := range points {
		a := asked[i/2]
		if i+1 < len(points) {
			s.NextStart("ECS_FAILPOINTS=" + points[i+1] + "=kill@1")
		}
		url := "http://" + s.TaskEndpoint + variable(ctx, t, s.Lab.Docker, app.RuntimeID, a.variable) + a.path
		if status, body, err := ask(ctx, a.method, url, a.body); err == nil {
			t.Fatalf("%s was answered with %d %s at %s", a.operation, status, body, point)
		}
		if err := s.AwaitRestart(ctx); err != nil {
			t.Fatal(err)
		}
		if err := s.AwaitConnected(ctx); err != nil {
			t.Fatal(err)
		}
		if i+1 < len(points) && i/2 == (i+1)/2 {
			continue // the next agent dies of the same question
		}
		err := harness.Poll(ctx, "the answer to "+a.operation, func(ctx context.Context) (bool, error) {
			status, body, err := ask(ctx, a.method, url, a.body)
			return status == http.StatusOK, fmt.Errorf("%d %s %w", status, body, err)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if s.Deaths() != len(points) {
		t.Errorf("the agent was killed %d times, want %d", s.Deaths(), len(points))
	}
	if err := s.ECS.Stop(ctx, arn, "enough"); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(await(ctx, t, s, arn, "STOPPED").Container("app")); code != "5" {
		t.Errorf("exit code %s, want 5", code)
	}
	cleanedUp(ctx, t, s)
	over(ctx, t, s, family)
}

// variable is what a variable of a container has behind the host.
func variable(ctx context.Context, t *testing.T, cli *client.Client, id, name string) string {
	t.Helper()
	info, err := cli.ContainerInspect(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range info.Config.Env {
		if value, ok := strings.CutPrefix(v, name+"=http://169.254.170.2"); ok {
			return value
		}
	}
	t.Fatalf("container %s has no %s", id, name)
	return ""
}

func ask(ctx context.Context, method, url, body string) (status int, text string, err error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Close = true // connections would outlive the agent
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer reply.Body.Close()
	all, err := io.ReadAll(reply.Body)
	return reply.StatusCode, string(all), err
}

// joining are the failpoints of TestKilledWhileTheClusterIsMade.
var joining = []string{"ecs.CreateCluster.before", "ecs.CreateCluster.after"}

// TestKilledWhileTheClusterIsMade: an agent that is told of no cluster makes the default one,
// and is killed at that. The next one joins it.
func TestKilledWhileTheClusterIsMade(t *testing.T) {
	t.Parallel()
	for _, point := range joining {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			needEngine(t)
			ctx, s := preparedSite(t, bench, limit)
			own := s.Cluster
			s.Cluster, s.ECS.Cluster = "", ""
			t.Cleanup(func() { s.Cluster = own }) // whose containers are removed
			// Other tests have agents of a cluster of this name.
			s.Engine.SetIntercept(func(c proxy.Call, w http.ResponseWriter, _ *http.Request) bool {
				if c.String() != "GET /containers/json" {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, "[]")
				return true
			})
			if err := s.StartLocal(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.Keep("ECS_FAILPOINTS=" + point + "=kill@1"); err != nil {
				t.Fatal(err)
			}
			if err := s.AwaitRestart(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.AwaitConnected(ctx); err != nil {
				t.Fatal(err)
			}
			if all, err := s.ECS.Instances(ctx); err != nil || len(all) != 1 {
				t.Errorf("%d container instances, want 1: %v", len(all), err)
			}
			if code, err := s.End(); err != nil || code != 0 || s.Deaths() != 1 {
				t.Errorf("exit code %d of the agent, killed %d times, want once: %v", code, s.Deaths(), err)
			}
		})
	}
}
