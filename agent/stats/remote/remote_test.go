package remote_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ecsagent/agent/stats"
	"ecsagent/agent/stats/remote"
)

// windows is Docker's answer about a container on Windows.
const windows = `{"read":"2026-02-03T10:20:30.1234567Z","preread":"2026-02-03T10:20:29.1Z","pids_stats":{},"blkio_stats":{"io_service_bytes_recursive":null},
"num_procs":12,"storage_stats":{"read_count_normalized":1,"read_size_bytes":4096,"write_count_normalized":2,"write_size_bytes":8192},
"cpu_stats":{"cpu_usage":{"total_usage":5000000,"usage_in_kernelmode":2000000,"usage_in_usermode":3000000},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},
"precpu_stats":{"cpu_usage":{"total_usage":1}},"memory_stats":{"commitbytes":10,"commitpeakbytes":20,"privateworkingset":30},
"name":"/other","id":"x","networks":{"eni-1":{"rx_bytes":1,"rx_packets":2,"rx_errors":0,"rx_dropped":3,"tx_bytes":4,"tx_packets":5,"tx_errors":0,"tx_dropped":6,"endpoint_id":"e"}},"new_in_docker_99":{}}`

func TestRead(t *testing.T) {
	answer, fail := windows, error(nil)
	s := remote.New(remote.Options{Ask: func(_ context.Context, id string) ([]byte, error) {
		if id != "abc" {
			t.Errorf("asked for %q", id)
		}
		return []byte(answer), fail
	}})
	if h, err := s.Host(t.Context()); err != nil || h.CPUs == 0 {
		t.Errorf("host %+v, %v", h, err)
	}
	m, err := s.Open(t.Context(), stats.Target{ID: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := m.Read(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if got.Read.IsZero() || !got.PreRead.IsZero() || got.PreCPU.Usage.Total != 0 || got.NumProcs != 12 {
		t.Errorf("%+v", got)
	}
	if d := cmp.Diff(stats.Memory{Commit: 10, CommitPeak: 20, PrivateWorkingSet: 30}, got.Memory, cmp.Comparer(func(a, b stats.Details) bool { return a.IsZero() && b.IsZero() })); d != "" {
		t.Error(d)
	}
	if got.Storage.WriteBytes != 8192 || got.CPU.Usage.User != 3000000 || got.Networks["eni-1"].TxDropped != 6 || got.Networks["eni-1"].EndpointID != "e" {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "{", `{"memory_stats":{"stats":{"a":"b"}}}`, `{"read":5}`} {
		answer = bad
		if got, err := m.Read(t.Context(), true); err == nil {
			t.Errorf("%q gave %+v", bad, got)
		}
	}
	answer, fail = windows, errors.New("no such container")
	if _, err := m.Read(t.Context(), true); !errors.Is(err, fail) {
		t.Errorf("error %v", err)
	}
}

// TestTaskNetwork: what a task's own adapter counts, by its name.
func TestTaskNetwork(t *testing.T) {
	fail := errors.New("no such adapter")
	s := remote.New(remote.Options{
		Adapter: func(mac, pause string) (string, error) { return mac + " of " + pause, nil },
		Traffic: func(name string) (stats.Network, error) {
			if name != "06:1f of 9c41" {
				return stats.Network{}, fail
			}
			return stats.Network{RxBytes: 5, TxDropped: 6}, nil
		},
	})
	got, err := s.TaskNetwork(t.Context(), stats.Target{ID: "9c41", MACs: []string{"06:1f"}})
	if diff := cmp.Diff(map[string]stats.Network{"06:1f of 9c41": {RxBytes: 5, TxDropped: 6}}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if got, err := s.TaskNetwork(t.Context(), stats.Target{ID: "gone", MACs: []string{"06:1f"}}); !errors.Is(err, fail) || got != nil {
		t.Errorf("%v %v", got, err)
	}
}
