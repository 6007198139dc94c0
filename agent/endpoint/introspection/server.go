package introspection

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"go.uber.org/zap"

	"ecsagent/agent/doctor"
	"ecsagent/agent/httpserver"
	"ecsagent/agent/task"
)

// Timeouts of the server (docs/spec/04 section 0.1).
const (
	readTimeout  = 5 * time.Second
	writeTimeout = 5 * time.Second
	// profileTimeout replaces writeTimeout where profiles are served: it bounds the
	// length of a CPU profile.
	profileTimeout = 5 * time.Minute
	closeTimeout   = 500 * time.Millisecond
	maxHeaderSize  = 16 << 10
)

// Tasks is the engine as this package needs it. The methods never wait.
type Tasks interface {
	Snapshots() []*task.Snapshot
	Snapshot(arn string) *task.Snapshot
	// Timeline is nil when the task is not known.
	Timeline(arn string) *task.Timeline
	// Timelines tell of every task what it waits for; they have no entries.
	Timelines() []*task.Timeline
}

// Options says what to serve.
type Options struct {
	Cluster     func() string
	InstanceARN func() string
	// Version is the whole line, "Amazon ECS Agent - v1.2.3 (abcdef01)".
	Version string
	License string
	Tasks   Tasks
	// Health is the doctor's latest report; nil: /v1/health is not served.
	Health func() *doctor.Report
	// Profiling adds Go's profiles below /debug/pprof/ (ECS_ENABLE_RUNTIME_STATS).
	Profiling bool
	Log       *zap.Logger
}

// Handler returns the routes of docs/spec/04 section 1.1, and those of what tasks
// wait for, which the listing does not name: it is the official agent's.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/metadata", o.metadata)
	mux.HandleFunc("/v1/tasks", o.tasks)
	mux.HandleFunc("/license", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(o.License))
	})
	commands := []string{"/v1/metadata", "/v1/tasks", "/license"}
	if o.Profiling {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		commands = append(commands, "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/symbol", "/debug/pprof/trace")
	}
	listing := []byte(`{"AvailableCommands":["` + strings.Join(commands, `","`) + `"]}`)
	mux.HandleFunc(waitsPath, o.waits)
	if o.Health != nil {
		mux.HandleFunc(healthPath, o.health)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if name := timelineOf(r.URL.Path); name != "" {
			o.timeline(w, name)
			return
		}
		_, _ = w.Write(listing)
	})
	return mux
}

// Serve answers on the listener until ctx ends.
func Serve(ctx context.Context, l net.Listener, o Options) error {
	server := &http.Server{
		Handler:        Handler(o),
		ReadTimeout:    readTimeout,
		WriteTimeout:   o.writeTimeout(),
		MaxHeaderBytes: maxHeaderSize,
		ErrorLog:       zap.NewStdLog(o.Log),
	}
	return httpserver.Serve(ctx, l, server, closeTimeout)
}

func (o Options) writeTimeout() time.Duration {
	if o.Profiling {
		return profileTimeout
	}
	return writeTimeout
}

func (o Options) metadata(w http.ResponseWriter, _ *http.Request) {
	body := struct {
		Cluster              string
		ContainerInstanceArn *string
		Version              string
	}{Cluster: o.Cluster(), Version: o.Version}
	if arn := o.InstanceARN(); arn != "" {
		body.ContainerInstanceArn = &arn
	}
	reply(w, http.StatusOK, body)
}

// noTask is the body of every answer that found no task.
type noTask struct {
	Arn, KnownStatus, Family, Version string
	Containers                        []containerBody
}

func (o Options) tasks(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	arn, byARN := first(query, "taskarn")
	id, byID := first(query, "dockerid")
	switch {
	case byARN && byID:
		reply(w, http.StatusBadRequest, noTask{})
	case byARN:
		if s := o.Tasks.Snapshot(arn); s != nil {
			reply(w, http.StatusOK, render(s))
			return
		}
		reply(w, http.StatusNotFound, noTask{})
	case byID:
		found, count := o.find(id)
		switch count {
		case 0:
			reply(w, http.StatusNotFound, noTask{})
		case 1:
			reply(w, http.StatusOK, render(found))
		default:
			reply(w, http.StatusBadRequest, noTask{})
		}
	default:
		list := struct{ Tasks []taskBody }{Tasks: []taskBody{}}
		for _, s := range o.Tasks.Snapshots() {
			list.Tasks = append(list.Tasks, render(s))
		}
		reply(w, http.StatusOK, list)
	}
}

// shortID is the longest id that is looked up as a prefix.
const shortID = 12

// find looks a container up by its Docker id or, before it has one, its name. It
// returns a task that matched and the number of containers that did.
func (o Options) find(id string) (found *task.Snapshot, count int) {
	for _, s := range o.Tasks.Snapshots() {
		for i := range s.State.Containers {
			known := s.State.Containers[i].RuntimeID
			if known == "" {
				known = s.State.Containers[i].DockerName
			}
			if known == id || (len(id) <= shortID && strings.HasPrefix(known, id)) {
				found = s
				count++
			}
		}
	}
	return found, count
}

func first(query map[string][]string, key string) (string, bool) {
	values, ok := query[key]
	if !ok || len(values) == 0 {
		return "", false
	}
	return values[0], true
}

func reply(w http.ResponseWriter, status int, body any) {
	encoded, err := json.Marshal(body)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte("{}"))
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(encoded)
}
