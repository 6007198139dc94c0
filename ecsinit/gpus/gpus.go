// Package gpus finds out which NVIDIA GPUs a host has and what drives them
// (docs/spec/03 section 5.8). A host without GPUs, or without their driver, is an
// ordinary host.
package gpus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ecsagent/agent/gpu"
)

// Times of the wait for a driver that is being loaded while the host starts.
const (
	lookEvery = 3 * time.Second
	looks     = 10
)

// ErrNoDriver is returned where there are NVIDIA GPUs and nothing drives them.
var ErrNoDriver = errors.New("there are NVIDIA GPUs and no driver")

// Finder looks at a host.
type Finder struct {
	Root fs.FS // the host's file system
	// Run runs a program of the host and returns what it printed.
	Run func(ctx context.Context, program string, args ...string) (string, error)
	// Every is the pause between two looks for devices; 0: 3 s.
	Every time.Duration
}

// Find returns the GPUs, in the order in which the driver counts them; nothing is found
// on a host without any. Where the hardware is there it waits for the driver, half a
// minute at most.
func (f Finder) Find(ctx context.Context) (gpu.Info, error) {
	if !f.driven() {
		if !f.present() {
			return gpu.Info{}, nil
		}
		if err := f.await(ctx); err != nil {
			return gpu.Info{}, err
		}
	}
	info, err := f.ask(ctx)
	if err == nil {
		return info, nil
	}
	// The driver says the same in files, once a device was opened.
	read, readErr := gpu.OfDriver(f.Root)
	if readErr != nil {
		return gpu.Info{}, errors.Join(err, readErr)
	}
	return read, nil
}

// driven reports whether the driver has made its devices.
func (f Finder) driven() bool {
	found, _ := fs.Glob(f.Root, "dev/nvidia*") // the pattern is well-formed
	return len(found) > 0
}

// present reports whether an NVIDIA display or 3D controller is on the PCI bus.
func (f Finder) present() bool {
	devices, _ := fs.Glob(f.Root, "sys/bus/pci/devices/*") // the pattern is well-formed
	return slices.ContainsFunc(devices, func(d string) bool {
		vendor, err := fs.ReadFile(f.Root, path.Join(d, "vendor"))
		if err != nil || strings.TrimSpace(string(vendor)) != "0x10de" {
			return false
		}
		class, err := fs.ReadFile(f.Root, path.Join(d, "class"))
		return err == nil && strings.HasPrefix(string(class), "0x03")
	})
}

func (f Finder) await(ctx context.Context) error {
	every := f.Every
	if every == 0 {
		every = lookEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for range looks {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if f.driven() {
			return nil
		}
	}
	return ErrNoDriver
}

// ask asks the vendor's tool, a line for each device: driver version, UUID. A device
// that fails has a text in place of its UUID.
func (f Finder) ask(ctx context.Context) (info gpu.Info, err error) {
	text, err := f.Run(ctx, "nvidia-smi", "--query-gpu=driver_version,uuid", "--format=csv,noheader")
	if err != nil {
		return gpu.Info{}, fmt.Errorf("ask nvidia-smi: %w", err)
	}
	for line := range strings.Lines(text) {
		driver, id, _ := strings.Cut(line, ",")
		if id = strings.TrimSpace(id); gpu.IsID(id) && !slices.Contains(info.GPUIDs, id) {
			info.DriverVersion = strings.TrimSpace(driver)
			info.GPUIDs = append(info.GPUIDs, id)
		}
	}
	if len(info.GPUIDs) == 0 {
		return gpu.Info{}, fmt.Errorf("nvidia-smi names no GPU: %q", text)
	}
	return info, nil
}

// Write writes the file that the agent reads. A reader sees the old or the new one.
func Write(name string, info gpu.Info) error {
	text, err := json.Marshal(struct {
		DriverVersion string
		GPUIDs        []string
	}{info.DriverVersion, info.GPUIDs})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("make the folder of the description of the GPUs: %w", err)
	}
	temp := name + ".new"
	if err := os.WriteFile(temp, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("describe the GPUs: %w", err)
	}
	if err := os.Rename(temp, name); err != nil {
		return fmt.Errorf("describe the GPUs: %w", err)
	}
	return nil
}
