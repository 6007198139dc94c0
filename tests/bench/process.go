package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat: USER_HZ is 100 on every Linux there is.
const tick = 10 * time.Millisecond

// processCPU is the processor time that a process has used.
func processCPU(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the agent's processor time: %w", err)
	}
	// The second field is the name in parentheses and may hold blanks.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("read the agent's processor time: %d fields", len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the agent's processor time: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the agent's processor time: %w", err)
	}
	return time.Duration(user+system) * tick, nil
}

// threadsCPU is the processor time that the threads of a process have used, in
// nanoseconds' resolution. Threads that have ended do not count: it is for a young
// process.
func threadsCPU(pid int) (total time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no threads of process %d", pid)
	}
	for _, f := range files {
		data, readErr := os.ReadFile(f)
		if errors.Is(readErr, os.ErrNotExist) {
			continue
		}
		var used int64
		if readErr == nil {
			_, readErr = fmt.Sscan(string(data), &used)
		}
		err = errors.Join(err, readErr)
		total += time.Duration(used)
	}
	if err != nil {
		return 0, fmt.Errorf("read the agent's processor time: %w", err)
	}
	return total, nil
}

// processRSS is the memory of a process that is in RAM, in MiB.
func processRSS(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the agent's memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib / 1024, nil
		}
	}
	return 0, fmt.Errorf("read the agent's memory: no VmRSS of process %d", pid)
}
