//go:build !vlanstandin

package branch

// devices are those of the kernel.
func devices() vlans { return vlanDevices{} }
