// Package cli is the command line of ecs-local: a server to keep in a terminal and
// a few commands that run tasks on it. Everything but up and logs goes through the
// public ECS API, so that what they show is what any client sees.
package cli
