package runtime

// VolumeRequest asks for a volume.
type VolumeRequest struct {
	Name       string
	Driver     string
	DriverOpts map[string]string
	Labels     map[string]string
}

// Volume is what the runtime shows of a volume.
type Volume struct {
	Name       string
	Driver     string
	DriverOpts map[string]string
	Labels     map[string]string
	Mountpoint string
}
