package gpus

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"ecsagent/agent/gpu"
)

const (
	one = "GPU-5f3d7c1e-0000-4444-8888-000000000001"
	two = "GPU-5f3d7c1e-0000-4444-8888-000000000002"

	version = `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
`
	openVersion = `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U22-I3)
`
)

func files(of ...string) fstest.MapFS {
	fs := fstest.MapFS{}
	for i := 0; i < len(of); i += 2 {
		fs[of[i]] = &fstest.MapFile{Data: []byte(of[i+1])}
	}
	return fs
}

func information(id string) string {
	return "Model: \t\t NVIDIA L4\nIRQ:   \t\t 34\nGPU UUID: \t " + id + "\nVideo BIOS: \t ??.??.??\n"
}

func TestFind(t *testing.T) {
	missing := errors.New("executable file not found in $PATH")
	nvidia := []string{"sys/bus/pci/devices/0000:00:1e.0/vendor", "0x10de\n", "sys/bus/pci/devices/0000:00:1e.0/class", "0x030200\n"}
	for _, c := range []struct {
		name string
		root fstest.MapFS
		smi  string
		fail error
		want gpu.Info
		err  string
	}{
		{name: "an ordinary host", root: files("sys/bus/pci/devices/0000:00:03.0/vendor", "0x1d0f\n", "sys/bus/pci/devices/0000:00:03.0/class", "0x030000\n")},
		{name: "an NVIDIA card that is no GPU", root: files("sys/bus/pci/devices/0000:00:03.0/vendor", "0x10de\n", "sys/bus/pci/devices/0000:00:03.0/class", "0x040300\n")},
		{name: "no driver", root: files(nvidia...), err: ErrNoDriver.Error()},
		{name: "the vendor's tool", root: files("dev/nvidia0", ""), smi: "535.183.01, " + one + "\n535.183.01, " + two + "\n",
			want: gpu.Info{DriverVersion: "535.183.01", GPUIDs: []string{one, two}}},
		{name: "a device that fails", root: files("dev/nvidiactl", ""), smi: "[GPU is lost], [GPU is lost]\n535.183.01, " + two + "\n",
			want: gpu.Info{DriverVersion: "535.183.01", GPUIDs: []string{two}}},
		{name: "no tool", fail: missing, root: files("dev/nvidia0", "", "proc/driver/nvidia/version", version,
			"proc/driver/nvidia/gpus/0000:00:1f.0/information", information(two),
			"proc/driver/nvidia/gpus/0000:00:1e.0/information", information(one)),
			want: gpu.Info{DriverVersion: "535.183.01", GPUIDs: []string{one, two}}},
		{name: "no tool, open module, one not opened", fail: missing, root: files("dev/nvidia0", "", "proc/driver/nvidia/version", openVersion,
			"proc/driver/nvidia/gpus/0000:00:1e.0/information", information("GPU-????????-????-????-????-????????????"),
			"proc/driver/nvidia/gpus/0000:00:1f.0/information", information(two)),
			want: gpu.Info{DriverVersion: "570.86.15", GPUIDs: []string{two}}},
		{name: "nothing answers", fail: missing, root: files("dev/nvidia0", ""), err: "ask nvidia-smi: executable file not found"},
		{name: "no device answers", smi: "No devices were found\n", root: files("dev/nvidia0", "", "proc/driver/nvidia/version", version), err: "names no GPU"},
		{name: "no version", fail: missing, root: files("dev/nvidia0", "", "proc/driver/nvidia/version", "GCC version: 12.2.0\n"), err: "names no version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := Finder{Root: c.root, Run: func(context.Context, string, ...string) (string, error) { return c.smi, c.fail }}
				got, err := f.Find(t.Context())
				if !reflect.DeepEqual(got, c.want) {
					t.Errorf("found %+v", got)
				}
				if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
					t.Errorf("error %v, want %q", err, c.err)
				}
			})
		})
	}
}

// late is a host on which the driver appears after a time.
type late struct {
	fstest.MapFS
	since time.Time
	after time.Duration
}

func (l late) Glob(pattern string) ([]string, error) {
	if strings.HasPrefix(pattern, "dev/") {
		if time.Since(l.since) < l.after {
			return nil, nil
		}
		return []string{"dev/nvidia0"}, nil
	}
	return l.MapFS.Glob(pattern)
}

func TestAwaitsDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := late{files("sys/bus/pci/devices/a/vendor", "0x10de", "sys/bus/pci/devices/a/class", "0x030000"), time.Now(), 10 * time.Second}
		f := Finder{Root: root, Run: func(context.Context, string, ...string) (string, error) { return "1.2, " + one, nil }}
		info, err := f.Find(t.Context())
		if err != nil || len(info.GPUIDs) != 1 || time.Since(root.since) > 13*time.Second {
			t.Errorf("%+v, %v after %v", info, err, time.Since(root.since))
		}
	})
}

// What is written is what the agent reads.
func TestWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "gpu", "info.json")
	for _, want := range []gpu.Info{{DriverVersion: "535.183.01", GPUIDs: []string{one, two}}, {DriverVersion: "570.1", GPUIDs: []string{two}}} {
		if err := Write(name, want); err != nil {
			t.Fatal(err)
		}
		if got, err := gpu.Read(name); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v, %v; want %+v", got, err, want)
		}
	}
}
