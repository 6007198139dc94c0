//go:build !linux

package main

// calmTimers is Linux's: elsewhere the system's timers are coarse already.
func calmTimers() {}
