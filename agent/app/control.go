package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// ControlSocket is the name of the socket in ECS_DATADIR at which the agent takes orders
// from this host's administrator. Nobody else can open it, and the folder is no task's.
const ControlSocket = "ecs-agent.sock"

// stopTasksPath stops every task because the host shuts down; its query "within" is the
// time that there is, as a duration.
const stopTasksPath = "/v1/stop-tasks"

// stopTasksDefault is the time when none is given: systemd's own default, less a margin.
const stopTasksDefault = 80 * time.Second

// control serves the socket until ctx ends. An agent without it runs tasks all the same.
func (a *agent) control(ctx context.Context) error {
	path := filepath.Join(a.cfg.DataDir, ControlSocket)
	listener, err := listenControl(ctx, path)
	if err != nil {
		a.log.Warn("control socket not served: tasks cannot be stopped in order when the host shuts down", zap.Error(err))
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+stopTasksPath, a.stopTasks)
	server := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(a.log),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	_ = server.Close()
	_ = os.Remove(path)
	return err
}

// listenControl takes the place of a socket that a killed agent left behind. The state
// file's lock has made sure that there is no other agent.
func listenControl(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove an old control socket: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for control: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("close the control socket to others: %w", err)
	}
	return listener, nil
}

func (a *agent) stopTasks(w http.ResponseWriter, r *http.Request) {
	within := stopTasksDefault
	if text := r.URL.Query().Get("within"); text != "" {
		var err error
		if within, err = time.ParseDuration(text); err != nil || within <= 0 {
			http.Error(w, fmt.Sprintf("within %q: want a duration such as 80s", text), http.StatusBadRequest)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), within)
	defer cancel()
	if err := a.engine.StopAll(ctx); err != nil {
		a.log.Error("tasks not stopped", zap.Error(err))
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]bool{"stopped": true}) // the client may be gone
}

// StopTasks has the agent whose data directory it is stop every task, in order, within a
// time, because the host shuts down.
func StopTasks(ctx context.Context, dataDir string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within+time.Second)
	defer cancel()
	path := filepath.Join(dataDir, ControlSocket)
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent"+stopTasksPath+"?within="+within.String(), nil)
	if err != nil {
		return fmt.Errorf("ask the agent to stop its tasks: %w", err)
	}
	reply, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the agent at %s to stop its tasks: %w", path, err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(io.LimitReader(reply.Body, 64<<10))
	if err == nil && reply.StatusCode != http.StatusOK {
		err = errors.New(string(text))
	}
	return err
}
