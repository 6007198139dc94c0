package agentlink

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"ecsagent/controlplane/telemetry"
	"ecsagent/controlplane/wire"
)

// invalidParameter is the exception for a message that cannot be taken.
const invalidParameter = "InvalidParameterException"

// tcsAcks are the answers to what an agent publishes (docs/spec/01 section 4.2).
var tcsAcks = map[string]string{
	typePublishMetrics:        typeAckMetric,
	typePublishHealth:         typeAckHealth,
	typePublishInstanceStatus: typeAckInstanceStatus,
}

// tcs is the conversation on the telemetry channel.
type tcs struct {
	*session
}

func (t *tcs) begin() error { return t.beat() }

func (t *tcs) end() {}

// beat keeps the agent's inactivity timer from ending the connection; agents do
// not answer it.
func (t *tcs) beat() error {
	return t.send(typeHeartbeat, heartbeat{MessageID: uuid.NewString(), Healthy: true})
}

func (t *tcs) work(time.Time) (time.Time, error) { return time.Time{}, nil }

// receive checks, hands over and acknowledges one signed frame.
func (t *tcs) receive(frame []byte) error {
	headers, body, err := parseSignedFrame(frame)
	if err != nil {
		return t.reject(wire.BadRequest, err)
	}
	req := t.hello.request
	req.Host = headers.Get("Host")
	if err := req.check(headers, body, t.hub.keys, time.Now()); err != nil {
		return t.reject(wire.AccessDenied, err)
	}
	e, err := decode(body)
	if err != nil {
		return t.reject(wire.BadRequest, err)
	}
	ack, ok := tcsAcks[e.Type]
	if !ok {
		t.log.Debug("message of unknown type ignored", zap.String("type", e.Type))
		return nil
	}
	from := telemetry.Sender{Cluster: t.hello.cluster, InstanceARN: t.hello.instanceARN}
	if err := telemetry.Check(e.Type, e.Message, from, time.Now()); err != nil {
		return t.reject(invalidParameter, fmt.Errorf("%s: %w", e.Type, err))
	}
	t.hub.backend.Metrics(t.inst.arn, e.Type, e.Message)
	if t.hub.faults.dropsAcks() {
		return nil
	}
	return t.send(ack, struct{}{})
}

// reject tells the agent that a frame was not taken; the session goes on.
func (t *tcs) reject(exception string, cause error) error {
	t.log.Warn("frame rejected", zap.Error(cause))
	return t.send(exception, exceptionBody{cause.Error()})
}

// maxFrameHeaders bounds the header block of a TCS frame; a session token is the
// largest thing in it.
const maxFrameHeaders = 16 << 10

// parseSignedFrame splits a TCS frame into its header block and its JSON body
// (docs/spec/01 section 4.1).
func parseSignedFrame(frame []byte) (http.Header, []byte, error) {
	head, body, ok := bytes.Cut(frame, []byte("\r\n\r\n"))
	if !ok {
		return nil, nil, fmt.Errorf("the frame of %d bytes has no empty line after its headers", len(frame))
	}
	if len(head) > maxFrameHeaders {
		return nil, nil, fmt.Errorf("the frame's headers take %d bytes, more than %d", len(head), maxFrameHeaders)
	}
	headers := make(http.Header)
	for line := range strings.SplitSeq(string(head), "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !ok || name == "" {
			return nil, nil, fmt.Errorf("the frame has a malformed header line of %d bytes", len(line))
		}
		headers.Add(name, strings.TrimSpace(value))
	}
	for _, name := range []string{"Authorization", "Host", "X-Amz-Date"} {
		if n := len(headers.Values(name)); n != 1 {
			return nil, nil, fmt.Errorf("the frame has %d %s headers, not 1", n, name)
		}
	}
	return headers, body, nil
}
