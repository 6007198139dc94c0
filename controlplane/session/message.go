package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Types of messages. Input goes to the container.
const (
	TypeInput       = "input_stream_data"
	TypeOutput      = "output_stream_data"
	TypeAcknowledge = "acknowledge"
	TypeClosed      = "channel_closed"
)

// PayloadType says what is in a message of a stream.
type PayloadType uint32

// Payload types.
const (
	PayloadOutput            PayloadType = 1 // bytes of the terminal, in both directions
	PayloadError             PayloadType = 2
	PayloadSize              PayloadType = 3 // Size
	PayloadHandshakeRequest  PayloadType = 5 // HandshakeRequest
	PayloadHandshakeResponse PayloadType = 6 // HandshakeResponse
	PayloadHandshakeComplete PayloadType = 7 // HandshakeComplete
	PayloadFlag              PayloadType = 10
	PayloadStdErr            PayloadType = 11
)

// FlagTerminate is the payload of PayloadFlag that ends a session.
const FlagTerminate uint32 = 2

// Message is a message of the data channel.
type Message struct {
	Type        string
	Sequence    int64
	Flags       uint64
	ID          uuid.UUID
	PayloadType PayloadType
	Payload     []byte
	Created     time.Time
}

// Offsets in an encoded message, big endian:
//
//	length of the header, up to the payload's length   4
//	type, filled with blanks                          32
//	schema version                                     4
//	created, in milliseconds                           8
//	sequence number                                    8
//	flags                                              8
//	id: the second half of the UUID, then the first   16
//	SHA-256 of the payload                            32
//	payload type                                       4
//	length of the payload                              4
const (
	atType        = 4
	atSchema      = atType + 32
	atCreated     = atSchema + 4
	atSequence    = atCreated + 8
	atFlags       = atSequence + 8
	atID          = atFlags + 8
	atDigest      = atID + 16
	atPayloadType = atDigest + sha256.Size
	atLength      = atPayloadType + 4
	atPayload     = atLength + 4
)

const schemaVersion = 1

// maxMessage bounds an encoded message.
const maxMessage = 1 << 20

// Encode returns the message's bytes.
func (m *Message) Encode() []byte {
	b := make([]byte, atPayload+len(m.Payload))
	binary.BigEndian.PutUint32(b, atLength)
	copy(b[atType:atSchema], m.Type+strings.Repeat(" ", atSchema-atType))
	binary.BigEndian.PutUint32(b[atSchema:], schemaVersion)
	binary.BigEndian.PutUint64(b[atCreated:], uint64(m.Created.UnixMilli()))
	binary.BigEndian.PutUint64(b[atSequence:], uint64(m.Sequence))
	binary.BigEndian.PutUint64(b[atFlags:], m.Flags)
	copy(b[atID:], m.ID[8:])
	copy(b[atID+8:], m.ID[:8])
	digest := sha256.Sum256(m.Payload)
	copy(b[atDigest:], digest[:])
	binary.BigEndian.PutUint32(b[atPayloadType:], uint32(m.PayloadType))
	binary.BigEndian.PutUint32(b[atLength:], uint32(len(m.Payload)))
	copy(b[atPayload:], m.Payload)
	return b
}

// Parse reads an encoded message. The payload is a part of b.
func Parse(b []byte) (Message, error) {
	if len(b) < atPayload {
		return Message{}, fmt.Errorf("message of %d bytes: want at least %d", len(b), atPayload)
	}
	header := binary.BigEndian.Uint32(b)
	if header < atLength || uint64(header)+4 > uint64(len(b)) {
		return Message{}, fmt.Errorf("message with a header of %d bytes: want %d", header, atLength)
	}
	m := Message{
		Type:     strings.TrimSpace(strings.Trim(string(b[atType:atSchema]), "\x00")),
		Created:  time.UnixMilli(int64(binary.BigEndian.Uint64(b[atCreated:]))),
		Sequence: int64(binary.BigEndian.Uint64(b[atSequence:])), Flags: binary.BigEndian.Uint64(b[atFlags:]),
		PayloadType: PayloadType(binary.BigEndian.Uint32(b[atPayloadType:])), Payload: b[header+4:],
	}
	copy(m.ID[8:], b[atID:])
	copy(m.ID[:8], b[atID+8:atDigest])
	if n := binary.BigEndian.Uint32(b[atLength:]); uint64(n) != uint64(len(m.Payload)) {
		return Message{}, fmt.Errorf("message %q says that its payload has %d bytes, and it has %d", m.Type, n, len(m.Payload))
	}
	if digest := sha256.Sum256(m.Payload); len(m.Payload) > 0 && !bytes.Equal(digest[:], b[atDigest:atPayloadType]) {
		return Message{}, fmt.Errorf("message %q has not the digest of its payload", m.Type)
	}
	return m, nil
}

// NewMessage makes a message with an id and the present time.
func NewMessage(kind string, payload PayloadType, content []byte) Message {
	return Message{Type: kind, ID: uuid.New(), Created: time.Now(), PayloadType: payload, Payload: content}
}

// Acknowledge is the payload of TypeAcknowledge.
type Acknowledge struct {
	Type       string `json:"AcknowledgedMessageType"`
	ID         string `json:"AcknowledgedMessageId"`
	Sequence   int64  `json:"AcknowledgedMessageSequenceNumber"`
	Sequential bool   `json:"IsSequentialMessage"`
}

// Closed is the payload of TypeClosed.
type Closed struct {
	MessageID     string `json:"MessageId"`
	CreatedDate   string
	DestinationID string `json:"DestinationId"`
	SessionID     string `json:"SessionId"`
	MessageType   string
	SchemaVersion int
	Output        string // why, unless the command just ended
	// ExitCode is the command's; the local ECS alone tells it.
	ExitCode *int `json:",omitempty"`
}

// NewClosed makes the message that ends a session.
func NewClosed(sessionID, output string, exitCode *int) Message {
	m := NewMessage(TypeClosed, 0, nil)
	m.Payload = Encode(Closed{
		MessageID: m.ID.String(), CreatedDate: fmt.Sprint(m.Created.UnixMilli()), SessionID: sessionID,
		MessageType: TypeClosed, SchemaVersion: schemaVersion, Output: output, ExitCode: exitCode,
	})
	return m
}

// Size is the size of a terminal.
type Size struct {
	Cols uint32 `json:"cols"`
	Rows uint32 `json:"rows"`
}

// HandshakeRequest is how the agent begins.
type HandshakeRequest struct {
	AgentVersion           string
	RequestedClientActions []RequestedAction
}

// RequestedAction is something that the client must do or know before the session begins.
type RequestedAction struct {
	ActionType       string
	ActionParameters json.RawMessage
}

// ActionSessionType tells the type of the session, the only action that is asked for.
const ActionSessionType = "SessionType"

// InteractiveCommands is the type of sessions with a command and a terminal.
const InteractiveCommands = "InteractiveCommands"

// HandshakeResponse is the client's answer.
type HandshakeResponse struct {
	ClientVersion          string
	ProcessedClientActions []ProcessedAction
	Errors                 []string
}

// ProcessedAction is what became of a RequestedAction.
type ProcessedAction struct {
	ActionType   string
	ActionStatus int // 1: done, 2: failed, 3: not supported
	ActionResult json.RawMessage
	Error        string
}

// What became of an action.
const (
	ActionDone        = 1
	ActionUnsupported = 3
)

// HandshakeComplete ends the handshake.
type HandshakeComplete struct {
	HandshakeTimeToComplete time.Duration
	CustomerMessage         string
}

// OpenDataChannel is the text with which a client presents itself.
type OpenDataChannel struct {
	MessageSchemaVersion string
	RequestID            string `json:"RequestId"`
	TokenValue           string
	ClientID             string `json:"ClientId"`
	ClientVersion        string
}

// Encode makes JSON of the values of this package, which never fails.
func Encode(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}
