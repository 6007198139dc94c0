// Package kernel reads what containers on Linux use from where the kernel counts it:
// the files of control groups, version 1 or 2, and /proc/PID/net/dev.
//
// A container's files are opened once and read again and again, which costs a sixth of
// opening them each time. Only what asks the kernel otherwise, the kinds of network
// interfaces, comes from outside.
package kernel
