// Package hostport chooses the host's ports for mappings that leave the choice to
// the agent (docs/spec/02 section 4.6).
//
// There is one Allocator per host. A port it has handed out, or was told of, is
// not handed out again until it is released, whether or not anything listens on
// it yet: Docker binds ports only when a container starts.
package hostport
