package telemetry

import "time"

// Kinds of messages (docs/spec/01 section 4.2).
const (
	KindMetrics        = "PublishMetricsRequest"
	KindHealth         = "PublishHealthRequest"
	KindInstanceStatus = "PublishInstanceStatusRequest"
)

// Metrics is a PublishMetricsRequest. Members that have to be there are pointers, so
// that one that is not shows.
type Metrics struct {
	Metadata  *Metadata `json:"metadata"`
	Tasks     []Task    `json:"taskMetrics"`
	Timestamp *float64  `json:"timestamp"` // seconds since 1970
}

// Metadata says who publishes, and what.
type Metadata struct {
	Cluster           string `json:"cluster"`
	ContainerInstance string `json:"containerInstance"`
	MessageID         string `json:"messageId"`
	RequestID         string `json:"requestId"` // of an instance status, instead of MessageID
	Idle              *bool  `json:"idle"`
	Fin               *bool  `json:"fin"`
}

// Task is the usage of one task.
type Task struct {
	ARN            string      `json:"taskArn"`
	Family         string      `json:"taskDefinitionFamily"`
	Version        string      `json:"taskDefinitionVersion"`
	Containers     []Container `json:"containerMetrics"`
	Volumes        []Volume    `json:"volumeMetrics,omitempty"`
	ServiceConnect []any       `json:"serviceConnectMetricsWrapper,omitempty"`
}

// Volume is how full an EBS volume is, in bytes.
type Volume struct {
	ID   string `json:"volumeId"`
	Name string `json:"volumeName"`
	Used *Set   `json:"utilized"`
	Size *Set   `json:"size"`
}

// Container is the usage of one container.
type Container struct {
	Name    string   `json:"containerName"`
	CPU     *Set     `json:"cpuStatsSet"`    // percent of the host
	Memory  *Set     `json:"memoryStatsSet"` // MiB
	Storage *Storage `json:"storageStatsSet,omitempty"`
	Network *Network `json:"networkStatsSet,omitempty"`
	Restart *Restart `json:"restartStatsSet,omitempty"`
}

// Set is a statistic set of measurements.
type Set struct {
	Min   *float64 `json:"min"`
	Max   *float64 `json:"max"`
	Count *int64   `json:"sampleCount"`
	Sum   *float64 `json:"sum"`
}

// LongSet is a statistic set of counter values.
type LongSet struct {
	Min         *int64 `json:"min"`
	Max         *int64 `json:"max"`
	Count       *int64 `json:"sampleCount"`
	Sum         *int64 `json:"sum"`
	OverflowMin *int64 `json:"overflowMin"`
	OverflowMax *int64 `json:"overflowMax"`
	OverflowSum *int64 `json:"overflowSum"`
}

// Storage is block I/O, in bytes since the container was made.
type Storage struct {
	Read  *LongSet `json:"readSizeBytes"`
	Write *LongSet `json:"writeSizeBytes"`
}

// Network is traffic over all interfaces.
type Network struct {
	RxBytes   *LongSet `json:"rxBytes"`
	RxDropped *LongSet `json:"rxDropped"`
	RxErrors  *LongSet `json:"rxErrors"`
	RxPackets *LongSet `json:"rxPackets"`
	TxBytes   *LongSet `json:"txBytes"`
	TxDropped *LongSet `json:"txDropped"`
	TxErrors  *LongSet `json:"txErrors"`
	TxPackets *LongSet `json:"txPackets"`
	RxRate    *Set     `json:"rxBytesPerSecond,omitempty"`
	TxRate    *Set     `json:"txBytesPerSecond,omitempty"`
}

// Restart counts restarts since the message before.
type Restart struct {
	Count *int64 `json:"restartCount"`
}

// Health is a PublishHealthRequest.
type Health struct {
	Metadata  *Metadata    `json:"metadata"`
	Tasks     []TaskHealth `json:"tasks"`
	Timestamp *float64     `json:"timestamp"`
}

// TaskHealth is the health of a task's containers.
type TaskHealth struct {
	ARN        string            `json:"taskArn"`
	Family     string            `json:"taskDefinitionFamily"`
	Version    string            `json:"taskDefinitionVersion"`
	Containers []ContainerHealth `json:"containers"`
}

// ContainerHealth is the health of one container.
type ContainerHealth struct {
	Name   string   `json:"containerName"`
	Status string   `json:"healthStatus"`
	Since  *float64 `json:"statusSince"`
}

// InstanceStatus is a PublishInstanceStatusRequest.
type InstanceStatus struct {
	Metadata  *Metadata `json:"metadata"`
	Statuses  []Status  `json:"statuses"`
	Timestamp *float64  `json:"timestamp"`
}

// Status is the result of one check of the instance.
type Status struct {
	Type    string   `json:"type"`
	Status  string   `json:"status"`
	Updated *float64 `json:"lastUpdated"`
	Changed *float64 `json:"lastStatusChange"`
}

func timeOf(seconds float64) time.Time { return time.UnixMilli(int64(seconds * 1000)).UTC() }
