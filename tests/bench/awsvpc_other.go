//go:build !linux

package main

// awsvpc needs Linux.
func (b *bench) awsvpc() error {
	b.table.note("Tasks of network mode awsvpc: not measured, that needs Linux.")
	return nil
}
