// Package plane is a scripted control plane: the least that an agent needs (docs/spec/01
// sections 5.2 and 5.3), with the moment of each message known and every frame in the
// hands of the test. It decides nothing by itself; package controlplane does.
package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Call is a call of the ECS API.
type Call struct {
	Operation string
	Body      json.RawMessage
	At        time.Time
}

// Change is the body of SubmitTaskStateChange.
type Change struct {
	Task       string `json:"task"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	Containers []struct {
		Name        string `json:"containerName"`
		Status      string `json:"status"`
		Reason      string `json:"reason"`
		RuntimeID   string `json:"runtimeId"`
		ImageDigest string `json:"imageDigest"`
		ExitCode    *int   `json:"exitCode"`
	} `json:"containers"`
	At time.Time `json:"-"`
}

// Frame is a message from the agent on ACS.
type Frame struct {
	Type    string          `json:"type"`
	Message json.RawMessage `json:"message"`
	At      time.Time       `json:"-"`
}

// Plane is a running control plane for one agent.
type Plane struct {
	cluster string
	server  *http.Server
	addr    string
	work    sync.WaitGroup

	mu      sync.Mutex
	calls   []Call
	changes []Change
	frames  []Frame
	acs     *websocket.Conn
	opened  int           // ACS connections so far
	changed chan struct{} // closed and replaced whenever something above changes
	writing sync.Mutex    // guards writes to acs
	conns   map[*websocket.Conn]struct{}
	seq     int64
}

// Start listens on a free port of 127.0.0.1, for an agent of the cluster.
func Start(cluster string) (*Plane, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a control plane: %w", err)
	}
	p := &Plane{cluster: cluster, addr: l.Addr().String(), changed: make(chan struct{}), conns: map[*websocket.Conn]struct{}{}}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	p.work.Go(func() { _ = p.server.Serve(l) }) // ends with Close
	return p, nil
}

// Address is the plane's host:port.
func (p *Plane) Address() string { return p.addr }

// Cluster is the name of the plane's cluster.
func (p *Plane) Cluster() string { return p.cluster }

// ClusterARN is the ARN of the plane's cluster.
func (p *Plane) ClusterARN() string { return p.arn("cluster", "") }

// InstanceARN is the ARN under which the agent is registered.
func (p *Plane) InstanceARN() string {
	return p.arn("container-instance", "/0123456789abcdef0123456789abcdef")
}

// TaskARN makes the ARN of a task of the plane's cluster.
func (p *Plane) TaskARN(id string) string { return p.arn("task", "/"+id) }

func (p *Plane) arn(kind, rest string) string {
	return "arn:aws:ecs:us-west-2:111122223333:" + kind + "/" + p.cluster + rest
}

// Close cuts all connections and ends the plane.
func (p *Plane) Close() {
	_ = p.server.Close()
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}

// ServeHTTP implements http.Handler.
func (p *Plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.work.Add(1)
	defer p.work.Done()
	if websocket.IsWebSocketUpgrade(r) {
		p.socket(w, r)
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	p.note(operation, body)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = io.WriteString(w, p.reply(operation, body))
}

func (p *Plane) note(operation string, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.calls = append(p.calls, Call{Operation: operation, Body: body, At: now})
	if operation == "SubmitTaskStateChange" {
		c := Change{At: now}
		if json.Unmarshal(body, &c) == nil {
			p.changes = append(p.changes, c)
		}
	}
	p.wake()
}

// wake tells the waiters to look again. The caller holds the mutex.
func (p *Plane) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Plane) reply(operation string, body []byte) string {
	switch operation {
	case "RegisterContainerInstance":
		var in struct {
			Attributes []json.RawMessage `json:"attributes"`
		}
		_ = json.Unmarshal(body, &in)
		out, _ := json.Marshal(map[string]any{"containerInstance": map[string]any{
			"containerInstanceArn": p.InstanceARN(),
			"attributes":           append(in.Attributes, json.RawMessage(`{"name":"ecs.availability-zone","value":"us-west-2a"}`)),
		}})
		return string(out)
	case "CreateCluster":
		return `{"cluster":{"clusterName":"` + p.cluster + `","clusterArn":"` + p.ClusterARN() + `","status":"ACTIVE"}}`
	case "DiscoverPollEndpoint":
		return fmt.Sprintf(`{"endpoint":"http://%s/acs/","telemetryEndpoint":"http://%s/tcs/"}`, p.addr, p.addr)
	case "ListTagsForResource":
		return `{"tags":[]}`
	default:
		return `{"acknowledgment":"ok"}`
	}
}

func (p *Plane) socket(w http.ResponseWriter, r *http.Request) {
	c, err := (&websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	acs := strings.HasPrefix(r.URL.Path, "/acs/")
	p.mu.Lock()
	p.conns[c] = struct{}{}
	if acs {
		p.acs = c
		p.opened++
		p.wake()
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, c)
		if p.acs == c {
			p.acs = nil
			p.wake()
		}
	}()
	if acs {
		_ = p.Send("HeartbeatMessage", map[string]any{"messageId": "first", "healthy": true})
	}
	for {
		_, data, err := c.ReadMessage()
		if err != nil {
			return
		}
		if !acs {
			_ = c.WriteMessage(websocket.TextMessage, []byte(`{"type":"AckPublishMetric","message":{}}`))
			continue
		}
		f := Frame{At: time.Now()}
		if json.Unmarshal(data, &f) != nil {
			f.Type = "unreadable"
		}
		p.mu.Lock()
		p.frames = append(p.frames, f)
		p.wake()
		p.mu.Unlock()
	}
}

// Send writes a message to the agent.
func (p *Plane) Send(kind string, message any) error {
	frame, err := json.Marshal(map[string]any{"type": kind, "message": message})
	if err != nil {
		return fmt.Errorf("encode a %s: %w", kind, err)
	}
	return p.SendRaw(websocket.TextMessage, frame)
}

// SendRaw writes a frame to the agent as it is.
func (p *Plane) SendRaw(kind int, frame []byte) error {
	p.mu.Lock()
	c := p.acs
	p.mu.Unlock()
	if c == nil {
		return errors.New("send a frame: the agent is not connected")
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := c.WriteMessage(kind, frame); err != nil {
		return fmt.Errorf("send a frame: %w", err)
	}
	return nil
}

// Cut ends the ACS connection without a close frame.
func (p *Plane) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acs != nil {
		_ = p.acs.NetConn().Close()
	}
}

// NextSeq returns the next sequence number.
func (p *Plane) NextSeq() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	return p.seq
}

// Payload sends tasks under a message id and a sequence number.
func (p *Plane) Payload(messageID string, seq int64, tasks ...any) error {
	return p.Send("PayloadMessage", map[string]any{
		"messageId": messageID, "clusterArn": p.ClusterARN(), "containerInstanceArn": p.InstanceARN(),
		"seqNum": seq, "generatedAt": time.Now().UnixMilli(), "tasks": tasks,
	})
}

// Calls returns the calls of an operation so far.
func (p *Plane) Calls(operation string) []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Call
	for _, c := range p.calls {
		if c.Operation == operation {
			out = append(out, c)
		}
	}
	return out
}

// Changes returns the submitted changes of a task so far.
func (p *Plane) Changes(taskARN string) []Change {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changesOf(taskARN)
}

func (p *Plane) changesOf(taskARN string) []Change {
	var out []Change
	for _, c := range p.changes {
		if c.Task == taskARN {
			out = append(out, c)
		}
	}
	return out
}

// AwaitChange waits until a task was reported with a status, and returns that report.
func (p *Plane) AwaitChange(ctx context.Context, taskARN, status string) (Change, error) {
	var found Change
	err := p.await(ctx, fmt.Sprintf("%s to be reported %s", taskARN, status), func() bool {
		for _, c := range p.changesOf(taskARN) {
			if c.Status == status {
				found = c
				return true
			}
		}
		return false
	})
	return found, err
}

// AwaitCall waits for the first call of an operation.
func (p *Plane) AwaitCall(ctx context.Context, operation string) (Call, error) {
	var found Call
	err := p.await(ctx, "a call of "+operation, func() bool {
		for _, c := range p.calls {
			if c.Operation == operation {
				found = c
				return true
			}
		}
		return false
	})
	return found, err
}

// AwaitFrame waits for a frame from the agent that satisfies ok.
func (p *Plane) AwaitFrame(ctx context.Context, what string, ok func(Frame) bool) (Frame, error) {
	var found Frame
	err := p.await(ctx, what, func() bool {
		for _, f := range p.frames {
			if ok(f) {
				found = f
				return true
			}
		}
		return false
	})
	return found, err
}

// AwaitAck waits for the AckRequest of a message.
func (p *Plane) AwaitAck(ctx context.Context, messageID string) (Frame, error) {
	return p.AwaitFrame(ctx, "the ack of "+messageID, func(f Frame) bool {
		return f.Type == "AckRequest" && f.ID() == messageID
	})
}

// Frames returns the frames of a type and a message id so far.
func (p *Plane) Frames(kind, messageID string) []Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Frame
	for _, f := range p.frames {
		if f.Type == kind && f.ID() == messageID {
			out = append(out, f)
		}
	}
	return out
}

// AwaitACS waits until the agent has opened n ACS connections in all and the last is open.
func (p *Plane) AwaitACS(ctx context.Context, n int) error {
	return p.await(ctx, fmt.Sprintf("ACS connection %d", n), func() bool { return p.acs != nil && p.opened >= n })
}

// Connections counts the ACS connections so far.
func (p *Plane) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened
}

// await waits until ok, which is called with the mutex held, says yes.
func (p *Plane) await(ctx context.Context, what string, ok func() bool) error {
	for {
		p.mu.Lock()
		yes, changed := ok(), p.changed
		p.mu.Unlock()
		if yes {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		}
	}
}

// ID returns the frame's messageId.
func (f Frame) ID() string {
	var m struct {
		ID string `json:"messageId"`
	}
	_ = json.Unmarshal(f.Message, &m)
	return m.ID
}
