// Package docker runs containers on a Docker engine.
//
// Client turns each operation into one Docker call with a deadline of its own and
// turns Docker's answers into the words of package runtime and the error names of
// docs/spec/02 chapter 6. It keeps no state about containers.
package docker
