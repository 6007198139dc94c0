// Package staging makes EBS volumes that were attached to the instance usable for a task:
// it finds the device, formats it when it is blank, mounts it below one folder of the host
// and lets the file system grow to the volume's size (docs/spec/02 section 7.11).
//
// The agent is confined to mounts of its own and sees no devices; so the volume plugin
// does this for it, on its socket. Each operation may be repeated and interrupted at any
// moment.
package staging
