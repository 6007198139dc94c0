package tcs

import (
	"math"
	"math/bits"
	"strconv"
	"time"

	"ecsagent/agent/stats"
)

// Type names of the messages (docs/spec/01 section 4.2).
const (
	typeMetrics        = "PublishMetricsRequest"
	typeHealth         = "PublishHealthRequest"
	typeInstanceStatus = "PublishInstanceStatusRequest"

	typeAckMetric         = "AckPublishMetric"
	typeAckHealth         = "AckPublishHealth"
	typeAckInstanceStatus = "AckPublishInstanceStatus"
	typeHeartbeat         = "HeartbeatMessage"
	typeStop              = "StopTelemetrySessionMessage"
)

// epoch is a time in seconds since 1970, with milliseconds as the fraction.
type epoch time.Time

// MarshalJSON implements json.Marshaler.
func (e epoch) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(time.Time(e).UnixMilli())/1000, 'f', -1, 64), nil
}

type metricsMessage struct {
	Metadata  metricsMetadata `json:"metadata"`
	Tasks     []taskMetric    `json:"taskMetrics,omitempty"`
	Timestamp epoch           `json:"timestamp"`
}

type metricsMetadata struct {
	Cluster           string `json:"cluster"`
	ContainerInstance string `json:"containerInstance"`
	MessageID         string `json:"messageId"`
	Idle              bool   `json:"idle"`
	Fin               bool   `json:"fin"`
}

type taskMetric struct {
	ARN        string            `json:"taskArn"`
	Family     string            `json:"taskDefinitionFamily"`
	Version    string            `json:"taskDefinitionVersion"`
	Containers []containerMetric `json:"containerMetrics"`
	Volumes    []volumeMetric    `json:"volumeMetrics,omitempty"`
	Connect    []connectGroup    `json:"serviceConnectMetricsWrapper,omitempty"`
}

type volumeMetric struct {
	ID   string   `json:"volumeId"`
	Name string   `json:"volumeName"`
	Used floatSet `json:"utilized"` // bytes
	Size floatSet `json:"size"`     // bytes
}

type connectGroup struct {
	Dimensions []dimension     `json:"dimensions"`
	Metrics    []generalMetric `json:"generalMetrics"`
	Type       string          `json:"metricType,omitempty"`
}

type dimension struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type generalMetric struct {
	Name   string    `json:"metricName"`
	Values []float64 `json:"metricValues"`
	Counts []int64   `json:"metricCounts"`
}

type containerMetric struct {
	Name    string      `json:"containerName"`
	CPU     floatSet    `json:"cpuStatsSet"`
	Memory  floatSet    `json:"memoryStatsSet"`
	Storage storageSet  `json:"storageStatsSet"`
	Network *networkSet `json:"networkStatsSet,omitempty"`
	Restart *restartSet `json:"restartStatsSet,omitempty"`
}

// floatSet is CWStatsSet and UDoubleCWStatsSet.
type floatSet struct {
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Count int     `json:"sampleCount"`
	Sum   float64 `json:"sum"`
}

// longSet is ULongStatsSet.
type longSet struct {
	Min         int64 `json:"min"`
	Max         int64 `json:"max"`
	Count       int   `json:"sampleCount"`
	Sum         int64 `json:"sum"`
	OverflowMin int64 `json:"overflowMin"`
	OverflowMax int64 `json:"overflowMax"`
	OverflowSum int64 `json:"overflowSum"`
}

type storageSet struct {
	Read  longSet `json:"readSizeBytes"`
	Write longSet `json:"writeSizeBytes"`
}

type networkSet struct {
	RxBytes   longSet   `json:"rxBytes"`
	RxDropped longSet   `json:"rxDropped"`
	RxErrors  longSet   `json:"rxErrors"`
	RxPackets longSet   `json:"rxPackets"`
	TxBytes   longSet   `json:"txBytes"`
	TxDropped longSet   `json:"txDropped"`
	TxErrors  longSet   `json:"txErrors"`
	TxPackets longSet   `json:"txPackets"`
	RxRate    *floatSet `json:"rxBytesPerSecond,omitempty"`
	TxRate    *floatSet `json:"txBytesPerSecond,omitempty"`
}

type restartSet struct {
	Count int `json:"restartCount"`
}

type healthMessage struct {
	Metadata  healthMetadata `json:"metadata"`
	Tasks     []taskHealth   `json:"tasks"`
	Timestamp epoch          `json:"timestamp"`
}

type healthMetadata struct {
	Cluster           string `json:"cluster"`
	ContainerInstance string `json:"containerInstance"`
	MessageID         string `json:"messageId"`
	Fin               bool   `json:"fin"`
}

type taskHealth struct {
	ARN        string            `json:"taskArn"`
	Family     string            `json:"taskDefinitionFamily"`
	Version    string            `json:"taskDefinitionVersion"`
	Containers []containerHealth `json:"containers"`
}

type containerHealth struct {
	Name   string `json:"containerName"`
	Health string `json:"healthStatus"`
	Since  epoch  `json:"statusSince"`
}

type statusMessage struct {
	Metadata  statusMetadata  `json:"metadata"`
	Statuses  []checkedStatus `json:"statuses"`
	Timestamp epoch           `json:"timestamp"`
}

type statusMetadata struct {
	Cluster           string `json:"cluster"`
	ContainerInstance string `json:"containerInstance"`
	RequestID         string `json:"requestId"`
}

type checkedStatus struct {
	Type        string `json:"type"`
	Status      string `json:"status"`
	LastUpdated epoch  `json:"lastUpdated"`
	LastChange  epoch  `json:"lastStatusChange"`
}

func newTaskMetric(u stats.TaskUsage) taskMetric {
	t := taskMetric{ARN: u.ARN, Family: u.Family, Version: u.Version, Containers: make([]containerMetric, len(u.Containers))}
	for i := range u.Containers {
		t.Containers[i] = newContainerMetric(&u.Containers[i])
	}
	for _, v := range u.Volumes {
		t.Volumes = append(t.Volumes, volumeMetric{ID: v.ID, Name: v.Name, Used: sample(v.Used), Size: sample(v.Size)})
	}
	for _, g := range u.Connect {
		out := connectGroup{Type: g.Type, Dimensions: make([]dimension, len(g.Dimensions))}
		for i, d := range g.Dimensions {
			out.Dimensions[i] = dimension(d)
		}
		for _, m := range g.Metrics {
			out.Metrics = append(out.Metrics, generalMetric(m))
		}
		t.Connect = append(t.Connect, out)
	}
	return t
}

func newContainerMetric(u *stats.ContainerUsage) containerMetric {
	c := containerMetric{
		Name: u.Name, CPU: newFloatSet(u.CPU), Memory: newFloatSet(u.Memory),
		Storage: storageSet{Read: newLongSet(u.Read), Write: newLongSet(u.Written)},
	}
	if u.Restarts != nil {
		c.Restart = &restartSet{*u.Restarts}
	}
	if n := u.Network; n != nil {
		c.Network = &networkSet{
			RxBytes: newLongSet(n.RxBytes), RxDropped: newLongSet(n.RxDropped), RxErrors: newLongSet(n.RxErrors), RxPackets: newLongSet(n.RxPackets),
			TxBytes: newLongSet(n.TxBytes), TxDropped: newLongSet(n.TxDropped), TxErrors: newLongSet(n.TxErrors), TxPackets: newLongSet(n.TxPackets),
			RxRate: someFloatSet(n.RxRate), TxRate: someFloatSet(n.TxRate),
		}
	}
	return c
}

func newFloatSet(s stats.FloatSet) floatSet {
	return floatSet{Min: s.Min, Max: s.Max, Count: s.Count, Sum: s.Sum}
}

// sample is the set of one value.
func sample(value uint64) floatSet {
	v := float64(value)
	return floatSet{Min: v, Max: v, Count: 1, Sum: v}
}

// someFloatSet leaves out a set without values.
func someFloatSet(s stats.FloatSet) *floatSet {
	if s.Count == 0 {
		return nil
	}
	f := newFloatSet(s)
	return &f
}

func newLongSet(s stats.CountSet) longSet {
	out := longSet{Count: s.Count}
	out.Min, out.OverflowMin = split(0, s.Min)
	out.Max, out.OverflowMax = split(0, s.Max)
	out.Sum, out.OverflowSum = split(s.SumHi, s.SumLo)
	return out
}

// split cuts an unsigned number into what a long can hold and the overflow
// (docs/spec/01 section 4.4).
func split(hi, lo uint64) (value, overflow int64) {
	const limit = math.MaxInt64
	if hi == 0 && lo <= limit {
		return int64(lo), 0
	}
	_, hi = bits.Div64(0, hi, limit)
	_, rest := bits.Div64(hi, lo, limit)
	return limit, int64(rest)
}
