package wine

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-connections/nat"
)

// engine plays a Docker engine for Windows: it keeps containers and tells of what happens
// to them, and runs nothing.
type engine struct {
	*httptest.Server
	ended chan struct{}

	mu         sync.Mutex
	changed    chan struct{} // closed at every event
	events     []string
	ids        int
	containers map[string]*made
	ran        [][]string         // commands in containers
	refusals   map[string]refusal // by repository
	unknown    []string           // calls that were not understood
}

// refusal is what Docker says of an image that this Windows cannot run, each where it finds
// out.
type refusal struct{ pull, create, start string }

// refused is what it says of an image, by whichever tag or digest.
func (e *engine) refused(image string) refusal {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.refusals[repository(image)]
}

// repository is an image without its tag and digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		image = image[:i]
	}
	return image
}

// made is a container.
type made struct {
	id, name string
	config   struct {
		container.Config
		HostConfig container.HostConfig
	}
	state container.State
}

const imageID = "sha256:4f5cd7d1b9a0fb1d1b8c8ba3f9e7d7a3f0e5a9b1c2d3e4f5a6b7c8d9e0f1a2b3"

func newEngine(t *testing.T) *engine {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newEngineOn(t, l)
}

func newEngineOn(t *testing.T, l net.Listener) *engine {
	e := &engine{ended: make(chan struct{}), changed: make(chan struct{}), containers: make(map[string]*made)}
	e.Server = httptest.NewUnstartedServer(e)
	_ = e.Server.Listener.Close()
	e.Server.Listener = l
	e.Start()
	t.Cleanup(func() {
		close(e.ended)
		e.Close()
	})
	return e
}

// ServeHTTP answers as the engine does, as far as the agent asks.
func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rest, ok := strings.CutPrefix(path, "/v1."); ok {
		path = rest[strings.IndexByte(rest, '/'):]
	}
	part := strings.Split(strings.Trim(path, "/"), "/")
	call := r.Method + " " + part[0]
	if len(part) > 1 {
		call += " " + part[len(part)-1]
	}
	switch call {
	case "GET version":
		answer(w, map[string]any{"Version": "25.0.6", "ApiVersion": "1.44", "MinAPIVersion": "1.24", "Os": "windows", "Arch": "amd64"})
	case "HEAD _ping", "GET _ping":
		w.WriteHeader(http.StatusOK)
	case "GET info":
		answer(w, map[string]any{"OSType": "windows", "DockerRootDir": `C:\ProgramData\docker`})
	case "GET plugins", "GET networks":
		answer(w, []any{})
	case "GET images json":
		image := strings.Join(part[1:len(part)-1], "/")
		if len(part) == 2 {
			answer(w, []any{})
		} else if e.refused(image).pull != "" {
			fail(w, http.StatusNotFound, "No such image: "+image)
		} else {
			answer(w, map[string]any{"Id": imageID, "RepoTags": []string{"registry.example/shop/web:1"}, "Os": "windows", "Config": map[string]any{}})
		}
	case "POST images tag":
		w.WriteHeader(http.StatusCreated)
	case "GET distribution json":
		answer(w, map[string]any{"Descriptor": map[string]any{"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "digest": imageID, "size": 1000}})
	case "GET volumes":
		answer(w, map[string]any{"Volumes": []any{}})
	case "POST images create":
		if said := e.refused(r.URL.Query().Get("fromImage")).pull; said != "" {
			answer(w, map[string]any{"errorDetail": map[string]string{"message": said}, "error": said})
			return
		}
		answer(w, map[string]any{"status": "Status: Downloaded newer image"})
	case "GET events":
		e.stream(w, r)
	case "POST containers create":
		e.create(w, r)
	case "GET containers json":
		if len(part) == 2 {
			e.list(w)
		} else {
			e.inspect(w, part[1])
		}
	case "POST containers start":
		if said := e.refused(e.imageOf(part[1])).start; said != "" {
			fail(w, http.StatusInternalServerError, said)
			return
		}
		e.change(w, part[1], "start", func(s *container.State) {
			s.Status, s.Running, s.Pid, s.StartedAt = "running", true, 4242, now()
		})
	case "POST containers stop":
		e.change(w, part[1], "die", func(s *container.State) {
			s.Status, s.Running, s.ExitCode, s.FinishedAt = "exited", false, 143, now()
		})
	case "POST containers exec":
		e.command(w, r)
	case "POST exec start":
		e.runCommand(w, r, part[1])
	case "GET exec json":
		answer(w, map[string]any{"ID": part[1], "ExitCode": 0})
	case "GET containers stats":
		answer(w, map[string]any{"read": now(), "num_procs": 3})
	default:
		if r.Method == http.MethodDelete && part[0] == "containers" {
			e.remove(w, part[1])
			return
		}
		e.mu.Lock()
		e.unknown = append(e.unknown, r.Method+" "+path)
		e.mu.Unlock()
		fail(w, http.StatusNotFound, "page not found")
	}
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// fail answers with an error, as the engine does.
func fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	answer(w, map[string]string{"message": message})
}

func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// tell is an event. e.mu is held.
func (e *engine) tell(c *made, action string) {
	at := time.Now()
	attributes := map[string]string{"name": c.name, "image": c.config.Image, "exitCode": fmt.Sprint(c.state.ExitCode)}
	for k, v := range c.config.Labels {
		attributes[k] = v
	}
	line, err := json.Marshal(map[string]any{
		"Type": "container", "Action": action, "Actor": map[string]any{"ID": c.id, "Attributes": attributes},
		"time": at.Unix(), "timeNano": at.UnixNano(),
	})
	if err != nil {
		panic(err)
	}
	e.events = append(e.events, string(line))
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *engine) stream(w http.ResponseWriter, r *http.Request) {
	about := strings.Contains(r.URL.Query().Get("filters"), `"container"`)
	w.WriteHeader(http.StatusOK)
	for sent := 0; ; {
		_ = http.NewResponseController(w).Flush()
		e.mu.Lock()
		lines, changed := slices.Clone(e.events[sent:]), e.changed
		e.mu.Unlock()
		for _, line := range lines {
			if sent++; about {
				_, _ = fmt.Fprintln(w, line)
			}
		}
		if len(lines) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-e.ended:
			return
		}
	}
}

func (e *engine) create(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := &made{name: r.URL.Query().Get("name"), state: container.State{Status: "created", StartedAt: "0001-01-01T00:00:00Z", FinishedAt: "0001-01-01T00:00:00Z"}}
	if err := json.NewDecoder(r.Body).Decode(&c.config); err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	switch said := e.refusals[repository(c.config.Image)]; {
	case said.pull != "":
		fail(w, http.StatusNotFound, "No such image: "+c.config.Image)
		return
	case said.create != "":
		fail(w, http.StatusBadRequest, said.create)
		return
	}
	e.ids++
	c.id = fmt.Sprintf("%064x", e.ids+0xc0ffee)
	e.containers[c.id] = c
	e.tell(c, "create")
	w.WriteHeader(http.StatusCreated)
	answer(w, map[string]any{"Id": c.id, "Warnings": []string{}})
}

// find is a container by its id or name; nil, and the call is answered, if there is none.
// e.mu is held.
func (e *engine) find(w http.ResponseWriter, name string) *made {
	for _, c := range e.containers {
		if c.id == name || c.name == name {
			return c
		}
	}
	fail(w, http.StatusNotFound, "No such container: "+name)
	return nil
}

// imageOf is the image of a container.
func (e *engine) imageOf(id string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.containers[id]; c != nil {
		return c.config.Image
	}
	return ""
}

func (e *engine) change(w http.ResponseWriter, name, event string, to func(*container.State)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.find(w, name); c != nil {
		to(&c.state)
		e.tell(c, event)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (e *engine) remove(w http.ResponseWriter, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.find(w, name); c != nil {
		delete(e.containers, c.id)
		e.tell(c, "destroy")
		w.WriteHeader(http.StatusNoContent)
	}
}

func (e *engine) list(w http.ResponseWriter) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := []any{}
	for _, c := range e.containers {
		all = append(all, map[string]any{"Id": c.id, "Names": []string{"/" + c.name}, "Image": c.config.Image, "ImageID": imageID,
			"Labels": c.config.Labels, "State": c.state.Status})
	}
	answer(w, all)
}

func (e *engine) inspect(w http.ResponseWriter, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.find(w, name)
	if c == nil {
		return
	}
	ports := nat.PortMap{}
	if c.state.Running {
		for port, to := range c.config.HostConfig.PortBindings {
			for _, b := range to {
				ports[port] = append(ports[port], nat.PortBinding{HostIP: "0.0.0.0", HostPort: b.HostPort})
			}
		}
	}
	answer(w, map[string]any{
		"Id": c.id, "Name": "/" + c.name, "Image": imageID, "Created": now(), "State": c.state, "Config": c.config.Config,
		"HostConfig": c.config.HostConfig, "Mounts": []any{},
		"NetworkSettings": map[string]any{"Ports": ports, "Networks": map[string]any{"nat": map[string]any{"IPAddress": "172.30.16.9", "Gateway": "172.30.16.1"}}},
	})
}

// command notes a command for a container; its number is its id.
func (e *engine) command(w http.ResponseWriter, r *http.Request) {
	var asked container.ExecOptions
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || asked.User != "ContainerAdministrator" {
		fail(w, http.StatusBadRequest, fmt.Sprint("exec as ", asked.User, ": ", err))
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ran = append(e.ran, asked.Cmd)
	w.WriteHeader(http.StatusCreated)
	answer(w, map[string]any{"Id": fmt.Sprint(len(e.ran) - 1)})
}

// runCommand answers with what netsh prints: the way out, and the routes that were added.
func (e *engine) runCommand(w http.ResponseWriter, r *http.Request, id string) {
	// A connection closed on unread bytes is reset, with what was written to it.
	_, _ = io.Copy(io.Discard, r.Body)
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	e.mu.Lock()
	defer e.mu.Unlock()
	text, number := "", 0
	if _, err := fmt.Sscan(id, &number); err != nil || number >= len(e.ran) {
		return
	}
	if strings.Join(e.ran[number], " ") == "netsh interface ipv4 show route" {
		text = "\r\nPublish  Type      Met  Prefix                    Idx  Gateway/Interface Name\r\nNo       Manual    0    0.0.0.0/0                 21   10.22.1.1\r\n"
		for _, c := range e.ran {
			if len(c) > 6 && c[3] == "add" {
				text += "No       Manual    256  " + strings.TrimPrefix(c[5], "prefix=") + "  20   " + strings.TrimPrefix(c[6], "interface=") + "\r\n"
			}
		}
	}
	_, _ = io.WriteString(stdcopy.NewStdWriter(conn, stdcopy.Stdout), text)
}

// commands are those that were run in containers.
func (e *engine) commands() (lines []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.ran {
		lines = append(lines, strings.Join(c, " "))
	}
	return lines
}

// runs reports whether a container runs.
func (e *engine) runs(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.containers[id]
	return c != nil && c.state.Running
}

// named is a copy of the container of a name in a task definition; nil: there is none.
func (e *engine) named(name string) *made {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.containers {
		if c.config.Labels["com.amazonaws.ecs.container-name"] == name {
			one := *c
			return &one
		}
	}
	return nil
}

// only is the one container there is.
func (e *engine) only(t *testing.T) made {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.containers) != 1 {
		t.Fatalf("%d containers", len(e.containers))
	}
	for _, c := range e.containers {
		return *c
	}
	panic("unreachable")
}
