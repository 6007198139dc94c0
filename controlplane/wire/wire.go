// Package wire holds the small types that pass between the control plane's
// service, which decides, and its agent link, which speaks to agents: payloads,
// task identities, credentials and the exceptions of the agent channel
// (docs/spec/01 sections 2.6 to 2.9).
package wire

import (
	"encoding/json"
	"time"
)

// Payload is work for one container instance. The agent link gives it a message
// id and a sequence number and sends it until the agent acknowledges it.
type Payload struct {
	// Tasks are the payload's tasks as the agent reads them (docs/spec/01 section
	// 2.9.3), in order.
	Tasks []json.RawMessage
}

// Update is another version of the agent (docs/spec/01 section 2.8.7).
type Update struct {
	Location  string `json:"location"`
	Signature string `json:"signature"` // SHA-256 in lower-case hexadecimal
}

// Announcement tells an agent that a network interface or a volume for a task will appear,
// and until when the agent may confirm it (docs/spec/05 section 2.2, 01 section 2.8.4).
type Announcement struct {
	TaskARN        string
	TaskClusterARN string
	Wait           time.Duration
	Interface      NetworkInterface
	Attachment     *Attachment // nil: it is the Interface
}

// Attachment is what is attached to an instance for a task, other than interfaces, as agents
// read it (docs/spec/01 sections 2.8.4 and 2.9.8).
type Attachment struct {
	ARN        string     `json:"attachmentArn"`
	Type       string     `json:"attachmentType"`
	Properties []Property `json:"attachmentProperties"`
}

// Property is one of an Attachment.
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// NetworkInterface is an elastic network interface as agents read it (docs/spec/05
// section 2.2).
type NetworkInterface struct {
	AttachmentARN string        `json:"attachmentArn,omitempty"`
	EC2ID         string        `json:"ec2Id"`
	MAC           string        `json:"macAddress"`
	IPv4          []IPv4Address `json:"ipv4Addresses,omitempty"`
	IPv6          []IPv6Address `json:"ipv6Addresses,omitempty"`
	Gateway       string        `json:"subnetGatewayIpv4Address,omitempty"` // with the subnet's prefix length
	Gateway6      string        `json:"subnetGatewayIpv6Address,omitempty"`
	DNSName       string        `json:"privateDnsName,omitempty"`
}

// IPv4Address is an address of a NetworkInterface.
type IPv4Address struct {
	Primary bool   `json:"primary"`
	Address string `json:"privateAddress"`
}

// IPv6Address is an address of a NetworkInterface.
type IPv6Address struct {
	Primary bool   `json:"primary"`
	Address string `json:"address"`
}

// TaskIdentifier names a task and what should become of it, in manifests and in
// stop verifications (docs/spec/01 sections 2.8.5 and 2.8.6).
type TaskIdentifier struct {
	TaskARN        string `json:"taskArn"`
	TaskClusterARN string `json:"taskClusterArn"`
	DesiredStatus  string `json:"desiredStatus"` // RUNNING or STOPPED
}

// Role types of a CredentialsMessage.
const (
	RoleTaskApplication = "TaskApplication"
	RoleTaskExecution   = "TaskExecution"
)

// CredentialsMessage is an IAMRoleCredentialsMessage without its message id,
// which the agent link gives it (docs/spec/01 section 2.8.2).
type CredentialsMessage struct {
	TaskARN         string          `json:"taskArn"`
	TaskClusterARN  string          `json:"taskClusterArn"`
	RoleType        string          `json:"roleType"`
	RoleCredentials RoleCredentials `json:"roleCredentials"`
}

// RoleCredentials are the keys of a task's role (docs/spec/01 section 2.8.2).
// The control plane makes them up; they open nothing.
type RoleCredentials struct {
	CredentialsID   string `json:"credentialsId"`
	RoleARN         string `json:"roleArn"`
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	SessionToken    string `json:"sessionToken"`
	Expiration      string `json:"expiration"` // RFC 3339, UTC
}

// Types of Exception, as an agent knows them (docs/spec/01 section 2.6).
const (
	InactiveInstance = "InactiveInstanceException"
	InvalidInstance  = "InvalidInstanceException"
	InvalidCluster   = "InvalidClusterException"
	AccessDenied     = "AccessDeniedException"
	Server           = "ServerException"
	BadRequest       = "BadRequestException"
)

// Exception is a refusal on the agent channel.
type Exception struct {
	Type    string
	Message string
}

// Error implements error.
func (e *Exception) Error() string { return e.Type + ": " + e.Message }
