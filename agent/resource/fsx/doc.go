// Package fsx mounts file systems of FSx for Windows File Server for tasks: a drive letter
// of the host leads to the share, and is what containers mount (docs/spec/02 section 7.10).
package fsx
