package task

import "fmt"

// Status is the status of a task (docs/spec/02 section 1.2). The order matters:
// later statuses compare greater.
type Status uint8

// Task statuses. 2 is reserved: the agent this one replaces never derives it.
const (
	None           Status = 0
	ManifestPulled Status = 1
	Created        Status = 3
	Running        Status = 4
	Stopped        Status = 5
)

var statusNames = map[Status]string{
	None: "NONE", ManifestPulled: "MANIFEST_PULLED", Created: "CREATED", Running: "RUNNING", Stopped: "STOPPED",
}

// String returns the persisted name of the status.
func (s Status) String() string { return nameOf(statusNames, s) }

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with the words that
// ParseStatus takes.
func (s *Status) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStatus(string(text))
	return err
}

// ParseStatus reads a status as ECS or an older state file writes it: the names
// of String, UNKNOWN for None and DEAD for Stopped (docs/spec/01 section 2.9.3).
func ParseStatus(name string) (Status, error) {
	switch name {
	case "", "UNKNOWN":
		return None, nil
	case "DEAD":
		return Stopped, nil
	}
	for s, n := range statusNames {
		if n == name {
			return s, nil
		}
	}
	return None, fmt.Errorf("unrecognized task status %q: want NONE, MANIFEST_PULLED, CREATED, RUNNING or STOPPED", name)
}

// ContainerStatus is the status of a container (docs/spec/02 section 1.1). The
// order matters: later statuses compare greater.
type ContainerStatus uint8

// Container statuses, in the order in which a container passes through them.
const (
	ContainerNone                 ContainerStatus = 0
	ContainerManifestPulled       ContainerStatus = 1
	ContainerPulled               ContainerStatus = 2
	ContainerCreated              ContainerStatus = 3
	ContainerRunning              ContainerStatus = 4
	ContainerResourcesProvisioned ContainerStatus = 5
	ContainerStopped              ContainerStatus = 6
)

var containerStatusNames = map[ContainerStatus]string{
	ContainerNone: "NONE", ContainerManifestPulled: "MANIFEST_PULLED", ContainerPulled: "PULLED",
	ContainerCreated: "CREATED", ContainerRunning: "RUNNING",
	ContainerResourcesProvisioned: "RESOURCES_PROVISIONED", ContainerStopped: "STOPPED",
}

// String returns the persisted name of the status.
func (s ContainerStatus) String() string { return nameOf(containerStatusNames, s) }

// MarshalText implements encoding.TextMarshaler.
func (s ContainerStatus) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *ContainerStatus) UnmarshalText(text []byte) error {
	for status, n := range containerStatusNames {
		if n == string(text) {
			*s = status
			return nil
		}
	}
	return fmt.Errorf("unrecognized container status %q", text)
}

// IsRunning reports whether the container runs: RUNNING or RESOURCES_PROVISIONED.
func (s ContainerStatus) IsRunning() bool {
	return s == ContainerRunning || s == ContainerResourcesProvisioned
}

// Health is a container's health as Docker reports it.
type Health uint8

// Health values; the zero value is unknown.
const (
	HealthUnknown Health = iota
	HealthHealthy
	HealthUnhealthy
)

var healthNames = map[Health]string{HealthUnknown: "UNKNOWN", HealthHealthy: "HEALTHY", HealthUnhealthy: "UNHEALTHY"}

// String returns the name that ECS uses.
func (h Health) String() string { return nameOf(healthNames, h) }

// MarshalText implements encoding.TextMarshaler.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Health) UnmarshalText(text []byte) error {
	for health, n := range healthNames {
		if n == string(text) {
			*h = health
			return nil
		}
	}
	return fmt.Errorf("unrecognized health %q", text)
}

// Condition is what a dependsOn entry waits for (docs/spec/02 section 3.2).
type Condition string

// Conditions of dependsOn. DependsCreate is made by the agent for volumesFrom and
// never comes from ECS.
const (
	DependsCreate   Condition = "CREATE"
	DependsStart    Condition = "START"
	DependsComplete Condition = "COMPLETE"
	DependsSuccess  Condition = "SUCCESS"
	DependsHealthy  Condition = "HEALTHY"
)

func nameOf[K ~uint8](names map[K]string, k K) string {
	if n, ok := names[k]; ok {
		return n
	}
	return fmt.Sprintf("INVALID(%d)", uint8(k))
}
