package telemetry

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Limits of a message (docs/spec/01 sections 4.3 and 4.4).
const (
	maxTasks = 10
	maxBytes = 1 << 20
	// maxAge is how old, or how far in the future, a message may be.
	maxAge = 5 * time.Minute
)

// Sender is who a session belongs to.
type Sender struct {
	Cluster     string // as the session's address says
	InstanceARN string
}

// Refusal says why a message is not taken.
type Refusal struct {
	Member string
	Reason string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Member + " " + r.Reason }

func refuse(member, format string, args ...any) error {
	return &Refusal{member, fmt.Sprintf(format, args...)}
}

// Check reads a message and returns why AWS would not take it, a *Refusal; nil when
// it would.
func Check(kind string, message []byte, from Sender, now time.Time) error {
	if len(message) > maxBytes {
		return refuse("message", "has %d bytes, more than %d", len(message), maxBytes)
	}
	switch kind {
	case KindMetrics:
		m, err := read[Metrics](message)
		if err != nil {
			return err
		}
		return m.check(from, now)
	case KindHealth:
		m, err := read[Health](message)
		if err != nil {
			return err
		}
		return m.check(from, now)
	case KindInstanceStatus:
		m, err := read[InstanceStatus](message)
		if err != nil {
			return err
		}
		return m.check(from, now)
	}
	return refuse("type", "%q is not known", kind)
}

func read[T any](message []byte) (*T, error) {
	var m T
	if err := json.Unmarshal(message, &m); err != nil {
		return nil, refuse("message", "is not of the right shape: %v", err)
	}
	return &m, nil
}

// first returns the first refusal.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Metadata) check(from Sender, id func(*Metadata) (name, value string)) error {
	if m == nil {
		return refuse("metadata", "is absent")
	}
	if m.Cluster != from.Cluster {
		return refuse("metadata.cluster", "is %q, the session is of %q", m.Cluster, from.Cluster)
	}
	if m.ContainerInstance != from.InstanceARN {
		return refuse("metadata.containerInstance", "is %q, the session is of %q", m.ContainerInstance, from.InstanceARN)
	}
	name, value := id(m)
	if u, err := uuid.Parse(value); err != nil || u.Version() != 4 {
		return refuse("metadata."+name, "is %q: want a UUID of version 4", value)
	}
	return nil
}

func messageID(m *Metadata) (string, string) { return "messageId", m.MessageID }
func requestID(m *Metadata) (string, string) { return "requestId", m.RequestID }

func checkTime(member string, seconds *float64, now time.Time) error {
	if seconds == nil {
		return refuse(member, "is absent")
	}
	if age := now.Sub(timeOf(*seconds)); age > maxAge || age < -maxAge {
		return refuse(member, "%v is %s away from now, more than %s", *seconds, age.Round(time.Second), maxAge)
	}
	return nil
}

func checkPast(member string, seconds *float64, now time.Time) error {
	switch {
	case seconds == nil:
		return refuse(member, "is absent")
	case *seconds <= 0 || timeOf(*seconds).After(now.Add(maxAge)):
		return refuse(member, "is %v: want seconds since 1970", *seconds)
	}
	return nil
}

func (m *Metrics) check(from Sender, now time.Time) error {
	if err := first(m.Metadata.check(from, messageID), checkTime("timestamp", m.Timestamp, now)); err != nil {
		return err
	}
	switch idle := m.Metadata.Idle; {
	case idle == nil || m.Metadata.Fin == nil:
		return refuse("metadata", "lacks idle or fin")
	case *idle && (len(m.Tasks) > 0 || !*m.Metadata.Fin):
		return refuse("metadata.idle", "is true: want no task and fin true")
	case !*idle && len(m.Tasks) == 0:
		return refuse("taskMetrics", "is empty and the instance not idle")
	}
	seen := make(map[string]bool)
	for i := range m.Tasks {
		t := &m.Tasks[i]
		at := fmt.Sprintf("taskMetrics[%d]", i)
		if err := first(checkTask(at, t.ARN, t.Family, t.Version, i, seen), t.check(at)); err != nil {
			return err
		}
	}
	return nil
}

// checkTask checks what identifies a task, the i-th of its message.
func checkTask(at, arn, family, version string, i int, seen map[string]bool) error {
	switch {
	case i >= maxTasks:
		return refuse(at, "is one task too many: want %d at most", maxTasks)
	case !strings.HasPrefix(arn, "arn:"):
		return refuse(at+".taskArn", "is %q: want an ARN", arn)
	case seen[arn]:
		return refuse(at+".taskArn", "%q is there twice", arn)
	case family == "" || version == "":
		return refuse(at, "lacks taskDefinitionFamily or taskDefinitionVersion")
	}
	seen[arn] = true
	return nil
}

func (t *Task) check(at string) error {
	if len(t.Containers) == 0 && len(t.ServiceConnect) == 0 {
		return refuse(at+".containerMetrics", "is empty")
	}
	for i := range t.Containers {
		if err := t.Containers[i].check(fmt.Sprintf("%s.containerMetrics[%d]", at, i)); err != nil {
			return err
		}
	}
	for i := range t.Volumes {
		v, at := &t.Volumes[i], fmt.Sprintf("%s.volumeMetrics[%d]", at, i)
		if v.ID == "" || v.Name == "" {
			return refuse(at, "lacks volumeId or volumeName")
		}
		if err := first(v.Used.check(at+".utilized"), v.Size.check(at+".size")); err != nil {
			return err
		}
	}
	return nil
}

func (c *Container) check(at string) error {
	if c.Name == "" {
		return refuse(at+".containerName", "is absent")
	}
	err := first(c.CPU.check(at+".cpuStatsSet"), c.Memory.check(at+".memoryStatsSet"))
	if s := c.Storage; err == nil && s != nil {
		err = first(s.Read.check(at+".storageStatsSet.readSizeBytes"), s.Write.check(at+".storageStatsSet.writeSizeBytes"))
	}
	if c.Network != nil && err == nil {
		err = c.Network.check(at + ".networkStatsSet")
	}
	if r := c.Restart; err == nil && r != nil && (r.Count == nil || *r.Count < 0) {
		err = refuse(at+".restartStatsSet.restartCount", "is absent or negative")
	}
	return err
}

func (n *Network) check(at string) error {
	for _, s := range []struct {
		name string
		set  *LongSet
	}{
		{"rxBytes", n.RxBytes}, {"rxDropped", n.RxDropped}, {"rxErrors", n.RxErrors}, {"rxPackets", n.RxPackets},
		{"txBytes", n.TxBytes}, {"txDropped", n.TxDropped}, {"txErrors", n.TxErrors}, {"txPackets", n.TxPackets},
	} {
		if err := s.set.check(at + "." + s.name); s.set != nil && err != nil {
			return err
		}
	}
	for name, s := range map[string]*Set{"rxBytesPerSecond": n.RxRate, "txBytesPerSecond": n.TxRate} {
		if err := s.check(at + "." + name); s != nil && err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) check(at string) error {
	if s == nil {
		return refuse(at, "is absent")
	}
	if s.Min == nil || s.Max == nil || s.Count == nil || s.Sum == nil {
		return refuse(at, "lacks one of min, max, sampleCount and sum")
	}
	lo, hi, n, sum := *s.Min, *s.Max, float64(*s.Count), *s.Sum
	room := 1e-9 * (1 + math.Abs(sum)) // of adding up
	if n < 1 || lo < 0 || lo > hi || sum < n*lo-room || sum > n*hi+room {
		return refuse(at, "cannot be: min %v, max %v, sampleCount %v, sum %v", lo, hi, n, sum)
	}
	return nil
}

func (s *LongSet) check(at string) error {
	if s == nil {
		return refuse(at, "is absent")
	}
	if slices.Contains([]*int64{s.Min, s.Max, s.Count, s.Sum, s.OverflowMin, s.OverflowMax, s.OverflowSum}, nil) {
		return refuse(at, "lacks one of min, max, sampleCount, sum, overflowMin, overflowMax and overflowSum")
	}
	small := *s.Min >= 0 && *s.OverflowMin >= 0 && *s.OverflowMax >= 0 && *s.OverflowSum >= 0
	if !small || *s.Count < 1 || *s.Min > *s.Max || *s.Sum < *s.Max && *s.Max != math.MaxInt64 {
		return refuse(at, "cannot be: min %d, max %d, sampleCount %d, sum %d", *s.Min, *s.Max, *s.Count, *s.Sum)
	}
	return nil
}

func (m *Health) check(from Sender, now time.Time) error {
	if err := first(m.Metadata.check(from, messageID), checkTime("timestamp", m.Timestamp, now)); err != nil {
		return err
	}
	if m.Metadata.Fin == nil {
		return refuse("metadata.fin", "is absent")
	}
	if len(m.Tasks) == 0 {
		return refuse("tasks", "is empty")
	}
	seen := make(map[string]bool)
	for i := range m.Tasks {
		t := &m.Tasks[i]
		at := fmt.Sprintf("tasks[%d]", i)
		if err := checkTask(at, t.ARN, t.Family, t.Version, i, seen); err != nil {
			return err
		}
		if len(t.Containers) == 0 {
			return refuse(at+".containers", "is empty")
		}
		for j, c := range t.Containers {
			at := fmt.Sprintf("%s.containers[%d]", at, j)
			if c.Name == "" {
				return refuse(at+".containerName", "is absent")
			}
			if !slices.Contains([]string{"HEALTHY", "UNHEALTHY", "UNKNOWN"}, c.Status) {
				return refuse(at+".healthStatus", "is %q: want HEALTHY, UNHEALTHY or UNKNOWN", c.Status)
			}
			if err := checkPast(at+".statusSince", c.Since, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// Values of an instance status.
var (
	statusTypes  = []string{"ContainerRuntime", "Agent", "EBSDaemon", "ACCELERATED_COMPUTE"}
	statusValues = []string{"INITIALIZING", "OK", "IMPAIRED", "INSUFFICIENT_DATA"}
)

func (m *InstanceStatus) check(from Sender, now time.Time) error {
	if err := first(m.Metadata.check(from, requestID), checkTime("timestamp", m.Timestamp, now)); err != nil {
		return err
	}
	if len(m.Statuses) == 0 {
		return refuse("statuses", "is empty")
	}
	for i, s := range m.Statuses {
		at := fmt.Sprintf("statuses[%d]", i)
		if !slices.Contains(statusTypes, s.Type) {
			return refuse(at+".type", "is %q: want one of %s", s.Type, strings.Join(statusTypes, ", "))
		}
		if !slices.Contains(statusValues, s.Status) {
			return refuse(at+".status", "is %q: want one of %s", s.Status, strings.Join(statusValues, ", "))
		}
		if err := first(checkPast(at+".lastUpdated", s.Updated, now), checkPast(at+".lastStatusChange", s.Changed, now)); err != nil {
			return err
		}
	}
	return nil
}
