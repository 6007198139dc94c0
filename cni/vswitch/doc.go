// Package vswitch is what vpc-eni does on Windows (docs/spec/05 chapter 5): the elastic
// network interface of a task becomes the uplink of a virtual switch of its own, and an
// endpoint of that switch goes into the task.
//
//	interface "Ethernet 4" ── network taskbr061f2e3d4c5b ── endpoint …-ep-<pause id> ── task
//
// Names are all that is remembered: objects are found again by them. ADD may be called
// again after it was interrupted anywhere; DEL removes whatever there is, and succeeds
// when there is nothing. The package decides, on every operating system; Windows is
// behind Switch and Adapters.
package vswitch
