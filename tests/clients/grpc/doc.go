// Package grpc tries the agent's client of credentials-fetcher on a server of gRPC's own
// module. It is a module of its own, so that the product's stays free of that.
package grpc
