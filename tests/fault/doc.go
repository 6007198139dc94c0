// Package fault kills the agent at every failpoint, and while Docker is in the middle of
// a call, starts it again, and looks from the outside whether anything was lost, done
// twice or left behind. `make matrix` runs all of it, make test a part.
package fault
