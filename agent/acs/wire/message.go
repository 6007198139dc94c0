package wire

import (
	"encoding/json"
	"time"

	"ecsagent/agent/credentials"
	"ecsagent/agent/network"
	"ecsagent/agent/update"
)

// Type names of the messages (docs/spec/01 section 2.7).
const (
	TypeHeartbeat            = "HeartbeatMessage"
	TypeHeartbeatAck         = "HeartbeatAckRequest"
	TypePayload              = "PayloadMessage"
	TypeClose                = "CloseMessage"
	TypeError                = "ErrorMessage"
	TypeAck                  = "AckRequest"
	TypeNack                 = "NackRequest"
	TypePerformUpdate        = "PerformUpdateMessage"
	TypeStageUpdate          = "StageUpdateMessage"
	TypeCredentials          = "IAMRoleCredentialsMessage"
	TypeCredentialsAck       = "IAMRoleCredentialsAckRequest"
	TypeAttachTaskENI        = "AttachTaskNetworkInterfacesMessage"
	TypeAttachInstanceENI    = "AttachInstanceNetworkInterfacesMessage"
	TypeConfirmAttachment    = "ConfirmAttachmentMessage"
	TypeManifest             = "TaskManifestMessage"
	TypeStopVerification     = "TaskStopVerificationMessage"
	TypeStopVerificationAck  = "TaskStopVerificationAck"
	defaultAttachmentTimeout = 300 * time.Second
)

// Message is one of the messages that ACS sends: Heartbeat, Payload, Credentials,
// Attach, Manifest, StopVerificationAck, StageUpdate, PerformUpdate, Close, Notice,
// *Exception, or Ignored.
type Message any

// Heartbeat asks for a sign of life.
type Heartbeat struct{ ID string }

// Origin is what a message says of itself; an ack returns it.
type Origin struct {
	ID       string
	Cluster  string
	Instance string
}

// Payload carries work.
type Payload struct {
	Origin
	Seq   int64             // 0 when it has none
	Tasks []json.RawMessage // for ParseTask
}

// Credentials refreshes the credentials of one role of a task.
type Credentials struct {
	ID  string
	Set credentials.Set
	// HasExpiration tells "" from absent, because the ack echoes it.
	HasExpiration bool
}

// Attach announces interfaces or a volume that will show up within Wait.
type Attach struct {
	Origin
	Wait        time.Duration
	Attachments []network.Attachment // the receiver sets ExpiresAt
	// Unhandled is the type of an attachment that this agent acknowledges but does
	// nothing with; empty otherwise.
	Unhandled string
}

// TaskIdentifier names a task in a manifest or a stop verification.
type TaskIdentifier struct {
	TaskARN       string `json:"taskArn"`
	ClusterARN    string `json:"taskClusterArn,omitempty"`
	DesiredStatus string `json:"desiredStatus,omitempty"`
}

// Manifest lists what should be on the instance.
type Manifest struct {
	Origin
	Timeline int64
	Tasks    []TaskIdentifier
}

// StopVerificationAck says which of the tasks that were offered have to stop.
type StopVerificationAck struct {
	ID        string
	StopTasks []TaskIdentifier
}

// StageUpdate and PerformUpdate steer updates of the agent.
type (
	StageUpdate   struct{ update.Message }
	PerformUpdate struct{ update.Message }
)

// Close asks the agent to connect anew.
type Close struct{ Text string }

// Notice is an ErrorMessage: something for the log.
type Notice struct{ Text string }

// Ignored is a message of a known type that needs no answer.
type Ignored struct{ Type string }

// Messages that the agent sends. Each is the "message" member of a frame.
type (
	// HeartbeatAck answers a Heartbeat.
	HeartbeatAck struct {
		MessageID string `json:"messageId,omitempty"`
	}
	// Ack accepts a message.
	Ack struct {
		Cluster           string `json:"cluster,omitempty"`
		ContainerInstance string `json:"containerInstance,omitempty"`
		MessageID         string `json:"messageId,omitempty"`
	}
	// Nack refuses a message.
	Nack struct {
		Ack
		Reason string `json:"reason"`
	}
	// CredentialsAck accepts a set of credentials.
	CredentialsAck struct {
		MessageID     string  `json:"messageId"`
		Expiration    *string `json:"expiration,omitempty"`
		CredentialsID string  `json:"credentialsId"`
	}
	// StopVerification offers tasks that the manifest does not want.
	StopVerification struct {
		MessageID      string           `json:"messageId"`
		StopCandidates []TaskIdentifier `json:"stopCandidates"`
	}
)

// Ack returns the acknowledgement of the message.
func (o Origin) Ack() Ack {
	return Ack{Cluster: o.Cluster, ContainerInstance: o.Instance, MessageID: o.ID}
}

// typeName returns the type of a message that the agent sends.
func typeName(m any) string {
	switch m.(type) {
	case HeartbeatAck:
		return TypeHeartbeatAck
	case Ack:
		return TypeAck
	case Nack:
		return TypeNack
	case CredentialsAck:
		return TypeCredentialsAck
	case StopVerification:
		return TypeStopVerification
	default:
		return ""
	}
}
