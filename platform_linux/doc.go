// Package linux gathers the facts of a Linux host.
//
// Everything is read from files below a root, so that it is compiled and tested on
// every operating system.
package linux
