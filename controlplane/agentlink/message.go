package agentlink

import (
	"encoding/json"
	"fmt"
	"strings"

	"ecsagent/controlplane/wire"
)

// Type names of the messages on ACS and TCS (docs/spec/01 sections 2.7 and 4.2).
const (
	typeHeartbeat      = "HeartbeatMessage"
	typeHeartbeatAck   = "HeartbeatAckRequest"
	typePayload        = "PayloadMessage"
	typeAttach         = "AttachTaskNetworkInterfacesMessage"
	typeConfirm        = "ConfirmAttachmentMessage"
	typeStageUpdate    = "StageUpdateMessage"
	typePerformUpdate  = "PerformUpdateMessage"
	typeAck            = "AckRequest"
	typeNack           = "NackRequest"
	typeCredentials    = "IAMRoleCredentialsMessage"
	typeCredentialsAck = "IAMRoleCredentialsAckRequest"
	typeManifest       = "TaskManifestMessage"
	typeVerify         = "TaskStopVerificationMessage"
	typeVerifyAck      = "TaskStopVerificationAck"

	typePublishMetrics        = "PublishMetricsRequest"
	typePublishHealth         = "PublishHealthRequest"
	typePublishInstanceStatus = "PublishInstanceStatusRequest"
	typeAckMetric             = "AckPublishMetric"
	typeAckHealth             = "AckPublishHealth"
	typeAckInstanceStatus     = "AckPublishInstanceStatus"
)

// envelope is the outer object of every message (docs/spec/01 section 2.5).
type envelope struct {
	Type    string          `json:"type"`
	Message json.RawMessage `json:"message"`
}

type heartbeat struct {
	MessageID string `json:"messageId"`
	Healthy   bool   `json:"healthy"`
}

type payloadMessage struct {
	MessageID            string            `json:"messageId"`
	ClusterARN           string            `json:"clusterArn"`
	ContainerInstanceARN string            `json:"containerInstanceArn"`
	SeqNum               int64             `json:"seqNum"`
	GeneratedAt          int64             `json:"generatedAt"` // milliseconds since 1970
	Tasks                []json.RawMessage `json:"tasks"`
}

type attachMessage struct {
	MessageID            string                  `json:"messageId"`
	ClusterARN           string                  `json:"clusterArn"`
	ContainerInstanceARN string                  `json:"containerInstanceArn"`
	TaskARN              string                  `json:"taskArn"`
	TaskClusterARN       string                  `json:"taskClusterArn"`
	GeneratedAt          int64                   `json:"generatedAt"`   // milliseconds since 1970
	WaitTimeout          int64                   `json:"waitTimeoutMs"` // milliseconds
	Interfaces           []wire.NetworkInterface `json:"elasticNetworkInterfaces"`
}

type confirmMessage struct {
	MessageID            string           `json:"messageId"`
	ClusterARN           string           `json:"clusterArn"`
	ContainerInstanceARN string           `json:"containerInstanceArn"`
	TaskARN              string           `json:"taskArn"`
	TaskClusterARN       string           `json:"taskClusterArn"`
	GeneratedAt          int64            `json:"generatedAt"`   // milliseconds since 1970
	WaitTimeout          int64            `json:"waitTimeoutMs"` // milliseconds
	Attachment           *wire.Attachment `json:"attachment"`
}

type updateMessage struct {
	MessageID            string      `json:"messageId"`
	ClusterARN           string      `json:"clusterArn"`
	ContainerInstanceARN string      `json:"containerInstanceArn"`
	UpdateInfo           wire.Update `json:"updateInfo"`
}

type manifestMessage struct {
	MessageID            string                `json:"messageId"`
	ClusterARN           string                `json:"clusterArn"`
	ContainerInstanceARN string                `json:"containerInstanceArn"`
	Timeline             int64                 `json:"timeline"`
	GeneratedAt          int64                 `json:"generatedAt"` // milliseconds since 1970
	Tasks                []wire.TaskIdentifier `json:"tasks"`
}

type verifyMessage struct {
	MessageID      string                `json:"messageId"`
	StopCandidates []wire.TaskIdentifier `json:"stopCandidates"`
}

type verifyAck struct {
	MessageID   string                `json:"messageId"`
	GeneratedAt int64                 `json:"generatedAt"` // milliseconds since 1970
	StopTasks   []wire.TaskIdentifier `json:"stopTasks"`
}

type credentialsMessage struct {
	MessageID string `json:"messageId"`
	wire.CredentialsMessage
}

// acknowledgement holds the members of AckRequest, NackRequest and the two
// special acks; each sets those it has (docs/spec/01 section 2.7).
type acknowledgement struct {
	MessageID     string `json:"messageId"`
	Reason        string `json:"reason"`
	CredentialsID string `json:"credentialsId"`
	Expiration    string `json:"expiration"`
}

type exceptionBody struct {
	Message string `json:"message"`
}

// encode renders a message with its envelope.
func encode(typeName string, message any) ([]byte, error) {
	body, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", typeName, err)
	}
	return json.Marshal(envelope{Type: typeName, Message: body})
}

// decode reads a message's envelope.
func decode(frame []byte) (envelope, error) {
	var e envelope
	if err := json.Unmarshal(frame, &e); err != nil {
		return envelope{}, fmt.Errorf("decode frame of %d bytes: %w", len(frame), err)
	}
	if e.Type == "" {
		return envelope{}, fmt.Errorf("decode frame of %d bytes: it has no type", len(frame))
	}
	return e, nil
}

// clusterARN derives the ARN of an instance's cluster from the instance's own:
// arn:aws:ecs:REGION:ACCOUNT:container-instance/CLUSTER/ID. It falls back to the
// cluster as the agent named it.
func clusterARN(instanceARN, named string) string {
	prefix, resource, ok := strings.Cut(instanceARN, ":container-instance/")
	if !ok {
		return named
	}
	cluster, _, ok := strings.Cut(resource, "/")
	if !ok {
		return named
	}
	return prefix + ":cluster/" + cluster
}
