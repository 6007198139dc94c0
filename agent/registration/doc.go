// Package registration makes this host a container instance of its cluster.
//
//	identity document, tags -> RegisterContainerInstance -> check what came back
//	                              |  no such default cluster
//	                              +-> CreateCluster -> RegisterContainerInstance
//
// Register returns the instance's identity, or an Error that carries the exit code
// with which the process has to end.
//
// It follows docs/spec/01 sections 1.4, 1.6 and 1.7.
package registration
