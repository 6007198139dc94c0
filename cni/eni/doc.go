// Package eni is an elastic network interface inside a task's namespace: its name,
// addresses, default routes and the block of instance metadata (docs/spec/05 sections
// 4.6 to 4.8).
package eni
