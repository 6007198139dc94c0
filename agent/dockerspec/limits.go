package dockerspec

// Limits of docs/spec/02 section 4.3.
const (
	mebibyte         = 1 << 20
	minCPUShares     = 2
	maxCPUShares     = 262144
	sharesPerCPU     = 1024
	minMemory        = 4 * mebibyte // bytes
	minMemoryWindows = 256 * mebibyte
)

func (b *build) windows() bool { return b.env.OS == "windows" }

// cpuShares is the container's part of the CPUs as Docker on Linux counts it.
func (b *build) cpuShares() int64 {
	shares := b.c.CPU
	if shares < minCPUShares && !(b.windows() && b.env.CPUUnbounded) {
		return minCPUShares
	}
	if !b.windows() {
		shares = min(shares, maxCPUShares)
	}
	return shares
}

// memory is the container's hard limit in bytes; 0 is none.
func (b *build) memory() int64 {
	mib := b.c.Memory
	if mib <= 0 && b.env.TaskMemory && !b.windows() {
		mib = b.spec.Memory
	}
	if mib <= 0 {
		return 0
	}
	if b.windows() {
		return max(mib*mebibyte, minMemoryWindows)
	}
	return max(mib*mebibyte, minMemory)
}

// platform applies what differs by operating system, after ECS's JSON.
func (b *build) platform() {
	if !b.windows() {
		if b.in.CgroupParent != "" {
			b.host.CgroupParent = b.in.CgroupParent
		}
		return
	}
	// A pause container takes no CPU but for the commands that give it its routes, which
	// would crawl under a limit.
	if shares := b.host.CPUShares; shares > 0 && !b.c.Internal() {
		b.host.CPUPercent = max(shares*100/int64(max(b.env.CPUs, 1)*sharesPerCPU), 1)
	}
	b.host.CPUShares = 0
	if b.env.MemoryUnbounded && b.host.Memory <= 0 {
		b.host.MemoryReservation = 0
	}
}
