// Package nettest makes the networks that the plugins' tests run in: namespaces that end
// with the test process however it ends, one of which plays the VPC (docs/spec/05 section
// 7.2). It uses no interface or namespace that was there before.
package nettest
