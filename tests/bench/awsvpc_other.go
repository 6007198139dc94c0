//go:build !linux

package main

// plugins needs Linux.
func (b *bench) plugins() error {
	b.table.note("CNI plugins: not measured, that needs Linux.")
	return nil
}

// awsvpc needs Linux.
func (b *bench) awsvpc() error {
	b.table.note("Tasks of network mode awsvpc: not measured, that needs Linux.")
	return nil
}
