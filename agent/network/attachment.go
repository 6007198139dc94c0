package network

import (
	"fmt"
	"strings"
	"time"
)

// Kind is what is attached.
type Kind string

// Kinds of attachments. The names are those of the state file.
const (
	TaskENI     Kind = "task-eni"
	InstanceENI Kind = "instance-eni"
	EBSVolume   Kind = "amazonebs"
)

// Status is how far an attachment has come.
type Status uint8

// Statuses of an attachment.
const (
	StatusNone Status = iota
	StatusAttached
)

// String returns the name that ECS uses.
func (s Status) String() string {
	if s == StatusAttached {
		return "ATTACHED"
	}
	return "NONE"
}

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Status) UnmarshalText(text []byte) error {
	switch string(text) {
	case "NONE", "":
		*s = StatusNone
	case "ATTACHED":
		*s = StatusAttached
	default:
		return fmt.Errorf("unrecognized attachment status %q: want NONE or ATTACHED", text)
	}
	return nil
}

// Attachment is the record of one attachment. It is durable.
type Attachment struct {
	Kind     Kind
	ARN      string
	MAC      string `json:",omitempty"` // of an interface, lower case
	VolumeID string `json:",omitempty"` // of a volume
	TaskARN  string `json:",omitempty"` // empty for an instance ENI
	Cluster  string `json:",omitempty"`
	Instance string `json:",omitempty"`

	ExpiresAt time.Time
	Status    Status
	Sent      bool `json:",omitempty"` // ECS has accepted ATTACHED

	// Properties are those that came with a volume.
	Properties map[string]string `json:",omitempty"`
}

// Key identifies the device: the MAC of an interface, the id of a volume. It is
// the key of the record in memory and in the store.
func (a *Attachment) Key() string {
	if a.Kind == EBSVolume {
		return a.VolumeID
	}
	return strings.ToLower(a.MAC)
}
