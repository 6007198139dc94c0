// Package metadatafile keeps a file about each container that is mounted into it
// (docs/spec/04 chapter 7, ECS_ENABLE_CONTAINER_METADATA).
package metadatafile
