// Package hnstest plays the host networking and compute services of Windows to the
// stand-ins for their libraries (platform_windows/hns/testdata), which pass on each call
// that leaves a process: with the state that the services keep, the JSON with which they
// answer, and the errors.
package hnstest
