package stats

import "time"

// Response is a container's usage as the metadata endpoints show it: Docker's stats
// object (docs/spec/04 section 3.12). Slices and maps in it are shared with other
// readers and must not be written to.
type Response struct {
	Sample
	// Rates are for version 4 of the endpoints alone; nil until two samples with
	// network counters exist.
	Rates *NetworkRates `json:"network_rate_stats,omitempty"`
}

// Sample is one reading of a container, in the shape of Docker's stats object. Once
// it is handed over it never changes.
type Sample struct {
	Read     time.Time          `json:"read"`
	PreRead  time.Time          `json:"preread"`
	Pids     Pids               `json:"pids_stats"`
	Block    Block              `json:"blkio_stats"`
	NumProcs uint32             `json:"num_procs"` // Windows
	Storage  Storage            `json:"storage_stats"`
	CPU      CPU                `json:"cpu_stats"`
	PreCPU   CPU                `json:"precpu_stats"`
	Memory   Memory             `json:"memory_stats"`
	Name     string             `json:"name,omitempty"` // Docker's, with a leading slash
	ID       string             `json:"id,omitempty"`
	Networks map[string]Network `json:"networks,omitempty"` // by interface
}

// Pids are the processes and threads of a container.
type Pids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

// Block is the block I/O of a container on Linux. cgroup v1 gives empty lists where
// it has nothing, v2 none at all.
type Block struct {
	ServiceBytes []BlockEntry `json:"io_service_bytes_recursive"`
	Serviced     []BlockEntry `json:"io_serviced_recursive"`
	Queue        []BlockEntry `json:"io_queue_recursive"`
	ServiceTime  []BlockEntry `json:"io_service_time_recursive"`
	WaitTime     []BlockEntry `json:"io_wait_time_recursive"`
	Merged       []BlockEntry `json:"io_merged_recursive"`
	Time         []BlockEntry `json:"io_time_recursive"`
	Sectors      []BlockEntry `json:"sectors_recursive"`
}

// BlockEntry counts one kind of operation on one device.
type BlockEntry struct {
	Major uint64 `json:"major"`
	Minor uint64 `json:"minor"`
	Op    string `json:"op"`
	Value uint64 `json:"value"`
}

// Storage is the disk I/O of a container on Windows.
type Storage struct {
	ReadCount  uint64 `json:"read_count_normalized,omitempty"`
	ReadBytes  uint64 `json:"read_size_bytes,omitempty"`
	WriteCount uint64 `json:"write_count_normalized,omitempty"`
	WriteBytes uint64 `json:"write_size_bytes,omitempty"`
}

// CPU is processor time: of the container, and of the host at the same moment.
type CPU struct {
	Usage      CPUUsage   `json:"cpu_usage"`
	System     uint64     `json:"system_cpu_usage,omitempty"` // of the host, in ns
	Online     uint32     `json:"online_cpus,omitempty"`
	Throttling Throttling `json:"throttling_data"`
}

// CPUUsage is in nanoseconds on Linux and in units of 100 ns on Windows.
type CPUUsage struct {
	Total  uint64   `json:"total_usage"`
	PerCPU []uint64 `json:"percpu_usage,omitempty"` // cgroup v1
	Kernel uint64   `json:"usage_in_kernelmode"`
	User   uint64   `json:"usage_in_usermode"`
}

// Throttling counts how often a CPU limit held the container back.
type Throttling struct {
	Periods   uint64 `json:"periods"`
	Throttled uint64 `json:"throttled_periods"`
	Time      uint64 `json:"throttled_time"` // ns
}

// Memory is in bytes.
type Memory struct {
	Usage             uint64  `json:"usage,omitempty"`
	Max               uint64  `json:"max_usage,omitempty"`
	Stats             Details `json:"stats,omitzero"`
	Failures          uint64  `json:"failcnt,omitempty"`
	Limit             uint64  `json:"limit,omitempty"`
	Commit            uint64  `json:"commitbytes,omitempty"`
	CommitPeak        uint64  `json:"commitpeakbytes,omitempty"`
	PrivateWorkingSet uint64  `json:"privateworkingset,omitempty"`
}

// Network counts the traffic of one interface.
type Network struct {
	RxBytes    uint64 `json:"rx_bytes"`
	RxPackets  uint64 `json:"rx_packets"`
	RxErrors   uint64 `json:"rx_errors"`
	RxDropped  uint64 `json:"rx_dropped"`
	TxBytes    uint64 `json:"tx_bytes"`
	TxPackets  uint64 `json:"tx_packets"`
	TxErrors   uint64 `json:"tx_errors"`
	TxDropped  uint64 `json:"tx_dropped"`
	EndpointID string `json:"endpoint_id,omitempty"` // Windows
	InstanceID string `json:"instance_id,omitempty"` // Windows
}

// NetworkRates are in bytes a second, over all interfaces.
type NetworkRates struct {
	Rx float32 `json:"rx_bytes_per_sec"`
	Tx float32 `json:"tx_bytes_per_sec"`
}
