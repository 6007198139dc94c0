package taskdef

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
)

var (
	vcpus = regexp.MustCompile(`^(\d{0,6}(?:\.\d{1,6})?) ?(?i:vcpu)$`)
	gb    = regexp.MustCompile(`^(\d{0,6}(?:\.\d{1,6})?) ?(?i:gb)$`)
	units = regexp.MustCompile(`^\d{1,9}$`)
)

// ParseCPU reads a task's cpu, "256" or ".25 vCPU", as CPU units. Empty is 0.
func ParseCPU(s string) (int, error) { return parseSize("cpu", s, vcpus) }

// ParseMemory reads a task's memory, "512" or "0.5 GB", as MiB. Empty is 0.
func ParseMemory(s string) (int, error) { return parseSize("memory", s, gb) }

func parseSize(what, s string, scaled *regexp.Regexp) (int, error) {
	if s == "" {
		return 0, nil
	}
	if units.MatchString(s) {
		return strconv.Atoi(s)
	}
	m := scaled.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("invalid %s %q", what, s)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, fmt.Errorf("invalid %s %q", what, s)
	}
	return int(math.Round(n * 1024)), nil
}

// Bounds of a task's cpu on EC2 and external instances, in CPU units.
const (
	minTaskCPU = 128
	maxTaskCPU = 196608
)

// fargateMemory gives, for each cpu of Fargate, the least and the greatest memory
// and the step between, in MiB. The smallest size is listed apart.
var fargateMemory = map[int][3]int{
	512:   {1024, 4096, 1024},
	1024:  {2048, 8192, 1024},
	2048:  {4096, 16384, 1024},
	4096:  {8192, 30720, 1024},
	8192:  {16384, 61440, 4096},
	16384: {32768, 122880, 8192},
}

// fargateSize reports whether Fargate has the size.
func fargateSize(cpu, memory int) bool {
	if cpu == 256 {
		return slices.Contains([]int{512, 1024, 2048}, memory)
	}
	r, ok := fargateMemory[cpu]
	return ok && memory >= r[0] && memory <= r[1] && (memory-r[0])%r[2] == 0
}
