// Package explain tells what the agent would ask Docker for to run a task, without
// doing it. It holds the catalogue of the errors that ECS shows, too.
//
// Everything it tells comes from the code that the daemon runs: the decoder of
// package acs/wire, the intake of the engine, the mapping of package dockerspec and
// the puller of package image, which works on an engine that only takes notes. What
// the daemon leaves to chance or learns while it runs stands as a placeholder:
// <hex> in names, <uuid> in the metadata URLs, <port> for a host port that the agent
// chooses, <digest> of an image and <id of NAME> of another container.
package explain
