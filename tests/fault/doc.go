// Package fault kills the agent at every failpoint, and while Docker is in the middle of
// a call, starts it again, and looks from the outside whether anything was lost, done
// twice or left behind. `make matrix` runs all of it, make test a part. Its soak runs
// random tasks while the agent, the control plane, the network and Docker's answers fail
// at random, drawn from a seed: `make soak FOR=10m SEED=n`; make test does a short one.
package fault
