package ecsapi

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Time is a moment on the wire: seconds since 1970 as a number whose fraction is
// cut to milliseconds, such as 1735787045.123. The zero Time is left out.
type Time struct{ time.Time }

// At wraps a time for an input.
func At(t time.Time) Time { return Time{t} }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	ms := t.UnixMilli()
	sign := ""
	if ms < 0 {
		sign, ms = "-", -ms
	}
	text := sign + strconv.FormatInt(ms/1000, 10)
	if ms%1000 != 0 {
		text += strings.TrimRight(fmt.Sprintf(".%03d", ms%1000), "0")
	}
	return []byte(text), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Time) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	seconds, err := strconv.ParseFloat(string(data), 64)
	if err != nil || !(math.Abs(seconds) <= 1<<40) { // also true for NaN
		return fmt.Errorf("read time %.40s: want seconds since 1970", data)
	}
	t.Time = time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
	return nil
}

// Attribute is a property of a container instance.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Tag is a tag of an ECS resource.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Resource is an amount of something the instance has (docs/spec/01 section 1.4.2).
type Resource struct {
	Name         string `json:"name"`
	Type         string `json:"type"`
	IntegerValue int64  `json:"integerValue,omitempty"`
	// StringSetValue is sent even when empty, unless nil.
	StringSetValue []string `json:"stringSetValue,omitzero"`
}

// PlatformDevice is a device of the instance, such as a GPU.
type PlatformDevice struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// Failure is a resource that an operation could not act on.
type Failure struct {
	ARN    string `json:"arn"`
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// NetworkBinding is a published port or range of ports (docs/spec/01 section
// 1.10.1): either the two ports or the two ranges are set.
type NetworkBinding struct {
	BindIP             string `json:"bindIP,omitempty"`
	ContainerPort      int    `json:"containerPort,omitempty"`
	ContainerPortRange string `json:"containerPortRange,omitempty"`
	HostPort           int    `json:"hostPort,omitempty"`
	HostPortRange      string `json:"hostPortRange,omitempty"`
	Protocol           string `json:"protocol,omitempty"`
}

// ContainerStateChange is one container within a task state change.
type ContainerStateChange struct {
	ContainerName   string           `json:"containerName"`
	ExitCode        *int             `json:"exitCode,omitempty"`
	ImageDigest     string           `json:"imageDigest,omitempty"`
	NetworkBindings []NetworkBinding `json:"networkBindings,omitzero"` // sent even when empty, unless nil
	Reason          string           `json:"reason,omitempty"`
	RuntimeID       string           `json:"runtimeId,omitempty"`
	Status          string           `json:"status"`
}

// ManagedAgentStateChange is one managed agent within a task state change.
type ManagedAgentStateChange struct {
	ContainerName    string `json:"containerName"`
	ManagedAgentName string `json:"managedAgentName"`
	Reason           string `json:"reason"`
	Status           string `json:"status"`
}

// AttachmentStateChange is one attachment that the agent has seen.
type AttachmentStateChange struct {
	AttachmentARN string `json:"attachmentArn"`
	Status        string `json:"status"`
}
