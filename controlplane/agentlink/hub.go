package agentlink

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"
	"go.uber.org/zap"

	"ecsagent/controlplane/wire"
)

// Backend decides what the hub only carries. Its methods are called without any
// lock of the hub held; they may call Deliver and Disconnect.
type Backend interface {
	// Authorize refuses an instance with a *wire.Exception. It is asked before the
	// upgrade and once more when the session is registered.
	Authorize(instanceARN, cluster string) error
	// Connected tells of ACS sessions. A session that replaces another is told as
	// up again, without a down in between.
	Connected(instanceARN string, up bool, agentVersion, agentHash, dockerVersion string)
	// Manifest lists what should be on the instance, after each connect.
	Manifest(instanceARN string) []wire.TaskIdentifier
	// Credentials lists the role credentials of every live task of the instance as
	// they should be now. A set that is near its expiration is renewed here, under
	// the same id; the hub asks every Cadence.Credentials and sends what changed.
	Credentials(instanceARN string) []wire.CredentialsMessage
	// ShouldStop answers a TaskStopVerificationMessage with those candidates that
	// really should stop.
	ShouldStop(instanceARN string, candidates []wire.TaskIdentifier) []wire.TaskIdentifier
	PayloadAcked(instanceARN, messageID string)
	// Metrics hands over a TCS message; kind is its type name.
	Metrics(instanceARN, kind string, message json.RawMessage)
}

// FullSyncer is what a Backend also implements if some of its instances lack the
// attribute ecs.capability.full-sync: those get no manifest.
type FullSyncer interface {
	FullSync(instanceARN string) bool
}

// NackObserver is what a Backend also implements to hear of payloads that an agent
// refuses with a NackRequest. Such a payload is not sent again.
type NackObserver interface {
	PayloadNacked(instanceARN, messageID, reason string)
}

// UpdateObserver is what a Backend also implements to hear how updates fare: staged when the
// agent has one and is told to perform it, performing when it is about to, refused with the
// agent's reason.
type UpdateObserver interface {
	UpdateStaged(instanceARN string)
	UpdatePerforming(instanceARN string)
	UpdateRefused(instanceARN, reason string)
}

// Cadence holds the hub's times (docs/spec/01 sections 5.3 and 5.4). Zero fields
// take the value named beside them.
type Cadence struct {
	Heartbeat        time.Duration // 30 s between heartbeats
	MissedHeartbeats int           // 3 unanswered heartbeats end a session of protocol version 2
	Resend           time.Duration // 15 s without an ack, then a message is sent again
	Credentials      time.Duration // 1 min between looks for renewed credentials
	ConnectionAge    time.Duration // 30 min, then a connection is closed with 1000
	CloseWait        time.Duration // 2 s for the answer to a close frame
	Write            time.Duration // 30 s for one write
}

func (c Cadence) withDefaults() Cadence {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&c.Heartbeat, 30*time.Second)
	set(&c.Resend, 15*time.Second)
	set(&c.Credentials, time.Minute)
	set(&c.ConnectionAge, 30*time.Minute)
	set(&c.CloseWait, 2*time.Second)
	set(&c.Write, 30*time.Second)
	if c.MissedHeartbeats <= 0 {
		c.MissedHeartbeats = 3
	}
	return c
}

// Options make a Hub.
type Options struct {
	Backend   Backend
	Log       *zap.Logger // nil logs nothing
	Sequences Sequences   // nil counts in memory from 1
	// Keys are access keys with their secrets. When set, signatures are verified;
	// when nil, a signature must be there and well formed, with any key.
	Keys map[string]string
	// FramedRefusals selects the body form {"type":X,"message":{"message":…}} for
	// refused handshakes instead of {X:…} (docs/spec/01 section 2.6).
	FramedRefusals bool
	Cadence        Cadence
}

// Hub serves the websockets of all agents.
type Hub struct {
	backend  Backend
	log      *zap.Logger
	seqs     Sequences
	keys     map[string]string
	framed   bool
	cadence  Cadence
	upgrader websocket.Upgrader
	faults   *Faults

	ctx    context.Context // ends when the hub closes; the cause is a *closing
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // sessions

	mu        sync.Mutex
	closed    bool
	instances map[string]*instance
}

// NewHub returns a hub. The caller closes it.
func NewHub(o Options) *Hub {
	h := &Hub{
		backend: o.Backend, log: o.Log, seqs: o.Sequences, keys: o.Keys, framed: o.FramedRefusals,
		cadence: o.Cadence.withDefaults(), instances: make(map[string]*instance),
		upgrader: websocket.Upgrader{ReadBufferSize: 4096, WriteBufferSize: 32768, Error: refuseUpgrade},
	}
	if h.log == nil {
		h.log = zap.NewNop()
	}
	if h.seqs == nil {
		h.seqs = NewMemorySequences(0)
	}
	h.faults = &Faults{hub: h}
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	return h
}

// Close ends all sessions with a close frame and waits for them. Later handshakes
// are refused.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel(&closing{code: websocket.CloseGoingAway, text: "the service is going away", wait: true})
	h.wg.Wait()
}

// Faults returns the switches that make the hub misbehave, for tests of agents.
func (h *Hub) Faults() *Faults { return h.faults }

// Deliver queues a payload for an instance, connected or not, and returns its
// message id. It never waits for the network. The result is empty if a task is not
// JSON: nothing is queued then.
func (h *Hub) Deliver(instanceARN string, p wire.Payload) string {
	id := uuid.NewString()
	inst := h.instance(instanceARN)
	tasks := p.Tasks
	if tasks == nil {
		tasks = []json.RawMessage{}
	}
	frame, err := encode(typePayload, payloadMessage{
		MessageID: id, ClusterARN: clusterARN(instanceARN, ""), ContainerInstanceARN: instanceARN,
		SeqNum: h.sequence(instanceARN), GeneratedAt: time.Now().UnixMilli(), Tasks: tasks,
	})
	if err != nil {
		h.log.Error("payload cannot be encoded", zap.String("instance", instanceARN), zap.Error(err))
		return ""
	}
	inst.deliver(&parcel{id: id, kind: typePayload, frame: frame, tasks: taskARNs(p.Tasks)})
	return id
}

// Announce queues the announcement of a network interface or a volume, behind the payloads
// that are queued already. Like a payload it is sent until the agent has acknowledged it.
func (h *Hub) Announce(instanceARN string, a wire.Announcement) {
	id, cluster, now := uuid.NewString(), clusterARN(instanceARN, ""), time.Now().UnixMilli()
	kind, message := typeAttach, any(attachMessage{
		MessageID: id, ClusterARN: cluster, ContainerInstanceARN: instanceARN,
		TaskARN: a.TaskARN, TaskClusterARN: a.TaskClusterARN, GeneratedAt: now,
		WaitTimeout: a.Wait.Milliseconds(), Interfaces: []wire.NetworkInterface{a.Interface},
	})
	if a.Attachment != nil {
		kind, message = typeConfirm, confirmMessage{
			MessageID: id, ClusterARN: cluster, ContainerInstanceARN: instanceARN,
			TaskARN: a.TaskARN, TaskClusterARN: a.TaskClusterARN, GeneratedAt: now,
			WaitTimeout: a.Wait.Milliseconds(), Attachment: a.Attachment,
		}
	}
	frame, err := encode(kind, message)
	if err != nil {
		h.log.Error("announcement cannot be encoded", zap.String("instance", instanceARN), zap.Error(err))
		return
	}
	h.instance(instanceARN).deliver(&parcel{id: id, kind: kind, frame: frame})
}

// Update asks an agent to stage an update, and to perform it once it has.
func (h *Hub) Update(instanceARN string, u wire.Update) { h.update(instanceARN, typeStageUpdate, u) }

func (h *Hub) update(instanceARN, kind string, u wire.Update) {
	id := uuid.NewString()
	frame, err := encode(kind, updateMessage{MessageID: id, ClusterARN: clusterARN(instanceARN, ""), ContainerInstanceARN: instanceARN, UpdateInfo: u})
	if err != nil {
		h.log.Error("update cannot be encoded", zap.String("instance", instanceARN), zap.Error(err))
		return
	}
	h.instance(instanceARN).deliver(&parcel{id: id, kind: kind, frame: frame, update: u})
}

// updateAnswered goes on with an update that an agent has accepted, or not.
func (h *Hub) updateAnswered(instanceARN string, p *parcel, accepted bool, reason string) {
	o, _ := h.backend.(UpdateObserver)
	switch {
	case o == nil:
	case !accepted:
		o.UpdateRefused(instanceARN, reason)
	case p.kind == typeStageUpdate:
		o.UpdateStaged(instanceARN)
	default:
		o.UpdatePerforming(instanceARN)
	}
	if accepted && p.kind == typeStageUpdate {
		h.update(instanceARN, typePerformUpdate, p.update)
	}
}

// Disconnect ends the sessions of an instance, after sending the named exception
// if there is one. After an InactiveInstanceException nothing is kept for it.
func (h *Hub) Disconnect(instanceARN, exception string) {
	h.mu.Lock()
	inst := h.instances[instanceARN]
	if exception == wire.InactiveInstance {
		delete(h.instances, instanceARN)
	}
	h.mu.Unlock()
	if inst == nil {
		return
	}
	end := &closing{code: websocket.CloseNormalClosure, text: "disconnected by the service", wait: true}
	if exception != "" {
		end.code = websocket.ClosePolicyViolation
		end.exception = &wire.Exception{Type: exception, Message: exceptionText(exception)}
	}
	for _, s := range inst.sessions() {
		s.cancel(end)
	}
}

// Pending returns the ids of the instance's payloads that are not acknowledged.
func (h *Hub) Pending(instanceARN string) []string {
	return h.instance(instanceARN).pending()
}

// ServeHTTP serves both planes: the query tells them apart, since ACS names the
// instance containerInstanceArn and TCS containerInstance.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Has("containerInstance") {
		h.ServeTCS(w, r)
		return
	}
	h.ServeACS(w, r)
}

// ServeACS serves the work channel on any path that ends in /ws.
func (h *Hub) ServeACS(w http.ResponseWriter, r *http.Request) { h.serve(w, r, ACS) }

// ServeTCS serves the telemetry channel on any path that ends in /ws.
func (h *Hub) ServeTCS(w http.ResponseWriter, r *http.Request) { h.serve(w, r, TCS) }

func (h *Hub) serve(w http.ResponseWriter, r *http.Request, plane Plane) {
	hello, exc := h.greet(r, plane)
	if exc != nil {
		h.refuse(w, plane, exc)
		return
	}
	if !h.enter() {
		h.refuse(w, plane, &wire.Exception{Type: wire.Server, Message: "the service is going away"})
		return
	}
	defer h.wg.Done()
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		h.log.Debug("upgrade failed", zap.Stringer("plane", plane), zap.Error(err))
		return
	}
	h.hold(conn, plane, hello)
}

// enter counts a session in unless the hub is closed.
func (h *Hub) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Add(1)
	return true
}

func (h *Hub) instance(arn string) *instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	inst := h.instances[arn]
	if inst == nil {
		inst = newInstance(arn)
		h.instances[arn] = inst
	}
	return inst
}

// known returns the instance if anything is kept for it, else nil.
func (h *Hub) known(arn string) *instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.instances[arn]
}

func (h *Hub) sequence(instanceARN string) int64 {
	n, err := h.seqs.Next(instanceARN)
	if err != nil {
		h.log.Error("sequence number could not be saved", zap.String("instance", instanceARN), zap.Int64("sequence", n), zap.Error(err))
	}
	return n
}

func exceptionText(exception string) string {
	switch exception {
	case wire.InactiveInstance:
		return "The container instance is not active."
	case wire.InvalidInstance:
		return "The container instance is not known."
	default:
		return fmt.Sprintf("The service ended the session with %s.", exception)
	}
}
