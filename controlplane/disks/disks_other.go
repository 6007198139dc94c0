//go:build !linux

package disks

import "errors"

var errUnsupported = errors.New("EBS volumes on this machine need Linux")

// Disks cannot be made here.
type Disks struct{}

// Open returns an error.
func Open(string) (*Disks, error) { return nil, errUnsupported }

// Attach implements service.Disks.
func (*Disks) Attach(string, int) error { return errUnsupported }

// Detach implements service.Disks.
func (*Disks) Detach(string, bool) error { return errUnsupported }

// Keep does nothing.
func (*Disks) Keep([]string) error { return errUnsupported }
