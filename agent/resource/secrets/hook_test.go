package secrets

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"ecsagent/agent/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// many are n secrets of each service for one container.
func (c *cloud) many(n int) []task.Secret {
	c.parameters, c.secrets = make(map[string]string), make(map[string]string)
	var list []task.Secret
	for i := range n {
		name := fmt.Sprintf("p%02d", i)
		c.parameters[name], c.secrets[asmARN+name] = "value of "+name, "value of secret "+name
		list = append(list, variable("P"+name, "/"+name), variable("S"+name, asmARN+name))
	}
	return list
}

// Twenty secrets of two services are one round trip for each service and batch.
func TestRoundTrips(t *testing.T) {
	for _, tt := range []struct {
		each int // secrets of each service
		want int // calls
	}{{1, 2}, {10, 2}, {11, 3}, {20, 3}, {21, 5}} {
		synctest.Test(t, func(t *testing.T) {
			c := &cloud{takes: time.Second}
			s := taskOf(c.many(tt.each))
			o := c.options()
			begin := time.Now()
			var hooks sync.WaitGroup
			for _, h := range []*Hook{NewSSM(o), NewASM(o)} {
				hooks.Go(func() {
					got, err := provision(t, h, s)
					if err != nil || len(got["c0"]) != tt.each {
						t.Errorf("%v, %v", got, err)
					}
				})
			}
			hooks.Wait()
			if took, calls := time.Since(begin), c.told(); took != time.Second || len(calls) != tt.want {
				t.Errorf("%d of each service: %v and %d calls, want one round trip and %d calls: %q", tt.each, took, len(calls), tt.want, calls)
			}
		})
	}
}

// What containers get, and from where.
func TestValues(t *testing.T) { synctest.Test(t, testValues) }

func testValues(t *testing.T) {
	c := &cloud{
		parameters: map[string]string{"a/b": "one", "plain": "two", "list": "", "c": "three"},
		secrets: map[string]string{
			asmARN + "whole": canary, asmARN + "json": `{"user":"u","port":5432,"big":12345678901234567890,"on":true,"none":null,"in":{"x":[1,"2"]}}`,
			asmARN + "json v1": `{"user":"old"}`, asmARN + "json AWSPREVIOUS": `{"user":"older"}`,
		},
	}
	s := taskOf(
		[]task.Secret{
			variable("A", "/a/b"), variable("A_AGAIN", ssmARN+"/a/b:3"), variable("B", "plain"), variable("EMPTY", "list"), option("url", "c"),
			{Name: "MOUNTED", ValueFrom: "unknown", Provider: "ssm", Type: "MOUNT_POINT", Target: "CONTAINER"},
			{Name: "REGION", ValueFrom: "arn:aws:ssm:us-west-1:1:parameter/a/b", Provider: "ssm", Type: "ENVIRONMENT_VARIABLE", Target: "LOG_DRIVER"},
			{Name: "HERE", ValueFrom: "plain", Provider: "ssm", Type: "ENVIRONMENT_VARIABLE"},
			variable("W", asmARN+"whole"), option("token", asmARN+"whole"),
			variable("USER", asmARN+"json:user::"), variable("PORT", asmARN+"json:port:AWSCURRENT:"), variable("BIG", asmARN+"json:big::"),
			variable("ON", asmARN+"json:on::"), variable("NONE", asmARN+"json:none::"), variable("IN", asmARN+"json:in::"),
			variable("OLD", asmARN+"json:user::v1"), variable("OLDER", asmARN+"json:user:AWSPREVIOUS:"),
		},
		[]task.Secret{variable("B", "c")},
		nil,
	)
	o := c.options()
	got, err := provision(t, NewSSM(o), s)
	if want := map[string]string{"A": "one", "A_AGAIN": "one", "B": "two", "EMPTY": "", "log url": "three", "REGION": "one", "HERE": "two"}; err != nil || !maps.Equal(got["c0"], want) {
		t.Errorf("of Parameter Store %v (%v), want %v", got["c0"], err, want)
	}
	if !maps.Equal(got["c1"], map[string]string{"B": "three"}) || len(got["c2"]) != 0 {
		t.Errorf("the other containers got %v and %v", got["c1"], got["c2"])
	}
	got, err = provision(t, NewASM(o), s)
	if want := map[string]string{
		"W": canary, "log token": canary, "USER": "u", "PORT": "5432", "BIG": "12345678901234567890", "ON": "true", "NONE": "<nil>",
		"IN": "map[x:[1 2]]", "OLD": "old", "OLDER": "older",
	}; err != nil || !maps.Equal(got["c0"], want) {
		t.Errorf("of Secrets Manager %v (%v), want %v", got["c0"], err, want)
	}
	if calls, want := c.told(), []string{
		"eu-west-1 BatchGetSecretValue " + asmARN + "whole " + asmARN + "json",
		"eu-west-1 GetParameters /a/b plain list c",
		"eu-west-1 GetParameters " + ssmARN + "/a/b:3",
		"eu-west-1 GetSecretValue " + asmARN + "json AWSPREVIOUS",
		"eu-west-1 GetSecretValue " + asmARN + "json v1",
		"us-east-1 GetParameters plain",
		"us-west-1 GetParameters arn:aws:ssm:us-west-1:1:parameter/a/b",
	}; !slices.Equal(calls, want) {
		t.Errorf("calls\n%s\nwant\n%s", strings.Join(calls, "\n"), strings.Join(want, "\n"))
	}
	for i, auth := range c.signed {
		if !strings.Contains(auth, "Credential=AKrole/") {
			t.Errorf("call %d is signed %s", i, auth)
		}
	}
	if log := c.log.String(); strings.Contains(log, canary) || !strings.Contains(log, "secrets fetched") {
		t.Errorf("log: %s", log)
	}
}

// Each failure has its specified reason and shows no value.
func TestFailures(t *testing.T) {
	const ssm = "fetching secret data from SSM Parameter Store in eu-west-1: "
	notFound := func(id, call string) string {
		return "ResourceNotFoundException: The task can't retrieve the secret with ARN '" + id + "' from AWS Secrets Manager. Check whether the secret exists in the specified Region: call secretsmanager " + call + ": ResourceNotFoundException: said the service (status 400)"
	}
	again := func(fault string) []string { return slices.Repeat([]string{fault}, attempts) }
	for _, tt := range []struct {
		name    string
		secrets []task.Secret
		faults  []string
		id      string
		want    string // empty: it works
		calls   int
	}{
		{name: "ssm: unknown", secrets: []task.Secret{variable("A", "/x"), variable("B", "/y/z"), variable("C", "good")}, want: ssm + "invalid parameters: /x,/y/z", calls: 1},
		{name: "ssm: denied", secrets: []task.Secret{variable("A", "/x")}, faults: []string{"400 AccessDeniedException"}, want: ssm + "call ssm GetParameters: AccessDeniedException: said the service (status 400)", calls: 1},
		{name: "ssm: throttled, then right", secrets: []task.Secret{variable("A", "good")}, faults: []string{"400 ThrottlingException", "500 InternalServerError", "400 ThrottlingException"}, calls: 4},
		{name: "ssm: throttled for ever", secrets: []task.Secret{variable("A", "good")}, faults: again("400 ThrottlingException"), want: ssm + "call ssm GetParameters: ThrottlingException: said the service (status 400)", calls: attempts},
		{name: "ssm: no credentials", id: "gone", secrets: []task.Secret{variable("A", "good")}, want: "ssm secret resource: unable to find execution role credentials"},
		{name: "asm: unknown", secrets: []task.Secret{variable("A", asmARN+"x")}, want: notFound(asmARN+"x", "GetSecretValue"), calls: 1},
		{name: "asm: unknown in a batch", secrets: []task.Secret{variable("A", asmARN+"x"), variable("B", asmARN+"y"), variable("C", asmARN+"good")}, want: notFound(asmARN+"x", "GetSecretValue") + ";" + notFound(asmARN+"y", "GetSecretValue"), calls: 3},
		{name: "asm: denied", secrets: []task.Secret{variable("A", asmARN+"good")}, faults: []string{"400 AccessDeniedException"}, want: "secret " + asmARN + "good: call secretsmanager GetSecretValue: AccessDeniedException: said the service (status 400)", calls: 1},
		{name: "asm: batch throttled, then right", secrets: []task.Secret{variable("A", asmARN+"good"), variable("B", asmARN+"json")}, faults: []string{"400 ThrottlingException", "500 InternalServiceError"}, calls: 3},
		{name: "asm: batch throttled for ever", secrets: []task.Secret{variable("A", asmARN+"good"), variable("B", asmARN+"json")}, faults: again("400 ThrottlingException"),
			want:  "secret " + asmARN + "good: call secretsmanager BatchGetSecretValue: ThrottlingException: said the service (status 400);secret " + asmARN + "json: call secretsmanager BatchGetSecretValue: ThrottlingException: said the service (status 400)",
			calls: attempts},
		{name: "asm: no such key", secrets: []task.Secret{variable("A", asmARN+"json:nope::")}, want: "retrieved secret from Secrets Manager did not contain json key nope (A from " + asmARN + "json:nope::)", calls: 1},
		{name: "asm: key of no JSON", secrets: []task.Secret{variable("A", asmARN+"good:k::")}, want: "retrieved secret from Secrets Manager is no JSON object, and json key k was asked for (A from " + asmARN + "good:k::)", calls: 1},
		{name: "asm: parts", secrets: []task.Secret{variable("A", asmARN+"good:k"), variable("B", asmARN+"good")}, want: "trying to retrieve secret with value " + asmARN + "good:k resulted in error: an invalid ARN format for the AWS Secrets Manager secret was specified. Specify a valid ARN and try again."},
		{name: "asm: no credentials", id: "gone", secrets: []task.Secret{variable("A", asmARN+"good")}, want: "ASM secret resource: unable to find execution role credentials"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{parameters: map[string]string{"good": canary}, secrets: map[string]string{asmARN + "good": canary, asmARN + "json": "{}"}, faults: tt.faults}
				h := NewSSM(c.options())
				if tt.secrets[0].Provider == "asm" {
					h = NewASM(c.options())
				}
				s := taskOf(tt.secrets)
				if tt.id != "" {
					s.ExecutionCredentialsID = tt.id
				}
				_, err := provision(t, h, s)
				if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if calls := c.told(); len(calls) != tt.calls {
					t.Errorf("%d calls, want %d: %q", len(calls), tt.calls, calls)
				}
				if log := c.log.String() + fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(log, canary) {
					t.Errorf("a value shows: %s", log)
				}
			})
		})
	}
}

// A role that may not ask for batches asks one by one, and is not tried for a while.
func TestWithoutBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{noBatches: "AccessDeniedException", takes: time.Second}
		s := taskOf(c.many(3))
		h := NewASM(c.options())
		const batch = 1
		for i, want := range []int{batch + 3, 3, batch + 3} {
			begin := time.Now()
			got, err := provision(t, h, s)
			if err != nil || len(got["c0"]) != 3 {
				t.Fatalf("%v, %v", got, err)
			}
			if calls := c.told(); len(calls) != want || time.Since(begin) > 2*time.Second {
				t.Errorf("%d: %d calls in %v, want %d: %q", i, len(calls), time.Since(begin), want, calls)
			}
			time.Sleep(batchMemory - time.Minute)
		}
		c.noBatches = ""
		time.Sleep(batchMemory)
		if _, err := provision(t, h, s); err != nil || len(c.told()) != 1 {
			t.Errorf("permitted later: %v", err)
		}
	})
}

// What a batch leaves out is asked for one by one.
func TestPartOfBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{partly: true}
		got, err := provision(t, NewASM(c.options()), taskOf(c.many(5)))
		if err != nil || len(got["c0"]) != 5 || got["c0"]["Sp04"] != "value of secret p04" {
			t.Errorf("%v, %v", got, err)
		}
		if calls := c.told(); len(calls) != 1+3 {
			t.Errorf("calls %q", calls)
		}
	})
}

// A burst of tasks of one role asks once; another role, and who comes later, ask anew.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{takes: 100 * time.Millisecond}
		list := c.many(5)
		o := c.options()
		o.Role = func(id string) (string, bool) { return "arn of " + id[:4], true }
		hooks := []*Hook{NewSSM(o), NewASM(o)}
		burst := func(id string) {
			var tasks sync.WaitGroup
			for i := range 50 {
				s := taskOf(list)
				s.ExecutionCredentialsID = fmt.Sprint(id, i)
				for _, h := range hooks {
					tasks.Go(func() {
						if got, err := provision(t, h, s); err != nil || len(got["c0"]) != 5 {
							t.Errorf("%v, %v", got, err)
						}
					})
				}
			}
			tasks.Wait()
		}
		burst("role")
		if calls := c.told(); len(calls) != 2 {
			t.Errorf("a burst made %d calls: %q", len(calls), calls)
		}
		burst("rule")
		if calls := c.told(); len(calls) != 2 {
			t.Errorf("another role made %d calls", len(calls))
		}
		c.parameters["p00"] = "new"
		time.Sleep(Freshness)
		got, err := provision(t, hooks[0], taskOf(list))
		if err != nil || got["c0"]["Pp00"] != "new" {
			t.Errorf("after a change: %v, %v", got["c0"]["Pp00"], err)
		}
		time.Sleep(time.Hour) // every value is forgotten by then
	})
}

// After a restart, the secrets of a container that has run are not asked for.
func TestOnlyWhatIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{parameters: map[string]string{"wanted": "v"}}
		s := taskOf([]task.Secret{variable("A", "deleted")}, []task.Secret{variable("B", "wanted")}, []task.Secret{variable("C", "deleted, too")})
		s.State.Containers[0].Known = task.ContainerRunning
		s.State.Containers[2].Desired = task.ContainerStopped
		got, err := provision(t, NewSSM(c.options()), s)
		if err != nil || got["c1"]["B"] != "v" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// A task that is stopped does not wait for a service that hangs.
func TestStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{takes: time.Hour}
		s := taskOf([]task.Secret{variable("A", "a")})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := NewSSM(c.options()).Provision(ctx, s, nil); err == nil || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestNeeds(t *testing.T) {
	c := new(cloud)
	h := NewSSM(c.options())
	s := taskOf([]task.Secret{variable("A", "a")}, nil, []task.Secret{option("o", "b")}, []task.Secret{variable("S", asmARN+"s")})
	needs, err := h.Needs(s.Spec)
	if err != nil || len(needs) != 1 || !slices.Equal(needs[0].Containers, []string{"c0", "c2"}) || !needs[0].NeedsRole || needs[0].Before != task.ContainerCreated || needs[0].Name != "ssmsecret" {
		t.Errorf("%+v, %v", needs, err)
	}
	preview := h.Preview(s.Spec, &needs[0])
	if got := preview.Inputs["c0"].Secrets["A"]; got != "<value of a>" {
		t.Errorf("preview %q", got)
	}
	if got := preview.Inputs["c2"].LogOptions["o"]; got != "<value of b>" {
		t.Errorf("preview of the option %q", got)
	}
	if needs, err := h.Needs(taskOf(nil, []task.Secret{variable("S", asmARN+"s")}).Spec); needs != nil || err != nil {
		t.Errorf("of the other service: %v, %v", needs, err)
	}
	s.ExecutionCredentialsID = ""
	if _, err := h.Needs(s.Spec); err == nil || err.Error() != "container c0 has secrets of Parameter Store, which take a task execution role, and the task has none" {
		t.Errorf("without a role: %v", err)
	}
	if calls := c.told(); calls != nil {
		t.Errorf("calls %q", calls)
	}
}
