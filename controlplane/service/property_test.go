package service

import (
	"fmt"

	"pgregory.net/rapid"

	"ecsagent/controlplane/api"
)

// directWorld drives a service without HTTP, for properties.
type directWorld struct {
	s     *Service
	rt    *rapid.T
	hosts []string
	tasks []string
}

func (w *directWorld) no(err error) {
	if err != nil {
		w.rt.Fatal(err)
	}
}

func (w *directWorld) start() {
	_, err := w.s.createCluster(&api.CreateClusterRequest{})
	w.no(err)
	for i := range 3 {
		out, err := w.s.registerContainerInstance(&api.RegisterContainerInstanceRequest{TotalResources: []api.Resource{
			{Name: "CPU", IntegerValue: 512 * (i + 1)}, {Name: "MEMORY", IntegerValue: 300 * (i + 1)}, {Name: "PORTS", StringSetValue: []string{"8001"}}}})
		w.no(err)
		w.hosts = append(w.hosts, out.ContainerInstance.ContainerInstanceARN)
		w.s.Connected(w.hosts[i], true, "", "", "")
	}
	for i := range 6 {
		c := api.ContainerDefinition{Name: "app", Image: "x", CPU: 100 * i, Memory: 50 * (i + 1)}
		port := 8000 + i/2
		if i%2 == 1 {
			c.PortMappings = []api.PortMapping{{ContainerPort: 80, HostPort: &port}, {ContainerPort: 81, HostPort: &port, Protocol: "udp"}}
		}
		_, err := w.s.registerTaskDefinition(&api.RegisterTaskDefinitionRequest{Family: fmt.Sprint("job", i), ContainerDefinitions: []api.ContainerDefinition{c}})
		w.no(err)
	}
}

func (w *directWorld) step() {
	family := fmt.Sprint("job", rapid.IntRange(0, 5).Draw(w.rt, "family"))
	host := rapid.SampledFrom(w.hosts).Draw(w.rt, "host")
	switch rapid.IntRange(0, 6).Draw(w.rt, "what") {
	case 0, 1:
		n := rapid.IntRange(1, 10).Draw(w.rt, "count")
		out, err := w.s.runTask(&api.RunTaskRequest{Count: &n, TaskRequest: api.TaskRequest{TaskDefinition: family}})
		if err == nil { // all may be draining
			w.keep(out)
		}
	case 2:
		out, err := w.s.startTask(&api.StartTaskRequest{ContainerInstances: []string{host, host}, TaskRequest: api.TaskRequest{TaskDefinition: family}})
		w.no(err)
		w.keep(out)
	case 3:
		status := rapid.SampledFrom([]string{"ACTIVE", "DRAINING"}).Draw(w.rt, "status")
		_, err := w.s.updateContainerInstancesState(&api.UpdateContainerInstancesStateRequest{ContainerInstances: []string{host}, Status: status})
		w.no(err)
	case 4:
		w.s.Connected(host, rapid.Bool().Draw(w.rt, "up"), "", "", "")
	case 5:
		if len(w.tasks) > 0 {
			_, err := w.s.stopTask(&api.StopTaskRequest{Task: rapid.SampledFrom(w.tasks).Draw(w.rt, "task")})
			w.no(err)
		}
	case 6:
		if len(w.tasks) > 0 {
			status := rapid.SampledFrom([]string{"PENDING", "RUNNING", "STOPPED"}).Draw(w.rt, "reported")
			_, err := w.s.submitTaskStateChange(&api.SubmitTaskStateChangeRequest{Task: rapid.SampledFrom(w.tasks).Draw(w.rt, "task"), Status: status,
				Containers: []api.ContainerStateChange{{ContainerName: "app", Status: status}}})
			w.no(err)
		}
	}
}

func (w *directWorld) keep(out *api.TasksResponse) {
	for _, t := range out.Tasks {
		w.tasks = append(w.tasks, t.TaskARN)
	}
}

// check adds up what the tasks that are not STOPPED hold.
func (w *directWorld) check() {
	type port struct {
		host     string
		number   uint16
		protocol string
	}
	cpu, memory, ports := map[string]int{}, map[string]int{}, map[port]bool{}
	claim := func(host string, numbers []uint16, protocol string) {
		for _, n := range numbers {
			p := port{host, n, protocol}
			if ports[p] || n == 8001 && protocol == "tcp" {
				w.rt.Fatalf("port %v is held twice", p)
			}
			ports[p] = true
		}
	}
	w.s.quietly(func(st *state) {
		for _, t := range st.tasks {
			if t.isStopped() {
				continue
			}
			host := t.Task.ContainerInstanceARN
			cpu[host] += t.Need.CPU
			memory[host] += t.Need.Memory
			claim(host, t.Need.TCP, "tcp")
			claim(host, t.Need.UDP, "udp")
		}
		for host, in := range st.instances {
			if cpu[host] > in.CPU || memory[host] > in.Memory {
				w.rt.Fatalf("%s has %d CPU and %d MiB, its tasks hold %d and %d", host, in.CPU, in.Memory, cpu[host], memory[host])
			}
			left := in.picture()
			if left.CPU != in.CPU-cpu[host] || left.Memory != in.Memory-memory[host] {
				w.rt.Fatalf("%s shows %d and %d as left", host, left.CPU, left.Memory)
			}
		}
	})
}
