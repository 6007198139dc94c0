package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// MaxFrame is the largest frame, in bytes, that is read: far above what ACS sends
// (a payload of ten tasks at the limit of a task definition's size is under 1 MiB)
// and small enough that a hostile peer cannot exhaust memory.
const MaxFrame = 8 << 20

// ErrUnknownType tells of a frame whose type this agent does not know. It is
// tolerated, and does not count as activity.
var ErrUnknownType = errors.New("unknown message type")

// Encode renders a message of the agent as a frame.
func Encode(m any) ([]byte, error) {
	name := typeName(m)
	if name == "" {
		return nil, fmt.Errorf("encode %T: not a message of the agent", m)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	frame := struct {
		Type    string `json:"type"`
		Message any    `json:"message"`
	}{name, m}
	if err := enc.Encode(frame); err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Decode reads one frame (docs/spec/01 section 2.5). It checks everything that the
// message needs to be acted upon; an error means that the frame is to be dropped.
func Decode(frame []byte) (Message, error) {
	var envelope struct {
		Type    string          `json:"type"`
		Message json.RawMessage `json:"message"`
	}
	err := json.Unmarshal(frame, &envelope)
	if err != nil || envelope.Type == "" {
		if e, ok := DecodeException(frame); ok {
			return e, nil
		}
		if err == nil {
			err = errors.New("no type")
		}
		return nil, fmt.Errorf("decode frame: %w", err)
	}
	m, err := decodeMessage(envelope.Type, envelope.Message)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", clip(envelope.Type), err)
	}
	return m, nil
}

func decodeMessage(name string, raw json.RawMessage) (Message, error) {
	if exceptions[name] {
		return &Exception{Type: name, Message: messageText(raw)}, nil
	}
	switch name {
	case TypeClose:
		return Close{messageText(raw)}, nil
	case TypeError:
		return Notice{messageText(raw)}, nil
	case TypeAck, TypeNack, TypeHeartbeatAck, TypeCredentialsAck, TypeStopVerification:
		return Ignored{name}, nil
	case TypePayload:
		return decodePayload(raw)
	}
	read, ok := readers[name]
	if !ok {
		return nil, ErrUnknownType
	}
	d := new(decoder)
	if len(raw) == 0 || string(raw) == "null" {
		raw = json.RawMessage("{}")
	}
	o := d.open(raw, "")
	var m Message
	if d.err == nil {
		m = read(o)
	}
	return m, d.err
}

// readers decode the messages that are small enough to be read as a whole.
var readers = map[string]func(object) Message{
	TypeHeartbeat:           func(o object) Message { return Heartbeat{o.text("messageId")} },
	TypeCredentials:         readCredentials,
	TypeAttachTaskENI:       readAttachTaskENI,
	TypeAttachInstanceENI:   readAttachInstanceENI,
	TypeConfirmAttachment:   readConfirmAttachment,
	TypeManifest:            readManifest,
	TypeStopVerificationAck: readStopVerificationAck,
	TypeStageUpdate:         func(o object) Message { return StageUpdate{readUpdate(o)} },
	TypePerformUpdate:       func(o object) Message { return PerformUpdate{readUpdate(o)} },
}

// decodePayload reads the envelope of a payload and leaves the tasks raw.
func decodePayload(raw json.RawMessage) (Message, error) {
	var p struct {
		MessageID            string            `json:"messageId"`
		ClusterARN           string            `json:"clusterArn"`
		ContainerInstanceARN string            `json:"containerInstanceArn"`
		SeqNum               json.Number       `json:"seqNum"`
		Tasks                []json.RawMessage `json:"tasks"`
	}
	if len(raw) == 0 {
		return nil, errors.New("no message")
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	for _, member := range []struct{ name, value string }{
		{"messageId", p.MessageID}, {"clusterArn", p.ClusterARN}, {"containerInstanceArn", p.ContainerInstanceARN},
	} {
		if member.value == "" {
			return nil, fmt.Errorf("%s is absent: want a non-empty string", member.name)
		}
	}
	var seq int64
	if p.SeqNum != "" {
		n, ok := wholeNumber(p.SeqNum)
		if !ok {
			return nil, fmt.Errorf("seqNum is %s: want a whole number", clip(p.SeqNum.String()))
		}
		seq = max(0, n)
	}
	origin := Origin{ID: p.MessageID, Cluster: p.ClusterARN, Instance: p.ContainerInstanceARN}
	return Payload{Origin: origin, Seq: seq, Tasks: p.Tasks}, nil
}

// readManifest reads a TaskManifestMessage. Entries without an ARN say nothing and
// are left out.
func readManifest(o object) Message {
	m := Manifest{Origin: readOrigin(o), Timeline: o.integer("timeline", math.MinInt64, math.MaxInt64)}
	if !o.has("timeline") {
		o.reject("timeline", "a whole number")
	}
	m.Tasks = readIdentifiers(o, "tasks")
	return m
}

func readStopVerificationAck(o object) Message {
	return StopVerificationAck{ID: o.required("messageId"), StopTasks: readIdentifiers(o, "stopTasks")}
}

func readIdentifiers(o object, name string) []TaskIdentifier {
	var out []TaskIdentifier
	for _, t := range o.each(name) {
		id := TaskIdentifier{
			TaskARN: t.text("taskArn"), ClusterARN: t.text("taskClusterArn"), DesiredStatus: t.text("desiredStatus"),
		}
		if id.TaskARN != "" {
			out = append(out, id)
		}
	}
	return out
}

func readOrigin(o object) Origin {
	return Origin{ID: o.text("messageId"), Cluster: o.text("clusterArn"), Instance: o.text("containerInstanceArn")}
}

func readRequiredOrigin(o object) Origin {
	return Origin{ID: o.required("messageId"), Cluster: o.required("clusterArn"), Instance: o.required("containerInstanceArn")}
}
