package official

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"ecsagent/agent/task"
)

// saved writes a state file of buckets of keys and their values, which are JSON, or text
// as it is.
func saved(t *testing.T, content map[string]map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bolt.Tx) error {
		for bucket, records := range content {
			b, err := tx.CreateBucket([]byte(bucket))
			for key, value := range records {
				if err == nil {
					err = b.Put([]byte(key), []byte(value))
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var now = time.Unix(1_700_000_000, 0)

func TestRead(t *testing.T) {
	const arn = "arn:aws:ecs:us-west-2:1:task/prod/t1"
	dir := saved(t, map[string]map[string]string{
		"metadata": {
			"agent-version": `"1.99.0"`, "container-instance-arn": `"arn:instance"`, "cluster-name": `"prod"`,
			"ec2-instance-id": `"i-1"`, "availability-zone": "us-west-2a", "task-manifest-seq-num": `"42"`,
		},
		"tasks": {
			"t1": `{"Arn":"` + arn + `","Family":"web","Version":"7","NetworkMode":"bridge","credentialsID":"c1","executionCredentialsID":"x1",
				"Memory":512,"Cpu":0.5,"KnownStatus":"RUNNING","resources":{"cgroup":[{}]},"volumes":[{"x":1}],
				"Containers":[{"Name":"app","Essential":true,"V3EndpointID":"old"},{"Name":"side","RuntimeID":"d2","Essential":false},{"Name":"late"}]}`,
			"t2": `{"Arn":"arn:t2","Family":"f","Version":"1","Containers":[{"Name":"app","Essential":true}]}`,
			"t3": `{"Arn":"arn:t3","Family":"f","Version":"1","NetworkMode":"awsvpc","LocalIPAddress":"169.254.172.9/22",
				"Containers":[{"Name":"~internal~ecs~pause","RuntimeID":"p"},{"Name":"app","RuntimeID":"d4","Essential":true}]}`,
			"csi":  `{"Arn":"arn:::::/ebs-csi-driver-1","Family":"","Version":"","Containers":[{"Name":"ebs-csi-driver","RuntimeID":"d9","Essential":true}]}`,
			"bad":  `{"Arn":`,
			"bare": `{"Arn":"arn:bare"}`,
		},
		"containers": {
			"t1-app": `{"DockerId":"d1","DockerName":"ecs-web-7-app-0","Container":{"Name":"app","taskARN":"` + arn + `","Essential":true,"V3EndpointID":"e1",
				"Image":"web:1","ImageID":"sha256:1","Memory":"not a number","dependsOn":[{"ContainerName":"side","Condition":"START"},{"ContainerName":"side","Condition":"MAYBE"}]}}`,
			"bad": `[]`,
		},
	})
	s, err := Read(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if s.InstanceARN != "arn:instance" || s.Cluster != "prod" || s.EC2InstanceID != "i-1" || s.AvailabilityZone != "us-west-2a" || s.Seq != 42 {
		t.Errorf("%+v", s)
	}
	if len(s.Problems) != 3 || len(s.Tasks) != 3 {
		t.Fatalf("tasks %v, problems %q", s.Tasks, s.Problems)
	}
	web := s.Tasks[0]
	if web.Spec.ARN != arn || web.Spec.Family != "web" || web.Spec.CredentialsID != "c1" || web.Spec.ExecutionCredentialsID != "x1" || web.Spec.Memory != 512 || web.Spec.CPU != 0.5 {
		t.Errorf("spec %+v", web.Spec)
	}
	app, side, late := web.State.Containers[0], web.State.Containers[1], web.State.Containers[2]
	if app.RuntimeID != "d1" || app.DockerName != "ecs-web-7-app-0" || app.EndpointID != "e1" || app.Known != task.ContainerRunning || !app.CreateTried {
		t.Errorf("app %+v", app)
	}
	if c := web.Spec.Containers[0]; !c.Essential || c.Image != "web:1" || c.Memory != 0 || len(c.DependsOn) != 1 || c.DependsOn[0] != (task.Dependency{Container: "side", Condition: task.DependsStart}) {
		t.Errorf("app's spec %+v", c)
	}
	if side.RuntimeID != "d2" || side.Known != task.ContainerRunning || web.Spec.Containers[1].Essential {
		t.Errorf("side %+v", side)
	}
	if late.Known != task.ContainerStopped || late.Error == nil {
		t.Errorf("late %+v", late)
	}
	if st := s.Tasks[1].State; st.Known != task.Stopped || st.TerminalReason != reasonNotStarted {
		t.Errorf("a task that had not begun: %+v", st)
	}
	if held := s.Tasks[2].Spec.Containers; !held[0].Essential || len(held[1].DependsOn) != 1 || held[1].DependsOn[0].Container != held[0].Name {
		t.Errorf("the pause container holds nothing: %+v", held)
	}
	pause := s.Tasks[2].State.Containers[0]
	if s.Tasks[2].Spec.Containers[0].Type != task.CNIPause || pause.Known != task.ContainerResourcesProvisioned || pause.LocalAddress != "169.254.172.9" {
		t.Errorf("pause %+v", pause)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	if s, err := Read(t.TempDir(), now); s != nil || err != nil {
		t.Errorf("%v %v", s, err)
	}
	if s, err := Read(saved(t, nil), now); err != nil || s.InstanceARN != "" || len(s.Tasks) != 0 {
		t.Errorf("an empty file: %+v %v", s, err)
	}
}

func TestInUse(t *testing.T) {
	dir := saved(t, nil)
	db, err := bolt.Open(filepath.Join(dir, FileName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := Read(dir, now); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
}

// Whatever is broken is an error, and no panic.
func TestDamage(t *testing.T) {
	tasks := map[string]string{}
	for i := range 200 {
		arn, _ := json.Marshal("arn:" + strings.Repeat("x", i))
		tasks[string(arn)] = `{"Arn":` + string(arn) + `,"Containers":[{"Name":"a","RuntimeID":"d"}]}`
	}
	dir := saved(t, map[string]map[string]string{"metadata": {"container-instance-arn": `"a"`}, "tasks": tasks})
	path := filepath.Join(dir, FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := Read(dir, now); err != nil || len(s.Tasks) != len(tasks) {
		t.Fatalf("whole: %v", err)
	}
	for at := 0; at < len(whole); at += 1021 {
		broken := append([]byte(nil), whole...)
		for i := at; i < min(at+64, len(broken)); i++ {
			broken[i] ^= 0xa5
		}
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = Read(dir, now) // an error or not: it returns
		if err := os.WriteFile(path, whole[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		_, _ = Read(dir, now)
	}
}
