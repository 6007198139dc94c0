package dockerspec

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"strings"

	"ecsagent/agent/task"
)

// Name chooses the Docker name of a container (docs/spec/02 section 4.11):
// ecs-<family>-<revision>-<container, letters, digits and dashes only>-<20 hex>.
func Name(spec *task.Spec, i int, rand func() uint64) string {
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
			return r
		}
		return -1
	}, spec.Containers[i].Name)
	return join(spec, plain, rand)
}

// VolumeName chooses the Docker name of a volume (docs/spec/02 section 4.9); a
// shared volume has its own name on every host.
func VolumeName(spec *task.Spec, i int, rand func() uint64) string {
	v := &spec.Volumes[i]
	if Shared(v) {
		return v.Name
	}
	return join(spec, v.Name, rand)
}

// Shared reports whether the volume outlives its task.
func Shared(v *task.Volume) bool {
	return v.Type == task.VolumeDocker && v.Docker != nil && v.Docker.Scope == "shared"
}

func join(spec *task.Spec, name string, rand func() uint64) string {
	return "ecs-" + spec.Family + "-" + spec.Version + "-" + name + "-" + suffix(rand())
}

// suffix is 20 hex digits: a non-negative 63-bit number as a signed varint in ten
// bytes, which is what tools that read these names expect.
func suffix(n uint64) string {
	var buf [binary.MaxVarintLen64]byte
	binary.PutVarint(buf[:], int64(n&math.MaxInt64))
	return hex.EncodeToString(buf[:])
}
