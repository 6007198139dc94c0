// Package capability decides which attributes a container instance advertises.
//
// Facts is what is known of the host, Docker, the configuration and this program;
// Attributes turns it into the list that registration sends. An attribute appears
// only when its condition holds and the part of the agent behind it exists.
//
// It follows docs/spec/01 section 1.5 and docs/spec/03 chapter 4.
package capability
